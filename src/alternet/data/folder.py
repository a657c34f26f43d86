"""Folders of images: your own, with or without labels and splits, and ImageNet's."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from timm.data.imagenet_info import ImageNetInfo
from timm.utils.misc import natural_key

from alternet.data.decoding import EXTENSIONS, Bounds, decode
from alternet.data.image_dataset import UNLABELLED, ImageDataset, Indices, Sample
from alternet.files import open_file
from alternet.patience import FINISHED

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "test": ("test", "val", "valid", "validation"),
    "val": ("val", "valid", "validation", "test"),
}
"""Subfolders that hold a split, the preferred one first."""

HIDDEN = (".", "__MACOSX")
"""How the names of folders begin that are passed over."""

SAMPLED_BYTES = 4096
"""Beside its size, this much of the beginning and end of a JPEG or PNG file goes into the fingerprint."""

PACKED = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""How files of JPEG and PNG begin. Other pixels make another size of them, or at least other checksums at the end; all
other files may hold their pixels plainly, and go into the fingerprint whole."""


class Folder(ImageDataset):
    """The image files in a folder, in natural order (`a2` before `a10`).

    Where the folder has subfolders `train` and `test` (or `val`), and only such, they are the splits; otherwise all
    images are test images. Where every image lies in a subfolder, and there are at least two of those, the first
    folder below is its class; otherwise the images have no labels. Classes are numbered in natural order over all
    splits. Hidden files and folders are passed over, symbolic links followed.

    Args:
        root: The folder.
        split: `test`, `val` or `train`; where only one of `test` and `val` is there, it serves for both.

    Raises:
        ValueError: It is no folder, has no such split, or holds no images.

    Examples:
        >>> root = getfixture("tmp_path")
        >>> from PIL import Image
        >>> for name in ("cat/1.png", "dog/2.png", "dog/10.png"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     Image.new("RGB", (40, 30)).save(root / name)
        >>> pictures = Folder(root)
        >>> pictures.classes, [pictures.label(index) for index in range(3)], pictures[2][1]
        (('cat', 'dog'), ['cat/1.png', 'dog/2.png', 'dog/10.png'], 1)
    """

    threadable = True

    def __init__(self, root: str | Path, split: str = "test") -> None:
        root = Path(root)
        if not root.is_dir():
            raise ValueError(f"{root} is not a folder. Give a folder of images.")
        self.name = root.resolve().name or "images"
        self.split = "train" if split == "train" else "test"

        # the folder of the split, and those of all splits, because their classes are numbered together
        folders = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
        known = {name for names in SPLIT_FOLDERS.values() for name in names}
        if folders and folders <= known:
            found = next((root / name for name in SPLIT_FOLDERS[split] if name in folders), None)
            if found is None:
                raise ValueError(f"{root} has no {split} split, only {', '.join(sorted(folders))}.")
            self.root, below = found, tuple(root / name for name in sorted(folders))
        elif split == "train":
            raise ValueError(
                f"{root} has no train/ subfolder. Put the images to train on into {root.name}/train and others into "
                f"{root.name}/test."
            )
        else:
            self.root, below = root, (root,)

        files = [Path(folder).relative_to(self.root) / name for folder, name in _walk(self.root, set())]
        # the path itself as well, because to natural_key `A1` and `a01` are the same
        self.files = sorted(files, key=lambda path: (natural_key(path.as_posix()), path.as_posix()))
        if not self.files:
            raise ValueError(
                f"{self.root} holds no images. Give a folder with files ending in {', '.join(sorted(EXTENSIONS))}."
            )
        self.classes = self._find_classes(below)
        self._numbers = {name: number for number, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        file = self.files[index]
        return decode(self.root / file), self._numbers.get(file.parts[0], UNLABELLED)

    @cached_property
    def targets(self) -> list[int]:
        """Class number of every file, without reading any."""
        return [self._numbers.get(file.parts[0], UNLABELLED) for file in self.files]

    def label(self, index: int) -> str:
        """The file's path within the folder."""
        return self.files[index].as_posix()

    def _find_classes(self, splits: Sequence[Path]) -> tuple[str, ...]:
        """The folders that hold an image in any split; of the other splits no more is looked at than that takes."""
        if any(len(file.parts) == 1 for file in self.files):
            return ()
        names = {file.parts[0] for file in self.files}
        for split in splits:
            if split == self.root:
                continue
            seen = {_identity(split)}
            for folder in sorted(split.iterdir()):  # sorted, because `seen` gives a folder to the first link to it
                if folder.is_dir() and not folder.name.startswith(HIDDEN) and any(_walk(folder, seen)):
                    names.add(folder.name)
        return tuple(sorted(names, key=lambda name: (natural_key(name), name))) if len(names) > 1 else ()

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Checksum over the files: path and size of each, and its content, of JPEG and PNG the beginning and end."""
        digest, largest = hashlib.sha256(), Bounds.set().bytes
        for index in indices:
            FINISHED.one()
            digest.update(f"{self.label(index)}\0".encode("utf-8", "surrogateescape"))  # names need not be UTF-8
            try:
                with open_file(self.root / self.files[index]) as file:
                    size = os.fstat(file.fileno()).st_size
                    begun = file.read(SAMPLED_BYTES)
                    sampled = hashlib.sha256(f"{size}\0".encode() + begun)
                    if begun.startswith(PACKED) or size > largest:  # the latter is skipped, whatever is in it
                        file.seek(max(size - SAMPLED_BYTES, 0))
                        sampled.update(file.read(SAMPLED_BYTES))
                    else:
                        while part := file.read(2**20):
                            sampled.update(part)
                digest.update(sampled.digest())
            except OSError:
                digest.update(b"unreadable")
        return {"files": len(indices), "classes": list(self.classes), "sha256": digest.hexdigest()}


class ImageNet(Folder):
    """ImageNet-1K in folders named after its synsets (`n01440764`), below `train/` and `val/`.

    Class numbers are ImageNet's own, also where only some of the thousand folders are there, so that a model trained
    on ImageNet is scored right on a part of it.

    Raises:
        ValueError: The folder does not look like that.
    """

    def __init__(self, root: str | Path, split: str = "test") -> None:
        if not Path(root).is_dir():
            raise ValueError(
                f"There is no ImageNet in {root}. Say where it is, imagenet:PATH, a folder with train/ and val/."
            )
        super().__init__(root, "val" if split == "test" else split)
        self.name = "imagenet"

    def _find_classes(self, splits: Sequence[Path]) -> tuple[str, ...]:
        """ImageNet's synsets, whatever folders there are."""
        synsets = ImageNetInfo("imagenet-1k").label_names()
        strange = {file.parts[0] for file in self.files} - set(synsets)
        if strange:
            raise ValueError(
                f"{self.root} should hold one folder for each ImageNet synset (n01440764, ...), but has "
                f"{min(strange)!r}. For another data set give the folder's path alone, without imagenet:."
            )
        return tuple(synsets)


def _walk(root: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """Folder and name of every image file below a folder, without the folders that were seen before."""
    for folder, subfolders, names in os.walk(root, followlinks=True):
        FINISHED.one()
        if (identity := _identity(folder)) in seen:  # a link back to a folder above it
            subfolders.clear()
            continue
        seen.add(identity)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(HIDDEN))
        for name in names:
            path = Path(folder, name)
            hidden = name.startswith(".") or path.suffix.lower() not in EXTENSIONS
            if not hidden and (path.is_file() or not path.exists()):  # a broken link counts as unreadable, a pipe not
                yield folder, name


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
