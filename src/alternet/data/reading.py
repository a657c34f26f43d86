"""Reading: batches made on request, by worker processes or here, and the decoding of a data set's batches."""

import os
import re
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
        make: Makes a batch of a request, and notes in `skipped` what it cannot read. Workers get copies of it.
        requests: What to make; it is iterated over anew in every pass.
        skipped: Takes up what the workers skipped, too.
        workers: Processes beside this one; with none the batches are made here.
        lasting: Whether the workers stay for the next pass, and the batches are handed over in pinned memory.
    """

    def __init__(
        self,
        make: Callable[[Any], Batch],
        requests: Iterable[Any],
        skipped: dict[str, str],
        *,
        workers: int = 0,
        lasting: bool = False,
    ) -> None:
        self.skipped, self._make, self._requests = skipped, make, requests
        self._workers, self._lasting = workers, lasting
        self._batches = self._loader(requests)

    def __iter__(self) -> Iterator[Batch]:
        done, again = 0, False
        batches = self._batches
        while True:
            try:
                for batch, skipped in batches:
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


@dataclass
class _Made(Dataset):
    make: Callable[[Any], Batch]
    skipped: dict[str, str]

    def __getitem__(self, request: Any) -> tuple[Batch, dict[str, str]]:
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

    def batches(self, numbers: Sequence[int], workers: int) -> Iterator[Batch]:
        """Read these batches, in order."""
        if workers and self.dataset.indexable and numbers:
            yield from Loader(self._alone, numbers, self.skipped, workers=workers)
            return

        # one pass over the samples of all batches, because a stream cannot be entered in the middle
        indices = self.indices(numbers)
        samples = zip(indices, self.dataset.samples(indices), strict=True)
        for number in numbers:
            yield self._next(number, samples)

    def _alone(self, number: int) -> Batch:
        return next(self.batches([number], 0))

    def _next(self, number: int, samples: Iterator[tuple[int, Any]]) -> Batch:
        """One batch, from what is in memory or else from the next samples; its single pictures are free again then."""
        indices = self.indices([number])
        nothing = torch.empty(0, *self.transform.shape, dtype=torch.float32), torch.empty(0, dtype=torch.int64)
        if self.varied is not None:
            return self.varied.drawn(islice(samples, len(indices)), (self.seed,), (self.seed, number)) or nothing
        if (at_once := self.dataset.tensors(indices, self.transform)) is not None:
            return at_once

        images, targets = [], []
        for index, sample in islice(samples, len(indices)):
            if isinstance(sample, UnreadableImage):
                self.skipped[self.dataset.label(int(index))] = str(sample)
            else:
                images.append(self.transform(sample[0]))
                targets.append(sample[1])
        return (unit_range(torch.stack(images)), torch.tensor(targets)) if images else nothing
