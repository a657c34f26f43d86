"""Scale-out: which process of how many this is, and how the processes put their parts together.

Under `torchrun` every process runs the same program. The runner and the training loop deal out their work by `rank()`
and `world_size()` and join it with the functions below; outside torchrun these are 0 and 1 and nothing happens.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from alternet.errors import Failure, LostProcess, first_line, in_one_line
from alternet.meeting import Meeting
from alternet.patience import patience

T = TypeVar("T")


def rank() -> int:
    """Number of this process, from 0; process 0 alone writes results."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did, for the length of a block.

    Raises:
        LostProcess: One of the others is stopped, hangs or is no more: where they meet it is waited for as long as it
            gets on, and for `patience` seconds where it does not.
        ValueError: It is said wrongly how long.
    """
    if "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    limit = patience()
    store, number, size = next(rendezvous("env://"))
    # gloo beside nccl, because `gather` sends objects that lie in the memory of the CPU
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=size, timeout=timedelta(seconds=limit))
    meeting = Meeting(store, number, size, limit)
    _MEETINGS.append(meeting)
    try:
        with _cut_off_told():
            yield
        dist.destroy_process_group()
    except LostProcess:
        raise  # to take the group apart may want the answer of who is lost
    except BaseException:
        dist.destroy_process_group()
        raise
    finally:
        _MEETINGS.clear()
        meeting.leave()


_MEETINGS: list[Meeting] = []
"""That of this process, while it has joined others."""

CUT_OFF = re.compile(r"Timed out waiting|[Aa]pplication timeout|Connection (closed|reset)|[Bb]roken pipe|Socket closed")
"""What gloo says where another process does not answer any more."""


@contextmanager
def _cut_off_told() -> Iterator[None]:
    """Name who is lost where torch only says that a connection is."""
    try:
        yield
    except RuntimeError as error:
        if not _MEETINGS or not (CUT_OFF.search(str(error)) or isinstance(error, dist.DistError)):
            raise
        _MEETINGS[0].cut_off(error)


def local_device(name: str | None = None) -> torch.device:
    """The device of this process: the one named, or a GPU of its own where there are any, or the CPU.

    Raises:
        ValueError: The device does not exist here.
    """
    if name is None:
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()  # meta has no numbers to give back
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"Device {name!r} cannot be used here ({first_line(error).partition('. ')[0]}). Try --device cpu."
        ) from error
    return device


def gather(value: T) -> list[T]:
    """The value of every process, in order of rank, in every process.

    Raises:
        LostProcess: One of the others does not come.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    for meeting in _MEETINGS:
        meeting.arrive()
    with _cut_off_told():
        dist.all_gather_object(values, value)
    return values


def together(work: Callable[[], T]) -> list[T]:
    """What the work gave in every process, in order of rank; an error in one of them is an error in all.

    So no process waits for another one that has given up.
    """
    mine, error = None, None
    try:
        mine = work()
    except Exception as failure:
        error = failure
    # the error goes to the others as text: not every exception can be pickled
    told = None if error is None else in_one_line(error)
    outcomes: list[tuple[Any, str | None]] = gather((mine, told))
    if error is not None:
        raise error
    for number, (_, failure) in enumerate(outcomes):
        if failure is not None:
            raise Failure(f"Process {number} of {world_size()} failed. {failure}")
    return [result for result, _ in outcomes]
