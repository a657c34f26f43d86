"""Two processes measure what one measures, with uneven and with empty shares; a failure in one ends the others."""

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tests.contract.processes import SIZES, instruments, measure

from alternet.measurement import Measurement, find_measurements

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Where two processes stored their results."""
    out = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "tests.contract.processes", str(out)]
    running = [
        subprocess.Popen(call, cwd=ROOT, env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    return out


@pytest.mark.parametrize("size", SIZES)
def test_two_processes_measure_what_one_measures(together, tmp_path, size):
    alone = measure(tmp_path, size)
    stored = {m.instrument: m for m in find_measurements(together / str(size)) if m.instrument != "broken"}
    assert set(stored) == {instrument.spec.name for instrument in instruments()} - {"broken"}
    for name, found in stored.items():
        one = alone[name]
        assert isinstance(one, Measurement)
        for key, table in one.tables.items():
            pd.testing.assert_frame_equal(found.tables[key], table, rtol=1e-6, atol=1e-6)
        assert found.provenance["processes"] == 2
        assert {k: found.provenance[k] for k in ("images", "data")} == {
            k: one.provenance[k] for k in ("images", "data")
        }
    assert not list(together.rglob("items.*"))


def test_an_error_in_one_process_is_an_error_in_all(together):
    first, second = (ast.literal_eval((together / f"3.{rank}.txt").read_text()) for rank in (0, 1))
    assert second == {"broken": "process 1 gave up"}
    assert first == {"broken": "Process 1 of 2 failed. RuntimeError: process 1 gave up"}
