"""Figures for a paper: as wide as its columns, in its letters, which are embedded; and what a notebook shows."""

import re
from html import escape
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.text import Text
from tests.figures.crafted import MAKERS, several, variance

from alternet import Measurement
from alternet.instruments import figures
from alternet.plotting.style import letters


@pytest.mark.parametrize("instrument", sorted(MAKERS))
@pytest.mark.parametrize("models", [("ViT",), ("ResNet", "ViT")], ids=["one", "two"])
def test_every_figure_is_as_wide_as_a_column_or_both(instrument: str, models: tuple[str, ...]):
    figure = several(instrument, *models).draw(style="paper")
    assert figure.get_figwidth() in (3.25, 6.75) and figure.get_figheight() <= 9
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()}
    assert sizes and max(sizes) <= 9 and min(sizes) >= 5


def test_the_width_can_be_named_and_nothing_else():
    widths = {style: variance("ViT").draw(style=style).get_figwidth() for style in ("paper-single", "paper-double")}
    assert widths == {"paper-single": 3.25, "paper-double": 6.75}
    with pytest.raises(ValueError, match="No style 'papier'. Did you mean paper"):
        variance("ViT").draw(style="papier")


def test_a_screen_is_the_default_and_is_left_as_it_was():
    assert variance("ViT").draw().get_figwidth() == variance("ViT").draw(style="screen").get_figwidth() == 7.0
    assert letters(8.0) == 8.0 and mpl.rcParams["font.family"] == ["sans-serif"]


@pytest.mark.parametrize("save", [lambda figure, path: figure.savefig(path), figures.save], ids=["matplotlib", "ours"])
def test_letters_are_embedded_whichever_way_it_is_saved(save, tmp_path: Path):
    with mpl.rc_context({"pdf.fonttype": 3, "font.family": "monospace"}):
        figure = variance("ViT").draw(style="paper")
        save(figure, tmp_path / "a.pdf")
        save(figure, tmp_path / "a.svg")
    content = (tmp_path / "a.pdf").read_bytes()
    assert {*re.findall(rb"/BaseFont /(?:\w{6}\+)?(\w+)", content)} <= {b"STIXGeneral", b"DejaVuSans"}
    assert b"STIXGeneral" in content and b"/FontFile2" in content and b"/Type3" not in content
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
    assert float(box) / 72 == figure.get_figwidth()
    assert "<text" not in (tmp_path / "a.svg").read_text()


def test_a_notebook_shows_the_figure_and_its_sentences():
    shown = variance("ViT")._repr_html_()
    assert shown is not None and shown.startswith("<img alt=") and "data:image/png;base64," in shown
    assert all(f"<li>{escape(sentence)}</li>" in shown for sentence in figures.sentences(variance("ViT")))


def test_a_notebook_is_shown_no_markup_of_a_name():
    shown = variance("ViT", '<script>"')._repr_html_()
    assert shown is not None and "<script" not in shown


def test_a_notebook_gets_a_table_or_nothing_but_never_an_error():
    bare = Measurement(
        instrument="mine", tables={"table": pd.DataFrame({"model": ["<b>"]})}, provenances=({"model": {"name": "a"}},)
    )
    assert "&lt;b&gt;" in str(bare._repr_html_())
    broken = Measurement(instrument="variance", tables={}, provenances=())
    assert broken._repr_html_() is None
