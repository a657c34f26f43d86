"""A figure is written beside what lies in its place, never through it."""

import os
from pathlib import Path

import pytest

from alternet.plotting.style import Drawing, save


@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("precious")], ids=["a pipe", "a link"])
def test_a_figure_takes_the_place_of_what_lies_there(make, ending: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    make(tmp_path / f"a{ending}")
    assert save(Drawing(), tmp_path / f"a{ending}").is_file()
    assert (tmp_path / "precious").read_text() == "kept" and not (tmp_path / f"a{ending}").is_symlink()
