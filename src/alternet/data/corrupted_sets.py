"""Corrupted sets: CIFAR-10-C, CIFAR-100-C and ImageNet-C as published, each picture beside its clean one.

What a folder is, is told by what it holds. Beside `labels.npy` there is an array `NAME.npy` for every corruption, uint8
[5 · n, 32, 32, 3]: the n test images in their own order at severity 1, then at severity 2, and so on. Otherwise there
are image files `NAME/SEVERITY/CLASS/FILE`, with the paths that the clean files have within their folder. A folder
between, as in the published archives (`blur/defocus_blur/...`), is seen through.

So a subset of the clean images is the same subset of every corrupted set.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from alternet.data.corruption_names import SEVERITIES
from alternet.data.eval_transform import EvalTransform
from alternet.data.folder import Folder, ImageNet
from alternet.data.image_batches import Batches
from alternet.data.image_dataset import ArrayImages, ImageDataset
from alternet.errors import first_line
from alternet.files import open_file

Sets = Mapping[tuple[str, int], ImageDataset]
"""The pictures of every corruption and severity, indexed like the clean ones."""

SAMPLED = 16
"""Pictures of every set that go into the fingerprint."""

CIFAR_TEST = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedBatches(Batches):
    """Clean batches that know their corrupted counterparts.

    Attributes:
        sets: The corrupted pictures.
        folder: Name of the folder that they come from.
        benchmark: `cifar10-c`, `cifar100-c` or `imagenet-c` if the folder and the clean images are these, else empty.
        fitted: How the corrupted pictures are sized.
    """

    sets: Sets
    folder: str
    benchmark: str
    fitted: EvalTransform

    @property
    def name(self) -> str:
        """How tables and figures call the data."""
        return f"{self.dataset.name} with {self.folder}"

    def corrupted(self, corruption: str, severity: int) -> Batches:
        """The same images in the same order, from the published set."""
        return Batches(**_plain(self) | {"dataset": self.sets[corruption, severity], "transform": self.fitted})

    def _facts(self) -> dict[str, Any]:
        some = _spread(self.order)
        seen = {f"{name}/{severity}": pictures.facts(some) for (name, severity), pictures in self.sets.items()}
        return super()._facts() | {"corrupted": seen, "fitted": self.fitted.facts}


def paired(batches: Batches, folder: str | Path, corruptions: Sequence[str]) -> PairedBatches:
    """Clean batches together with a published folder of corrupted ones.

    Args:
        batches: The clean test images that the folder was made from, or a subset of them.
        folder: CIFAR-10-C, CIFAR-100-C, ImageNet-C, or a folder built like one of them; other files in it do not
            matter.
        corruptions: The corruptions that it must hold.

    Raises:
        ValueError: It is no such folder, something is missing or damaged in it, or it belongs to other images.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(f"There is no folder {root} of corrupted images. Give the path of CIFAR-10-C or the like.")
    if (root / "labels.npy").exists():
        sets, benchmark, fitted = *_arrays(root, batches, corruptions), batches.transform
    else:
        sets, benchmark = _trees(root, batches, corruptions)
        fitted = replace(batches.transform, crop_pct=1.0)  # published pictures are cut already
    name = root.resolve().name
    return PairedBatches(**_plain(batches), sets=sets, folder=name, benchmark=benchmark, fitted=fitted)


def _plain(batches: Batches) -> dict[str, Any]:
    """The fields of the clean batches, so that what is skipped is listed with them."""
    return {field.name: getattr(batches, field.name) for field in fields(Batches) if field.init}


def _spread(order: np.ndarray) -> np.ndarray:
    return order[np.linspace(0, len(order) - 1, min(SAMPLED, len(order))).astype(int)]


def _require_whole(root: Path, missing: Iterable[str], layout: str) -> None:
    if lacking := list(missing):
        raise ValueError(
            f"{root} lacks {', '.join(lacking)}, expected {layout}. Add what is missing, or name the corruptions that "
            "are there with --set only=NAME,NAME."
        )


