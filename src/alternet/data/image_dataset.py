"""Pictures: an ordered set of images with class numbers, before they are sized, batched or augmented."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.utils.data import Dataset

from alternet.data.eval_transform import EvalTransform, unit_range

UNLABELLED = -1

Sample = tuple[Image.Image, int]
Indices = Sequence[int] | np.ndarray


class UnreadableImage(OSError):
    """A picture that cannot be decoded; it is skipped, counted and listed."""


class ImageDataset(Dataset, ABC):
    """A set of images that can be indexed; each is an RGB `PIL.Image` with its class number, -1 without a label.

    Attributes:
        name: How tables and figures call the data.
        split: `train` or `test`, empty where the data is of neither.
        classes: Names of the classes by number; empty where they are not known.
        size: Height and width, where all pictures share them.
        mean: Mean of the red, green and blue values in [0, 1], for normalisation.
        std: Their standard deviation.
        grey_mean: Mean of the grey values.
        grey_std: Their standard deviation.
        indexable: Whether any picture can be read at once. Where it cannot, `samples` streams them in order.
        img_size: Side of prepared images, or height and width, where nobody says otherwise.
        crop_pct: Part of a resized picture's shorter side that is kept, where nobody says otherwise.
        channels: Where the pictures are tensors rather than colours, how many channels they have.
        passing: Whether the pictures are looked at once and then never again, so that none is kept.
        threadable: Whether several threads may read pictures at once.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD
    grey_mean: float = 0.459
    grey_std: float = 0.226
    indexable: bool = True
    img_size: int | tuple[int, int] = 224
    crop_pct: float = 0.875
    channels: int | None = None
    passing: bool = False
    threadable: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The picture and its class number.

        Raises:
            UnreadableImage: It cannot be decoded.
        """

    @property
    def labelled(self) -> bool:
        """Whether every picture has a class."""
        return len(self.classes) > 1

    @cached_property
    def targets(self) -> Any:
        """Class number of every picture in order, -1 without a label; where nothing else tells them, all are read."""
        return [UNLABELLED if isinstance(read, UnreadableImage) else read[1] for read in self.samples(range(len(self)))]

    def statistics(self, colour: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, to normalise with."""
        return (self.mean, self.std) if colour else ((self.grey_mean,), (self.grey_std,))

    @abstractmethod
    def facts(self, indices: Indices) -> dict[str, Any]:
        """What identifies these pictures on any machine, as plain values."""

    @property
    def in_memory(self) -> tuple[Tensor, ...]:
        """The pictures and class numbers, where they lie in memory and somebody may write into them."""
        return ()

    def label(self, index: int) -> str:
        """What to call a picture that cannot be read."""
        return f"{self.name}[{index}]"

    def pixels(self, indices: Indices) -> tuple[np.ndarray, np.ndarray] | None:
        """Many pictures at once, uint8 [n, h, w, 3] and int64 [n], where they lie in memory at one size."""
        return None

    def tensors(self, indices: Indices, transform: EvalTransform) -> tuple[Tensor, Tensor] | None:
        """Many prepared images in [0, 1] and their class numbers at once, where nothing has to be decoded or sized."""
        if not transform.keeps(self.size) or (found := self.pixels(indices)) is None:
            return None
        return unit_range(transform.tensor(found[0])), torch.from_numpy(np.array(found[1]))

    def samples(self, indices: Indices) -> Iterator[Sample | UnreadableImage]:
        """The pictures in this order; in place of one that cannot be read, the reason why."""
        for index in indices:
            try:
                yield self[index]
            except UnreadableImage as error:
                yield error


