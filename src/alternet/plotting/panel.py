"""Panel: one idea of a figure, drawn by a function of its axes that returns what its places say when pointed at."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import FigureBase
from numpy.typing import ArrayLike, NDArray

from alternet.plotting.legend import Entry, put
from alternet.plotting.style import Drawing, grid, per_inch, title


class Points(NamedTuple):
    """Places of an axis that say something each.

    Attributes:
        axis: Where they lie.
        boxes: Left, bottom, right and top of each in data coordinates [n, 4]; a point has no extent.
        texts: What each says, after the name.
        name: The first line of all of them: a model or a unit.
        model: Whose they are; they are silent while it is switched off.
    """

    axis: Axes
    boxes: NDArray
    texts: list[str]
    name: str = ""
    model: str = ""


class Cells(NamedTuple):
    """The cells of a matrix that say something each, after the names of their column and row.

    Attributes:
        axis: Where they lie.
        extent: Outer edge of the first column, of the last one, of the first row, of the last one.
        rows: Name of every row.
        columns: Name of every column.
        texts: What each cell says [rows, columns].
        model: Whose they are.
    """

    axis: Axes
    extent: tuple[float, float, float, float]
    rows: Sequence[str]
    columns: Sequence[str]
    texts: Sequence[Sequence[str]]
    model: str = ""


Targets = list[Points | Cells]


def points(
    axis: Axes, x: ArrayLike, y: ArrayLike, texts: Iterable[str], *, name: str = "", model: str | None = None
) -> Points:
    """Points of a curve, of the model that their name says if no other is given.

    Examples:
        >>> points(Drawing().subplots(), [1, 2], [3, 4], ["a", "b"]).boxes.tolist()
        [[1.0, 3.0, 1.0, 3.0], [2.0, 4.0, 2.0, 4.0]]
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return Points(axis, np.stack([x, y, x, y], axis=1), list(texts), name, name if model is None else model)


class ColourBar(NamedTuple):
    """The scale of the colours of a panel; panels that share one get it once."""

    colours: ScalarMappable
    label: str
    extend: str = "neither"
    ticks: Mapping[float, str] | None = None

    def add(self, part: FigureBase, axes: Sequence[Axes], **where: Any) -> None:
        """Put it beside axes."""
        bar = part.colorbar(self.colours, ax=list(axes), extend=self.extend, label=self.label, **where)
        bar.outline.set_visible(False)
        if self.ticks is not None:
            bar.set_ticks(list(self.ticks), labels=list(self.ticks.values()))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One idea of a figure: a picture of its own in a report, and a place in the figure that `draw` makes.

    Attributes:
        title: What it shows: a heading, not drawn by the panel itself.
        draw: Draws into the axes given, as many as there are ratios, with their labels, and says what lies where.
        ratios: Heights of its axes, one above the other, on one horizontal axis.
        projection: Of its axes, as matplotlib calls it.
        size: Width and height in inches where it stands alone.
        wide: Whether it needs more than a column of a page.
        bar: The scale of its colours.
        surface: The same as a surface that turns: a plotly figure as plain JSON values.
    """

    title: str
    draw: Callable[..., Targets]
    ratios: tuple[float, ...] = (1.0,)
    projection: str | None = None
    size: tuple[float, float] = (4.0, 2.9)
    wide: bool = False
    bar: ColourBar | None = None
    surface: Mapping[str, Any] | None = None


@contextmanager
def belongs_to(model: str, *axes: Axes) -> Iterator[None]:
    """Label everything that is drawn inside with its model, so that a page can dim it."""
    before = {artist for axis in axes for artist in axis.get_children()}
    yield
    for axis in axes:
        for artist in axis.get_children():
            if artist not in before:
                artist.set_label(model)


def lay(part: FigureBase, panels: Sequence[Panel], *, titles: int = 36, most: int = 3, **axes: Any) -> list[list[Axes]]:
    """Panels of one kind in rows and columns, each under its title; the left ones name the quantity for all.

    Args:
        part: Where to draw them.
        panels: One or more of the same ratios and projection.
        titles: Characters of a title in a line.
        most: Panels in a row, 2 or 3.
        **axes: Passed to `subplots`, as `sharey`.

    Returns:
        The axes of each panel.
    """
    first, (rows, across), high = panels[0], grid(len(panels), most), len(panels[0].ratios)
    options = {"subplot_kw": {"projection": first.projection}, "height_ratios": [*first.ratios] * rows} | axes
    made = part.subplots(high * rows, across, squeeze=False, **options)
    stacks = [list(made[high * row : high * (row + 1), column]) for row in range(rows) for column in range(across)]
    for place, stack in enumerate(stacks):
        if place >= len(panels):
            for axis in stack:
                axis.set_axis_off()
            continue
        panels[place].draw(*stack)
        stack[0].set_title(title(panels[place].title, titles))
        stack[-1].tick_params(labelbottom=True)  # which axes that share one lose, though an empty place may lie below
        for axis, left in zip(stack, stacks[place - place % across], strict=True):
            if axis is not left and axis.get_ylabel() == left.get_ylabel():
                axis.set_ylabel("")
    shown = stacks[: len(panels)]
    if first.bar is not None:
        first.bar.add(part, list(made.ravel()), aspect=25 * rows)
    return shown


def stacked(panels: Sequence[Panel], entries: Sequence[Entry] = (), *, columns: int = 3) -> Drawing:
    """Panels of different heights, one above the other, and one legend below.

    Args:
        panels: Each as high as its size says.
        entries: Of the legend.
        columns: Of the legend, at most.
    """
    heights = [panel.size[1] for panel in panels] or [1.0]
    figure = Drawing(figsize=(9.5, sum(heights) + 0.4), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel in zip(axes, panels, strict=False):
        panel.draw(axis)
        axis.set_title(title(panel.title, 60))
    put(figure, entries, columns=columns)
    return figure


def sheet(
    panels: Sequence[Panel],
    entries: Sequence[Entry] = (),
    *,
    columns: int = 3,
    names: int = 34,
    most: int = 3,
    **axes: Any,
) -> Drawing:
    """The figure that most instruments draw: their panels in rows and columns, and one legend below.

    Args:
        panels: As for `lay`.
        entries: Of the legend.
        columns: Of the legend, at most.
        names: Characters of a name in a line of the legend.
        most: Panels in a row, 2 or 3.
        **axes: Passed to `subplots`.
    """
    rows, across = grid(len(panels), most)
    width, alone = (10.5, 1.0) if across > 1 else (7.0, 1.0 if panels[0].wide else 1.25)
    height = alone * panels[0].size[1] * rows + 0.2 * (1 + -(-len(entries) // columns))
    columns_of_paper = 2 if across > 1 or panels[0].wide else 1
    figure = Drawing(figsize=(width, height), columns=columns_of_paper, layout="constrained")
    lay(figure, panels, titles=int(per_inch() * figure.get_figwidth() / across), most=most, **axes)
    put(figure, entries, width=names, columns=columns)
    return figure
