"""The page: self-contained, escaped, honest about what differs, the same bytes every time."""

import base64
import hashlib
import io
import re
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from tests.figures.crafted import calibration, fourier, provenance, several, training, variance
from tests.report.page import Page, embedded, read

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.report import render
from alternet.report.contents import contents
from alternet.report.render import html as to_html

HOSTILE = "<script>alert(1)</script> </title> \"q\" 'a' & </script><img src=x onerror=alert(2)>"


def page_of(*measurements: Measurement, notes: tuple[str, ...] = (), plotly: str | None = "Plotly") -> Page:
    """The page on some measurements, in memory, with stand-ins for plotly.js and for the figures."""
    images = {m.instrument: "<svg/>" for m in measurements if m.instrument in figures.FIGURES}
    page = Page()
    page.feed(to_html(contents(measurements, images, notes), plotly))
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three models, with a hostile name among them."""
    folder = tmp_path_factory.mktemp("report")
    for name, shown in (("ResNet", "ResNet"), ("Swin", "Swin"), ("ViT", HOSTILE)):
        for make in (fourier, variance, calibration):
            make(name, shown).save(folder / "measured")
    return render([folder], folder / "report.html")


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return read(out)


def test_every_section_has_its_question_sentences_caution_and_numbers(page: Page):
    for make in (fourier, variance, calibration):
        measured = Measurement.concat([make("ResNet"), make("Swin"), make("ViT", HOSTILE)])
        exhibit = figures.FIGURES[measured.instrument]
        for text in (exhibit.title, exhibit.question, exhibit.caution, *figures.sentences(measured)):
            assert text in page.text
        assert sum(page.text.count(sentence) for sentence in figures.sentences(measured)) == 2 * 3
    assert page.text.count("Settings and provenance") == 3
    assert f"How ResNet, Swin and {HOSTILE} work inside" in page.text


def test_nothing_comes_from_elsewhere(out: Path, page: Page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert page.policy().startswith("default-src 'none'") and "unsafe-eval" not in page.policy()
    (css,) = re.findall(r"<style>(.*?)</style>", out.read_text(encoding="utf-8").partition("</head>")[0], re.DOTALL)
    assert "color-scheme" in css and "url(" not in css and "@import" not in css


def test_the_content_policy_knows_our_scripts_and_no_other(page: Page):
    allowed = set(re.findall(r"'sha256-([^']+)'", page.policy()))
    digests = {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in page.code()}
    assert len(page.code()) == 2
    assert digests == allowed
    assert "unsafe-inline" not in page.policy().partition("script-src")[2].partition(";")[0]


def test_names_are_escaped_everywhere(out: Path, page: Page):
    source = out.read_text(encoding="utf-8")
    assert "<script>alert" not in source and "<img src=x" not in source
    assert HOSTILE in page.text
    assert len(page.all("title")) == 1
    assert len(page.scripts) == 2 + 3
    plots = page.plots()
    assert len(plots) == 3
    assert "<script>" not in str(plots) and "<img" not in str(plots)
    assert any("&lt;script&gt;alert(1)" in str(trace.get("name")) for trace in plots[0][0]["data"])
    for image in page.all("img"):
        svg = embedded(image["src"])
        assert "<script" not in svg and "<img" not in svg


def test_figures_lie_beside_the_page_and_are_those_in_it(out: Path, page: Page):
    names = ("fourier", "variance", "calibration")
    inside = [embedded(image["src"]) for image in page.all("img")]
    assert inside == [(out.parent / "figures" / f"{name}.svg").read_text() for name in names]
    assert all((out.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in names)
    assert all(len(image["alt"]) > 20 for image in page.all("img"))


def test_the_whole_table_can_be_saved(out: Path, page: Page):
    links = {link["download"]: link["href"] for link in page.all("a") if "download" in link}
    assert set(links) == {"fourier.csv", "variance.csv", "calibration.csv", "calibration-reliability.csv"}
    saved = pd.read_csv(io.StringIO(embedded(links["fourier.csv"])), float_precision=None)
    expected = Measurement.concat([fourier("ResNet"), fourier("Swin"), fourier("ViT", HOSTILE)]).table
    pd.testing.assert_frame_equal(
        saved.sort_values(["model", "unit", "frequency"], ignore_index=True),
        expected.sort_values(["model", "unit", "frequency"], ignore_index=True),
    )
    assert f"({len(expected):,} rows)" in page.text


def test_the_page_is_the_same_bytes_every_time_and_of_the_stated_size(out: Path, tmp_path: Path):
    measured = variance("ViT").save(tmp_path / "measured")
    pages = [render([measured], tmp_path / name).read_bytes() for name in ("once.html", "again.html")]
    assert pages[0] == pages[1]
    assert 4e6 < out.stat().st_size < 7e6


def test_it_can_be_read_by_keyboard_and_screen_reader(page: Page):
    assert page.tags[0][0] == "html" and page.tags[0][1]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    referred += [a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a]
    assert referred and set(referred) <= set(ids)
    assert page.all("a")[0]["class"] == "skip"
    assert all(
        ("tabindex" in a and "aria-label" in a) or "aria-labelledby" in a
        for t, a in page.tags
        if a.get("role") == "region"
    )
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))


def test_without_plotly_the_figures_are_images_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    page = read(render([variance("ViT").save(tmp_path)], tmp_path / "report.html"))
    assert "plotly was not installed" in page.text
    assert page.scripts == [] and "script-src 'none'" in page.policy()
    assert len(page.all("img")) == 1
    assert (tmp_path / "report.html").stat().st_size < 500_000


def test_an_instrument_without_a_figure_is_shown_by_its_table():
    table = pd.DataFrame({"model": ["a"] * 20, "radius": [0.123456789] * 20})
    facts = provenance("<i>radius</i>", "a")
    page = page_of(Measurement(instrument="<i>radius</i>", tables={"table": table}, provenances=(facts,)))
    assert "<i>radius</i>" in page.text and "0.12346" in page.text
    assert "The first 12 of 20 rows" in page.text
    assert page.scripts == [] and not page.all("img")
    assert {"open": ""} in page.all("details")


def test_networks_are_listed_with_size_accuracy_and_weights():
    page = page_of(several("calibration", "ViT", "ResNet"), fourier("ViT"))
    assert page.text.count("25.56 M") == 2 and page.text.count("83.0%") >= 2
    assert "abababababab" in page.text and "ab" * 32 not in page.text.partition("What you see")[0]
    assert "How ViT and ResNet work inside" in page.text
    assert "Measured on photos (1,080 images)." in page.text
    without = page_of(fourier("ViT"))
    assert "accuracy" not in without.text.partition("What you see")[0]
    assert "How ViT works inside" in without.text


def test_many_networks_are_counted_in_the_headline():
    assert "How 4 networks work inside" in page_of(several("variance", "ViT", "ResNet", "PiT", "Swin")).text


def test_the_same_name_for_other_weights_is_said():
    other = variance("ViT")
    facts = {**other.provenances[0], "model": {"name": "ViT", "weights_sha256": "cd" * 32}}
    changed = Measurement(instrument="variance", tables=other.tables, provenances=(facts,))
    assert "ViT stands for different weights" in page_of(fourier("ViT"), changed).text
    assert "different weights" not in page_of(fourier("ViT"), other).text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"settings": {"axis": "paper"}}, "axis: textbook for ViT; paper for ResNet"),
        ({"settings": {}}, "axis: textbook for ViT; unknown for ResNet"),
        ({"images": 64}, "images: 1080 for ViT; 64 for ResNet"),
        ({"dtype": "bfloat16"}, "dtype: float32 for ViT; bfloat16 for ResNet"),
        (
            {"data": {"name": "digits", "fingerprint": "ef" * 9}},
            "data: photos (cdcdcdcd) for ViT; digits (efefefef) for",
        ),
    ],
)
def test_different_settings_are_said(changed: dict, said: str):
    one, other = fourier("ViT"), fourier("ResNet")
    facts = provenance("fourier", "ResNet", **changed)
    mixed = Measurement.concat([one, Measurement(instrument="fourier", tables=other.tables, provenances=(facts,))])
    text = page_of(mixed).text
    assert "Measured with different settings" in text and said in text
    assert "Measured with different settings" not in page_of(Measurement.concat([one, other])).text


def test_training_comes_first_and_is_no_network_of_its_own():
    text = page_of(fourier("ViT"), training("ViT")).text
    assert text.index("Did the networks learn") < text.index("Which units of the network")
    assert text.partition("What you see")[0].count("ViT") == 2 + 1  # title, headline, list


def test_notes_are_shown():
    assert "measured twice & <so on>" in page_of(fourier("ViT"), notes=("measured twice & <so on>",)).text


def test_a_page_that_cannot_be_written_is_an_os_error(tmp_path: Path):
    fourier("ViT").save(tmp_path / "measured")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"The report .*file.* cannot be written \(.*\)\. Make room"):
        render([tmp_path / "measured"], tmp_path / "file" / "report.html")
