"""Surface: a grid of heights as a surface and as contours, on paper and under the mouse, with one scale for several."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm, to_hex
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.axes3d import Axes3D
from numpy.typing import NDArray

from alternet.plotting.panel import ColourBar
from alternet.plotting.style import FAINT, INK

MAP, LEVELS = "plasma", 13
CUT = 2.0
"""Heights beyond so many times the median at the rim are cut off, so that a spike does not flatten all the rest."""

EASE = 0.5
"""Colours and contours follow height to this power, so that the rings of a bowl are evenly spaced."""


class Grid(NamedTuple):
    """Heights above the centre; nan where they are not finite.

    Attributes:
        x: Coordinates along a row.
        y: Coordinates along a column.
        loss: NLL + L2 [y, x].
        nll: NLL alone [y, x].
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    nll: np.ndarray


class Scale(NamedTuple):
    """Lowest and highest height that all models are drawn with."""

    low: float
    high: float


def heights(table: pd.DataFrame) -> Grid:
    """The grid of one model.

    Examples:
        >>> table = pd.DataFrame({"x": [-1, 0, 1], "y": [0, 0, 0], "loss": [4.0, 1.0, 3.0], "nll": [2.0, 1.0, 2.5]})
        >>> heights(table).loss.tolist()
        [[3.0, 0.0, 2.0]]
    """
    centre = table.iloc[int((table["x"] ** 2 + table["y"] ** 2).to_numpy().argmin())]
    squares = [table.pivot(index="y", columns="x", values=part).astype(float) for part in ("loss", "nll")]
    loss, nll = (square.to_numpy() - float(centre[part]) for square, part in zip(squares, ("loss", "nll"), strict=True))
    return Grid(squares[0].columns.to_numpy(float), squares[0].index.to_numpy(float), loss, nll)


def scale(grids: Sequence[Grid]) -> Scale:
    """One scale for all, up to the highest point unless that is a spike.

    Examples:
        >>> flat = np.array([[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 90.0]])
        >>> scale([Grid(np.arange(3), np.arange(3), flat, flat)])
        Scale(low=0.0, high=3.0)
    """
    known = np.concatenate([grid.loss[np.isfinite(grid.loss)] for grid in grids])
    if not len(known):
        return Scale(0.0, 1.0)
    rims = [np.concatenate([g.loss[0], g.loss[-1], g.loss[1:-1, 0], g.loss[1:-1, -1]]) for g in grids]
    typical = max((float(np.median(rim[np.isfinite(rim)])) for rim in rims if np.isfinite(rim).any()), default=0.0)
    low, high = min(0.0, float(known.min())), float(known.max())
    # a flat surface still needs a scale that is not empty
    return Scale(low, max(min(high, CUT * typical) if typical > 0 else high, low + 1e-9))


def within(grid: Grid, shown: Scale) -> np.ndarray:
    """The heights without those beyond the scale."""
    return np.where(grid.loss <= shown.high, grid.loss, np.nan)


def draw_surface(axis: Axes3D, grid: Grid, shown: Scale) -> None:
    """The surface in perspective, the lines of the grid on it."""
    across, along = np.meshgrid(grid.x, grid.y)
    look: dict[str, Any] = {"rstride": 1, "cstride": 1, "linewidth": 0.25, "edgecolor": "#FFFFFF88"}
    axis.plot_surface(across, along, within(grid, shown), cmap=MAP, norm=_colours(shown), **look)
    axis.set(zlim=(shown.low, shown.high), xlim=_ends(grid.x), ylim=_ends(grid.y))
    axis.set(xticks=_inside(grid.x), yticks=_inside(grid.y))
    axis.zaxis.set_major_locator(MaxNLocator(5))
    axis.view_init(elev=22, azim=-55)
    axis.set_box_aspect((1, 1, 0.85))
    axis.tick_params(pad=-3, labelsize=7)
    axis.set_xlabel("x", labelpad=-8)
    axis.set_ylabel("y", labelpad=-8)
    sides: tuple[Any, ...] = (axis.xaxis, axis.yaxis, axis.zaxis)
    for side in sides:
        side.set_pane_color((1, 1, 1, 0))
        side.line.set_color(FAINT)


