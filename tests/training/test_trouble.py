"""Trouble while training, of numbers, memory, processes and disks, is one line and costs nothing that was stored."""

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.test_train import AVERAGED, RECIPE, assert_same_bits, run
from tests.training.toy import ToyTrainSet, pictures, toy
from torch import Tensor, nn

from alternet.errors import in_one_line
from alternet.subject.starting import Start
from alternet.training import Row, TrainingRun, loop, train
from alternet.training.checkpoint import read_checkpoint


class Poisoned(ToyTrainSet):
    """TrainSet with one picture of the third epoch that is no picture."""

    def batch(self, numbers: Any, seed: Any) -> Any:
        images, classes = super().batch(numbers, seed)
        return (images * float("nan") if seed[1:3] == (2, 1) else images), classes


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"epoch 3, step 2 of 4, at learning rate [\d.]+\. Lower lr") as caught:
        run(tmp_path, data=toy(AVERAGED, train_images=Poisoned(*pictures(64, 0))))
    assert "\n" not in str(caught.value)
    state = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert len(state["rows"]) == len(TrainingRun(tmp_path).log) == 2
    assert all(value.isfinite().all() for value in state["model"].values())
    assert not (tmp_path / "weights.safetensors").exists()


class Hungry(nn.Module):
    """A network that asks for too much in its second epoch."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        super().__init__()
        self.ask, self.calls = ask, 0
        self.head = nn.Linear(192, 4)

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls > 5:
            self.ask()
        return self.head(images.flatten(1))


def no_gpu_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has 10 GiB in all.")


@pytest.mark.parametrize("ask", [no_gpu_memory, lambda: torch.empty(2**52), lambda: np.empty(2**52)])
def test_want_of_memory_is_told_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]
) -> None:
    monkeypatch.setattr(loop, "start", lambda *_, **__: Start(model=Hungry(ask), name="hungry", arguments={}))
    recipe = RECIPE.with_settings({"drop_path": 0.0})
    with pytest.raises(
        MemoryError, match="Out of memory in epoch 2 .*raise grad_accum_steps, now 1, .*the 16"
    ) as caught:
        train("hungry", toy(recipe), recipe, tmp_path, device="cpu")
    assert in_one_line(caught.value) == str(caught.value) and "amp_dtype: bfloat16" in str(caught.value)
    assert len(read_checkpoint(tmp_path / "checkpoint.safetensors")["rows"]) == 1


class Dying(ToyTrainSet):
    """Training images that end the process that prepares them in the second epoch."""

    def batch(self, numbers: Any, seed: Any) -> Any:
        if seed[1:3] == (1, 1) and torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(numbers, seed)


@pytest.mark.slow
def test_a_lost_worker_is_told_and_the_run_goes_on_without_it(tmp_path: Path) -> None:
    recipe = RECIPE.with_settings({"epochs": 2})
    data = toy(recipe, train_images=Dying(*pictures(64, 0)), workers=1)
    with pytest.raises(ChildProcessError, match=r"lost in epoch 2 .*Set fewer workers, now 1 .*kept") as caught:
        run(tmp_path, recipe, data)
    assert in_one_line(caught.value) == str(caught.value)
    assert len(read_checkpoint(tmp_path / "checkpoint.safetensors")["rows"]) == 1
    seen: list[int] = []
    run(tmp_path, recipe, toy(recipe), report=lambda row: seen.append(row["epoch"]))
    assert seen == [2]


@pytest.mark.slow
def test_a_full_disk_is_told_and_costs_one_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, folder = os.fsync, tmp_path / "cut-off"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(row: Row) -> None:
        if row["epoch"] == 2:
            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(
        OSError, match="cannot be written .No space left on device.; finished epochs are kept"
    ) as caught:
        run(folder, report=fill)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(os, "fsync", fsync)
    assert len(read_checkpoint(folder / "checkpoint.safetensors")["rows"]) == len(TrainingRun(folder).log) == 2
    assert_same_bits(run(folder).folder, run(tmp_path / "whole").folder)


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        run(tmp_path / "file" / "run", report=lambda row: pytest.fail(f"trained epoch {row['epoch']}"))


def test_files_cut_off_by_a_kill_are_swept_up(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.abc").write_bytes(b"half")
    run(tmp_path, RECIPE.with_settings({"epochs": 2}))
    assert not list(tmp_path.glob(".*"))


class Hanging(ToyTrainSet):
    """Training images that are not read to their end in the second epoch."""

    def batch(self, numbers: Any, seed: Any) -> Any:
        if seed[1:3] == (1, 1) and torch.utils.data.get_worker_info() is not None:
            time.sleep(60)
        return super().batch(numbers, seed)


@pytest.mark.slow
def test_images_that_are_waited_for_in_vain_are_told_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTERNET_TIMEOUT", "3")
    recipe = RECIPE.with_settings({"epochs": 2})
    data = toy(recipe, train_images=Hanging(*pictures(64, 0)), workers=1)
    with pytest.raises(ChildProcessError, match=r"lost in epoch 2 .*raise --timeout, now 3 seconds.*kept") as caught:
        run(tmp_path, recipe, data)
    assert in_one_line(caught.value) == str(caught.value)
