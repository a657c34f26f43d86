"""What a part of `make gpu` yields, and how it is timed: lines, turns, peaks of memory, kernels."""

import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import nan
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.runner import measure_each
from alternet.measurement import Measurement
from alternet.subject.subject import Subject
from benchmarks.turns import in_turns

ROOT = Path(__file__).parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMOKE = "--smoke" in sys.argv


class Check(NamedTuple):
    """Something that must hold, and what was found; None of what is told for information alone."""

    what: str
    good: bool | None
    found: str


class Row(NamedTuple):
    """A comparison, in milliseconds unless the unit says otherwise.

    Attributes:
        turned: Whether the ratio is rival / ours.
        memory: What ours takes on the GPU at its peak, in MiB.
        busy: For what part of our time a kernel runs.
    """

    what: str
    ours: float
    rival: float
    target: str = ""
    unit: str = "ms"
    turned: bool = False
    memory: float | None = None
    busy: float | None = None

    @property
    def ratio(self) -> float:
        over, under = (self.rival, self.ours) if self.turned else (self.ours, self.rival)
        return over / under if under else nan


class Failure(NamedTuple):
    """A part that did not come to its end."""

    part: str
    reason: str


Line = Check | Row | Failure
Part = Callable[[], Iterator[Line]]


UNTIL = [float("inf")]
"""When the part that is running must end."""

DONE: set[str] = set()
"""Cases that a process before this one came to."""


@cache
def scratch() -> Path:
    """Where training runs and the like are kept: a temporary folder, or that of the process before this one."""
    return Path(sys.argv[sys.argv.index("--resume") + 1] if "--resume" in sys.argv else tempfile.mkdtemp())


def pick(real: Any, toy: Any) -> Any:
    """A size."""
    return toy if SMOKE else real


def synchronised(work: Callable[[], Any]) -> Callable[[], Any]:
    """The work, with the GPU waited for."""

    def done() -> None:
        work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return done


def turns(count: int, *rivals: Callable[[], Any], warm: bool = False) -> list[float]:
    """Median milliseconds of each rival, in alternation."""
    return [1e3 * s for s in in_turns(pick(count, 1), *map(synchronised, rivals), warm=warm)]


def peak(work: Callable[[], Any]) -> float:
    """MiB that the work takes on the GPU beyond what is taken already."""
    if DEVICE != "cuda":
        return 0.0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def kernels(work: Callable[[], Any]) -> float:
    """Milliseconds that the GPU computes for the work."""
    if DEVICE != "cuda":
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            synchronised(work)()
        return sum(event.self_device_time_total for event in trace.key_averages()) / 1e3


def measured(
    what: str,
    count: int,
    ours: Callable[[], Any],
    rival: Callable[[], Any],
    target: str = "",
    *,
    turned: bool = False,
) -> Row:
    """A row with the times of both, and the memory and the kernels of ours."""
    mine, theirs = turns(count, ours, rival)
    return Row(what, mine, theirs, target, turned=turned, memory=peak(ours), busy=kernels(ours) / mine)


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Let convolutions round to TF32, as PyTorch does by default, or not; matrix products never do here."""
    cudnn: Any = torch.backends.cudnn
    conv = cudnn.conv
    before, conv.fp32_precision = conv.fp32_precision, "tf32" if on else "ieee"
    try:
        yield
    finally:
        conv.fp32_precision = before


def agreement() -> ModuleType:
    """tests/gpu/agreement.py, also where site-packages hold a package `tests` of somebody else's."""
    if "tests" not in sys.modules:
        tests = ModuleType("tests")
        tests.__path__ = [str(ROOT / "tests")]
        sys.modules["tests"] = tests
    from tests.gpu import agreement

    return agreement


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Stop what takes longer; within one another, the inner one ends first or not at all."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"it took more than {seconds:.0f} s")

    left = signal.getitimer(signal.ITIMER_REAL)[0]
    if left and left <= seconds:
        yield
        return
    begun, before = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begun), 0.1) if left else 0)
        signal.signal(signal.SIGALRM, before)


def last_line(error: BaseException) -> str:
    """What went wrong, and where in our code."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT / "src"))]
    place = f" ({Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"


def measure_all(asked: Sequence[Instrument], subject: Subject, data: Batches) -> list[Measurement]:
    results = []
    for _, result in measure_each(asked, subject, data):
        if isinstance(result, Exception):
            raise result
        results.append(result)
    return results


def noise_images(images: int, side: int) -> Tensor:
    return torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(0))
