"""Inline: a panel as a picture inside a page: its SVG, and what its places say when they are pointed at."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alternet.plotting import style
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Cells, Panel, Targets
from alternet.plotting.style import Drawing

DPI = 72
"""One pixel of matplotlib is one unit of the SVG, so that `transData` gives places in the picture itself."""

SHORT = {"d", "x", "y", "points"}
"""Attributes whose numbers are cut to a hundredth of a point."""

CIRCLE = re.compile(r"M0 (?P<r>[\d.]+)(?:C[^CLz]*){4} 0 -(?P=r)(?:C[^CLz]*){4} 0 (?P=r)z")
"""How matplotlib draws one, in eight curves; as two arcs it takes a seventh of the letters."""

LONG = 500
"""Of curves of so many letters a tenth of a point is enough."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A panel in a page.

    Attributes:
        title: Its heading.
        svg: An element of HTML; every name in it is escaped.
        targets: What its places say, as `figures.js` reads it.
        wide: Whether it needs more than a column.
        width: Of the picture, in its own units.
        surface: A plotly figure to take its place.
    """

    title: str
    svg: str
    targets: list[dict[str, Any]]
    wide: bool
    width: float
    surface: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Sign:
    """An entry of a legend in a page; `model` is the place of its model in the page, if it stands for one."""

    svg: str
    text: str
    model: int | None


def picture(panel: Panel, models: Sequence[str], prefix: str) -> Picture:
    """Draw a panel by itself.

    Args:
        panel: What to draw.
        models: All models of the page; the script knows them by their places.
        prefix: Begins all ids in the picture, so that none occurs twice in the page.
    """
    figure = Drawing(figsize=panel.size, dpi=DPI, layout="constrained")
    with style.context():
        options = {"subplot_kw": {"projection": panel.projection}, "height_ratios": panel.ratios}
        axes = list(figure.subplots(len(panel.ratios), 1, sharex=True, squeeze=False, **options)[:, 0])
        found = panel.draw(*axes)
        if panel.bar is not None:
            panel.bar.add(figure, axes, aspect=25)
    svg = inline(figure, models, prefix)  # saving does the layout, after which transData holds
    return Picture(
        title=panel.title,
        svg=svg,
        targets=list(placed(found, models)),
        wide=panel.wide,
        width=DPI * panel.size[0],
        surface=panel.surface,
    )


def whole(figure: Figure, title: str, models: Sequence[str], prefix: str) -> Picture:
    """A figure that is not made of panels, as one picture."""
    svg = inline(figure, models, prefix)
    return Picture(title=title, svg=svg, targets=[], wide=True, width=DPI * figure.get_figwidth(), surface=None)


def sign(entry: Entry, models: Sequence[str], prefix: str) -> Sign:
    """Draw an entry of a legend: the sign alone, since the page sets its text."""
    figure = Drawing(figsize=(0.42, 0.2), dpi=DPI)
    with style.context():
        bare = {"frameon": False, "borderpad": 0, "borderaxespad": 0, "handletextpad": 0, "handlelength": 2.6}
        figure.legend([entry.handle], [""], loc="center", **bare)
    place = models.index(entry.model) if entry.model in models else None
    return Sign(svg=inline(figure, models, prefix), text=entry.text, model=place)


def inline(figure: Figure, models: Sequence[str], prefix: str) -> str:
    """A figure as an SVG element of a page: texts as texts, ids of its own, artists of a model in a class."""
    figure.patch.set_visible(False)
    for axis in figure.axes:
        for number, artist in enumerate(axis.get_children()):
            if isinstance(name := artist.get_label(), str) and name in models:
                artist.set_gid(f"m{models.index(name)} {number}")  # an id occurs once; `_rename` makes a class of it
    buffer = io.StringIO()
    with style.context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})  # the same numbers give the same page
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 - matplotlib has just written it
    _strip(root)
    _rename(root, prefix)
    _flatten(root)
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>").replace(' style=""', "")


def _strip(root: ElementTree.Element) -> None:
    """Take out what a page has no use for: name spaces, metadata, size, superfluous digits.

    The style sheet goes as well, since it would hold for all of the page; its rules stand in `page.css`.
    """
    for one in list(root.iter()):
        one.tag = one.tag.rpartition("}")[2]
        one.text, one.tail = (text if text and text.strip() else None for text in (one.text, one.tail))
        one.attrib = dict(_shortened(name.rpartition("}")[2], value) for name, value in one.items())
        if one.get("transform", "").startswith("rotate(-0 "):
            del one.attrib["transform"]
    for parent in root.iter():
        parent[:] = [child for child in parent if child.tag not in ("metadata", "style")]
    for name in ("width", "height", "version"):
        del root.attrib[name]
    root.set("aria-hidden", "true")  # the frame around it has a label, and what can be pointed at is read out
    stroked = {one.get("id") for one in root.iter("path") if "stroke:" in one.get("style", "")}
    lines = {one.get("id") for one in root.iter("path") if "z" not in one.get("d", "z") and one.get("id") in stroked}
    for one in root.iter("use"):
        if one.get("href", "")[1:] in stroked:  # the marker says already how it is stroked
            one.set("style", re.sub(r"stroke[^;]*;?", "", one.get("style", "")))
        if one.get("href", "")[1:] in lines:
            del one.attrib["style"]


def _shortened(name: str, value: str) -> tuple[str, str]:
    """An attribute in fewer letters: without superfluous digits and blanks, and without what the page says of texts."""
    if name in SHORT:
        digits = 1 if len(value) > LONG else 2
        value = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.{digits}f}".rstrip("0").rstrip("."), value)
        value = re.sub(r"\s*([A-Za-z]|\s)\s*", r"\1", value.strip())
        value = _relative(CIRCLE.sub(_arcs, value)) if name == "d" else value
    if name == "style":
        if "font-size" in value:
            value = (
                value if "text-anchor" in value else f"text-anchor: start; {value}"
            )  # the page puts the middle there
            value = re.sub(r"(font-family:[^;]*|font-size: 9px|fill: #222222|text-anchor: middle)(; |$)", "", value)
        value = re.sub(r"([:;]) ", r"\1", value)
    return name, value


def _arcs(circle: re.Match[str]) -> str:
    radius, across = circle["r"], f"{2 * float(circle['r']):g}"
    return f"M-{radius} 0a{radius} {radius} 0 1 1 {across} 0a{radius} {radius} 0 1 1 -{across} 0z"


def _relative(path: str) -> str:
    """A path of straight lines by its steps, which take fewer letters than its places.

    Examples:
        >>> _relative("M10.5 20L11 19.5L11.2 20.25M3 4L3 5z")
        'M10.5 20l.5-.5 .2 .75m-8.2-16.25l0 1z'
    """
    parts = re.findall(r"([A-Za-z])([^A-Za-z]*)", path)
    if {letter for letter, _ in parts} - {"M", "L", "z"}:
        return path
    steps, before, start, at = [], "", (0.0, 0.0), (0.0, 0.0)
    for letter, place in parts:
        if letter == "z":
            steps, before, at = [*steps, "z"], "z", start
            continue
        x, y = map(float, place.split())
        letter = letter.lower() if steps else "M"
        numbers = [f"{number:.2f}".rstrip("0").rstrip(".") for number in (x - at[0], y - at[1])]
        short = [re.sub(r"^(-?)0\.", r"\1.", "0" if number == "-0" else number) for number in numbers]
        text = " ".join(short).replace(" -", "-")
        joint = "" if text.startswith("-") else " "
        steps.append(f"{joint}{text}" if letter == before == "l" else f"{letter}{text}")
        before, at = letter, (x, y)
        start = at if letter in "mM" else start
    return "".join(steps)


REFERENCE = re.compile(r"(?:(?<=^)|(?<=url\())#([\w-]+)")
"""Where an attribute names an element: all of a link, or within `url()`; colours stand in others."""


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Put models into classes, give what something refers to an id of its own in the page, and drop all other ids."""
    links = [(one, key) for one in root.iter() for key, value in one.items() if key == "href" or "url(#" in value]
    used = dict.fromkeys(name for one, key in links for name in REFERENCE.findall(one.attrib[key]))
    names = {name: f"{prefix}-{number}" for number, name in enumerate(used)}
    for one, key in links:
        one.set(key, REFERENCE.sub(lambda found: f"#{names[found[1]]}", one.attrib[key]))
    for one in root.iter():
        name = one.attrib.pop("id", "")
        if re.fullmatch(r"m\d+ \d+", name):
            one.set("class", name.partition(" ")[0])
        elif name in names:
            one.set("id", names[name])


