"""Batches made on request, by processes of their own or here; a process that is lost is replaced once."""

import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.util import get_temp_dir
from types import FrameType, TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from alternet.errors import Doubt, Failure
from alternet.patience import FINISHED, patience

T = TypeVar("T")

Batch = tuple[Tensor, Tensor]
"""Images [n, c, h, w] in [0, 1] and their targets; of no length where no picture could be read."""

LOST = re.compile(
    r"DataLoader worker .*?(exited unexpectedly|is killed by signal: \w+)|DataLoader timed out after \d+ seconds"
)
"""What torch says of a worker that is no more, or that nothing comes from."""


class Loader:
    """Batches made of requests, in their order, with any number of workers; measuring and training read through it.

    A worker that dies, as the kernel kills one for memory, or that gives nothing for ten minutes (`--timeout`) is
    replaced once in a pass, and the batches that it had not made are made again.

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
        for batch, skipped in replaced_once(self._batches, self._again):
            self.skipped.update(skipped)
            yield batch

    def _again(self, done: int) -> DataLoader:
        """What is left of this pass with new workers, which all passes to come have as well."""
        rest = self._loader(list(islice(self._requests, done, None)))
        self._batches = self._loader(self._requests)
        return rest

    def _loader(self, requests: Iterable[Any]) -> DataLoader:
        workers = able(self._workers)
        return DataLoader(
            _Made(self._make, self.skipped),
            batch_size=None,
            sampler=requests,
            num_workers=workers,
            collate_fn=as_it_is,
            persistent_workers=self._lasting and workers > 0,
            pin_memory=self._lasting and torch.cuda.is_available(),
            timeout=patience() if workers else 0,
            worker_init_fn=end_quietly,
            generator=torch.Generator(),  # it draws the workers' seeds, from the caller's generator if not from its own
        )


def replaced_once(batches: Iterable[T], again: Callable[[int], Iterable[T]]) -> Iterator[T]:
    """What workers hand over; where one is lost, new ones make what was not handed over, once.

    Args:
        batches: What the workers make.
        again: The same by other workers, from behind so many on.

    Raises:
        Failure: One is lost again.
    """
    done, replaced = 0, False
    while True:
        try:
            for batch in received(batches):
                done += 1
                FINISHED.one()
                yield batch
            return
        except RuntimeError as error:
            if not (lost := LOST.search(str(error))):
                raise
            error.__traceback__ = None  # it holds the dead workers, of which torch complains whenever a child ends
            del batches
            if replaced:
                raise Failure(
                    f"A process that reads images was lost twice ({lost[0]}), now at batch {done + 1}. Lower "
                    f"--workers or --batch-size if memory was short; if images come slowly, raise "
                    f"--timeout, now {patience()} seconds."
                ) from error
            replaced = True
            batches = again(done)


def able(workers: int) -> int:
    """So many workers, or none where they could hand nothing over: they do so through a file in a temporary folder."""
    try:
        if workers:
            get_temp_dir()  # which the workers take over
    except OSError:
        warnings.warn(
            "No temporary folder can be written, so images are read by one process alone.", Doubt, stacklevel=2
        )
        return 0
    return workers


def end_quietly(_: int) -> None:
    """Let a worker whose parent was killed exit without a traceback."""
    tell = sys.excepthook  # which the thread that hands tensors over calls for whatever it meets

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, ConnectionError | EOFError):
            tell(kind, error, trace)

    sys.excepthook = told


_waiting = False
"""Whether a batch is waited for, which is when a death may be told."""


def received(batches: Iterable[Any]) -> Iterator[Any]:
    """What the workers hand over, with the death of one told here and nowhere else.

    torch makes an error of a death by a signal handler, so it comes up wherever this process is at that moment, which
    may be within a model. Here the handler waits until a batch is waited for. And where a worker dies while a tensor is
    fetched from it, the connection breaks before the kernel has told us: then the handler is waited for.
    """
    global _waiting
    coming: Iterator[Any] | None = None
    handled = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    while True:
        try:
            if coming is None:
                coming = iter(batches)  # which starts the workers, or asks those that stay to begin again
                if handled:
                    _hold_back()
            _waiting = True
            if handled:
                signal.raise_signal(signal.SIGCHLD)  # for who died meanwhile
            batch = next(coming)
        except StopIteration:
            return
        except (ConnectionError, EOFError) as error:
            time.sleep(1)
            raise RuntimeError("DataLoader worker (pid not told) exited unexpectedly") from error
        finally:
            _waiting = False
        yield batch


def _hold_back() -> None:
    """Let torch's handler of SIGCHLD, if that is what is set, act only while a batch is waited for."""
    tell = signal.getsignal(signal.SIGCHLD)
    if not callable(tell) or getattr(tell, "__module__", "") != signal_handling.__name__:
        return

    def held_back(number: int, frame: FrameType | None) -> None:
        if _waiting:
            tell(number, frame)

    signal.signal(signal.SIGCHLD, held_back)


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


def as_it_is(batch: Any) -> Any:
    """A batch, which torch's own collation would make lists of."""
    return batch
