"""Processes wait for one another as long as each of them gets on; here one of them, with what the other would say."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch.distributed as dist

from alternet.errors import LostProcess
from alternet.meeting import Meeting


@contextmanager
def meeting(limit: float = 0.3, rank: int = 0) -> Iterator[tuple[Meeting, dist.Store]]:
    store = dist.HashStore()
    one = Meeting(store, rank, 2, limit)
    try:
        yield one, store
    finally:
        store.set(f"alternet/{1 - rank}", "9 9 9 1")  # so that nobody waits for it
        one.leave()


def said(store: dist.Store, line: str, *, later: float, rank: int = 1) -> threading.Timer:
    timer = threading.Timer(later, lambda: store.set(f"alternet/{rank}", line))
    timer.start()
    return timer


def test_one_that_has_arrived_is_not_waited_for() -> None:
    with meeting() as (one, store):
        store.set("alternet/1", "1 0 1 0")
        one.arrive()


def test_one_that_gets_on_is_waited_for_however_long_it_takes() -> None:
    with meeting(limit=0.5) as (one, store):
        timers = [said(store, f"0 {number} {number} 0", later=number / 5) for number in range(1, 8)]
        timers.append(said(store, "1 8 8 0", later=8 / 5))
        begun = time.monotonic()
        one.arrive()
        assert time.monotonic() - begun > 1
        [timer.join() for timer in timers]


@pytest.mark.parametrize("turning", [False, True], ids=["stopped", "hung"])
def test_one_that_finishes_nothing_is_lost_and_named(turning: bool) -> None:
    with meeting() as (one, store):
        store.set("alternet/1", "0 5 1 0")
        timers = [said(store, f"0 5 {number} 0", later=number / 5) for number in range(2, 12) if turning]
        with pytest.raises(LostProcess, match=r"Process 1 of 2 has finished nothing for 0\.3 seconds.*kept") as lost:
            one.arrive()
        assert not lost.value.told and store.get("alternet/lost") == b"1 0"
        [timer.join() for timer in timers]


def test_one_that_has_left_is_not_waited_for() -> None:
    with meeting(limit=600) as (one, store):
        store.set("alternet/1", "0 5 1 1")
        with pytest.raises(LostProcess, match="Process 1 of 2 has ended"):
            one.arrive()


def test_one_line_is_said_by_one_process() -> None:
    with meeting(limit=600) as (one, store):
        store.set("alternet/lost", "2 1")  # as process 1 of three has found
        with pytest.raises(LostProcess, match="Process 2 ") as lost:
            one.arrive()
        assert lost.value.told


class Silent(dist.HashStore):
    """A store whose process is stopped, so that whoever asks waits."""

    asleep = threading.Event()

    def check(self, keys: list[str]) -> bool:
        return self.asleep.wait(20) or super().check(keys)


class Gone(dist.HashStore):
    """A store whose process has ended."""

    def check(self, keys: list[str]) -> bool:
        raise RuntimeError("Connection reset by peer")


@pytest.mark.parametrize(("kind", "why"), [(Silent, r"has not answered for 0\.3 seconds"), (Gone, "has ended")])
def test_the_process_that_keeps_what_all_say_is_lost_as_well(kind: type[dist.HashStore], why: str) -> None:
    one = Meeting(kind(), 1, 2, 0.3)
    with pytest.raises(LostProcess, match=f"Process 0 of 2 {why}"):
        one.arrive()
    Silent.asleep.set()
    one.leave()


def test_a_connection_that_broke_names_who_is_silent_and_else_is_told_as_it_is() -> None:
    error = RuntimeError("Connection closed by peer [127.0.0.1]:1234")
    with meeting(limit=600) as (one, store):
        store.set("alternet/1", "0 5 1 0")
        with pytest.raises(LostProcess, match="Process 1 of 2 does not answer any more"):
            one.cut_off(error)
    with meeting(limit=600) as (one, store):
        timers = [said(store, f"0 5 {number} 0", later=number / 2) for number in range(1, 10)]
        with pytest.raises(RuntimeError, match="closed by peer"):
            one.cut_off(error)
        [timer.join() for timer in timers]
