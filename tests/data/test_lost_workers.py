"""A process that reads images and is killed, or hangs, is replaced once; the second one is named."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from alternet.data import loader as module
from alternet.data.eval_transform import unit_range
from alternet.data.loader import Batch, Loader, end_quietly, received
from alternet.errors import Doubt, Failure, in_one_line
from alternet.patience import patience

pytestmark = pytest.mark.slow


def made(number: int) -> Batch:
    return torch.full((2, 1, 2, 2), float(number)), torch.tensor([number, number])


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hung() -> None:
    time.sleep(60)


class Broken:
    """Reads, where it arrives, as the tensor of a worker that died while it was handing it over."""

    def __reduce__(self):
        return _reset, ()


def _reset() -> None:
    raise ConnectionResetError(104, "Connection reset by peer")


def failing(at: int, mark: Path | None, fail: Callable[[], None]) -> Callable[[int], Batch]:
    """Make batches, but fail at one of them: the first time, where there is a file to remember it by, or always."""

    def make(number: int) -> Batch:
        if number == at and not (mark and mark.exists()):
            if mark:
                mark.touch()
            fail()
        return made(number)

    return make


@pytest.mark.parametrize("fail", [killed, hung])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_lost_worker_is_replaced_and_no_batch_lost_or_given_twice(at, fail, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ALTERNET_TIMEOUT", "600" if fail is killed else "15")
    loader = Loader(failing(at, tmp_path / "failed", fail), range(7), {}, workers=2, lasting=True)
    for _ in range(2):  # the second pass, with the workers of the first, loses none
        assert [int(targets[0]) for _, targets in loader] == list(range(7))


def test_a_worker_that_is_lost_twice_is_named(tmp_path: Path) -> None:
    loader = Loader(failing(2, None, killed), range(7), {}, workers=1)
    read = []
    with pytest.raises(Failure, match=r"was lost twice .*(killed|exited).* at batch \d.*Lower --workers") as caught:
        read.extend(int(targets[0]) for _, targets in loader)
    assert in_one_line(caught.value).startswith("A process that reads images was lost twice")


def test_a_death_is_told_where_the_next_batch_is_waited_for(tmp_path: Path) -> None:
    mark, read = tmp_path / "killed", []

    def later() -> None:
        time.sleep(1)  # until the first batch has arrived
        killed()

    loader = Loader(failing(1, mark, later), range(4), {}, workers=1)
    for _, targets in loader:
        while not mark.exists():  # as a model computes on the first batch meanwhile
            time.sleep(0.01)
        time.sleep(2)
        read.append(int(targets[0]))
    assert read == list(range(4))


@pytest.mark.parametrize("again", [False, True])
def test_a_worker_that_dies_while_it_hands_over_is_a_lost_one(again: bool, tmp_path: Path) -> None:
    mark = tmp_path / "broken"

    def make(number: int):
        if number == 2 and (again or not mark.exists()):
            mark.touch()
            return Broken()
        return made(number)

    loader = Loader(make, range(5), {}, workers=2)
    if again:
        with pytest.raises(RuntimeError, match=r"was lost twice .*exited.* at batch [23]"):
            list(loader)
    else:
        assert [int(targets[0]) for _, targets in loader] == list(range(5))


class CutOff:
    """Batches of workers that stay, one of which is gone when the next pass begins."""

    def __iter__(self) -> Iterator[object]:
        raise ConnectionResetError(104, "Connection reset by peer")


def test_a_worker_that_is_gone_as_a_pass_begins_is_a_lost_one() -> None:
    with pytest.raises(RuntimeError, match="DataLoader worker .* exited unexpectedly"):
        next(received(CutOff()))


def test_a_worker_makes_its_floats_where_they_are_handed_over() -> None:
    pixels = torch.arange(24, dtype=torch.uint8).view(1, 4, 3, 2).permute(0, 2, 3, 1)  # channels last, as pictures are
    ((shared, layout, images),) = list(Loader(_in_a_worker, [pixels], {}, workers=1))
    assert shared
    assert layout == pixels.stride() == unit_range(pixels).stride()
    torch.testing.assert_close(images, unit_range(pixels), rtol=0, atol=0)


def _in_a_worker(pixels: torch.Tensor) -> tuple[bool, tuple[int, ...], torch.Tensor]:
    images = unit_range(pixels)
    return images.is_shared(), images.stride(), images


def test_a_worker_says_nothing_of_the_death_of_its_process_but_of_all_else(monkeypatch) -> None:
    said = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: said.append(kind))
    end_quietly(0)
    for error in (ConnectionResetError(), BrokenPipeError(), EOFError(), ValueError()):
        sys.excepthook(type(error), error, None)
    assert said == [ValueError]


def test_without_a_temporary_folder_no_worker_is_waited_for(monkeypatch) -> None:
    def full() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(module, "get_temp_dir", full)
    with pytest.warns(Doubt, match="images are read by one process alone"):
        loader = Loader(lambda _: os.getpid(), range(3), {}, workers=2, lasting=True)
    assert list(loader) == [os.getpid()] * 3


def test_an_error_within_a_worker_is_no_lost_worker() -> None:
    def wrong(number: int) -> Batch:
        raise ValueError("no such picture")

    with pytest.raises(ValueError, match="no such picture"):
        list(Loader(wrong, range(3), {}, workers=1))


@pytest.mark.parametrize("text", ["0", "-1", "ten", "1e3", "9" * 30])
def test_a_limit_that_is_none(text: str, monkeypatch) -> None:
    monkeypatch.setenv("ALTERNET_TIMEOUT", text)
    with pytest.raises(ValueError, match=r"ALTERNET_TIMEOUT is '.*', expected a whole number of seconds above 0"):
        patience()