def _flatten(parent: ElementTree.Element) -> None:
    """Put the children of groups that say nothing into the place of their group."""
    kept: list[ElementTree.Element] = []
    for child in parent:
        _flatten(child)
        plain = child.tag in ("g", "defs") and not child.attrib
        kept += list(child) if plain and (child.tag == "g" or not len(child)) else [child]
    parent[:] = kept


def placed(targets: Targets, models: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Where in the picture, and what each place says; what lies outside its axes is left out."""
    for target in targets:
        model = models.index(target.model) if target.model in models else None
        if isinstance(target, Cells):
            left, right, first, last = target.extent
            grid = _rounded(_pixels(target.axis, np.array([[left, first], [right, last]])).ravel())
            names = {"rows": list(target.rows), "columns": list(target.columns)}
            yield {"model": model, "grid": grid, **names, "texts": [text for row in target.texts for text in row]}
            continue
        known = np.array([bool(np.isfinite(box).all()) for box in target.boxes], dtype=bool)
        corners = [_pixels(target.axis, target.boxes[known][:, side]) for side in (slice(0, 2), slice(2, 4))]
        low, size = np.minimum(*corners), abs(corners[1] - corners[0])
        frame = _down(target.axis, target.axis.bbox.get_points())
        middle, room = low + size / 2, 0.5  # what lies on the edge lies within, whatever was rounded
        inside = ((middle >= frame.min(axis=0) - room) & (middle <= frame.max(axis=0) + room)).all(axis=1)
        if inside.any():
            texts = [text for text, shown in zip(target.texts, known, strict=True) if shown]
            kept = [(*each, text) for *each, text, shown in zip(low, size, texts, inside, strict=True) if shown]
            boxes = [_rounded([*corner, *(extent if extent.any() else ())]) for corner, extent, _ in kept]
            yield {"model": model, "name": target.name, "boxes": boxes, "texts": [text for *_, text in kept]}


def _pixels(axis: Axes, data: NDArray) -> NDArray:
    """Where data lies in the picture."""
    return _down(axis, axis.transData.transform(data))


def _down(axis: Axes, places: NDArray) -> NDArray:
    """Places of matplotlib as those of the SVG, whose y goes down."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    return np.stack([places[:, 0], figure.bbox.height - places[:, 1]], axis=1)


def _rounded(numbers: Sequence[float] | NDArray) -> list[float]:
    return [round(float(number), 1) for number in numbers]
