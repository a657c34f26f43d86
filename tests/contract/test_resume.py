"""kill -9 at any item costs at most that item, and the numbers come out as if nothing had happened."""

import signal
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest
from tests.contract.interrupted import ITEMS, measure

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder as a process leaves it that was killed in the middle of item 3."""
    folder = tmp_path_factory.mktemp("killed")
    call = [sys.executable, "-m", "tests.contract.interrupted", str(folder / "out"), str(folder / "log"), "3"]
    assert subprocess.run(call, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    return folder


@pytest.mark.parametrize(("cut", "again"), [(0, [3, 4, 5]), (1, [2, 3, 4, 5]), (20, [2, 3, 4, 5])])
def test_a_killed_measurement_goes_on(killed, tmp_path, cut, again):
    folder = copytree(killed, tmp_path / "copy")
    assert (folder / "log").read_text().split() == ["0", "1", "2", "3"]
    journal = folder / "out" / "net" / "interrupted" / "items.0.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) - cut])
    (folder / "log").unlink()
    resumed = measure(folder / "out", folder / "log")
    assert [int(number) for number in (folder / "log").read_text().split()] == again
    straight = measure(None, tmp_path / "log")
    pd.testing.assert_frame_equal(resumed.table, straight.table, check_exact=True)
    assert resumed.table["item"].tolist() == [number for number in range(ITEMS) for _ in range(2)]
    assert not journal.exists()


def test_a_finished_measurement_is_not_measured_again(killed, tmp_path):
    folder = copytree(killed, tmp_path / "copy")
    first = measure(folder / "out", folder / "log")
    again = measure(folder / "out", folder / "no-log", kill_at=0)
    pd.testing.assert_frame_equal(first.table, again.table, check_exact=True)
    assert not (folder / "no-log").exists()
