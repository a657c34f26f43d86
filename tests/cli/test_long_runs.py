"""What happens to runs that last: clocks that go back, logs that are full, and signals at any moment."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from alternet.cli import run
from alternet_begin import CODES, LINE

pytestmark = pytest.mark.slow

SOURCES = str(Path(__file__).parents[2] / "src")
DATA = ("--data", "digits", "--img-size", "32")
MEASURE = ("measure", "variance", "hessian", "-m", "test_resnet", *DATA, "--limit", "4", "--set", "hessian.k=1")
TRAIN = ("train", "-m", "test_resnet", *DATA, "--limit", "32", "--recipe", "quick", "--set", "epochs=2")
TRAIN = (*TRAIN, "--set", "batch_size=16")


@pytest.mark.parametrize("call", [MEASURE, TRAIN], ids=["measure", "train"])
def test_a_clock_that_goes_back_changes_nothing(call: tuple[str, ...], tmp_path: Path, monkeypatch) -> None:
    assert run([*call, "--out", str(tmp_path / "usual")]) == 0
    hours = itertools.count(1)
    monkeypatch.setattr(time, "time", lambda: 1.8e9 - 3600 * next(hours))
    assert run([*call, "--out", str(tmp_path / "back")]) == 0
    if call is MEASURE:
        stored = [{f.name: f.read_bytes() for f in (tmp_path / d).rglob("*.csv")} for d in ("usual", "back")]
        assert stored[0] == stored[1] and len(stored[0]) > 1
        return
    usual, back = (load_file(tmp_path / folder / "weights.safetensors") for folder in ("usual", "back"))
    assert all(bool((usual[name] == value).all()) for name, value in back.items())


@pytest.mark.parametrize("call", [MEASURE, pytest.param(TRAIN, marks=pytest.mark.thorough)], ids=["measure", "train"])
def test_a_full_log_costs_no_number(call: tuple[str, ...], tmp_path: Path) -> None:
    code = "import sys; from alternet_begin import main; sys.argv[0] = 'alternet'; main()"
    environment = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"}
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-c", code, *call, "--out", str(tmp_path)]
        assert subprocess.run(command, env=environment, stdout=full, stderr=full).returncode == 0
    if call is MEASURE:
        assert len(list(tmp_path.rglob("provenance.json"))) == 2
    else:
        assert (tmp_path / "weights.safetensors").exists()


BEGUN = """
import os, sys
import alternet_begin
alternet_begin._meet(alternet_begin._end_now)
os.write(1, b"begun")
sys.argv = ["alternet", *sys.argv[1:]]
alternet_begin.main()
"""
"""The command, which says when it has begun; before that, Python starts."""


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(
    "milliseconds",
    [20, *(pytest.param(n, marks=pytest.mark.thorough) for n in (0, 5, 10, 50, 100, 200, 500, 1000, 2000))],
)
def test_a_signal_at_any_moment_is_one_line(milliseconds: int, number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BEGUN, *MEASURE, "--out", str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as begun:
        assert begun.stdout is not None and begun.stdout.read(5) == "begun"
        time.sleep(milliseconds / 1000)
        begun.send_signal(number)
        said = begun.communicate(timeout=60)[1]
    assert begun.returncode == CODES[number]
    assert said.endswith(f"alternet: {LINE}\n") and "Traceback" not in said
