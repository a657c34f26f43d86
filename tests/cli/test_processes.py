"""Two processes of one command: what fails in one of them is passed over by both."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FAILING = """
import os, sys
from alternet.cli import run
from alternet.subject import loading

load = loading.load

def failing(model, **facts):
    if model == "test_vit" and os.environ["RANK"] == "1":
        raise ValueError("this process cannot read it")
    return load(model, **facts)

loading.load = failing
sys.exit(run(sys.argv[1:]))
"""


def test_a_model_that_one_process_cannot_load_keeps_no_other_waiting(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    words = ["measure", "variance", "-m", "test_vit", "-m", "test_resnet", "--data", "digits", "--limit", "6"]
    call = [sys.executable, "-c", FAILING, *words, "--img-size", "32", "--batch-size", "2", "--out", f"{tmp_path}"]
    running = [
        subprocess.Popen(call, env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE)
        for rank in "01"
    ]
    told = [process.communicate(timeout=90)[1].decode() for process in running]
    assert [process.returncode for process in running] == [1, 1], told
    assert "this process cannot read it" in told[0]
    assert [path.parts[-3] for path in tmp_path.rglob("table.csv")] == ["test_resnet"]