class ArrayImages(ImageDataset):
    """Pictures of one size in memory.

    Args:
        images: uint8 [n, h, w, 3].
        targets: Class numbers [n].
        name: Name of the data.
        classes: Names of the classes.
        split: `train` or `test`.

    Examples:
        >>> made = ArrayImages(np.zeros((5, 8, 8, 3), np.uint8), [0, 1, 0, 1, 1], name="black", classes=("a", "b"))
        >>> len(made), made[1][0].size, made[1][1]
        (5, (8, 8), 1)
    """

    img_size, crop_pct = 32, 1.0

    def __init__(
        self,
        images: np.ndarray,
        targets: Sequence[int] | np.ndarray,
        *,
        name: str,
        classes: Sequence[str],
        split: str = "test",
    ) -> None:
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"Images of {name!r} are {images.dtype} {list(images.shape)}, expected uint8 [n, h, w, 3]. "
                "Float images in [0, 1] go through Batches.of(images, targets)."
            )
        if len(targets) != len(images):
            raise ValueError(f"{name!r} has {len(images)} images but {len(targets)} targets. Give one target an image.")
        self.images, self.targets = images, np.asarray(targets, dtype=np.int64)
        self.name, self.classes, self.split = name, tuple(classes), split
        self.size = (images.shape[1], images.shape[2])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Image.fromarray(self.images[index]), int(self.targets[index])

    @property
    def in_memory(self) -> tuple[Tensor, ...]:
        """Arrays that nobody can write into are left out."""
        arrays = (self.images, self.targets)
        return tuple(torch.from_numpy(a) for a in arrays if a.flags.writeable and a.flags.c_contiguous)

    def pixels(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and class numbers by index."""
        return self.images[indices], self.targets[indices]

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Shape and checksum of the pixels and class numbers."""
        images, targets = self.pixels(indices)
        return {"shape": list(images.shape), "sha256": checksum(images, targets)}


class TensorImages(ImageDataset):
    """Float images in memory, of any number of channels.

    Args:
        images: Floats [n, c, h, w] in [0, 1].
        targets: Class numbers [n]; -1 or None without labels.
        name: Name of the data.
        classes: Names of the classes; by default the numbers up to the largest target.
    """

    def __init__(
        self, images: Tensor, targets: Tensor | None, *, name: str, classes: Sequence[str] | None = None
    ) -> None:
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"Images of {name!r} are {images.dtype} {list(images.shape)}, expected floats [n, c, h, w] in [0, 1]. "
                "Divide bytes by 255."
            )
        if images.numel() and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(
                f"Images of {name!r} lie in [{images.min():.3g}, {images.max():.3g}], expected [0, 1]. "
                "Give them before normalisation; the Subject normalises."
            )
        targets = torch.full((len(images),), UNLABELLED) if targets is None else targets
        if targets.shape != (len(images),):
            raise ValueError(f"{name!r} has {len(images)} images but targets {list(targets.shape)}, expected one each.")
        self.images, self.targets = images.detach().float().cpu(), targets.detach().long().cpu()
        self.name, self.split = name, ""  # tensors are of no split that could be told
        self.img_size = self.size = (images.shape[2], images.shape[3])
        self.channels = images.shape[1]
        top = int(self.targets.max()) + 1 if len(targets) else 0
        self.classes = tuple(classes) if classes is not None else tuple(str(number) for number in range(top))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> bool:
        """Whether every image has a class."""
        return len(self) > 0 and int(self.targets.min()) >= 0

    def __getitem__(self, index: int) -> Sample:
        if self.channels not in (1, 3):
            raise ValueError(
                f"Images of {self.channels} channels cannot be augmented as pictures. Give 1 or 3 channels."
            )
        colours = self.images[index].expand(3, -1, -1).mul(255).round().byte().permute(1, 2, 0)
        return Image.fromarray(colours.contiguous().numpy()), int(self.targets[index])

    @property
    def in_memory(self) -> tuple[Tensor, ...]:
        """Both tensors, which may be the caller's own."""
        return self.images, self.targets

    def statistics(self, colour: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of these very images."""
        values = self.images.transpose(0, 1).flatten(1).double()
        return tuple(values.mean(1).tolist()), tuple(values.std(1, correction=0).clamp(min=1e-6).tolist())

    def tensors(self, indices: Indices, transform: EvalTransform) -> tuple[Tensor, Tensor]:
        """Images and class numbers by index, as they were given."""
        return self.images[list(indices)], self.targets[list(indices)]

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Shape and checksum of the values and class numbers."""
        images, targets = self.images[list(indices)], self.targets[list(indices)]
        return {"shape": list(images.shape), "sha256": checksum(images.numpy(), targets.numpy())}


def checksum(*arrays: np.ndarray) -> str:
    """SHA-256 of the arrays' values in order, the same on machines of either byte order.

    Examples:
        >>> checksum(np.zeros(3, np.uint8))[:12]
        '709e80c88487'
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).data)
    return digest.hexdigest()
