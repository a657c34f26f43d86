"""What WebDataset shards hold, counted where no `_info.json` beside them says it."""

import re
import tarfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alternet.data.decoding import Bounds
from alternet.errors import Doubt, damage, first_line, shortened
from alternet.files import open_file, read_json
from alternet.patience import FINISHED

STATED = ("_info.json", "info.json")
"""Files beside shards in which timm reads what they hold."""

PICTURES = ("jpg", "jpeg", "png", "webp")
SPLITS = ("train", "training", "test", "val", "valid", "validation")

SEVERAL = re.compile(r"[{}$|]|::")
"""What in a name stands for other names, when webdataset reads it."""

MOST_CLASSES = 10**6
"""Classes that a file may state; each takes memory before any picture is read."""

DIGITS = 20
"""Bytes of a class number."""


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
        ValueError: Shards of other splits alone, one that cannot be read or is no file, or a file that says more than
            is there.
    """
    if not (files := _unstated(root)):
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


def _unstated(root: Path) -> list[str]:
    """The shards below a folder by their paths, none where a file says what they hold; all are files."""
    if not root.is_dir():
        return []
    paths = list(root.rglob("*.tar"))
    stated = [root / name for name in STATED if (root / name).exists()]
    for path in (*stated, *paths):
        if path.exists() and not (path.is_file() or path.is_dir()):  # whoever reads it would wait for a writer
            raise ValueError(f"{path} is a pipe, a socket or a device, expected a file. Remove it.")
    for path in stated:
        _require_plain(root, path)
    files = [] if stated else sorted(path.relative_to(root).as_posix() for path in paths)
    if strange := [file for file in files if SEVERAL.search(file)]:
        raise ValueError(f"{root} holds a shard {strange[0]!r}, whose name stands for others. Rename it.")
    return files


def _require_plain(root: Path, stated: Path) -> None:
    """Refuse a file beside shards that names others than those below it, or more pictures than they have bytes."""
    try:
        facts = read_json(stated)
        splits = facts.get("splits") if isinstance(facts, Mapping) else None
        for split in splits.values() if isinstance(splits, Mapping) else ():  # whatever else it is, timm refuses
            files = list(map(str, split.get("filenames") or ()))
            for name in files:
                if Path(name).is_absolute() or ".." in Path(name).parts or SEVERAL.search(name):
                    raise ValueError(f"it names {shortened(name, 100)}, which is no file below it")
                if (root / name).exists():
                    open_file(root / name).close()
            held = sum((root / name).stat().st_size for name in files if (root / name).is_file())
            if int(split.get("num_samples") or 0) > held:
                raise ValueError(f"it states {split['num_samples']} pictures in shards of {held} bytes")
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{stated} cannot be used ({damage(error)}). Correct it, or take it away.") from error


def numbered(count: int) -> tuple[str, ...]:
    """Names of so many classes that have none.

    Raises:
        ValueError: They are more than anybody has.

    Examples:
        >>> numbered(2)
        ('0', '1')
    """
    if count > MOST_CLASSES:
        raise ValueError(
            f"The data states {count} classes, expected at most {MOST_CLASSES}. Correct its class numbers."
        )
    return tuple(map(str, range(count)))


def _words(file: str) -> list[str]:
    return re.split(r"[^a-z]+", file.lower())


def _held(file: Path) -> tuple[int, int]:
    """How many pictures a shard holds, and its largest class number; -1 where there is none."""
    pictures, top, bounds = set(), -1, Bounds.set()
    try:
        with open_file(file) as opened, tarfile.open(fileobj=opened) as shard:
            for member in shard:
                FINISHED.one()
                bounds.require("bytes", member.size)
                path = PurePosixPath(member.name)
                key, _, ending = path.name.partition(".")
                if ending.lower() in PICTURES:
                    pictures.add(path.parent / key)
                elif ending == "cls" and (content := shard.extractfile(member)) is not None:
                    top = max(top, int(content.read(DIGITS)))
                    numbered(top + 1)
    except Exception as error:  # those who unpack it have errors of their own
        raise ValueError(f"The shard {file} cannot be read ({first_line(error)}). Repair it.") from error
    return len(pictures), top
