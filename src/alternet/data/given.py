"""Images that somebody gives: a data set, a loader, a list, tensors or arrays, with normalisation undone."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, SubsetRandomSampler

from alternet.data.decoding import as_rgb
from alternet.data.eval_transform import EvalTransform
from alternet.data.image_dataset import UNLABELLED, ImageDataset, Indices, Sample, TensorImages, UnreadableImage
from alternet.errors import Doubt
from alternet.seeding import random_state_kept

IMAGE_KEYS = ("image", "img", "pixel_values", "images", "x")
TARGET_KEYS = ("label", "labels", "target", "fine_label", "cls", "y")
"""What the parts of an item are called where it is a mapping, as in data sets of Hugging Face."""

LOOKED_AT = 8
"""How many items, spread over all, are read to tell what the images are."""

ROUNDING = 1e-3
"""How far beyond [0, 1] values may lie after a normalisation was undone, which rounds."""

Values = tuple[float, ...]


def given(
    images: Any, *, name: str | None = None, mean: Sequence[float] | float | None = None, std: Any = None
) -> ImageDataset:
    """What `batches` takes beside names and paths, as pictures or finished images; see there.

    Raises:
        ValueError: It holds no images, or such as are not in [0, 1], or change whenever they are read.
    """
    if (mean is None) != (std is None):
        raise ValueError("batches got only one of mean and std; to undo a normalisation state both.")
    undo = None if mean is None else (_numbers(mean), _numbers(std))
    if isinstance(images, DataLoader):
        return _of_loader(images, name, undo)
    if isinstance(images, tuple) and len(images) == 2 and all(isinstance(part, Tensor | np.ndarray) for part in images):
        return _in_memory(images[0], torch.as_tensor(np.asarray(images[1])), name, undo)
    if isinstance(images, Tensor | np.ndarray):
        return _in_memory(images, None, name, undo)
    if isinstance(images, IterableDataset) or not (hasattr(images, "__getitem__") and hasattr(images, "__len__")):
        raise ValueError(
            f"batches got {type(images).__name__}, expected a name, a path, a data set with a length, a DataLoader, a "
            "list of images, or tensors. Give list(...) of what can only be iterated over."
        )
    return GivenImages(images, name=name or _name_of(images), undo=undo)


def _of_loader(loader: DataLoader, name: str | None, undo: tuple[Values, Values] | None) -> ImageDataset:
    """The data set of a loader, in the data set's own order."""
    sampler: Any = loader.sampler
    if isinstance(sampler, SubsetRandomSampler):
        chosen = torch.utils.data.Subset(loader.dataset, sorted(sampler.indices))
        return given(chosen, name=name or _name_of(loader.dataset), **_as_arguments(undo))
    if not isinstance(sampler, SequentialSampler | RandomSampler):
        raise ValueError(
            f"batches got a DataLoader with a {type(sampler).__name__}, whose order is its own. Give its data set, or "
            "a torch.utils.data.Subset of it: batches(loader.dataset)."
        )
    if loader.collate_fn is not None and not _collates_plainly(loader):
        line = "the DataLoader's collate_fn is not asked: images are taken from its data set as they are"
        warnings.warn(f"{name or _name_of(loader.dataset)!r}: {line}.", Doubt, stacklevel=4)
    return given(loader.dataset, name=name, **_as_arguments(undo))


def _collates_plainly(loader: DataLoader) -> bool:
    return getattr(loader.collate_fn, "__module__", "").startswith("torch.utils.data")


def _as_arguments(undo: tuple[Values, Values] | None) -> dict[str, Any]:
    return {} if undo is None else {"mean": undo[0], "std": undo[1]}


def _in_memory(
    images: Tensor | np.ndarray, targets: Tensor | None, name: str | None, undo: tuple[Values, Values] | None
) -> ImageDataset:
    called = name or ("tensors" if isinstance(images, Tensor) else "arrays")
    if images.ndim != 4:
        raise ValueError(f"Images of {called!r} are {list(images.shape)}, expected [n, c, h, w] or [n, h, w, c].")
    return TensorImages(_finished(images, undo), targets, name=called)


