"""Streaming: training batches from a data set that can only be read from its beginning to its end."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from alternet.data.augment import Augmented
from alternet.data.decoding import decode
from alternet.data.image_dataset import Sample, UnreadableImage
from alternet.data.loader import Batch, able, as_it_is, end_quietly, replaced_once
from alternet.data.timm_sets import StreamedImages, Undecoded
from alternet.patience import patience

T = TypeVar("T")


class Share(NamedTuple):
    """Which part of every batch a process takes: every `step`-th image from `first` on."""

    first: int = 0
    step: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentedStream:
    """Training images in shards, shuffled and augmented by what seed and epoch say and nothing else.

    The order of the shards is drawn for each epoch, and their images pass through a buffer from which the next one is
    drawn. Every process and every worker reads all of it, which costs little, and decodes its own part alone, which
    costs much; so batches are the same with any number of either, and a run goes on at any epoch.

    Attributes:
        dataset: Where the images come from.
        augmented: How they are varied.
        buffer: How many encoded images are held to draw from.
        workers: Processes that read beside the training.
    """

    dataset: StreamedImages
    augmented: Augmented
    buffer: int
    workers: int = 0
    _kept: dict[tuple[int, int, Share], tuple[Tensor, DataLoader]] = field(default_factory=dict, init=False, repr=False)

    @property
    def skipped(self) -> dict[str, str]:
        """Names of the images that could not be read so far, each with the reason."""
        return self.augmented.skipped

    def __len__(self) -> int:
        return len(self.dataset)

    def epoch(self, epoch: int, *, batch_size: int, seed: int, share: Share) -> Iterator[Batch]:
        """A process's part of every batch of an epoch.

        Raises:
            ValueError: The stream ends before as many images as are stated, or cannot be read.
        """
        key = (batch_size, seed, share)

        def begun(step: int) -> DataLoader:
            begin, loader = self._kept[key]
            begin.copy_(torch.tensor([epoch, step]))
            return loader

        def again(step: int) -> DataLoader:
            self._kept[key] = self._loader(*key)
            return begun(step)

        try:
            for batch, skipped in replaced_once(begun(0) if key in self._kept else again(0), again):
                self.skipped.update(skipped)
                yield batch
        except Exception:
            del self._kept[key]  # its workers may be gone
            raise

    def _loader(self, batch_size: int, seed: int, share: Share) -> tuple[Tensor, DataLoader]:
        """A loader whose workers stay from epoch to epoch, and where they read which one it is, and from which step."""
        begin = torch.zeros(2, dtype=torch.int64).share_memory_()
        make = partial(replace(self)._batches, begin, batch_size, seed, share)  # a copy, which keeps no loader
        workers = able(min(self.workers, max(len(self) // batch_size, 1)))
        loader = DataLoader(
            _Made(make),
            batch_size=None,
            num_workers=workers,
            collate_fn=as_it_is,
            persistent_workers=workers > 0,
            timeout=patience() if workers else 0,
            worker_init_fn=end_quietly,
            generator=torch.Generator(),
        )
        return begin, loader

    def _batches(
        self, begin: Tensor, batch_size: int, seed: int, share: Share
    ) -> Iterator[tuple[Batch, dict[str, str]]]:
        """What this worker makes: every so many-th batch of the epoch."""
        epoch, first = begin.tolist()
        info, draws = get_worker_info(), np.random.default_rng([seed, epoch])
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        samples = shuffled(self.dataset.undecoded(draws), self.buffer, draws)
        for step in range(len(self) // batch_size):
            batch = list(islice(samples, batch_size))
            if len(batch) < batch_size:
                raise ValueError(
                    f"{self.dataset.name!r} states {len(self)} images but gave {step * batch_size + len(batch)}. "
                    "Correct num_samples in its _info.json."
                )
            if step >= first and (step - first) % workers == worker:
                of = (seed, epoch, step, share.first)
                mine = [(one.number, _decoded(one)) for one in batch[share.first :: share.step]]
                if (made := self.augmented.drawn(mine, of, of)) is None:
                    raise ValueError(
                        f"No picture of a batch of {len(mine)} from {self.dataset.name!r} can be read; the first is "
                        f"{self.dataset.label(mine[0][0])}. Repair the shard."
                    )
                yield made, dict(self.skipped)


def shuffled(items: Iterable[T], size: int, draws: np.random.Generator) -> Iterator[T]:
    """Each item once: the next one is drawn from a buffer of this size, and its place taken by the next of the stream.

    Examples:
        >>> items = list(shuffled(range(8), 3, np.random.default_rng(0)))
        >>> sorted(items), items == sorted(items)
        ([0, 1, 2, 3, 4, 5, 6, 7], False)
    """
    stream = iter(items)
    held = list(islice(stream, size))
    for item in stream:
        place = int(draws.integers(len(held)))
        yield held[place]
        held[place] = item
    for place in draws.permutation(len(held)):
        yield held[place]


def _decoded(one: Undecoded) -> Sample | UnreadableImage:
    try:
        return decode(one.file()), one.target
    except UnreadableImage as error:
        return error


@dataclass
class _Made(IterableDataset):
    make: Any

    def __iter__(self) -> Iterator[tuple[Batch, dict[str, str]]]:
        return self.make()
