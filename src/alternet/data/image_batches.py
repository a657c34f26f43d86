"""Batches: a re-iterable run of images and targets in a fixed order, with a name and a fingerprint."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from alternet.data.augment import Augmentation, Augmented
from alternet.data.eval_transform import EvalTransform
from alternet.data.image_dataset import ImageDataset, TensorImages
from alternet.data.kept import Frozen
from alternet.data.loader import Batch
from alternet.data.reading import Reading
from alternet.data.shares import divide
from alternet.patience import FINISHED
from alternet.seeding import permuted
from alternet.stamp import Stamp, stamp_of, versions_of

if TYPE_CHECKING:
    from alternet.data.streaming import AugmentedStream


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """Images and targets, the same at every iteration, in the same order.

    Iterating gives `(images, targets)`: float32 [n, c, h, w] in [0, 1], not normalised, and class numbers int64 [n],
    -1 where there is no label; frozen batches that mix or smooth give distributions over the classes, float32 [n, k].
    A picture that cannot be read is left out of its batch and listed in `skipped`. A batch of which nothing is left is
    left out.

    Get them with `alternet.batches(name)`, or from tensors with `Batches.of(images, targets)`.

    Attributes:
        dataset: Where the images come from.
        transform: Size and channels.
        order: Indices of the pictures, in order.
        batch_size: Images in a batch; the last one may be smaller.
        workers: Processes that decode beside the caller; None for as many as suit this machine.
        augment: How the images were varied, once, if they are frozen.
        seed: What the variation was drawn from.
        part: First batch and step: (0, 1) unless these are a shard.

    Examples:
        >>> import torch
        >>> data = Batches.of(torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 1, 0, 2]), batch_size=2)
        >>> [len(targets) for _, targets in data]
        [2, 2, 1]
        >>> len(data), data.images, data.shape, data.classes
        (3, 5, (3, 8, 8), ('0', '1', '2'))
    """

    dataset: ImageDataset
    transform: EvalTransform
    order: np.ndarray = field(repr=False)
    batch_size: int = 64
    workers: int | None = 0
    augment: Augmentation | None = None
    seed: int = 0
    part: tuple[int, int] = (0, 1)
    _skipped: dict[str, str] = field(default_factory=dict, repr=False)
    _kept: Frozen = field(default_factory=Frozen, repr=False)
    _printed: dict[Stamp, str] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must not be negative, got {self.workers}. 0 decodes in this process.")

    @classmethod
    def of(
        cls,
        images: Tensor,
        targets: Tensor | None = None,
        *,
        name: str = "tensors",
        classes: Sequence[str] | None = None,
        batch_size: int = 64,
    ) -> "Batches":
        """Batches of tensors in memory.

        Args:
            images: Floats [n, c, h, w] in [0, 1], not normalised.
            targets: Class numbers [n]; None for images without labels.
            name: How tables and figures call the data.
            classes: Names of the classes; by default the numbers up to the largest target.
            batch_size: Images in a batch.

        Raises:
            ValueError: The shapes do not fit, or the images leave [0, 1].
        """
        dataset = TensorImages(images, targets, name=name, classes=classes)
        transform = EvalTransform(img_size=(images.shape[2], images.shape[3]), colour=images.shape[1] == 3)
        order = np.arange(len(dataset))
        return cls(dataset=dataset, transform=transform, order=order, batch_size=batch_size)

    @property
    def numbers(self) -> range:
        """Which batches these are, counted over all shards."""
        return range(self.part[0], -(-len(self.order) // self.batch_size), self.part[1])

    @property
    def name(self) -> str:
        """How tables and figures call the data."""
        return self.dataset.name

    @property
    def split(self) -> str:
        """`train` or `test`."""
        return self.dataset.split

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by number."""
        return self.dataset.classes

    @property
    def labelled(self) -> bool:
        """Whether every image has a class."""
        return self.dataset.labelled

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        channels, height, width = self.transform.shape
        return (self.dataset.channels or channels, height, width)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel of such images in [0, 1], to normalise them with."""
        return self.dataset.statistics(self.transform.colour)[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel."""
        return self.dataset.statistics(self.transform.colour)[1]

    @property
    def preparation(self) -> dict[str, Any]:
        """How the pictures become images: size, and how they were resized and cut where they were."""
        facts = {"size": list(self.shape)}
        if self.transform.keeps(self.dataset.size):
            return facts
        return facts | {"crop_pct": self.transform.crop_pct, "interpolation": self.transform.interpolation}

    @property
    def images(self) -> int:
        """How many images there are, those included that turn out to be unreadable."""
        return len(self._reading.indices(self.numbers))

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the pictures that could not be read, as far as they have been come across."""
        return tuple(sorted(self._skipped))

    @property
    def reasons(self) -> dict[str, str]:
        """The same names, each with why it could not be read."""
        return {name: self._skipped[name] for name in self.skipped}

    @property
    def fingerprint(self) -> str:
        """Stands for everything that decides the numbers: pictures, size, crop, augmentation; alike on every machine.

        It does not depend on `batch_size` and order, except where the images of a batch are mixed. Images in memory
        that were written into have another one from then on.
        """
        stamp = stamp_of(self.dataset.in_memory)
        if stamp not in self._printed:
            if self._printed:
                self._kept.clear()
                self._printed.clear()
            facts = json.dumps(self._facts(), sort_keys=True)
            self._printed[stamp] = hashlib.sha256(facts.encode()).hexdigest()[:16]
        return self._printed[stamp]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Batch]:
        if (versions := versions_of(self.dataset.in_memory)) != self._kept.versions:
            self._kept.clear()  # drawn from images that are others now
            self._kept.versions = versions
        missing = [number for number in self.numbers if number not in self._kept]
        fresh, drawn = self._reading.batches(missing, self.workers), set(missing)
        for number in self.numbers:
            images, targets = next(fresh) if number in drawn else self._kept.batch(number)
            if number in drawn and self.augment is not None:
                self._kept.keep(number, images, targets)
            FINISHED.one()
            if len(images):
                yield images, targets

    @property
    def places(self) -> list[tuple[int, int]]:
        """Of each batch the places of its first image and of the one after its last, which name it in a journal."""
        size, total = self.batch_size, len(self.order)
        return [(number * size, min((number + 1) * size, total)) for number in self.numbers]

    def at(self, place: int) -> "Batches":
        """The one batch that holds the image at this place."""
        return self.shard(self.numbers.index(place // self.batch_size), len(self))

    @property
    def pictures(self) -> list[int]:
        """The numbers in the data set of those images that could be read, in order; known once they have been read."""
        numbers = self._reading.indices(self.numbers).tolist()
        return [number for number in numbers if not self._skipped or self.dataset.label(number) not in self._skipped]

    def shard(self, rank: int, world_size: int) -> "Batches":
        """Every `world_size`-th batch from `rank` on, for one of several processes; never padded, perhaps empty.

        What a shard skips is listed in `skipped` of the whole as well.

        Examples:
            >>> import torch
            >>> data = Batches.of(torch.rand(7, 1, 4, 4), batch_size=2)
            >>> [data.shard(rank, 3).images for rank in range(3)]
            [3, 2, 2]
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"There is no shard {rank} of {world_size}; shards are counted from 0.")
        first, step = self.part
        return replace(self, part=(first + rank * step, step * world_size))

    def shuffled(self, *, seed: int = 0, batch_size: int | None = None) -> "Batches":
        """The same images in a random order, which the order and the batches that they come in have no influence on.

        (Data that can only be streamed keeps its own order.)

        Args:
            seed: What the order is drawn from.
            batch_size: Images in a batch, by default as here.

        Raises:
            ValueError: The images of each batch are mixed with one another.

        Examples:
            >>> import torch
            >>> data = Batches.of(torch.rand(7, 1, 4, 4), torch.arange(7), batch_size=2)
            >>> [targets.tolist() for _, targets in data.shuffled(seed=0, batch_size=4)]
            [[6, 2, 1, 3], [0, 5, 4]]
        """
        if self.augment is not None and self.augment.mixes:
            raise ValueError(
                f"{self.name!r} is frozen with images of a batch mixed, which another order would mix differently. "
                "Freeze it without mixup and CutMix."
            )
        order = self._reading.indices(self.numbers)
        if self.dataset.indexable:  # sorted, because the order that they have now shall not matter
            order = permuted(np.sort(order), seed)
        return replace(self, order=order, batch_size=batch_size or self.batch_size, part=(0, 1), _kept=Frozen())

    def divided(self, *, subset: str = "1", validation: str = "0") -> tuple["Batches", "Batches"]:
        """Two parts without a common image: one to train on, one to validate on; every class keeps its share of both.

        The parts are the same in every run. A smaller share is a part of a larger one, and neither share changes with
        the other: training on less leaves the validation images as they are.

        Args:
            subset: Which part of what validation leaves is trained on, for example `1/16`.
            validation: Which part of all images is validated on, for example `1/8`; `0` leaves the second part empty.

        Raises:
            ValueError: A class would be left without an image, or the images can only be streamed.

        Examples:
            >>> import torch
            >>> data = Batches.of(torch.rand(16, 1, 4, 4), torch.arange(16) % 2)
            >>> [part.images for part in data.divided(subset="1/2", validation="1/4")]
            [6, 4]
        """
        if not self.dataset.indexable:
            raise ValueError(
                f"{self.name!r} can only be streamed, so no share of each class can be taken out of it. "
                "Leave subset and validation out, or unpack it into a folder with one subfolder a class."
            )
        targets = np.asarray(self.dataset.targets)[self.order]
        parts = divide(targets, subset=subset, validation=validation, name=self.name)
        train, held_out = (replace(self, order=self.order[part], _kept=Frozen()) for part in parts)
        return train, held_out

    def frozen(self, augment: Augmentation, *, seed: int = 0, batch_size: int | None = None) -> "Batches":
        """The images in a random order, augmented once, the same at every iteration.

        Batches are drawn when they are first reached and kept in memory, as far as the budget of `alternet.data.kept`
        goes, images of 256 levels as bytes; what is beyond is drawn again from the same seed. The caller's random state
        is left as it was. Images are varied as pictures of 256 levels, to which floats in memory are rounded. (Data
        that can only be streamed keeps its own order.)

        Args:
            augment: How to vary the images.
            seed: What order and variation are drawn from.
            batch_size: Images in a batch, by default as here. Mixing depends on it, nothing else does.

        Raises:
            ValueError: The images have no labels but labels are to be mixed or smoothed, or these are only a shard or
                frozen already.

        Examples:
            >>> import torch
            >>> data = Batches.of(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 1, 0, 2, 2]), batch_size=3)
            >>> images, targets = next(iter(data.frozen(Augmentation(mixup=1.0, smoothing=0.1), seed=1)))
            >>> images.shape, targets.shape
            (torch.Size([3, 3, 8, 8]), torch.Size([3, 3]))
        """
        if self.augment is not None or self.part != (0, 1):
            raise ValueError("Only whole batches that are not frozen yet can be frozen. Freeze first, then shard.")
        made = self._drawn(augment, seed, batch_size or self.batch_size)
        made._augmented  # noqa: B018 - says now what cannot be mixed
        return made

    def redrawn(self, seed: int) -> "Batches":
        """The same frozen images, ordered, augmented and mixed anew from another seed.

        Raises:
            ValueError: These are not frozen.

        Examples:
            >>> import torch
            >>> data = Batches.of(torch.rand(6, 3, 8, 8), torch.arange(6)).frozen(Augmentation(hflip=0.5))
            >>> data.redrawn(1).fingerprint == data.fingerprint
            False
        """
        if self.augment is None:
            raise ValueError(f"{self.name!r} is not frozen, so there is nothing to draw anew. Call frozen first.")
        return self._drawn(self.augment, seed, self.batch_size)

    def augmented(self, augment: Augmentation) -> Augmented:
        """The same images for training: varied anew whenever they are taken, from the seed given then.

        Raises:
            ValueError: The images have no labels but labels are to be mixed or smoothed, or can only be streamed.
        """
        if not self.dataset.indexable:
            raise ValueError(
                f"{self.name!r} can only be streamed, but training takes images in random order. "
                "Use hfds/ in place of hfids/, or unpack the shards into a folder."
            )
        return self._varied(augment)

    def streamed(self, augment: Augmentation, *, buffer: int) -> "AugmentedStream":
        """The images of WebDataset shards for training, in an order of its own for every epoch.

        Args:
            augment: How to vary the images.
            buffer: How many encoded images are held to draw the next one from.

        Raises:
            ValueError: The data is no such stream, states no number of images or classes, or is only a part of one.
        """
        from alternet.data.streaming import AugmentedStream
        from alternet.data.timm_sets import StreamedImages

        assert isinstance(self.dataset, StreamedImages)
        self.dataset.require_trainable()
        if len(self.order) < len(self.dataset):
            raise ValueError(f"{self.name!r} can only be streamed as a whole. Leave limit out.")
        varied = self._varied(augment)
        return AugmentedStream(dataset=self.dataset, augmented=varied, buffer=buffer, workers=self.workers or 0)

    def _drawn(self, augment: Augmentation, seed: int, batch_size: int) -> "Batches":
        order = permuted(self.order, seed) if self.dataset.indexable else self.order
        return replace(self, order=order, batch_size=batch_size, augment=augment, seed=seed, _kept=Frozen())

    def _varied(self, augment: Augmentation) -> Augmented:
        return Augmented(augment=augment, **self._pictures)

    @cached_property
    def _augmented(self) -> Augmented | None:
        return None if self.augment is None else self._varied(self.augment)

    def _facts(self) -> dict[str, Any]:
        transform = self.transform.facts
        if self.transform.keeps(self.dataset.size):
            transform = {key: transform[key] for key in ("img_size", "colour")}
        indices = np.sort(self._reading.indices(self.numbers))
        facts: dict[str, Any] = {"pictures": self.dataset.facts(indices), "preparation": transform}  # named by 0.1.0
        if self.augment is None:
            return facts
        facts |= {"augment": self.augment.facts, "seed": self.seed}
        if self.augment.mixes:
            facts["batch_size"] = self.batch_size
            if self.dataset.indexable and not np.array_equal(self.order, permuted(np.sort(self.order), self.seed)):
                facts["order"] = hashlib.sha256(np.asarray(self.order, dtype=np.int64).tobytes()).hexdigest()
        return facts

    @cached_property
    def _reading(self) -> Reading:
        return Reading(batch_size=self.batch_size, varied=self._augmented, seed=self.seed, **self._pictures)

    @property
    def _pictures(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("dataset", "order", "transform")} | {"skipped": self._skipped}
