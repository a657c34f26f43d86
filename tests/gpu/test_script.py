"""`make gpu` in toy sizes, on whatever device there is, so that it runs where there is a GPU at last."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_the_whole_script_runs(tmp_path):
    """Without plotly, which a machine with a GPU need not have."""
    (tmp_path / "plotly.py").write_text("raise ImportError('blocked')\n")
    paths = os.pathsep.join(map(str, (tmp_path, ROOT / "src", ROOT)))
    env = os.environ | {"PYTHONPATH": paths, "OUT": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "benchmarks.gpu", "--smoke", "--seconds", "1500"]
    done = subprocess.run(call, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    text = (tmp_path / "smoke-gpu.md").read_text()
    failed = re.findall(r"## What failed\n\n(.*?)\n\n## Rows", text, flags=re.DOTALL)
    assert failed == ["Nothing."], failed
    for part in ("training step", "against PyHessian", "JPEGs", "compiled", "in bfloat16", "one process, gloo"):
        assert part in text, f"there is no line of {part!r}"