def _arrays(root: Path, clean: Batches, corruptions: Sequence[str]) -> tuple[Sets, str]:
    """Sets from arrays, and the benchmark that they are."""
    missing = (name for name in corruptions if not (root / f"{name}.npy").is_file())
    _require_whole(root, missing, "a file NAME.npy for each corruption")
    n = len(clean.dataset)
    count = len(SEVERITIES) * n

    path = root / "labels.npy"
    labels = _array(path)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path} holds {labels.dtype} {list(labels.shape)}, expected {count} class numbers: five severities of the "
            f"{n} images of {clean.name!r}. Give the whole test set that the folder was made from."
        )
    labels = labels.astype(np.int64).reshape(len(SEVERITIES), -1)
    wrong = int((labels[:, clean.order] != _targets(clean)).any(0).sum())
    if wrong:
        raise ValueError(
            f"{wrong} of {len(clean.order)} images of {clean.name!r} have another class than in {path}. "
            "Give the test set that the folder was made from, in its own order."
        )

    sets: dict[tuple[str, int], ImageDataset] = {}
    for name in corruptions:
        path = root / f"{name}.npy"
        images = _array(path)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != count or images.shape[3] != 3:
            raise ValueError(
                f"{path} holds {images.dtype} {list(images.shape)}, expected uint8 [{count}, h, w, 3]. "
                "It is not the published file: fetch it again."
            )
        for turn, severity in enumerate(SEVERITIES):
            part = images[turn * n : (turn + 1) * n]
            kind = {"name": f"{name}/{severity}", "classes": clean.classes, "split": clean.split}
            sets[name, severity] = ArrayImages(part, labels[turn], **kind)
    classes = int(labels.max(initial=0)) + 1
    return sets, f"cifar{classes}-c" if n == CIFAR_TEST and classes in (10, 100) else ""


def _targets(clean: Batches) -> np.ndarray:
    """Class numbers of the clean images, in order."""
    known = getattr(clean.dataset, "targets", None)
    if known is not None:
        return np.asarray(known)[clean.order]
    samples = clean.dataset.samples(clean.order)
    return np.array([sample[1] if isinstance(sample, tuple) else -1 for sample in samples])


def _array(path: Path) -> np.ndarray:
    """An array that stays on the disk until it is used; a file that could run code is not read."""
    try:
        open_file(path).close()  # NumPy would wait for a pipe
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.ndarray):
            return array
        array.close()
        raise ValueError("it is an archive of several")
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as an array ({first_line(error)}). It is damaged or not the published file: fetch "
            "it again."
        ) from error


def _trees(root: Path, clean: Batches, corruptions: Sequence[str]) -> tuple[Sets, str]:
    """Sets from folders of image files, and the benchmark that they are."""
    homes: dict[tuple[str, int], Path] = {}
    for name in corruptions:
        places = (root / name, *sorted(root.glob(f"*/{name}")))  # the published archives have a folder between
        home = next((place for place in places if place.is_dir()), places[0])
        homes |= {(name, severity): home / str(severity) for severity in SEVERITIES}
    missing = (f"{name}/{severity}" for (name, severity), home in homes.items() if not home.is_dir())
    _require_whole(root, missing, "folders NAME/1 to NAME/5, or arrays NAME.npy beside labels.npy")
    pictures = clean.dataset
    if not isinstance(pictures, Folder):
        raise ValueError(
            f"{root} holds image files, which are paired with the clean ones by name, but {clean.name!r} is no folder "
            "of files. Give the clean images as a folder, e.g. imagenet:PATH."
        )

    some = _spread(clean.order)
    sets: dict[tuple[str, int], ImageDataset] = {}
    for (name, severity), home in homes.items():
        if len(some) and not any((home / pictures.files[index]).exists() for index in some):
            raise ValueError(
                f"{home} has none of the files of {clean.name!r}, for example {pictures.label(int(some[0]))}. "
                "Give the clean images that the folder was made from."
            )
        # a copy and no new Folder, which would list and number the files that it finds there
        sets[name, severity] = moved = copy(pictures)
        moved.root, moved.name = home, f"{name}/{severity}"
    whole = isinstance(pictures, ImageNet) and {file.parts[0] for file in pictures.files} == set(pictures.classes)
    return sets, "imagenet-c" if whole else ""
