"""Reading: the batches of an order by number, each picture decoded once in a call."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import TimeoutError as Late
from multiprocessing.pool import ThreadPool

import numpy as np
import torch
from torch import Tensor

from alternet.data.augment import Augmented
from alternet.data.eval_transform import EvalTransform, unit_range
from alternet.data.image_dataset import ImageDataset, Sample, UnreadableImage
from alternet.data.kept import Budget, Picture, Store, decoded
from alternet.data.loader import Batch, Loader, sensible_workers
from alternet.errors import Failure
from alternet.patience import patience

Prepared = tuple[Tensor, int]
"""The pixels of a picture at the size that is asked for, uint8 [c, h, w], and its class number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """Reads the batches of an order by number, plain or varied.

    Attributes:
        dataset: Where the images come from.
        transform: Size and channels.
        order: Indices of the images, in order.
        batch_size: Images in a batch.
        varied: How the images are augmented, if they are.
        seed: What they are augmented from.
        skipped: Takes up the names of what cannot be read, each with the reason.
    """

    dataset: ImageDataset
    transform: EvalTransform
    order: np.ndarray
    batch_size: int
    varied: Augmented | None
    seed: int
    skipped: dict[str, str] = field(default_factory=dict)

    def indices(self, numbers: Sequence[int]) -> np.ndarray:
        """Indices of the images in these batches, in order."""
        size = self.batch_size
        return np.concatenate([self.order[:0], *(self.order[size * n : size * (n + 1)] for n in numbers)])

    def batches(self, numbers: Sequence[int], workers: int | None) -> Iterator[Batch]:
        """Read these batches, in order; what was decoded before is taken from memory."""
        if self.varied is not None:
            for batch, _ in self._fresh(numbers, workers):
                yield batch if len(batch[0]) else self._nothing
            return
        at_once = (self.dataset.tensors(self.indices([number]), self.transform) for number in numbers)
        if (first := next(at_once, None)) is not None:
            yield first
            yield from at_once  # pyright: ignore[reportReturnType]
            return

        # what somebody may write into is read as it is now
        kept = not (self.dataset.in_memory or self.dataset.passing)
        store = decoded(self.dataset, self.transform) if kept else Store(Budget(0))
        missing = [number for number in numbers if not all(index in store for index in self._of(number))]
        fresh, unread = self._fresh(missing, workers), set(missing)
        for number in numbers:
            if number in unread:
                batch, read = next(fresh)
                self._keep(store, number, batch, read)
            else:
                batch = self._again(store, number)
            yield unit_range(batch[0]), batch[1]

    def _keep(self, store: Store[int, Picture], number: int, batch: Batch, read: Sequence[int]) -> None:
        """Keep the pictures of a batch, and which of them cannot be read."""
        for index in {*self._of(number)} - {*read}:
            store.offer(index, lambda index=index: self.skipped[self.dataset.label(index)], size=0)
        for index, image, target in zip(read, *batch, strict=True):
            # a copy, which is not the memory of a worker
            store.offer(index, lambda kept=(image, target): (kept[0].clone(), int(kept[1])), size=image.nbytes)

    def _again(self, store: Store[int, Picture], number: int) -> Batch:
        """A batch of kept pictures; those that cannot be read are noted once more, since others may have read them."""
        pictures = []
        for index in self._of(number):
            if isinstance(kept := store[index], str):
                self.skipped[self.dataset.label(index)] = kept
            else:
                pictures.append(kept)
        if not pictures:
            return self._nothing
        images, targets = zip(*pictures, strict=True)
        return torch.stack(images), torch.tensor(targets)

    def _of(self, number: int) -> list[int]:
        return self.indices([number]).tolist()

    def _fresh(self, numbers: Sequence[int], workers: int | None) -> Iterator[tuple[Batch, list[int]]]:
        """Batches as bytes (as floats where they are varied), with the numbers of the pictures that could be read."""
        # Each thread of torch reads, too, between the batches; a process that DataLoader started has but one.
        threads = torch.get_num_threads() if self.dataset.threadable and self.varied is None else 1
        if workers is None:  # beside a model that takes all cores a process would only be in its way
            in_threads = threads > 1 and not torch.accelerator.is_available()
            workers = 0 if in_threads else sensible_workers(len(numbers))
        if workers and self.dataset.indexable and numbers:
            yield from Loader(self._alone, numbers, self.skipped, workers=workers)
        elif threads > 1:
            with ThreadPool(threads) as pool:  # its threads do not keep Python from ending, should one of them hang
                for number in numbers:
                    yield self._plain(self._read_in(pool, self._of(number)))
        else:
            # one pass over the samples of all batches, because a stream cannot be entered in the middle
            indices = self.indices(numbers).tolist()
            samples = zip(indices, self.dataset.samples(indices), strict=True)
            for number in numbers:
                few = islice(samples, len(self._of(number)))  # the single pictures are free again behind each batch
                if self.varied is None:
                    yield self._plain((index, self._prepared(sample)) for index, sample in few)
                else:
                    yield self.varied.drawn(few, (self.seed,), (self.seed, number)) or self._nothing, []

    def _alone(self, number: int) -> tuple[Batch, list[int]]:
        return next(self._fresh([number], 0))

    def _read(self, index: int) -> Prepared | UnreadableImage:
        (sample,) = self.dataset.samples([index])
        return self._prepared(sample)

    def _prepared(self, sample: Sample | UnreadableImage) -> Prepared | UnreadableImage:
        return sample if isinstance(sample, UnreadableImage) else (self.transform(sample[0]), sample[1])

    def _read_in(self, pool: ThreadPool, indices: Sequence[int]) -> Iterator[tuple[int, Prepared | UnreadableImage]]:
        read = pool.imap(self._read, indices)
        for index in indices:
            try:
                yield index, read.next(patience())
            except Late:
                raise Failure(
                    f"{self.dataset.label(index)} of {self.dataset.name!r} was not read within {patience()} seconds. "
                    "Look whether its disk answers; if it is only slow, raise --timeout."
                ) from None

    def _plain(self, read: Iterable[tuple[int, Prepared | UnreadableImage]]) -> tuple[Batch, list[int]]:
        images, targets, indices = [], [], []
        for index, picture in read:
            if isinstance(picture, UnreadableImage):
                self.skipped[self.dataset.label(index)] = str(picture)
            else:
                images.append(picture[0])
                targets.append(picture[1])
                indices.append(index)
        return ((torch.stack(images), torch.tensor(targets)) if images else self._nothing), indices

    @property
    def _nothing(self) -> Batch:
        return torch.empty(0, *self.transform.shape), torch.empty(0, dtype=torch.int64)
