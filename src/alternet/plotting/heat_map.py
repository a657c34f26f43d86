"""Heat map: a value for every pair of units, with the borders of stages and the kinds of units along its sides."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from alternet.kinds import KINDS
from alternet.plotting.depth_axis import SHADES
from alternet.plotting.interactive import layout, numbers, plain_text, rgb
from alternet.plotting.style import FAINT, INK, elide, kind_name, label, say_empty

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
        return [f"{unit} · {tap} ({kind_name(kind)})" for unit, tap, kind in self._rows]

    @property
    def _rows(self) -> Iterator[tuple[int, str, str]]:
        return zip(self.units["unit"], self.units["tap"], self.kinds, strict=True)


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


def panel(axis: Axes, heat: Heat, *, width: int) -> None:
    """Draw a heat map of values up to 1; names on the axes lose their middle beyond `width` characters."""
    rows, columns = heat.values.shape
    if heat.undefined:
        axis.add_patch(Rectangle((-0.5, -0.5), columns, rows, zorder=0, **UNDEFINED))
    axis.imshow(heat.values, COLOURS, vmin=0, vmax=1, origin="lower", aspect="auto", interpolation="none", zorder=1)
    if np.isnan(heat.values).all():
        say_empty(axis)
    for place in heat.across.borders:
        _border(axis, [place, place], [-0.5, rows - 0.5])
    for place in heat.down.borders:
        _border(axis, [-0.5, columns - 0.5], [place, place])
    for kind, (x, y, wide, tall) in _cells(heat):
        axis.add_patch(Rectangle((x, y), wide, tall, clip_on=False, **_fill(kind)))
    limits = _limits(heat)
    axis.set(xlim=limits[0], ylim=limits[1], box_aspect=1)
    for one, side in ((axis.xaxis, heat.across), (axis.yaxis, heat.down)):
        one.set_major_locator(MaxNLocator(8, integer=True))
        one.set_label_text(label(_of(heat, side, width)))
    axis.spines[["left", "bottom"]].set_visible(False)


def handles(heats: Iterable[Heat]) -> list[Artist]:
    """Legend entries for the kinds of units that occur, and for what is undefined."""
    heats = list(heats)
    kinds = {kind for heat in heats for side in (heat.down, heat.across) for kind in side.kinds}
    shown: list[Artist] = [Patch(**_fill(kind), label=kind_name(kind)) for kind in SHADES if kind in kinds]
    if kinds - set(SHADES):
        shown.append(Patch(**_fill("other"), label="other units" if shown else "unit"))
    if any(heat.undefined for heat in heats):
        shown.append(Patch(**UNDEFINED, label="undefined"))
    return shown


def plot(heat: Heat, *, quantity: str) -> dict[str, Any]:
    """The same as a plotly figure; hovering names both units."""
    down, across = ([plain_text(name) for name in side.names] for side in (heat.down, heat.across))
    error = "" if np.isnan(heat.errors).all() else " ± %{customdata:.2g}"
    trace = {
        "type": "heatmap",
        "x": across,
        "y": down,
        "z": [numbers(row) for row in heat.values],
        "customdata": [numbers(row) for row in heat.errors],
        "zmin": heat.lowest,
        "zmax": 1,
        "colorscale": scale(heat.lowest),
        "colorbar": {"title": {"text": quantity}, "thickness": 10, "outlinewidth": 0},
        "hovertemplate": f"%{{y}}<br>%{{x}}<br>{quantity} %{{z:.3f}}{error}<extra></extra>",
        "hoverongaps": False,
    }
    made = layout(x=plain_text(_of(heat, heat.across, 40)), y=plain_text(_of(heat, heat.down, 40)))
    for axis, limits in zip(("xaxis", "yaxis"), _limits(heat), strict=True):
        made[axis] |= {"type": "category", "showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
        made[axis] |= {"range": list(limits)}
    made["margin"] = made["margin"] | {"t": 32}  # so that the buttons do not lie on the last units
    return {"data": [trace], "layout": made | {"shapes": [*_border_shapes(heat), *_strip_shapes(heat)]}}


def key(heat: Heat) -> tuple[str, ...]:
    """What the strips and colours of the plotly figure mean, as far as they occur."""
    kinds = {*heat.down.kinds, *heat.across.kinds}
    strips = [f"{it.hue} in the strips: {it.words}" for it in KINDS.values() if it.hue and it.name in kinds]
    lines = ["lines: a stage ends"] if heat.down.borders or heat.across.borders else []
    below = ["black: below 0"] if heat.lowest < 0 else []
    return (*strips, *lines, *below, *(["white: undefined"] if heat.undefined else []))


def _of(heat: Heat, side: Side, width: int) -> str:
    return "unit, from the stem on" if heat.alone else f"unit of {elide(side.model, width)}"


def _limits(heat: Heat) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of x and y: the heat map and the strips before it."""
    rows, columns = heat.values.shape
    return (-0.5 - STRIP * columns, columns - 0.5), (-0.5 - STRIP * rows, rows - 0.5)


def _cells(heat: Heat) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    """The strips below and beside the heat map: for every unit its kind, and corner, width and height of its cell."""
    (left, _), (bottom, _) = _limits(heat)
    for place, kind in enumerate(heat.across.kinds):
        yield kind, (place - 0.5, bottom, 1.0, 0.8 * (-0.5 - bottom))
    for place, kind in enumerate(heat.down.kinds):
        yield kind, (left, place - 0.5, 0.8 * (-0.5 - left), 1.0)


def _fill(kind: str) -> dict[str, Any]:
    return {"facecolor": "white", "edgecolor": FAINT, "linewidth": 0.4} | SHADES.get(kind, {"edgecolor": FAINT})


def _border(axis: Axes, x: list[float], y: list[float]) -> None:
    """A line that is seen on dark and on bright colours."""
    axis.plot(x, y, color="white", linewidth=1.8, solid_capstyle="butt", zorder=2)
    axis.plot(x, y, color=INK, linewidth=0.7, solid_capstyle="butt", zorder=2)


def _border_shapes(heat: Heat) -> Iterator[dict[str, Any]]:
    rows, columns = heat.values.shape
    ends = [{"x0": at, "x1": at, "y0": -0.5, "y1": rows - 0.5} for at in heat.across.borders]
    ends += [{"x0": -0.5, "x1": columns - 0.5, "y0": at, "y1": at} for at in heat.down.borders]
    for colour, width in (("white", 3), (INK, 1)):
        for where in ends:
            yield {"type": "line", "line": {"color": colour, "width": width}} | where


def _strip_shapes(heat: Heat) -> Iterator[dict[str, Any]]:
    for kind, (x, y, wide, tall) in _cells(heat):
        where = {"x0": x, "x1": x + wide, "y0": y, "y1": y + tall}
        yield {
            "type": "rect",
            "fillcolor": rgb(_fill(kind)["facecolor"]),
            "line": {"color": FAINT, "width": 0.5},
        } | where


def scale(lowest: float) -> list[list[Any]]:
    """The colours from the lowest value to 1 as plotly reads them: black below 0, then as drawn."""
    zero = -lowest / (1 - lowest)
    steps = [[zero + (1 - zero) * float(x), rgb(COLOURS(float(x)))] for x in np.linspace(0, 1, 17)]
    steps[-1][0] = 1.0
    return [[0.0, BELOW], [zero, BELOW], *steps] if zero else steps
