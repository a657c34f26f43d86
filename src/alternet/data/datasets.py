"""Data sets by name: `dataset` finds the pictures, `batches` makes them ready to measure."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alternet.data.cifar import Cifar
from alternet.data.cue_conflict import CueConflict, CueConflictFolder, require_test
from alternet.data.digits import Digits
from alternet.data.elpv import Elpv
from alternet.data.eval_transform import EvalTransform
from alternet.data.folder import Folder, ImageNet
from alternet.data.given import given
from alternet.data.image_batches import Batches
from alternet.data.image_dataset import ImageDataset
from alternet.data.photos import Photos
from alternet.data.timm_sets import PREFIXES, timm_set
from alternet.errors import Doubt, nearest
from alternet.seeding import permuted

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""How a split may be called. Only a folder tells `test` from `val`, where it has both."""


def batches(  # noqa: PLR0913 - independent facts of the images; all but the first have a default
    name_or_path: Any,
    *,
    split: str = "test",
    limit: int | None = None,
    batch_size: int = 64,
    img_size: int | tuple[int, int] | None = None,
    colour: bool = True,
    crop_pct: float | None = None,
    interpolation: str = "bicubic",
    workers: int | None = 0,
    seed: int = 0,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    name: str | None = None,
) -> Batches:
    """Images of a data set, ready to measure.

    Args:
        name_or_path: `photos`, `digits`, `elpv`, a folder of images, `cifar10`, `cifar100`, `imagenet` (each with
            `:PATH`), `cue-conflict` (the embedded one, or with `:PATH`), or a name of `timm.data.create_dataset` such
            as `wds/NAME:PATH`. Or what `dataset` has found, which has its split. Or images of your own: any data set
            with a length and `[index]` (torch's, torchvision's, Hugging Face's, a list), a DataLoader of one, which is
            read in the order of its data set, a tensor or array of images, or a pair of images and class numbers. Items
            are images, (image, class number), or mappings with `image` and `label`. Pictures of Pillow's are resized;
            tensors and arrays are finished images, floats in [0, 1] or bytes, and keep their size.
        split: `test` (also called `val`) or `train`.
        limit: How many images to take: a fixed subset, drawn with `seed` from the whole and kept in its order.
        batch_size: Images in a batch.
        img_size: Side, or height and width; by default 32 for the small data sets and 224 for files. Photographs are
            cut at this size, other images are resized.
        colour: Three channels, or one of grey values.
        crop_pct: Part of the resized image's side that is kept; by default 0.875 for files, 1 for small images.
        interpolation: How to resize: `bilinear`, `bicubic`, `lanczos` or `nearest`.
        workers: Processes that decode image files beside the caller; None for as many as suit this machine. With 0 the
            threads of torch decode, between the batches.
        seed: What the subset is drawn from.
        mean: Mean of each channel that images of your own were normalised with, which is undone.
        std: Standard deviation of each channel, likewise.
        name: How tables and figures call images of your own.

    Raises:
        ValueError: There is no such data set, folder or split, or nothing in it; or images of your own are not in
            [0, 1], or others whenever they are read.

    Examples:
        >>> data = batches("photos", limit=100, batch_size=32)
        >>> data.name, len(data), data.images, data.shape, len(data.classes)
        ('photos', 4, 100, (3, 32, 32), 18)
        >>> import torch
        >>> batches((torch.randn(9, 3, 8, 8).clamp(-1, 1), torch.arange(9)), mean=0.5, std=0.5, name="noise").shape
        (3, 8, 8)
    """
    own = not isinstance(name_or_path, str | Path | ImageDataset)
    if not own and (mean is not None or std is not None or name is not None):
        raise ValueError("mean, std and name belong to images of your own; what has a name keeps it. Leave them out.")
    if own:
        pictures = given(name_or_path, name=name, mean=mean, std=std)
        pictures.split = pictures.split or ("train" if _known(split) == "train" else "")
    elif isinstance(name_or_path, ImageDataset):
        pictures = name_or_path
    else:
        pictures = dataset(name_or_path, split=split, img_size=img_size)
    size = img_size or pictures.img_size
    size = (size, size) if isinstance(size, int) else (size[0], size[1])
    if pictures.channels is not None and size != pictures.size:
        raise ValueError(
            f"Images of {pictures.name!r} are tensors of {pictures.size}, asked for at {size}. Resize them where they "
            "are made, or give pictures."
        )
    transform = EvalTransform(
        img_size=size,
        colour=colour,
        crop_pct=crop_pct or pictures.crop_pct,
        interpolation=interpolation,
    )
    return Batches(
        dataset=pictures,
        transform=transform,
        order=subset(len(pictures), limit, seed),
        batch_size=batch_size,
        workers=workers,
    )


