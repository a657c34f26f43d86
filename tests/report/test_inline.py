"""A panel in a page: what can be pointed at lies where it was drawn, texts are texts, ids and styles stay inside."""

import re
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.figures.crafted import MAKERS, several

from alternet.instruments import figures
from alternet.plotting.legend import Entry, models
from alternet.plotting.panel import Cells, Panel, Points, Targets, belongs_to, points
from alternet.report.inline import picture, sign

NAMES = ["ResNet", "ViT"]
HOSTILE = '</svg><script>alert(1)</script> id="a" url(#a) $x$'


def square(axis: Axes, found: list) -> Targets:
    """Axes whose place in the picture is known: a tenth is left free on every side."""
    axis.set_position((0.1, 0.1, 0.8, 0.8))
    axis.set_axis_off()
    axis.set(xlim=(0, 10), ylim=(0, 10))
    return [target._replace(axis=axis) for target in found]


def shown(*found: Points | Cells) -> list[dict]:
    panel = Panel(title="t", draw=partial(square, found=list(found)), size=(5.0, 2.5))
    return picture(panel, NAMES, "a").targets


def test_a_box_lies_where_its_data_does_and_y_goes_down():
    axis: Axes = None  # type: ignore[assignment]  # `square` puts it in
    (point,) = shown(points(axis, [0, 10, 5], [0, 10, 5], ["low", "high", "middle"], name="ViT"))
    assert point == {
        "model": 1,
        "name": "ViT",
        "boxes": [[36.0, 162.0], [324.0, 18.0], [180.0, 90.0]],
        "texts": ["low", "high", "middle"],
    }
    (bar,) = shown(Points(axis, np.array([[0.0, 0.0, 5.0, 10.0]]), ["bar"]))
    assert bar == {"model": None, "name": "", "boxes": [[36.0, 18.0, 144.0, 144.0]], "texts": ["bar"]}
    upright, turned = (Cells(axis, (0, 10, *ends), ["r"], ["c", "d"], [["1", "2"]]) for ends in ((0, 10), (10, 0)))
    grids = shown(upright, turned)
    assert [grid["grid"] for grid in grids] == [[36.0, 162.0, 324.0, 18.0], [36.0, 18.0, 324.0, 162.0]]
    assert grids[0]["texts"] == ["1", "2"] and grids[0]["columns"] == ["c", "d"]


def test_what_is_missing_or_outside_of_its_axes_cannot_be_pointed_at():
    axis: Axes = None  # type: ignore[assignment]
    (point,) = shown(points(axis, [np.nan, 11, 5, 4], [1, 1, 5, np.inf], ["a", "b", "c", "d"]))
    assert point["texts"] == ["c"]
    assert shown(points(axis, [20], [20], ["far"])) == []


@pytest.mark.slow
@pytest.mark.parametrize("instrument", MAKERS)
def test_every_place_of_every_panel_goes_back_to_its_data(instrument: str):
    for panel in figures.panels(several(instrument, *NAMES)):
        kept: list[Points | Cells] = []

        def draw(*axes: Axes, panel: Panel = panel, kept: list = kept) -> Targets:
            kept[:] = panel.draw(*axes)
            return kept

        made = picture(Panel(**{**vars(panel), "draw": draw}), NAMES, "a")
        high = kept[0].axis.get_figure(root=True).bbox.height if kept else 0
        for target, placed in zip([t for t in kept if isinstance(t, Cells) or len(t.boxes)], made.targets, strict=True):
            assert placed["model"] == NAMES.index(target.model)
            if isinstance(target, Cells):
                ends = np.array(placed["grid"]).reshape(2, 2)
                wanted = [[target.extent[0], target.extent[2]], [target.extent[1], target.extent[3]]]
            else:
                ends = np.array([[box[0], box[1]] for box in placed["boxes"]])  # upper left corners
                texts = {text: box for box, text in zip(target.boxes, target.texts, strict=True)}
                wanted = [[texts[text][0], texts[text][3]] for text in placed["texts"]]
            if len(set(placed["texts"])) < len(placed["texts"]) and not isinstance(target, Cells):
                continue  # two places say the same
            pixels = target.axis.transData.transform(np.array(wanted, dtype=float))
            np.testing.assert_allclose(np.stack([ends[:, 0], high - ends[:, 1]], axis=1), pixels, atol=0.06)


def hostile(axis: Axes) -> Targets:
    with belongs_to(HOSTILE, axis):
        axis.plot([0, 1], [0, 1])
    axis.text(0.5, 0.5, HOSTILE.replace("$", r"\$"))
    axis.imshow([[0.0, 1.0], [1.0, 0.0]], extent=(0, 1, 0, 1), interpolation="none")
    return [points(axis, [0.5], [0.5], ["said"], name=HOSTILE)]


