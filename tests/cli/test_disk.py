"""A disk that is full, read-only or gone ends in a line, and the same call goes on where it stopped."""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from alternet.cli import run
from alternet.instruments.lesion.measure import LesionWork

pytestmark = pytest.mark.slow

CALL = ("measure", "calibration", "variance", "hessian", "-m", "test_resnet", "--data", "digits", "--limit", "8")
CALL = (*CALL, "--img-size", "32", "--set", "hessian.k=1", "--set", "hessian.batch_size=4")
INSTRUMENTS = ("calibration", "variance", "hessian")


def tables(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*.csv"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of a command that nothing came across."""
    out = tmp_path_factory.mktemp("whole")
    assert run([*CALL, "--out", str(out)]) == 0
    return tables(out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of six pages."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def failures(said: str) -> list[str]:
    """The lines of what failed."""
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line.startswith("alternet: ")]


def test_a_full_disk(
    small_disk: Path, whole: dict[str, bytes], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    call = [*CALL, "--out", str(small_disk / "out")]
    assert run(call) == 1
    failed = failures(capfd.readouterr().err)
    assert failed and all("No space left on device" in line for line in failed)
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert run(call) == 0
    assert tables(small_disk / "out") == whole
    assert not [file for file in (small_disk / "out").rglob(".*") if file.is_file()]


def test_a_disk_that_becomes_read_only(
    small_disk: Path, whole: dict[str, bytes], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = [*CALL, "--out", str(small_disk / "out")]
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert run([*CALL[:2], *CALL[4:-4], "--out", str(small_disk / "out")]) == 0
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    capfd.readouterr()
    assert run(call) == 2  # before anything is measured
    assert "cannot be written (Read-only file system). Give another --out." in failures(capfd.readouterr().err)[0]
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert run(call) == 0
    assert tables(small_disk / "out") == whole


@pytest.mark.parametrize(
    ("which", "number"), [("calibration", errno.ENOSPC), ("variance", errno.EDQUOT), ("hessian", errno.EROFS)]
)
def test_one_instrument_that_cannot_be_stored_costs_the_others_nothing(
    which: str, number: int, tmp_path: Path, whole: dict[str, bytes], capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    flush, place = os.fsync, f"{tmp_path}/out/test_resnet/{which}/"

    def failing(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(place):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    call = [*CALL, "--out", str(tmp_path / "out")]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where what cannot be stored is kept
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing)
        assert run(call) == 1
    (line,) = failures(capfd.readouterr().err)
    assert line.startswith(f"alternet: {which} of test_resnet failed: ") and os.strerror(number) in line
    assert len(list((tmp_path / "out").rglob("provenance.json"))) == len(INSTRUMENTS) - 1
    assert run(call) == 0
    assert tables(tmp_path / "out") == whole


@pytest.mark.parametrize("becomes", [lambda path: None, Path.touch], ids=["nothing", "a file"])
def test_a_folder_that_is_taken_away_meanwhile(
    becomes: Callable[[Path], None], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    out = tmp_path / "out"
    call = ["measure", "variance", "lesion", *CALL[4:-4], "--out", str(out)]
    finish, away = LesionWork.tables, []

    def finishing(self, sums):
        if not away:
            away.append(shutil.rmtree(out))
            becomes(out)
        return finish(self, sums)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(LesionWork, "tables", finishing)
    code = run(call)
    failed = failures(capfd.readouterr().err)
    assert len(failed) == code and all("lesion of test_resnet failed: " in line for line in failed)
    assert code == out.is_file()  # a folder is made anew
    if out.is_file():
        out.unlink()
    assert run(call) == 0
    assert len(list(out.rglob("provenance.json"))) == 2


def test_where_nothing_can_be_kept_anywhere_the_others_are_measured(
    tmp_path: Path, whole: dict[str, bytes], capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    flush = os.fsync

    def failing(descriptor: int) -> None:
        if "/calibration/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    call = [*CALL, "--out", str(tmp_path / "out")]
    with monkeypatch.context() as broken:
        broken.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        broken.setattr(os, "fsync", failing)
        assert run(call) == 1
    (line,) = failures(capfd.readouterr().err)
    assert "calibration of test_resnet failed: The measurement is complete but could not be written" in line
    assert len(list((tmp_path / "out").rglob("provenance.json"))) == len(INSTRUMENTS) - 1
    assert run(call) == 0
    assert tables(tmp_path / "out") == whole


def test_what_else_is_written_says_where_and_what_to_do(
    small_disk: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    measured = tmp_path / "measured"
    assert run([*CALL[:3], *CALL[4:-4], "--out", str(measured)]) == 0
    capfd.readouterr()
    with (small_disk / "filled").open("wb", buffering=0) as filled, suppress(OSError):
        while filled.write(bytes(4096)):
            pass
    for call in (
        ["claims", "--published", "--csv", f"{small_disk}/claims.csv"],
        ["claims", "--published", "--figure", f"{small_disk}/claims.svg"],
        ["report", str(measured), "--out", f"{small_disk}/report.html"],
        ["report", str(measured), "--out", f"{tmp_path}/report.html", "--figures", f"{small_disk}"],
    ):
        assert run(call) == 1
        (line,) = failures(capfd.readouterr().err)
        assert "No space left on device" in line and str(small_disk) in line and "Make room there" in line
    assert [file.name for file in small_disk.rglob("*") if file.is_file()] == ["filled"]
