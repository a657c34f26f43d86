"""A run killed in the middle of an epoch ends with the same bits; two processes learn what one learns."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tests.training.toy import pictures, toy
from tests.training.toy_run import KILLED, SHARED, WHOLE, Plain, whole

from alternet.training import TrainingRun, train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLOCKED = ["seconds", "data_seconds", "images_per_second"]


def test_killed_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.training.toy_run", str(tmp_path / "killed"), "kill"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(TrainingRun(tmp_path / "killed").log) == 2

    epochs: list[int] = []
    for name in ("killed", "whole"):
        train(
            "test_vit",
            toy(KILLED),
            KILLED,
            tmp_path / name,
            device="cpu",
            model_args={"patch_size": 4},
            report=lambda row: epochs.append(row["epoch"]),
        )
    assert epochs == [3, 4, 1, 2, 3, 4]
    killed, whole = (TrainingRun(tmp_path / name).log.drop(columns=CLOCKED) for name in ("killed", "whole"))
    pd.testing.assert_frame_equal(killed, whole, check_exact=True)
    for file in ("weights.safetensors", "ema.safetensors"):
        weights, same = (load_file(tmp_path / name / file) for name in ("killed", "whole"))
        assert all(torch.equal(value, same[name]) for name, value in weights.items())


def torchrun(out: Path, what: str) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "tests.training.toy_run", str(out), what]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert result.returncode == 0, result.stderr[-2000:]


def test_two_processes_under_torchrun_learn_what_one_learns(tmp_path: Path) -> None:
    torchrun(tmp_path, "share")
    taken = [pd.read_csv(tmp_path / f"taken.{rank}", sep=" ", names=["epoch", "step", "number"]) for rank in (0, 1)]
    assert [len(part) for part in taken] == [2 * 64 / 2] * 2
    for _, epoch in pd.concat(taken).groupby("epoch"):
        assert sorted(epoch.number) == list(range(64))
        assert (epoch.groupby("step").size() == 16).all()

    alone = train(
        "test_vit",
        toy(SHARED, train_images=Plain(*pictures(64, 0))),
        SHARED,
        tmp_path / "alone",
        device="cpu",
        model_args={"patch_size": 4},
    )
    together = TrainingRun(tmp_path / "run")
    pd.testing.assert_frame_equal(together.log.drop(columns=CLOCKED), alone.log.drop(columns=CLOCKED), rtol=1e-5)
    for file in ("weights.safetensors", "ema.safetensors"):
        ours, theirs = load_file(together.folder / file), load_file(alone.folder / file)
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)


def test_statistics_mixing_and_sharpness_of_the_whole_batch(tmp_path: Path) -> None:
    """Two processes draw, normalise and move the weights as one does; without the options they do not."""
    torchrun(tmp_path, "whole")
    together, alone = TrainingRun(tmp_path / "run"), whole(tmp_path / "alone", WHOLE)
    pd.testing.assert_frame_equal(together.log.drop(columns=CLOCKED), alone.log.drop(columns=CLOCKED), rtol=1e-4)
    ours, theirs = (load_file(run.folder / "weights.safetensors") for run in (together, alone))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-5)
