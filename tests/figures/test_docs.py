"""The page on figures: its code runs, and every figure and file that it names is there."""

import re
from pathlib import Path

import pandas as pd
import pytest
from tests.figures.crafted import fourier

from alternet.instruments import figures
from alternet.measurement import Measurement

PAGE = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(block: str) -> None:
    exec(compile(block, "docs/figures.md", "exec"), {})


@pytest.mark.slow
def test_a_figure_for_a_paper_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    run(BLOCKS[1])
    assert capsys.readouterr().out == "6.75\n" and Path("variance.pdf").is_file()


@pytest.mark.slow
def test_drawing_and_rendering_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    fourier("ViT").save("out")
    run(BLOCKS[0])
    assert "attention lowers the high-frequency amplitude in 9 of 12 units" in capsys.readouterr().out
    assert (
        Path("fourier.svg").is_file()
        and Path("out/report.html").is_file()
        and Path("out/figures/fourier.png").is_file()
    )


def test_a_figure_of_ones_own_as_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "FIGURES", dict(figures.FIGURES))
    run(BLOCKS[2])
    table = pd.DataFrame({"model": ["a", "a"], "depth": [0.0, 1.0], "norm": [1.0, 2.5]})
    measured = Measurement(instrument="norm", tables={"table": table}, provenances=({"model": {"name": "a"}},))
    assert figures.sentences(measured) == ["a: the largest norm is 2.5."]
    assert len(figures.draw(measured).axes[0].get_lines()) == 1


def test_every_figure_is_described():
    for instrument in figures.FIGURES:
        assert f"| `{instrument}` |" in PAGE