def levels(shown: Scale) -> NDArray:
    """The heights of contours."""
    return shown.low + (shown.high - shown.low) * np.linspace(0, 1, LEVELS) ** (1 / EASE)


def colour_bar(shown: Scale) -> ColourBar:
    """The scale of heights, every other contour named."""
    ticks = {float(level): f"{level:.3g}" for level in levels(shown)[::2]}
    return ColourBar(ScalarMappable(_colours(shown), MAP), "loss above the centre", ticks=ticks)


def draw_contours(axis: Axes, grid: Grid, shown: Scale) -> None:
    """The same from above, the model as a cross in the centre."""
    rings = levels(shown)
    axis.contourf(grid.x, grid.y, within(grid, shown), levels=rings, cmap=MAP, norm=_colours(shown))
    axis.contour(grid.x, grid.y, within(grid, shown), levels=rings, colors="white", linewidths=0.4)
    axis.plot(0, 0, marker="+", color="white", markersize=8, markeredgewidth=1.4)
    axis.set(aspect="equal", xlabel="x", ylabel="y", xlim=_ends(grid.x), ylim=_ends(grid.y), facecolor="#EEEEEE")
    axis.set(xticks=[grid.x[0], *_inside(grid.x), grid.x[-1]], yticks=[grid.y[0], *_inside(grid.y), grid.y[-1]])


BAR = {"orientation": "h", "thickness": 8, "len": 0.7, "y": 0, "yanchor": "top", "outlinewidth": 0} | {
    "tickfont": {"size": 10}
}
"""Below the surface, since a third of a page is narrow."""


def turning(grid: Grid, shown: Scale) -> dict[str, Any]:
    """The surface as a plotly figure that turns under the mouse, as plain JSON values: plotly is not imported here."""
    data = {
        "type": "surface",
        "x": numbers(grid.x),
        "y": numbers(grid.y),
        "z": [numbers(row) for row in within(grid, shown)],
        "customdata": [[[value] for value in numbers(row)] for row in grid.nll],
        "colorscale": [[(k / 10) ** (1 / EASE), to_hex(colormaps[MAP](k / 10))] for k in range(11)],
        "cmin": shown.low,
        "cmax": shown.high,
        "colorbar": BAR,
        "contours": {"z": {"show": True, "usecolormap": True, "project": {"z": True}, "width": 1}},
        "hovertemplate": "x %{x:.3g}, y %{y:.3g}<br>loss +%{z:.4g}<br>NLL +%{customdata[0]:.4g}<extra></extra>",
    }
    axis = {"gridcolor": "#DDDDDD", "zeroline": False, "backgroundcolor": "white", "showspikes": False}
    scene = {
        "xaxis": axis | {"title": {"text": "x"}},
        "yaxis": axis | {"title": {"text": "y"}},
        "zaxis": axis | {"title": {"text": ""}, "range": [shown.low, shown.high]},  # the heading says it
        "aspectmode": "manual",
        "aspectratio": {"x": 1, "y": 1, "z": 0.8},
        "camera": {"eye": {"x": 1.4, "y": -1.6, "z": 0.85}, "center": {"x": 0, "y": 0, "z": -0.14}},
        "dragmode": "turntable",
    }
    font = {"family": "system-ui, sans-serif", "size": 12, "color": INK}
    margin = dict.fromkeys("lrtb", 10)
    layout = {"autosize": True, "font": font, "paper_bgcolor": "white", "margin": margin, "scene": scene}
    return {"data": [data], "layout": layout}


def numbers(values: Iterable[float]) -> list[float | None]:
    """Numbers to six digits for JSON; what is missing or infinite becomes None, a gap.

    Examples:
        >>> numbers([1 / 3, float("nan")])
        [0.333333, None]
    """
    return [float(f"{value:.6g}") if isfinite(value) else None for value in values]


def _colours(shown: Scale) -> PowerNorm:
    return PowerNorm(EASE, shown.low, shown.high)


def _inside(values: np.ndarray) -> list[float]:
    """Ticks away from the corners, where those of two axes would meet."""
    low, high = _ends(values)
    return [low + part * (high - low) for part in (0.25, 0.5, 0.75)] if high > low else [low]


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
