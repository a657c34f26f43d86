"""What WebDataset shards hold, counted where no `_info.json` beside them says it."""

import re
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alternet.errors import Doubt
from alternet.patience import FINISHED

STATED = ("_info.json", "info.json")
"""Files beside shards in which timm reads what they hold."""

PICTURES = ("jpg", "jpeg", "png", "webp")
SPLITS = ("train", "training", "test", "val", "valid", "validation")


@dataclass(frozen=True)
class Shards:
    """The shards of a split.

    Attributes:
        files: Their paths below the folder, sorted.
        pictures: How many pictures they hold.
        classes: One more than the largest class number; 0 where there is none.
    """

    files: tuple[str, ...]
    pictures: int
    classes: int

    @property
    def expression(self) -> str:
        """The split as timm takes it: the files and the number of pictures."""
        return f"{'::'.join(self.files)}|{self.pictures}"


def counted(root: Path, names: tuple[str, ...], *, asked: str) -> Shards | None:
    """What the shards of a folder hold that belong to a split; None where a file says it, or there are none.

    A shard belongs to the split that its path names, as in `train-000.tar` or `train/000.tar`. Where no path names any,
    all belong to the split asked for, and a warning says so.

    Args:
        root: The folder.
        names: How the split may be called, the best first.
        asked: How it was asked for.

    Raises:
        ValueError: Shards of other splits alone, one that cannot be read, or something that is no file.
    """
    if not root.is_dir():
        return None
    paths = list(root.rglob("*.tar"))
    for path in (*(root / name for name in STATED), *paths):
        if path.exists() and not (path.is_file() or path.is_dir()):  # whoever reads it would wait for a writer
            raise ValueError(f"{path} is a pipe, a socket or a device, expected a file. Remove it.")
    if any((root / name).is_file() for name in STATED):
        return None
    files = sorted(path.relative_to(root).as_posix() for path in paths)
    if not files:
        return None
    by_split = {name: [file for file in files if name in _words(file)] for name in SPLITS}
    chosen = next((by_split[name] for name in names if by_split.get(name)), None)
    if chosen is None and any(by_split.values()):
        there = ", ".join(name for name, own in by_split.items() if own)
        raise ValueError(f"No shard in {root} is called after the split {asked!r}; there are shards of {there}.")
    if chosen is None:
        warnings.warn(
            f"The shards in {root} name no split: all {len(files)} are taken for {asked}.", Doubt, stacklevel=5
        )
    held = [_held(root / file) for file in chosen or files]
    return Shards(tuple(chosen or files), sum(n for n, _ in held), max(top for _, top in held) + 1)


def _words(file: str) -> list[str]:
    return re.split(r"[^a-z]+", file.lower())


def _held(file: Path) -> tuple[int, int]:
    """How many pictures a shard holds, and its largest class number; -1 where there is none."""
    pictures, top = set(), -1
    try:
        with tarfile.open(file) as shard:
            for member in shard:
                FINISHED.one()
                path = PurePosixPath(member.name)
                key, _, ending = path.name.partition(".")
                if ending.lower() in PICTURES:
                    pictures.add(path.parent / key)
                elif ending == "cls" and (content := shard.extractfile(member)) is not None:
                    top = max(top, int(content.read()))
    except (OSError, ValueError, tarfile.TarError) as error:
        raise ValueError(f"The shard {file} cannot be read ({error}). Repair it.") from error
    return len(pictures), top
