"""The page: self-contained, escaped, honest about what differs, the same bytes every time."""

import base64
import hashlib
import io
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from tests.figures.crafted import (
    MAKERS,
    calibration,
    fourier,
    landscape,
    provenance,
    several,
    training,
    variance,
)
from tests.report.page import Page, embedded, read

from alternet.instruments import figures
from alternet.instruments.catalogue import instruments
from alternet.instruments.exhibit import Exhibit
from alternet.instruments.spec import Spec, number
from alternet.measurement import Measurement
from alternet.report import render
from alternet.report.contents import contents
from alternet.report.render import html as to_html

pytestmark = pytest.mark.slow

MADE = (fourier, variance, calibration)
PANELS = 4 + 3 + 3
HOSTILE = "<script>alert(1)</script> </title> \"q\" 'a' & </script><img src=x onerror=alert(2)>"


def page_of(*measurements: Measurement, notes: tuple[str, ...] = ()) -> Page:
    """The page on some measurements, in memory."""
    page = Page()
    page.feed(to_html(contents(measurements, notes)))
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three models, with a hostile name among them."""
    folder = tmp_path_factory.mktemp("report")
    for name, shown in (("ResNet", "ResNet"), ("Swin", "Swin"), ("ViT", HOSTILE)):
        for make in MADE:
            make(name, shown).save(folder / "measured")
    return render([folder], folder / "report.html")


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return read(out)


def test_every_section_has_its_question_caution_and_numbers_and_each_sentence_once(page: Page):
    for make in MADE:
        measured = Measurement.concat([make("ResNet"), make("Swin"), make("ViT", HOSTILE)])
        exhibit = figures.FIGURES[measured.instrument]
        for text in (exhibit.title, exhibit.spec.question, exhibit.spec.caution, *figures.sentences(measured)):
            assert text in page.text
        of_models = [said for said in figures.sentences(measured) if said.startswith(measured.marked().models)]
        assert sum(page.text.count(sentence) for sentence in of_models) == 3
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
    assert len(page.scripts) == 2 + PANELS and not page.all("img")
    assert {target.get("name") for target in page.data("targets")[0]} == {"ResNet", "Swin", HOSTILE}
    assert any(tag == "text" for tag, _ in page.tags)


def test_figures_lie_beside_the_page_and_their_panels_in_it(out: Path, page: Page):
    for make in MADE:
        measured = Measurement.concat([make("ResNet"), make("Swin"), make("ViT", HOSTILE)])
        with figures.cast(("ResNet", "Swin", HOSTILE)):
            whole = figures.svg(figures.draw(measured))
            assert all(panel.title in page.text for panel in figures.panels(measured))
        assert (out.parent / "figures" / f"{measured.instrument}.svg").read_text() == whole
        assert (out.parent / "figures" / f"{measured.instrument}.png").read_bytes().startswith(b"\x89PNG")
    plots = [attributes for _, attributes in page.tags if attributes.get("class") == "plot"]
    assert len(plots) == PANELS and all(
        plot["aria-label"] and plot["aria-describedby"].startswith("says-") for plot in plots
    )
    signs = sum(len(figures.legend(Measurement.concat([make("ResNet"), make("Swin"), make("ViT")]))) for make in MADE)
    assert len(page.all("svg")) == PANELS + signs + 3  # and one before each network of the first table


def test_a_click_in_a_legend_finds_what_it_dims(page: Page):
    buttons = [button for button in page.all("button") if "data-models" in button]
    assert [button["data-models"] for button in buttons] == ["0", "1", "2"] * 2  # in the first table and in a legend
    assert all(button["aria-pressed"] == "true" for button in buttons)
    assert all("disabled" in button for button in page.all("button"))
    classes = [attributes["class"] for _, attributes in page.tags if re.fullmatch(r"m\d", attributes.get("class", ""))]
    assert {"m0", "m1", "m2"} == set(classes)
    assert {target["model"] for panel in page.data("targets") for target in panel} == {0, 1, 2}
    alone = page_of(variance("ViT"), fourier("ViT"))
    assert not alone.all("button")


def test_the_whole_table_can_be_saved(out: Path, page: Page):
    links = {link["download"]: link["href"] for link in page.all("a") if "download" in link}
    assert set(links) == {"fourier.csv.gz", "variance.csv", "calibration.csv", "calibration-reliability.csv"}
    saved = pd.read_csv(io.StringIO(embedded(links["fourier.csv.gz"])), float_precision=None)
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
    assert out.stat().st_size < 700_000


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


def test_plotly_is_in_the_page_only_where_a_surface_turns(tmp_path: Path):
    flat = "import sys; from tests.report.test_render import page_of, variance; page_of(variance('ViT'))"
    code = f"{flat}; print('plotly' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
    out = render([landscape("ViT").save(tmp_path)], tmp_path / "report.html")
    page = read(out)
    plotly, ours = page.code()[:2]
    assert "plotly.js" in plotly[:300] and "enlarge" in ours
    (surface,) = page.data("surface")
    assert surface["data"][0]["type"] == "surface" and 4e6 < out.stat().st_size < 7e6


def test_without_plotly_a_surface_is_its_picture_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    page = page_of(landscape("ViT"))
    assert "plotly was not installed" in page.text
    assert len(page.code()) == 2 and not page.data("surface")
    assert "plotly was not installed" not in page_of(variance("ViT")).text


def test_every_instrument_together_makes_a_page_of_less_than_a_megabyte():
    measured = {*instruments(), "training"} - {"landscape"}  # which brings plotly
    source = to_html(contents([several(name, "ViT", "ResNet", "Swin") for name in MAKERS if name in measured], ()))
    page = Page()
    page.feed(source)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 100
    used = {found for _, a in page.tags for value in a.values() for found in re.findall(r"url\(#([^)]+)\)", value)}
    used |= {a["href"][1:] for tag, a in page.tags if tag == "use"}
    assert used <= set(ids)
    assert not [a for tag, a in page.tags if tag == "style" and a]
    assert len(source) < 1_000_000


def test_a_figure_without_panels_is_one_picture(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "FIGURES", dict(figures.FIGURES))

    def draw(measurement: Measurement) -> Figure:
        figure = Figure()
        figure.subplots().plot(measurement.table["radius"], label=measurement.models[0])
        return figure

    tables = {"table": {"radius": number("its length")}}
    spec = Spec(name="radius", order=1000, title="Radius", question="How large?", caution="Nothing.", tables=tables)
    figures.register("radius", Exhibit(spec=spec, draw=draw, sentences=lambda m: ["a: 1."]))
    table = pd.DataFrame({"model": ["a"] * 2, "radius": [0.1, 0.2]})
    page = page_of(Measurement(instrument="radius", tables={"table": table}, provenances=(provenance("radius", "a"),)))
    assert len(page.all("svg")) == 1 and page.data("targets") == [[]]


def test_an_instrument_without_a_figure_is_shown_by_its_table():
    table = pd.DataFrame({"model": ["a"] * 20, "radius": [0.123456789] * 20})
    facts = provenance("<i>radius</i>", "a")
    page = page_of(Measurement(instrument="<i>radius</i>", tables={"table": table}, provenances=(facts,)))
    assert "<i>radius</i>" in page.text and "0.12346" in page.text
    assert "The first 12 of 20 rows" in page.text
    assert page.scripts == [] and not page.all("img")
    assert {"open": ""} in page.all("details")


def test_networks_are_listed_with_their_weights():
    page = page_of(several("calibration", "ViT", "ResNet"), fourier("ViT"))
    assert page.text.count("25.6 M") == 2 and "83.0 %" in page.text
    assert "abababababab" in page.text and "ab" * 32 not in page.text.partition("What one may not conclude")[0]
    assert "How ViT and ResNet work inside" in page.text
    assert "Measured on photos (1,080 images)." in page.text
    assert "How ViT works inside" in page_of(fourier("ViT")).text


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
    assert text.index("Did the networks learn") < text.index("Which spatial frequencies do feature maps hold")
    assert text.partition("Did the networks learn")[0].count("ViT") == 2 + 2  # title, headline, first table, list


def test_notes_are_shown():
    assert "measured twice & <so on>" in page_of(fourier("ViT"), notes=("measured twice & <so on>",)).text


def test_a_page_that_cannot_be_written_is_an_os_error(tmp_path: Path):
    fourier("ViT").save(tmp_path / "measured")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"The report .*file.* cannot be written \(.*\)\. Make room"):
        render([tmp_path / "measured"], tmp_path / "file" / "report.html")
