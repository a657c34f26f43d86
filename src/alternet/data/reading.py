"""Reading: the pictures of numbered batches, decoded here or by worker processes, plain or varied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alternet.data.augment import Augmented
from alternet.data.pictures import Pictures, UnreadablePicture
from alternet.data.preparation import Preparation, unit_range

Batch = tuple[Tensor, Tensor]
"""Images [n, c, h, w] in [0, 1] and their targets; of no length where no picture could be read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading(Dataset):
    """Reads batches by number.

    Attributes:
        pictures: Where the images come from.
        preparation: Size and channels.
        order: Indices of the pictures, in order.
        batch_size: Pictures in a batch.
        varied: How the images are augmented, if they are.
        seed: What they are augmented from.
        skipped: Takes up the names of what cannot be read.
    """

    pictures: Pictures
    preparation: Preparation
    order: np.ndarray
    batch_size: int
    varied: Augmented | None
    seed: int
    skipped: dict[str, None] = field(default_factory=dict)

    def indices(self, numbers: Sequence[int]) -> np.ndarray:
        """Indices of the pictures in these batches, in order."""
        size = self.batch_size
        return np.concatenate([self.order[:0], *(self.order[size * n : size * (n + 1)] for n in numbers)])

    def batches(self, numbers: Sequence[int], workers: int) -> Iterator[Batch]:
        """Read these batches, in order; what can only be streamed is read without workers."""
        if workers and self.pictures.indexable and numbers:
            yield from self._by_workers(numbers, workers)
            return
        indices = self.indices(numbers)
        samples = zip(indices, self.pictures.samples(indices), strict=True)
        for number in numbers:
            yield self._next(number, samples)

    def __getitem__(self, number: int) -> tuple[Batch, list[str]]:
        """One batch and the names of what it skipped, as a worker sends them."""
        skipped: dict[str, None] = {}
        varied = None if self.varied is None else replace(self.varied, skipped=skipped)
        alone = replace(self, skipped=skipped, varied=varied)
        return next(alone.batches([number], 0)), list(skipped)

    def _by_workers(self, numbers: Sequence[int], workers: int) -> Iterator[Batch]:
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # otherwise the loader draws from the caller's generator
        )
        for batch, skipped in loader:
            self.skipped.update(dict.fromkeys(skipped))
            yield batch

    def _next(self, number: int, samples: Iterator[tuple[int, Any]]) -> Batch:
        """One batch, from what is in memory or else from the next samples."""
        indices = self.indices([number])
        if self.varied is not None:
            made = self.varied.drawn(islice(samples, len(indices)), (self.seed,), (self.seed, number))
            return self._nothing if made is None else made
        if (at_once := self.pictures.tensors(indices, self.preparation)) is not None:
            return at_once
        return self._decoded(islice(samples, len(indices)))

    def _decoded(self, samples: Iterator[tuple[int, Any]]) -> Batch:
        images, targets = [], []
        for index, sample in samples:
            if isinstance(sample, UnreadablePicture):
                self.skipped[self.pictures.label(int(index))] = None
                continue
            images.append(self.preparation(sample[0]))
            targets.append(sample[1])
        return (unit_range(torch.stack(images)), torch.tensor(targets)) if images else self._nothing

    @property
    def _nothing(self) -> Batch:
        return torch.empty(0, *self.preparation.shape), torch.empty(0, dtype=torch.int64)


def _as_it_is(batch: Any) -> Any:
    return batch