def dataset(
    name_or_path: str | Path, *, split: str = "test", img_size: int | tuple[int, int] | None = None
) -> ImageDataset:
    """The pictures of a data set as they are: a map-style data set of `(PIL.Image, class number)`.

    Args:
        name_or_path: As for `batches`.
        split: `test` (also called `val`) or `train`.
        img_size: Side of the crops that photographs are cut into; other pictures keep their own size.

    Raises:
        ValueError: There is no such data set, folder or split, or nothing in it.

    Examples:
        >>> digits = dataset("digits", split="train")
        >>> len(digits), digits[0][0].size, digits.classes[:3]
        (1433, (8, 8), ('0', '1', '2'))
    """
    size = img_size if img_size is None or isinstance(img_size, int) else max(img_size)
    if size is not None and size < 1:
        raise ValueError(f"img_size must be positive, got {img_size}.")
    text = str(name_or_path)
    name, colon, root = text.partition(":")
    if name in DATASETS and bool(colon) == bool(root):
        _tell_from_folder(text)
        return DATASETS[name].find(_known(split), root, size)

    try:
        exists = bool(text) and Path(text).expanduser().exists()  # an empty text would be the current folder
    except (OSError, RuntimeError):  # a name that is too long, a user that does not exist
        exists = False
    if exists:
        return _folder(Path(text).expanduser(), _known(split))
    if "/" in name and name.partition("/")[0].lower() in PREFIXES:
        return timm_set(text, split, data_root())

    if "/" in text or os.sep in text or text.startswith((".", "~")):
        known = ", ".join(DATASETS)
        raise ValueError(f"There is no folder {text!r}. Give the path of a folder of images, or one of {known}.")
    near = nearest(name.lower(), DATASETS)
    raise ValueError(f"There is no data set {text!r}. Did you mean {near}? Or give the path of a folder of images.")


def _tell_from_folder(name: str) -> None:
    """Say which is taken where a data set and a folder have the same name."""
    if os.path.isdir(name):  # which says no of a name that is too long
        warnings.warn(
            f"{name!r} is the data set of that name, not the folder {name} that lies here. For the folder write "
            f"{os.path.join('.', name)}.",
            Doubt,
            stacklevel=3,
        )


def _folder(path: Path, split: str) -> Folder:
    """A folder, under another name than a data set that is called as it is."""
    folder = Folder(path, split)
    if folder.name in DATASETS:
        folder.name = f"{folder.name} (folder)"
    return folder


def _known(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"There is no split {split!r}. Choose train or test (also called val).")
    return SPLITS[split]


def known_datasets() -> dict[str, str]:
    """The data sets by name, each with a line that describes it.

    Examples:
        >>> list(known_datasets())[:2]
        ['photos', 'digits']
    """
    named = {name: entry.line for name, entry in DATASETS.items()}
    prefixed = {f"{prefix}/NAME": line for prefix, line in PREFIXES.items()}
    return named | {"FOLDER": "images of your own, with one subfolder a class or without labels"} | prefixed


def data_root() -> Path:
    """Where downloaded data sets lie: `$ALTERNET_DATA`, or `~/.cache/alternet`."""
    return Path(os.environ.get("ALTERNET_DATA") or "~/.cache/alternet").expanduser()


def subset(size: int, limit: int | None, seed: int) -> np.ndarray:
    """Indices of `limit` of `size` pictures, drawn evenly from all of them, in ascending order.

    Examples:
        >>> subset(1000, 4, seed=0).tolist()
        [298, 553, 859, 993]
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}. Leave it out to take every image.")
    if limit is None or limit >= size:
        return np.arange(size)
    return np.sort(permuted(size, seed)[:limit])


@dataclass(frozen=True)
class Entry:
    """A data set that has a name: how to find its pictures, and a line about it."""

    find: Callable[[str, str, int | None], ImageDataset]
    line: str


def _side(kind: type[ImageDataset]) -> int:
    """The side at which a data set cuts its pictures if nobody says otherwise."""
    assert isinstance(kind.img_size, int)
    return kind.img_size


def _small(split: str) -> str:
    return "train" if split == "train" else "test"


def _cue_conflict(split: str, root: str, size: int | None) -> ImageDataset:
    require_test(split)
    return CueConflictFolder(Path(root).expanduser()) if root else CueConflict(size or _side(CueConflict))


def _cifar(kind: int) -> Callable[[str, str, int | None], ImageDataset]:
    return lambda split, root, _: Cifar(kind, root or data_root(), _small(split))


DATASETS = {
    "photos": Entry(
        lambda split, _, size: Photos(_small(split), size or _side(Photos)),
        "crops of 18 photographs that scikit-image ships: 300 train, 60 test each; no download",
    ),
    "digits": Entry(lambda split, *_: Digits(_small(split)), "1797 handwritten digits of scikit-learn; no download"),
    "elpv": Entry(
        lambda split, _, size: Elpv(_small(split), size or _side(Elpv)),
        "2624 images of solar cells, functional or defective; "
        "pip install 'alternet[elpv]' (CC BY-NC-SA 4.0, to be cited)",
    ),
    "cue-conflict": Entry(
        _cue_conflict,
        "shape of one class, texture of another, made of the photographs; or cue-conflict:PATH as in Geirhos et al.",
    ),
    "cifar10": Entry(_cifar(10), "60 000 images of 10 classes at 32x32, in $ALTERNET_DATA or cifar10:PATH"),
    "cifar100": Entry(_cifar(100), "60 000 images of 100 classes at 32x32, in $ALTERNET_DATA or cifar100:PATH"),
    "imagenet": Entry(
        lambda split, root, _: ImageNet(Path(root).expanduser() if root else data_root() / "imagenet", split),
        "ImageNet-1K as folders train/ and val/ with one subfolder a class: imagenet:PATH",
    ),
}
