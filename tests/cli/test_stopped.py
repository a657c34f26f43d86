"""What ends the command from outside is met in one line, with the code that shells give, from the first moment on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alternet_begin import CODES

pytestmark = pytest.mark.slow

LINE = "alternet: Stopped. What is finished is kept; start the same command again to go on.\n"
SOURCES = str(Path(__file__).parents[2] / "src")

STOPPED = """
import os, signal, sys
from importlib.abc import MetaPathFinder

class Stop(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Stop())
sys.argv = ["alternet", "list", "models"]
from alternet_begin import main
main()
"""
"""A command that is sent a signal at the moment at which a module is imported."""


def in_a_process(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("module", ["alternet", "typer", "alternet.cli", "alternet.cli.options", "timm", "torch"])
def test_a_command_that_is_stopped_while_it_begins(module: str, number: int) -> None:
    done = in_a_process(STOPPED.format(module=module, number=int(number)))
    assert (done.returncode, done.stderr) == (CODES[signal.Signals(number)], LINE)


LOST = """
import os, signal, sys, time

class Fallen:
    def __del__(self):
        os.kill(os.getpid(), {number})
        time.sleep(1)

def command():
    {before}
    Fallen()
    time.sleep(60)

sys.argv = ["alternet", "list", "models"]
import alternet.cli, alternet_begin
alternet.cli.app = lambda *_, **__: command()
alternet_begin.main()
"""
"""A command that is sent a signal while Python finalises an object, where it drops what is raised."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_python_drops_comes_again(number: int) -> None:
    done = in_a_process(LOST.format(number=int(number), before=""))
    assert (done.returncode, done.stderr) == (CODES[signal.Signals(number)], LINE)


def test_without_a_stop_what_python_drops_is_said() -> None:
    done = in_a_process(LOST.format(number=0, before="Fallen.__del__ = lambda self: 1 / 0; time.sleep = id"))
    assert done.returncode == 0 and "ZeroDivisionError" in done.stderr


def test_a_training_that_a_scheduler_ends_goes_on_where_it_stopped(tmp_path: Path) -> None:
    call = [
        "train",
        "-m",
        "vit_mini",
        "--data",
        "digits",
        "--set",
        "epochs=200",
        "--set",
        "batch_size=64",
        "--recipe",
        "quick",
        "--img-size",
        "8",
    ]
    arguments = ["alternet", *call, "--out", str(tmp_path)]
    code = f"import sys; sys.argv = {arguments!r}; from alternet_begin import main; main()"
    environment = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline()
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate()
    assert running.returncode == 143 and "Traceback" not in said
    assert said.splitlines()[-1].startswith("alternet: Stopped") and (tmp_path / "run.json").is_file()
    assert {file.name for file in tmp_path.rglob(".*")} <= {".lock", ".lock-holder"}
