"""Style: colours, markers and text that read in grey, without a display and byte for byte alike every time."""

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alternet.errors import unknown
from alternet.measurement import MARKS
from alternet.storage import write_atomically

INK, FAINT = "#222222", "#767676"

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
"""One a model, after Okabe and Ito (2008): apart for every common colour blindness; yellow darkened for white paper."""

DASHES = ("solid", (0, (6, 1.5)), (0, (2, 1)), (0, (6, 1, 1, 1)), (0, (10, 2)), (0, (4, 1, 1, 1, 1, 1)))
"""One a model as well, so that lines stay apart in grey."""

POINTS = ("o", "s", "^", "D", "v", "P")
"""One a model where points are drawn that stand for no unit."""

RC: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "savefig.dpi": 160,
    "svg.hashsalt": "alternet",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # whole letters, which journals ask for
    "ps.fonttype": 42,
}

ENDINGS: Mapping[str, dict[str, None]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
"""Of files that figures are written as, with what keeps their bytes alike every time."""

SCREEN = "screen"
STYLES = (SCREEN, "paper", "paper-single", "paper-double")
"""What figures can be drawn for; the width of a paper's column is chosen by the figure, or named."""

WIDTHS = {1: 3.25, 2: 6.75}
"""Inches of one column and of both, as conferences set them."""

PAPER: dict[str, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # like Times, and what it lacks
    "mathtext.fontset": "stix",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "savefig.dpi": 300,
}
"""What differs in print."""

_STYLE: ContextVar[str] = ContextVar("style", default=SCREEN)
_CAST: ContextVar[tuple[str, ...]] = ContextVar("cast", default=())
_COLOURS: ContextVar[Mapping[str, str]] = ContextVar("colours", default={})  # noqa: B039 - nobody changes it


class Drawing(Figure):
    """A figure that a notebook shows without pyplot, drawn and written in the style in which it was begun.

    Args:
        figsize: Width and height in inches on a screen; in a paper's style they become those of its columns.
        columns: How many columns of a paper it needs; by default one where it is not wide.
        **options: As of a figure.
    """

    def __init__(
        self, figsize: tuple[float, float] | None = None, *, columns: int | None = None, **options: Any
    ) -> None:
        self.begun_in = _STYLE.get()
        if figsize is not None and self.begun_in != SCREEN:
            figsize = _on_paper(figsize, columns)
        super().__init__(figsize=figsize, **options)

    def savefig(self, *args: Any, **options: Any) -> None:
        if self.begun_in == SCREEN:
            return super().savefig(*args, **options)
        with _in_style(self.begun_in), context():
            return super().savefig(*args, **options)

    def _repr_svg_(self) -> str:
        return svg(self)


@contextmanager
def context(changed: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw in this style, whatever the user's own settings are; they are back afterwards."""
    own = RC | (PAPER if _STYLE.get() != SCREEN else {}) | dict(changed or {})
    with matplotlib.style.context(["default", own]), warnings.catch_warnings():
        # names of models may be in any script; matplotlib draws a box for what its font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@contextmanager
def drawn_for(name: str) -> Iterator[None]:
    """Draw for a screen or a paper inside: sizes of figures, fonts and lines.

    Raises:
        ValueError: There is no such style.

    Examples:
        >>> with drawn_for("paper"):
        ...     float(Drawing(figsize=(10.5, 4.0)).get_figwidth())
        6.75
    """
    if name not in STYLES:
        raise unknown("No style", name, STYLES)
    with _in_style(name):
        yield


@contextmanager
def _in_style(name: str) -> Iterator[None]:
    token = _STYLE.set(name)
    try:
        yield
    finally:
        _STYLE.reset(token)


def _on_paper(size: tuple[float, float], columns: int | None) -> tuple[float, float]:
    """A size on a screen as one on paper, where letters are larger beside the rest, and so heights shrink less."""
    named = {"paper-single": 1, "paper-double": 2}.get(_STYLE.get(), columns or (1 if size[0] < ONE_COLUMN else 2))
    width = WIDTHS[named]
    return width, min(LONGEST, size[1] * (width / size[0]) ** 0.75)


ONE_COLUMN, LONGEST = 7.0, 9.0
"""Inches: below which width on a screen a figure fits a column of a paper, and how high a page is."""


def letters(points: float) -> float:
    """A size of letters beside those of the style: what stands in so many points on a screen is smaller in print.

    Examples:
        >>> letters(8.0), letters(9.0)
        (8.0, 9.0)
    """
    return points * (PAPER["font.size"] / RC["font.size"] if _STYLE.get() != SCREEN else 1.0)


def per_inch() -> float:
    """Letters of a title that stand in an inch."""
    return 10.5 if _STYLE.get() == SCREEN else 15.0


@contextmanager
def cast(models: Iterable[str]) -> Iterator[None]:
    """Give each model the same look in every figure drawn inside, also in those that lack some of the models."""
    token = _CAST.set(tuple(models))
    try:
        yield
    finally:
        _CAST.reset(token)


@contextmanager
def coloured(colours: Mapping[str, str]) -> Iterator[None]:
    """Draw models in colours of one's own, by their names, inside."""
    token = _COLOURS.set(dict(colours))
    try:
        yield
    finally:
        _COLOURS.reset(token)


def model_styles(models: tuple[str, ...], *, points: bool = False) -> dict[str, dict[str, Any]]:
    """A colour and a dash pattern for each model, by its place in the cast or, outside one, in the order given.

    Args:
        models: Their names.
        points: Whether to give each a marker as well, for points that stand for no unit.

    Examples:
        >>> model_styles(("a", "b"))["b"]["color"]
        '#D55E00'
        >>> with cast(["b", "a"]):
        ...     model_styles(("a", "b"))["b"]["color"]
        '#0072B2'
    """
    order = list(dict.fromkeys((*_CAST.get(), *models)))
    looks: dict[str, dict[str, Any]] = {}
    for model in models:
        place = order.index(model)
        turn = place + place // len(COLOURS)  # one further each time the colours begin again, so that no pair recurs
        plain = next((model.removesuffix(mark) for mark in MARKS if model.endswith(mark)), model)
        colour = _COLOURS.get().get(plain, COLOURS[place % len(COLOURS)])
        looks[model] = {"color": colour, "linestyle": DASHES[turn % len(DASHES)]}
        if points:
            looks[model]["marker"] = POINTS[turn % len(POINTS)]
    return looks


def elide(name: str, width: int) -> str:
    """A name of at most `width` characters: what is too long loses its middle.

    Examples:
        >>> elide("swin_tiny_patch4_window7_224", 16)
        'swin_tin…ow7_224'
    """
    if len(name) <= width:
        return name
    head = (width - 1) // 2 + 1
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def label(name: str, width: int = 0) -> str:
    r"""A name as matplotlib text: wrapped to `width` characters if given, never read as mathematics.

    Examples:
        >>> label("a$b"), label("resnet50@best.pth", 10)
        ('a\\$b', 'resnet50@b\nest.pth')
    """
    # a control character would make an SVG that no reader takes
    visible = "".join(c if c.isprintable() else " " for c in name)
    lines = textwrap.wrap(visible, width, break_on_hyphens=False) if width else [visible]
    return "\n".join(lines).replace("$", r"\$")


def title(name: str, width: int) -> str:
    r"""A name above a panel, in two lines of `width` characters if need be; still longer, it loses its middle.

    Examples:
        >>> title("resnet50", 10), title("vit_base_patch16_clip_224", 10)
        ('resnet50', 'vit_base_p\n…_clip_224')
    """
    return label(elide(name, 2 * width), width)


def short(value: float) -> str:
    """Three digits, and never an exponent for what is large.

    Examples:
        >>> short(1283.2), short(12.84), short(0.0031)
        ('1,283', '12.8', '0.0031')
    """
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def grid(panels: int, most: int = 3) -> tuple[int, int]:
    """Rows and columns for so many panels: at most two or three across, and few places empty.

    Examples:
        >>> [grid(panels) for panels in (1, 2, 3, 4, 5)], grid(5, most=2)
        ([(1, 1), (1, 2), (1, 3), (2, 2), (2, 3)], (3, 2))
    """
    across = 3 if most == 3 and panels in (3, 5, 6) else min(panels, 2)
    return -(-panels // across), across


def columns(entries: int, at_most: int) -> int:
    """How many columns a legend needs so that its rows are equally long and none is longer than `at_most`.

    Examples:
        >>> columns(7, at_most=7), columns(8, at_most=7), columns(10, at_most=4)
        (7, 4, 4)
    """
    rows = -(-entries // at_most)
    return -(-entries // rows)


def say_empty(axis: Axes) -> None:
    """Say in an axis that there is nothing to draw, so that it does not look like an oversight."""
    axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center", va="center", color=FAINT)


def svg(figure: Figure) -> str:
    """The figure as SVG text, the same bytes for the same numbers."""
    buffer = io.StringIO()
    with context():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as `.svg`, `.png` or `.pdf`, whole or not at all, the same bytes for the same numbers.

    Raises:
        ValueError: The ending is none of these.
        OSError: It cannot be written.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"Cannot write a figure as {path.name!r}: its name must end in .svg, .png or .pdf.")
    picture = io.BytesIO()
    with context():
        figure.savefig(picture, format=path.suffix.removeprefix("."), metadata=ENDINGS[path.suffix])
    write_atomically(path, picture.getvalue())
    return path