class GivenImages(ImageDataset):
    """The images of anybody's data set with `__len__` and `__getitem__`.

    Items are images, or tuples led by an image and a class number, or mappings with an image and perhaps a label.
    Images are pictures to be resized, of Pillow or arrays of bytes [h, w, 3], or tensors and other arrays, which
    are finished and stay as they are.

    Args:
        items: The data set.
        name: Name of the data.
        undo: Mean and standard deviation of a normalisation to be undone.
    """

    def __init__(self, items: Any, *, name: str, undo: tuple[Values, Values] | None) -> None:
        if not len(items):
            raise ValueError(f"{name!r} holds no image. Give other data.")
        self.items, self.undo, self.name = items, undo, name
        self.split = "train" if getattr(items, "train", False) or "train" in str(getattr(items, "split", "")) else ""
        self._digests: dict[int, bytes] = {}
        spread = np.unique(np.linspace(0, len(items) - 1, LOOKED_AT).astype(int)).tolist()
        with random_state_kept(seed=0):
            seen = [_parts(items[index]) for index in spread]
        with random_state_kept(seed=1):
            again = [_parts(items[index]) for index in spread]
        pairs = zip((image for image, _ in seen), (image for image, _ in again), strict=True)
        if any(not np.array_equal(np.asarray(one), np.asarray(other)) for one, other in pairs):
            raise ValueError(
                f"{name!r} gives another image whenever it is asked for the same one. Give it without random "
                "transformations: what is measured must stay what it is."
            )
        self._look(seen)

    def _look(self, seen: Sequence[tuple[Any, Any]]) -> None:
        """Tell what the images are by a few of them."""
        first = seen[0][0]
        self.finished = not isinstance(first, Image.Image) and not _is_picture(first)
        if self.finished:
            shapes = {tuple(_finished(image[None], self.undo).shape[1:]) for image, _ in seen}
            if len(shapes) > 1:
                listed = ", ".join(map(str, sorted(shapes)[:3]))
                raise ValueError(f"Images of {self.name!r} are of several shapes ({listed}). Resize them to one.")
            self.channels, *size = shapes.pop()
        elif self.undo is not None:
            raise ValueError(f"Images of {self.name!r} are pictures, which are not normalised. Leave mean and std out.")
        else:
            sizes = {np.asarray(image).shape[:2] for image, _ in seen}
            size = list(sizes.pop()) if len(sizes) == 1 else []
        if size:
            self.img_size = size[0] if size[0] == size[1] else (size[0], size[1])
        # of pictures only some were looked at
        self.size = (size[0], size[1]) if self.finished else None
        self._numbered = _class_number(seen[0][1]) is not None
        if not self._numbered and (target := seen[0][1]) is not None:
            shape = f" of shape {list(target.shape)}" if hasattr(target, "shape") else ""
            line = (
                f"What stands beside the images of {self.name!r} is {type(target).__name__}{shape} and no class number"
            )
            warnings.warn(f"{line}: they count as images without labels.", Doubt, stacklevel=5)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        image, target = self._item(int(index))
        if self.finished:
            tensors = TensorImages(_finished(image[None], self.undo), torch.tensor([target]), name=self.name)
            return tensors[0]
        return _picture(image), target

    def _item(self, index: int) -> tuple[Any, int]:
        try:
            image, target = _parts(self.items[index])
        except Exception as error:  # what somebody's data set raises cannot be known
            raise UnreadableImage(f"{type(error).__name__}: {error}") from error
        number = _class_number(target)
        return image, UNLABELLED if number is None else number

    @property
    def labelled(self) -> bool:
        """Whether the first item has a class number."""
        return self._numbered and self._item(0)[1] >= 0

    @cached_property
    def targets(self) -> Any:
        """Class numbers as the data set lists them, or else as they are read."""
        listed = getattr(self.items, "targets", None)
        if listed is not None and len(listed) == len(self) and not getattr(self.items, "target_transform", None):
            numbers = [_class_number(target) for target in listed]
            if None not in numbers:
                return numbers
        return [self._item(index)[1] for index in range(len(self))]

    @cached_property
    def classes(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride] - read late
        """Names that the data set states, or else numbers up to the largest class."""
        if not self.labelled:
            return ()
        features = getattr(self.items, "features", None)
        feature = next((features[key] for key in TARGET_KEYS if key in features), None) if features else None
        stated = getattr(feature, "names", None) or getattr(self.items, "classes", None)
        return tuple(map(str, stated or range(max(self.targets) + 1)))

    def tensors(self, indices: Indices, transform: EvalTransform) -> tuple[Tensor, Tensor] | None:
        """Finished images and class numbers by index, as they were given."""
        if not self.finished:
            return None
        read = [self._item(int(index)) for index in indices]
        images = torch.cat([_finished(image[None], self.undo) for image, _ in read])
        return images, torch.tensor([target for _, target in read])

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Checksum of the content of these images and their class numbers; they are read for it once."""
        digest = hashlib.sha256()
        for index in map(int, indices):
            if index not in self._digests:
                self._digests[index] = self._digest(index)
            digest.update(self._digests[index])
        return {"images": len(indices), "sha256": digest.hexdigest()}

    def _digest(self, index: int) -> bytes:
        try:
            image, target = self._item(index)
            values = _finished(image[None], self.undo).numpy() if self.finished else np.asarray(_picture(image))
        except UnreadableImage:
            return b"unreadable"
        values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
        return hashlib.sha256(f"{values.dtype.str} {values.shape} {target}\n".encode() + values.tobytes()).digest()


def _parts(item: Any) -> tuple[Any, Any]:
    """The image and the target of an item of a data set."""
    if isinstance(item, Mapping):
        image = next((item[key] for key in IMAGE_KEYS if key in item), None)
        if image is None:
            raise ValueError(f"An item has {', '.join(map(str, item))}, expected one of {', '.join(IMAGE_KEYS)}.")
        return image, next((item[key] for key in TARGET_KEYS if key in item), None)
    if isinstance(item, tuple | list) and item:
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _is_picture(image: Any) -> bool:
    """Whether an array holds bytes of a picture, [h, w] or [h, w, c]."""
    return (
        isinstance(image, np.ndarray) and image.dtype == np.uint8 and (image.ndim == 2 or image.shape[-1] in (1, 3, 4))
    )


def _picture(image: Any) -> Image.Image:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    return as_rgb(image)


def _finished(images: Any, undo: tuple[Values, Values] | None) -> Tensor:
    """Tensors or arrays [n, c, h, w] or [n, h, w, c] as floats [n, c, h, w] in [0, 1].

    Raises:
        ValueError: They are something else, or beyond [0, 1].
    """
    if not isinstance(images, Tensor | np.ndarray) or images.ndim != 4:
        got = f"{type(images).__name__} {list(getattr(images, 'shape', ()))[1:]}"
        raise ValueError(f"An image is {got}, expected a picture of Pillow's, or a tensor or array [c, h, w].")
    values = torch.as_tensor(images)
    if isinstance(images, np.ndarray) and images.shape[-1] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        values = values.permute(0, 3, 1, 2)  # as NumPy's pictures lie
    values = values.detach().cpu()
    if values.dtype == torch.uint8:
        values = values.float() / 255
    if undo is not None:
        mean, std = (torch.tensor(part).view(-1, 1, 1) for part in undo)
        values = values.float() * std + mean
        if values.numel() and values.min() >= -ROUNDING and values.max() <= 1 + ROUNDING:
            values = values.clamp(0, 1)
    low, high = (values.min().item(), values.max().item()) if values.numel() else (0, 1)
    if not values.is_floating_point() or not (low >= 0 and high <= 1):
        way = "State the mean= and std= that they were normalised with" if undo is None else "Check mean and std"
        raise ValueError(f"Images are {values.dtype} in [{low:.3g}, {high:.3g}], expected floats in [0, 1]. {way}.")
    return values.float().contiguous()  # another layout would be rounded otherwise


def _class_number(target: Any) -> int | None:
    """A class number; None where a target is something else, such as a mask."""
    if isinstance(target, bool | int | np.integer):
        return int(target)
    if isinstance(target, Tensor | np.ndarray) and target.ndim == 0 and not _fractional(target):
        return int(target)
    return None


def _fractional(target: Tensor | np.ndarray) -> bool:
    return torch.as_tensor(target).is_floating_point()


def _numbers(values: Sequence[float] | float) -> Values:
    return (float(values),) if isinstance(values, int | float) else tuple(map(float, values))


def _name_of(items: Any) -> str:
    """How a data set calls itself: of Hugging Face by its own name, of others by its class."""
    if isinstance(items, torch.utils.data.Subset):
        return f"{_name_of(items.dataset)} (part)"
    stated = getattr(getattr(items, "info", None), "dataset_name", None)
    return str(stated or ("images" if isinstance(items, list | tuple) else type(items).__name__))
