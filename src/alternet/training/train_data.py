"""Training data: which images a run sees in which order, cut into batches that depend on the seed alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler

from alternet.data import batches
from alternet.data.image_batches import Batches
from alternet.data.loader import Batch, Loader
from alternet.data.streaming import AugmentedStream, Share
from alternet.data.timm_sets import StreamedImages
from alternet.distributed import rank, world_size
from alternet.errors import shortened
from alternet.training.recipe import Recipe

Request = tuple[int, int, list[int]]
"""Epoch, step and numbers of the images: all that their augmentation may depend on beside the seed."""


class TrainSet(Protocol):
    """Training images that are augmented as a batch, from a seed; those of a stream are an `AugmentedStream`."""

    @property
    def skipped(self) -> dict[str, str]:
        """Names of the images that could not be read so far."""
        ...

    def __len__(self) -> int: ...

    def batch(self, numbers: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images [n, c, h, w] in [0, 1] and their targets, augmented by what `seed` says and nothing else."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainData:
    """Images to learn from, images to be tested on, and the facts of both.

    Every epoch goes through all training images once, in an order of its own, in batches of `batch_size` over all
    processes together; the images that are left over at its end (fewer than a batch) are dropped and come in another
    epoch. The test images are never dropped nor repeated.

    Attributes:
        train_images: The training images, augmented when they are taken.
        test_images: The test images.
        name: Name of the data.
        fingerprint: Stands for the images of both splits.
        classes: Names of the classes.
        input_size: Channels, height and width.
        mean: Mean of each channel of the training images in [0, 1].
        std: Standard deviation of each channel.
        batch_size: Images in a step, over all processes together.
        seed: Seed of order and augmentation.
        subset: Which part of the training images these are.
        validation: Which part of the training images the test images are; `0` where they are those of the test split.
        workers: Processes that prepare batches beside the training; the batches are the same with any number.
        global_batch: Whether images are dealt out, varied and mixed so that the batch of all processes together is that
            which one process alone makes.
    """

    train_images: TrainSet | AugmentedStream
    test_images: Batches
    name: str
    fingerprint: str
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int
    seed: int
    subset: str = "1"
    validation: str = "0"
    workers: int = 0
    global_batch: bool = False

    def __post_init__(self) -> None:
        if self.batch_size % world_size():
            raise ValueError(
                f"batch_size {self.batch_size} cannot be split over {world_size()} processes. "
                f"It counts the images of all of them: make it a multiple of {world_size()}."
            )
        if self.global_batch and world_size() > 1 and self.batch_size % (2 * world_size()):
            raise ValueError(
                f"global_batch mixes each image with its mirror image in the batch, so {world_size()} processes share "
                f"pairs: batch_size {self.batch_size} must be a multiple of {2 * world_size()}."
            )
        if len(self.train_images) < self.batch_size:
            raise ValueError(
                f"{self.name} has {len(self.train_images)} training images, fewer than one batch of {self.batch_size}. "
                "Give a smaller batch_size."
            )

    @classmethod
    def of(cls, train: Batches, test: Batches, recipe: Recipe) -> "TrainData":
        """The data of a recipe from the two splits of a data set.

        Args:
            train: Images to learn from; they are shuffled and augmented anew in every epoch. The recipe's `subset` and
                `validation` are taken out of them.
            test: Images to be tested on, unless the recipe asks for validation.
            recipe: Gives augmentation, batch size and seed, and the shares.

        Raises:
            ValueError: A split has no labels, the splits do not fit each other, the images can only be streamed, or a
                share leaves a class without an image.

        Examples:
            >>> import torch
            >>> from alternet.data.image_batches import Batches
            >>> split = Batches.of(torch.rand(12, 3, 8, 8), torch.arange(12) % 2)
            >>> len(TrainData.of(split, split, Recipe(batch_size=5)))
            2
        """
        if isinstance(train.dataset, StreamedImages):
            train.dataset.require_trainable()
        for split in (train, test):
            if not split.labelled:
                raise ValueError(
                    f"Training needs labels, but the {split.split} images of {split.name!r} have none. "
                    "Give a folder with one subfolder a class (at least two), or a labelled data set such as photos."
                )
        for fact in ("classes", "shape"):
            if (ours := getattr(train, fact)) != (theirs := getattr(test, fact)):
                raise ValueError(
                    f"The training and test images of {train.name!r} have another {fact}: {shortened(ours, 80)} and "
                    f"{shortened(theirs, 80)}. Both splits need the same."
                )
        if (recipe.subset, recipe.validation) != ("1", "0"):
            train, held_out = train.divided(subset=recipe.subset, validation=recipe.validation)
            test = test if recipe.validation == "0" else held_out
        streamed = not train.dataset.indexable
        if streamed and recipe.global_batch:
            raise ValueError(
                f"{train.name!r} can only be streamed, and each process mixes its own part of a batch of it. Leave out "
                "global_batch, or unpack the shards into a folder."
            )
        return cls(
            train_images=train.streamed(recipe, buffer=recipe.shuffle_buffer) if streamed else train.augmented(recipe),
            test_images=test,
            name=train.name,
            fingerprint=f"{train.fingerprint}-{test.fingerprint}",
            classes=train.classes,
            input_size=train.shape,
            mean=train.mean,
            std=train.std,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            subset=recipe.subset,
            validation=recipe.validation,
            workers=train.workers or 0,
            global_batch=recipe.global_batch,
        )

    @classmethod
    def named(
        cls,
        data: str,
        recipe: Recipe,
        *,
        img_size: int | None = None,
        colour: bool = True,
        workers: int = 0,
        limit: int | None = None,
    ) -> "TrainData":
        """The data of a recipe by the name or path of a data set, as `alternet.batches` takes it.

        With a `limit` both splits are fixed subsets of so many images, the same for every seed of a recipe.

        Raises:
            ValueError: There is no such data, or it cannot be trained on.

        Examples:
            >>> data = TrainData.named("digits", Recipe(subset="1/16", validation="1/8", batch_size=16))
            >>> data.shares
            {'tested': 'validation', 'training_images': 80, 'validation_images': 179}
        """
        options = {"batch_size": recipe.batch_size, "img_size": img_size, "colour": colour, "workers": workers}
        options["limit"] = limit
        return cls.of(batches(data, split="train", **options), batches(data, split="test", **options), recipe)

    @property
    def tested(self) -> str:
        """What is tested after every epoch: `test` or `validation` images."""
        return "test" if self.validation == "0" else "validation"

    @property
    def shares(self) -> dict[str, Any]:
        """How many images a recipe's shares leave to train and to validate on; nothing where it takes them all."""
        if (self.subset, self.validation) == ("1", "0"):
            return {}
        validated = {} if self.validation == "0" else {"validation_images": self.test_images.images}
        return {"tested": self.tested, "training_images": len(self.train_images), **validated}

    @property
    def said(self) -> tuple[str, ...]:
        """What one should know of these shares, in a sentence."""
        if not (shares := self.shares):
            return ()
        held_out = f"on {shares['validation_images']} validation images, not on" if self.tested != "test" else "on"
        return (f"Training on {shares['training_images']} images, testing {held_out} the test split.",)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self.train_images) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's part of every batch of an epoch, counted from 0."""
        if isinstance(self.train_images, AugmentedStream):
            share = Share(rank(), world_size())
            yield from self.train_images.epoch(epoch, batch_size=self.batch_size, seed=self.seed, share=share)
            return
        self._order.epoch = epoch
        yield from self._loader

    def test(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's part of the test images."""
        return iter(self.test_images.shard(rank(), world_size()))

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the training and test images that could not be read, as far as they have been come across."""
        return tuple(sorted({*self.train_images.skipped, *self.test_images.skipped}))

    @cached_property
    def _order(self) -> "_Order":
        return _Order(
            images=len(self.train_images), batch_size=self.batch_size, seed=self.seed, mirrored=self.global_batch
        )

    @cached_property
    def _loader(self) -> Loader:
        assert not isinstance(self.train_images, AugmentedStream)
        # workers do not know their process's rank
        make = partial(_augmented, self.train_images, self.seed, 0 if self.global_batch else rank())
        return Loader(make, self._order, self.train_images.skipped, workers=self.workers, lasting=True)


def _augmented(images: TrainSet, seed: int, rank: int, request: Request) -> Batch:
    epoch, step, numbers = request
    return images.batch(numbers, (seed, epoch, step, rank))


class _Order(Sampler):
    """Requests for the batches of one epoch; process r takes every world_size-th image of a batch, from r on.

    Mirrored, it takes them from the end on in the second half, so that the first and the last image of a batch, which
    are mixed, the second and the last but one, and so on are the same process's, and mirror images in its part as well.
    """

    def __init__(self, *, images: int, batch_size: int, seed: int, mirrored: bool = False) -> None:
        self.images, self.batch_size, self.seed, self.mirrored, self.epoch = images, batch_size, seed, mirrored, 0

    def __len__(self) -> int:
        return self.images // self.batch_size

    def __iter__(self) -> Iterator[Request]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.images)
        for step in range(len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            blocks = batch.reshape(-1, world_size())
            mine = blocks[:, rank()].copy()
            if self.mirrored:
                mine[len(mine) // 2 :] = blocks[len(mine) // 2 :, -1 - rank()]
            yield self.epoch, step, mine.tolist()
