"""Surface: a grid of heights as a surface and as contours, on paper and under the mouse, with one scale for several."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm, to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import FigureBase
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.axes3d import Axes3D

from alternet.plotting import interactive
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
    return Scale(low, max(min(high, CUT * typical) if typical > 0 else high, low + 1e-9))


def within(grid: Grid, shown: Scale) -> np.ndarray:
    """The heights without those beyond the scale."""
    return np.where(grid.loss <= shown.high, grid.loss, np.nan)


def add_axes(part: FigureBase, where: SubplotSpec) -> Axes3D:
    """Axes in perspective with quiet grid lines; matplotlib takes their colour when it makes them."""
    with mpl.rc_context({"grid.color": "#E4E4E4", "grid.linewidth": 0.6}):
        axis = part.add_subplot(where, projection="3d")
    assert isinstance(axis, Axes3D)
    return axis


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


def draw_contours(axis: Axes, grid: Grid, shown: Scale) -> ContourSet:
    """The same from above, the model as a cross in the centre."""
    levels = shown.low + (shown.high - shown.low) * np.linspace(0, 1, LEVELS) ** (1 / EASE)
    filled = axis.contourf(grid.x, grid.y, within(grid, shown), levels=levels, cmap=MAP, norm=_colours(shown))
    axis.contour(grid.x, grid.y, within(grid, shown), levels=levels, colors="white", linewidths=0.4)
    axis.plot(0, 0, marker="+", color="white", markersize=8, markeredgewidth=1.4)
    axis.set(aspect="equal", xlabel="x", xlim=_ends(grid.x), ylim=_ends(grid.y), facecolor="#EEEEEE")
    axis.set(xticks=[grid.x[0], *_inside(grid.x), grid.x[-1]], yticks=[grid.y[0], *_inside(grid.y), grid.y[-1]])
    return filled


BAR = {"orientation": "h", "thickness": 8, "len": 0.7, "y": 0, "yanchor": "top", "outlinewidth": 0} | {
    "tickfont": {"size": 10}
}
"""Below the surface, since a third of a page is narrow."""


def plot(grid: Grid, shown: Scale) -> dict[str, Any]:
    """The surface as a plotly figure that turns under the mouse."""
    z = within(grid, shown)
    surface = {
        "type": "surface",
        "x": interactive.numbers(grid.x),
        "y": interactive.numbers(grid.y),
        "z": [interactive.numbers(row) for row in z],
        "customdata": [[[value] for value in interactive.numbers(row)] for row in grid.nll],
        "colorscale": [[(k / 10) ** (1 / EASE), to_hex(mpl.colormaps[MAP](k / 10))] for k in range(11)],
        "cmin": shown.low,
        "cmax": shown.high,
        "colorbar": BAR,
        "contours": {"z": {"show": True, "usecolormap": True, "project": {"z": True}, "width": 1}},
        "hovertemplate": "x %{x:.3g}, y %{y:.3g}<br>loss +%{z:.4g}<br>NLL +%{customdata[0]:.4g}<extra></extra>",
    }
    axis = {"gridcolor": "#DDDDDD", "zeroline": False, "backgroundcolor": "white", "showspikes": False}
    layout = interactive.layout(x="", y="")
    del layout["xaxis"], layout["yaxis"]
    layout["scene"] = {
        "xaxis": axis | {"title": {"text": "x"}},
        "yaxis": axis | {"title": {"text": "y"}},
        "zaxis": axis | {"title": {"text": ""}, "range": [shown.low, shown.high]},  # the key says it
        "aspectmode": "manual",
        "aspectratio": {"x": 1, "y": 1, "z": 0.8},
        "camera": {"eye": {"x": 1.4, "y": -1.6, "z": 0.85}, "center": {"x": 0, "y": 0, "z": -0.14}},
        "dragmode": "turntable",
    }
    layout["font"] = layout["font"] | {"color": INK}
    return {"data": [surface], "layout": layout}


def _colours(shown: Scale) -> PowerNorm:
    return PowerNorm(EASE, shown.low, shown.high)


def _inside(values: np.ndarray) -> list[float]:
    """Ticks away from the corners, where those of two axes would meet."""
    low, high = _ends(values)
    return [low + part * (high - low) for part in (0.25, 0.5, 0.75)] if high > low else [low]


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
