"""The figures of the docs are those that the committed tables give: run `make figures` where this fails."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from alternet.instruments.catalogue import instruments

ROOT = Path(__file__).parents[1]
PAGES = ("which-instrument.md", "paper.md", "photos.md", "small-data.md")


@pytest.mark.slow
def test_figures_and_their_page_are_what_the_tables_give(tmp_path: Path) -> None:
    drawn_with = f"matplotlib=={matplotlib.__version__}"
    if drawn_with not in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pytest.skip(f"{drawn_with} is not the version that drew them")
    docs = ROOT / "docs"
    for page in PAGES:
        (tmp_path / page).write_bytes((docs / page).read_bytes())
    script = [sys.executable, ROOT / "scripts/figures.py", "--docs", tmp_path]
    subprocess.run(script, check=True, timeout=600)
    drawn = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert drawn == {path: (docs / path).read_bytes() for path in drawn}
    for folder in ("paper", "solar-cells"):
        assert {path.name for path in (docs / folder).iterdir()} == {one.name for one in (tmp_path / folder).iterdir()}
    assert {f"{name}.svg" for name in instruments()} <= {path.name for path in drawn}
