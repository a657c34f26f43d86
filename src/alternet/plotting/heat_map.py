"""Heat map: a value for every pair of units, with the borders of stages and the kinds of units along its sides."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from alternet.kinds import kind_of
from alternet.plotting.depth_axis import SHADES
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Cells, ColourBar, Targets, belongs_to
from alternet.plotting.style import FAINT, INK, elide, label, say_empty

BELOW = "#000000"
COLOURS = colormaps["viridis"].with_extremes(under=BELOW, bad=(0, 0, 0, 0))
"""From 0, dark, to 1, bright; black below 0, where an unbiased estimate of 0 falls half of the time."""

UNDEFINED: dict[str, Any] = {"facecolor": "white", "hatch": "xxxx", "edgecolor": FAINT, "linewidth": 0}
STRIP = 0.045
"""Thickness of the strips of kinds, in parts of the heat map."""


class Side(NamedTuple):
    """The units of one model along a side: in forward order, with `unit`, `tap`, `kind` and `stage`."""

    model: str
    units: pd.DataFrame

    @property
    def borders(self) -> list[float]:
        """Where a stage ends, between two units."""
        stages = self.units["stage"].tolist()
        return [i - 0.5 for i in range(1, len(stages)) if stages[i] != stages[i - 1]]

    @property
    def kinds(self) -> list[str]:
        """Kind of every unit."""
        return self.units["kind"].tolist()

    @property
    def names(self) -> list[str]:
        """Every unit in one line."""
        rows = zip(self.units["unit"], self.units["tap"], self.kinds, strict=True)
        return [f"{unit} · {tap} ({kind_of(kind).words})" for unit, tap, kind in rows]


class Heat(NamedTuple):
    """Values and their standard errors [units of one model, units of the same or another]."""

    down: Side
    across: Side
    values: np.ndarray
    errors: np.ndarray

    @property
    def alone(self) -> bool:
        """Whether both sides are one model."""
        return self.down is self.across

    @property
    def undefined(self) -> bool:
        """Whether some value is missing."""
        return bool(np.isnan(self.values).any())

    @property
    def lowest(self) -> float:
        """The lowest value, or 0 if none is below."""
        return float(np.nanmin([0.0, *self.values.ravel()]))


def colour_bar(lowest: float, highest: float, quantity: str, *, below: str) -> ColourBar:
    """Colours from 0 to the highest value; what is below 0, if there is any, is said to be so much."""
    colours = ScalarMappable(Normalize(0, highest), COLOURS)
    return ColourBar(colours, quantity + below, "min") if lowest < 0 else ColourBar(colours, quantity)


def draw(axis: Axes, heat: Heat, *, quantity: str) -> Targets:
    """Draw a heat map of values up to 1; names on the axes lose their middle beyond 30 characters."""
    rows, columns = heat.values.shape
    left, bottom = -0.5 - STRIP * columns, -0.5 - STRIP * rows
    strips = [(kind, (at - 0.5, bottom), 1.0, 0.8 * (-0.5 - bottom)) for at, kind in enumerate(heat.across.kinds)]
    strips += [(kind, (left, at - 0.5), 0.8 * (-0.5 - left), 1.0) for at, kind in enumerate(heat.down.kinds)]
    with belongs_to(heat.down.model, axis):
        if heat.undefined:
            axis.add_patch(Rectangle((-0.5, -0.5), columns, rows, zorder=0, **UNDEFINED))
        axis.imshow(heat.values, COLOURS, vmin=0, vmax=1, origin="lower", aspect="auto", interpolation="none", zorder=1)
        for place in heat.across.borders:
            _border(axis, [place, place], [-0.5, rows - 0.5])
        for place in heat.down.borders:
            _border(axis, [-0.5, columns - 0.5], [place, place])
        for kind, corner, wide, tall in strips:
            axis.add_patch(Rectangle(corner, wide, tall, clip_on=False, **_fill(kind)))
    if np.isnan(heat.values).all():
        say_empty(axis)
    axis.set(xlim=(left, columns - 0.5), ylim=(bottom, rows - 0.5), box_aspect=1)
    for one, side in ((axis.xaxis, heat.across), (axis.yaxis, heat.down)):
        one.set_major_locator(MaxNLocator(8, integer=True))
        one.set_label_text(label("unit, from the stem on" if heat.alone else f"unit of {elide(side.model, 30)}"))
    axis.spines[["left", "bottom"]].set_visible(False)
    pairs = (zip(*row, strict=True) for row in zip(heat.values, heat.errors, strict=True))
    texts = [[_says(quantity, *pair) for pair in row] for row in pairs]
    extent = (-0.5, columns - 0.5, -0.5, rows - 0.5)
    return [Cells(axis, extent, heat.down.names, heat.across.names, texts, heat.down.model)]


def _says(quantity: str, value: float, error: float) -> str:
    if np.isnan(value):
        return f"{quantity} undefined"
    number = f"{quantity} {value:.3f}".replace("-", "−")
    return number if np.isnan(error) else f"{number} ± {error:.2g}"


def entries(heats: Iterable[Heat]) -> list[Entry]:
    """Legend entries for the kinds of units that occur, for the ends of stages and for what is undefined."""
    heats = list(heats)
    kinds = {kind for heat in heats for side in (heat.down, heat.across) for kind in side.kinds}
    shown = [Entry(Patch(**_fill(kind)), kind_of(kind).words) for kind in SHADES if kind in kinds]
    if kinds - set(SHADES):
        shown.append(Entry(Patch(**_fill("other")), "other units" if shown else "unit"))
    if any(side.borders for heat in heats for side in (heat.down, heat.across)):
        shown.append(Entry(Line2D([], [], color=INK, linewidth=0.7), "a stage ends"))
    if any(heat.undefined for heat in heats):
        shown.append(Entry(Patch(**UNDEFINED), "undefined"))
    return shown


def _fill(kind: str) -> dict[str, Any]:
    return {"facecolor": "white", "edgecolor": FAINT, "linewidth": 0.4} | SHADES.get(kind, {"edgecolor": FAINT})


def _border(axis: Axes, x: list[float], y: list[float]) -> None:
    """A line that is seen on dark and on bright colours."""
    axis.plot(x, y, color="white", linewidth=1.8, solid_capstyle="butt", zorder=2)
    axis.plot(x, y, color=INK, linewidth=0.7, solid_capstyle="butt", zorder=2)
