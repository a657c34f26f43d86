"""A process that is stopped or hangs ends the others, in one line that names it; what was finished is kept."""

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

pytestmark = pytest.mark.slow

LOSING = """
import os, signal, sys, time
from pathlib import Path
import timm, torch, torch.utils.tensorboard
from alternet.cli import run
from alternet.instruments.hessian.measure import HessianWork
from alternet.training.trainer import Trainer

torch.set_num_threads(1)
out, lost, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rows, step = HessianWork.rows, Trainer.step

def fail(at):
    if int(os.environ["RANK"]) == lost and at >= 1:
        (out / "lost").touch()
        os.kill(os.getpid(), signal.SIGSTOP) if how == "stopped" else time.sleep(3600)

def losing_rows(self, item):
    fail(item[0] // 2)
    return rows(self, item)

def losing_step(self, images, targets):
    fail(self.steps // 3)
    return step(self, images, targets)

HessianWork.rows, Trainer.step = losing_rows, losing_step
(out / os.environ["RANK"]).touch()
while not all((out / rank).exists() for rank in "01"):  # nobody is waited for who imports
    time.sleep(0.1)
sys.exit(run(sys.argv[4:]))
"""
"""A command of two processes, one of which is lost at its second item, or at the fourth step of a training."""

DATA = ("--data", "digits", "--img-size", "32")
MEASURE = (
    "measure",
    "calibration",
    "hessian",
    "-m",
    "test_resnet",
    *DATA,
    "--limit",
    "8",
    "--set",
    "hessian.batch_size=1",
)
MEASURE = (*MEASURE, "--set", "hessian.k=1")
TRAIN = ("train", "-m", "test_resnet", *DATA, "--limit", "48", "--recipe", "quick", "--set", "epochs=3")
TRAIN = (*TRAIN, "--set", "batch_size=16")


def told(out: Path, lost: int, how: str, call: tuple[str, ...]) -> str:
    """What the process that is left says in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOSING, str(out), str(lost), how, *call, "--out", str(out / "found")]
    command += ["--timeout", "10"]
    with ExitStack() as running:
        processes = []
        for rank in "01":
            own = os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}
            processes.append(running.enter_context(Popen(command, env=own, stderr=PIPE, text=True)))
            running.callback(processes[-1].kill)
        said = processes[1 - lost].communicate(timeout=150)[1]
        assert processes[1 - lost].returncode == 1, said
        assert processes[lost].poll() is None and (out / "lost").exists(), said
    return said.splitlines()[-1]


@pytest.mark.parametrize(
    ("lost", "how"),
    [
        (1, "stopped"),
        pytest.param(0, "stopped", marks=pytest.mark.thorough),
        pytest.param(1, "hung", marks=pytest.mark.thorough),
    ],
)
def test_a_measurement_of_which_one_process_is_lost(lost: int, how: str, tmp_path: Path) -> None:
    line = told(tmp_path, lost, how, MEASURE)
    why = "has not answered" if lost == 0 else "has finished nothing"
    assert line.startswith(f"alternet: Process {lost} of 2 {why} for 10 seconds: it is stopped, or hangs. What is")
    kept = tmp_path / "found" / "test_resnet"
    assert (kept / "calibration" / "provenance.json").exists()
    # a line that says what is measured, and one an item
    assert len((kept / "hessian" / f"items.{1 - lost}.jsonl").read_text().splitlines()) == 5


@pytest.mark.thorough
@pytest.mark.parametrize("lost", [0, 1])
def test_a_training_of_which_one_process_is_lost(lost: int, tmp_path: Path) -> None:
    line = told(tmp_path, lost, "stopped", TRAIN)
    assert f"Process {lost} of 2 " in line and "start the same command again" in line
    assert (tmp_path / "found" / "log.csv").read_text().count("\n") == 2
