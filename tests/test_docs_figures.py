"""The figures of the docs are those that the committed tables give: run `make figures` where this fails."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_figures_and_their_page_are_what_the_tables_give(tmp_path: Path) -> None:
    drawn_with = f"matplotlib=={matplotlib.__version__}"
    if drawn_with not in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pytest.skip(f"{drawn_with} is not the version that drew them")
    (tmp_path / "paper.md").write_bytes((ROOT / "docs/paper.md").read_bytes())
    script = [sys.executable, ROOT / "scripts/figures.py", "--docs", tmp_path]
    subprocess.run(script, check=True, timeout=600)
    kept = {path.name: path.read_bytes() for path in (ROOT / "docs/paper").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "paper").iterdir()} == kept
    assert (tmp_path / "paper.md").read_bytes() == (ROOT / "docs/paper.md").read_bytes()
