"""Reading: batches made on request, by worker processes or here, and the decoding of a data set's batches."""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alternet.data.augment import Augmented
from alternet.data.eval_transform import EvalTransform, unit_range
from alternet.data.image_dataset import ImageDataset, UnreadableImage
from alternet.data.kept import Budget, Picture, Store, decoded

Batch = tuple[Tensor, Tensor]
"""Images [n, c, h, w] in [0, 1] and their targets; of no length where no picture could be read."""


TIMEOUT = "ALTERNET_TIMEOUT"
LOST = re.compile(
    r"DataLoader worker .*?(exited unexpectedly|is killed by signal: \w+)|DataLoader timed out after \d+ seconds"
)
"""What torch says of a worker that is no more, or that nothing comes from."""


def patience() -> int:
    """Seconds that a batch of the workers is waited for: ten minutes, or what `ALTERNET_TIMEOUT` says.

    Raises:
        ValueError: It says no whole number above 0.
    """
    text = os.environ.get(TIMEOUT, "") or "600"
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) == int(text)):
        raise ValueError(
            f"{TIMEOUT} is {text[:40]!r}, expected a whole number of seconds above 0. Correct or unset it."
        )
    return int(text)


class Loader:
    """Batches made of requests, in their order, with any number of workers; measuring and training read through it.

    A worker that dies, as the kernel kills one for memory, or that gives nothing for ten minutes is replaced once in a
    pass, and the batches that it had not made are made again.

    Args:
        make: Makes what a request asks for, and notes in `skipped` what it cannot read. Workers get copies of it.
        requests: What to make; it is iterated over anew in every pass.
        skipped: Takes up what the workers skipped, too.
        workers: Processes beside this one; with none the batches are made here.
        lasting: Whether the workers stay for the next pass, and the batches are handed over in pinned memory.
    """

    def __init__(
        self,
        make: Callable[[Any], Any],
        requests: Iterable[Any],
        skipped: dict[str, str],
        *,
        workers: int = 0,
        lasting: bool = False,
    ) -> None:
        self.skipped, self._make, self._requests = skipped, make, requests
        self._workers, self._lasting = workers, lasting
        self._batches = self._loader(requests)

    def __iter__(self) -> Iterator[Any]:
        done, again = 0, False
        batches = self._batches
        while True:
            try:
                for batch, skipped in _received(batches):
                    self.skipped.update(skipped)
                    done += 1
                    yield batch
                return
            except RuntimeError as error:
                if not (lost := LOST.search(str(error))):
                    raise
                error.__traceback__ = None  # it holds the dead workers, of which torch complains whenever a child ends
                del batches
                if again:
                    raise RuntimeError(
                        f"A process that reads images was lost twice ({lost[0]}), now at batch {done + 1}. Lower "
                        f"--workers or --batch-size if memory was short; if images come slowly, set {TIMEOUT} to "
                        f"more than {patience()} seconds."
                    ) from error
                again = True
                batches = self._loader(list(islice(self._requests, done, None)))
                self._batches = self._loader(self._requests)

    def _loader(self, requests: Iterable[Any]) -> DataLoader:
        return DataLoader(
            _Made(self._make, self.skipped),
            batch_size=None,
            sampler=requests,
            num_workers=self._workers,
            collate_fn=_as_it_is,  # torch's own would make lists of the tuples
            persistent_workers=self._lasting and self._workers > 0,
            pin_memory=self._lasting and torch.cuda.is_available(),
            timeout=patience() if self._workers else 0,
            generator=torch.Generator(),  # it draws the workers' seeds, from the caller's generator if not from its own
        )


def _received(batches: Iterable[Any]) -> Iterator[Any]:
    """What the workers hand over; a worker that dies while it does so is lost like any other.

    Then the connection that a tensor comes through breaks before the kernel has told us of the death, which torch turns
    into an error wherever this process is at that moment; so it is waited for here.
    """
    try:
        yield from batches
    except (ConnectionError, EOFError) as error:
        time.sleep(1)
        raise RuntimeError("DataLoader worker exited unexpectedly") from error


def sensible_workers(batches: int) -> int:
    """So many processes as this one's share of the cores, less one that the model is left, and 8 at most.

    A single batch would have to be waited for in any case.
    """
    share = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(8, share - 1, batches - 1))


@dataclass
class _Made(Dataset):
    make: Callable[[Any], Any]
    skipped: dict[str, str]

    def __getitem__(self, request: Any) -> tuple[Any, dict[str, str]]:
        return self.make(request), dict(self.skipped)  # what a worker notes would stay with it


def _as_it_is(batch: Any) -> Any:
    return batch


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
        workers = sensible_workers(len(numbers)) if workers is None else workers
        if workers and self.dataset.indexable and numbers:
            yield from Loader(self._alone, numbers, self.skipped, workers=workers)
            return
        # one pass over the samples of all batches, because a stream cannot be entered in the middle
        indices = self.indices(numbers)
        samples = zip(indices, self.dataset.samples(indices), strict=True)
        for number in numbers:
            yield self._next(number, samples)

    def _alone(self, number: int) -> tuple[Batch, list[int]]:
        return next(self._fresh([number], 0))

    def _next(self, number: int, samples: Iterator[tuple[int, Any]]) -> tuple[Batch, list[int]]:
        """One batch from the next samples; its single pictures are free again then."""
        few = islice(samples, len(self.indices([number])))
        if self.varied is not None:
            return self.varied.drawn(few, (self.seed,), (self.seed, number)) or self._nothing, []
        images, targets, read = [], [], []
        for index, sample in few:
            if isinstance(sample, UnreadableImage):
                self.skipped[self.dataset.label(int(index))] = str(sample)
            else:
                images.append(self.transform(sample[0]))
                targets.append(sample[1])
                read.append(int(index))
        return ((torch.stack(images), torch.tensor(targets)) if images else self._nothing), read

    @property
    def _nothing(self) -> Batch:
        return torch.empty(0, *self.transform.shape), torch.empty(0, dtype=torch.int64)
