"""An output that is closed, full, or that nobody reads any more costs no result."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest

from alternet.cli import run
from alternet_begin import LINE

pytestmark = pytest.mark.slow

SOURCES = str(Path(__file__).parents[2] / "src")
BEGIN = "import sys; sys.argv[0] = 'alternet'; from alternet_begin import main; main()"
MEASURE = ["measure", "variance", "lesion", "-m", "test_resnet", "-m", "again=test_resnet", "--data", "digits"]
MEASURE += ["--img-size", "32", "--limit", "4"]
TRAIN = ["train", "-m", "test_resnet", "--data", "digits", "--img-size", "32", "--limit", "32", "--recipe", "quick"]
TRAIN += ["--set", "epochs=2", "--set", "batch_size=16"]


@contextmanager
def unread() -> Iterator[None]:
    """A standard output whose reader is gone, as `| head -1` leaves it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as output, redirect_stdout(output):
        yield


def test_a_measurement_goes_on_without_a_reader(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with unread():
        assert run([*MEASURE, "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.rglob("provenance.json"))) == 4
    assert "failed" not in capfd.readouterr().err


def test_a_training_goes_on_without_a_reader(tmp_path: Path) -> None:
    with unread():
        assert run([*TRAIN, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "weights.safetensors").exists()


def test_a_table_without_a_reader_is_written_to_its_file_all_the_same(tmp_path: Path) -> None:
    with unread():
        assert run(["claims", "--published", "--csv", str(tmp_path / "claims.csv")]) == 0
    assert (tmp_path / "claims.csv").stat().st_size > 1000


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_a_table_for_a_script_is_put_out_whole_or_with_a_line(
    form: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as changed:
        changed.setattr(sys, "stdout", full)
        assert run(["taps", "-m", "test_resnet", form]) == 1
    line = "What is printed cannot be written where it goes (No space left on device). Make room there, or send it"
    assert line in capfd.readouterr().err


def test_what_is_printed_without_room_is_noted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as changed:
        changed.setattr(sys, "stdout", full)
        assert run(["list", "recipes"]) == 0
    assert capfd.readouterr().err.count("note: what is printed cannot be written any more (No space left on") == 1


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell in which `alternet` is this package's command."""
    command = f'alternet() {{ {shlex.quote(sys.executable)} -c {shlex.quote(BEGIN)} "$@"; }}; {line}'
    environment = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_outputs_cost_no_number(closed: str, tmp_path: Path) -> None:
    done = shell(f"alternet {shlex.join(MEASURE)} --out {tmp_path}/out {closed}")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert len(list(tmp_path.rglob("provenance.json"))) == 4
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if b"table.csv\n" in file.read_bytes()]  # what was to be printed


TOLD = "import os, signal, sys; import alternet_begin as begin; begin._meet(begin._end_now); os.kill(os.getpid(), {})"


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_stop_that_cannot_be_told_has_its_code(name: str, code: int, where: str) -> None:
    done = shell(f"{sys.executable} -c {shlex.quote(TOLD.format(f'signal.{name}'))} {where}")
    assert (done.returncode, done.stdout) == (code, "")


@pytest.mark.parametrize("name", ["INT", "HUP"])
def test_what_the_caller_does_not_mind_ends_nothing(name: str) -> None:
    """As nohup sets it for the end of a terminal, and a script for Ctrl-C while it runs something in the background."""
    tell = TOLD.format(f"signal.SIG{name}") + "; print('goes on')"
    done = shell(f"trap '' {name}; {sys.executable} -c {shlex.quote(tell)}")
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_a_terminal_that_is_closed_is_met_as_a_stop(tmp_path: Path) -> None:
    end = "import os, signal; from alternet.instruments.variance.measure import VarianceWork as W; "
    end += "W.tables = lambda *_: os.kill(os.getpid(), signal.SIGHUP); "
    code = f"import alternet_begin, sys; {end} sys.argv = ['alternet', *sys.argv[1:]]; alternet_begin.main()"
    done = shell(f"{sys.executable} -c {shlex.quote(code)} {shlex.join(MEASURE)} --out {tmp_path}")
    assert done.returncode == 129 and done.stderr.endswith(f"alternet: {LINE}\n")
    assert "Traceback" not in done.stderr