def test_names_are_texts_ids_have_a_prefix_and_no_style_sheet_is_left():
    made = picture(Panel(title=HOSTILE, draw=hostile), [HOSTILE], "s1p2")
    root = ElementTree.fromstring(made.svg)
    assert "<script" not in made.svg and root.tag == "svg"
    assert HOSTILE in ["".join(text.itertext()) for text in root.iter("text")]
    assert not [one for one in root.iter() if one.tag in ("style", "script", "metadata", "a")]
    ids = [one.get("id", "") for one in root.iter() if one.get("id")]
    assert ids and len(ids) == len(set(ids)) and all(re.fullmatch(r"s1p2-\d+", one) for one in ids)
    for one in root.iter():
        for link in [*re.findall(r"url\(#(.*?)\)", " ".join(one.attrib.values())), one.get("href", "")[1:]]:
            assert not link or link in ids or one.tag == "image"
    assert [one.get("class") for one in root.iter("g") if one.get("class")] == ["m0"]
    (image,) = root.iter("image")
    assert image.get("href", "").startswith("data:image/png;base64,") and len(list(root.iter("rect"))) <= 1
    again = picture(Panel(title=HOSTILE, draw=hostile), [HOSTILE], "s1p2")
    assert made == again


def test_the_class_of_an_artist_is_the_place_of_its_model_in_the_page():
    (panel, *_) = figures.panels(several("frequency_noise", "ViT"))
    root = ElementTree.fromstring(picture(panel, [*NAMES, "Swin", "PiT"], "a").svg)
    groups = [one for one in root.iter("g") if one.get("class")]
    assert {one.get("class") for one in groups} == {"m1"}
    assert all("#0072b2" in ElementTree.tostring(one, encoding="unicode") for one in groups)


def test_a_matrix_is_an_image_and_not_as_many_cells():
    matrix = np.linspace(0, 1, 2500).reshape(50, 50)
    panel = Panel(title="m", draw=lambda axis: axis.imshow(matrix, interpolation="none") and [])
    assert len(picture(panel, [], "a").svg) < 20_000


def test_colours_survive_and_hatches_find_their_pattern():
    (entry,) = [e for e in figures.legend(several("fourier", "Swin")) if e.text == "subsampling acts here"]
    made = sign(entry, ["Swin"], "l")
    assert made.model is None and "#cfe6f7" in made.svg.lower()
    (pattern,) = re.findall(r"url\(#(l-\d+)\)", made.svg)
    assert f'id="{pattern}"' in made.svg


def test_a_sign_knows_its_model_and_leaves_the_text_to_the_page():
    (entry,) = models({"ViT": {"color": "#D55E00"}}, {"ViT": "75%"})
    made = sign(entry, NAMES, "a")
    assert (made.text, made.model) == ("ViT: 75%", 1)
    assert "<text" not in made.svg and "#d55e00" in made.svg
    assert sign(Entry(entry.handle, "other"), NAMES, "a").model is None


def test_what_is_shortened_lies_where_it_was():
    """A line by its steps does not drift, a circle stays one, and a text of two lines begins where it began."""

    def drawn(axis: Axes) -> Targets:
        axis.plot(np.arange(200), np.random.default_rng(0).normal(size=200), label="ViT", linewidth=3)
        axis.plot([3], [0], "o", color="black", markersize=9)
        axis.text(10, 0, "two\nlines", ha="left", fontsize=9)
        square(axis, [])
        axis.set(xlim=(0, 199), ylim=(-4, 4))
        return []

    svg = picture(Panel(title="t", draw=drawn), NAMES, "a").svg
    root = ElementTree.fromstring(svg)
    paths = {one.get("style", ""): one.get("d", "") for one in root.iter("path")}
    (line,) = (path for style, path in paths.items() if "stroke-width:3" in style)
    steps = np.array([float(number) for number in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", line)]).reshape(-1, 2)
    x = steps.cumsum(axis=0)[:, 0]
    assert "l" in line and len(x) > 150  # matplotlib joins steps that go the same way
    places = (x - 28.8) / (230.4 / 199)  # from a tenth of the width to nine tenths
    np.testing.assert_allclose(places, places.round(), atol=0.06)  # long paths have one digit
    assert places[[0, -1]].round().tolist() == [0, 199]
    (circle,) = (path for path in paths.values() if "a" in path)
    assert circle == "M-4.5 0a4.5 4.5 0 1 1 9 0a4.5 4.5 0 1 1 -9 0z"
    assert all("text-anchor:start" in one.get("style", "") for one in root.iter("text"))
