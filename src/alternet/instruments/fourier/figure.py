"""Fourier figure: Δ log amplitude against frequency (Fig 2a) and, at the highest frequency, against depth (Fig 8)."""

from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import SubFigure

from alternet.measurement import Measurement
from alternet.plotting import depth_axis, interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import Drawing, columns, grid, model_styles, say_empty, title
from alternet.plotting.units import tally

VALUE = "delta_log_amplitude"
DEPTHS: Colormap = ListedColormap(colormaps["plasma"](np.linspace(0.0, 0.88, 256)), name="depth")


def highest(table: pd.DataFrame) -> pd.DataFrame:
    """Each unit at its highest frequency, one row a unit.

    A 1x1 map has no frequency but 0, where Δ is 0 by definition; its value is missing (NaN).

    Examples:
        >>> table = pd.DataFrame({"model": "a", "unit": [0, 0, 1], "frequency": [0.0, 1.0, 0.0], VALUE: [0, -2.0, 0]})
        >>> highest(table)[VALUE].tolist()
        [-2.0, nan]
    """
    ordered = table.sort_values("frequency", kind="stable")
    points = ordered.groupby(["model", "unit"], sort=False, as_index=False).tail(1).copy()
    points[VALUE] = points[VALUE].where(points["frequency"] > 0)
    return points.sort_index().reset_index(drop=True)


def draw(measurement: Measurement) -> Drawing:
    """One panel of spectra a model, and below them (beside it, for one model) all models against depth."""
    count = len(measurement.models)
    rows, across = grid(count)
    parts: Any
    if count == 1:
        figure = Drawing(figsize=(10.5, 4.2), layout="constrained")
        parts = figure.subfigures(1, 2, width_ratios=[1, 1.5])
    else:
        figure = Drawing(figsize=(10.5, 3.2 * rows + 4.0 + 0.22 * count), layout="constrained")
        parts = figure.subfigures(2, 1, height_ratios=[3.2 * rows, 4.0 + 0.22 * count])
    upper, lower = parts
    _spectra(upper, measurement, rows, across)
    _against_depth(lower, measurement)
    return figure


def _spectra(figure: SubFigure, measurement: Measurement, rows: int, across: int) -> None:
    axes = figure.subplots(rows, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, model in zip(axes, measurement.models, strict=False):
        _spectrum(axis, measurement.of(model).table)
        axis.set_title(title(model, 36))
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("frequency")
    for axis in axes[len(measurement.models) :]:
        axis.set_axis_off()
    for axis in axes[::across]:
        axis.set_ylabel("Δ log amplitude")
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), DEPTHS), ax=list(axes), aspect=30, pad=0.02)
    bar.set_label("normalised depth")
    bar.set_ticks([0, 0.5, 1], labels=["0 (stem)", "0.5", "1 (last)"])
    bar.outline.set_visible(False)


def _spectrum(axis: Axes, table: pd.DataFrame) -> None:
    if table[VALUE].isna().all():
        say_empty(axis)
    for _, curve in table.groupby("unit", sort=True):
        rows = curve.sort_values("frequency", kind="stable")
        colour = DEPTHS(float(rows["depth"].iloc[0]))
        axis.plot(rows["frequency"], rows[VALUE], color=colour, linewidth=1.1)
        axis.plot(rows["frequency"].iloc[-1:], rows[VALUE].iloc[-1:], "o", color=colour, markersize=2.5)
    axis.set_xlim(0, 1.02)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25π", "0.5π", "0.75π", "1.0π"])


def _against_depth(figure: SubFigure, measurement: Measurement) -> None:
    points, styles = highest(measurement.table), model_styles(measurement.models)
    layout = {model: depth_axis.spans(points[points["model"] == model]) for model in measurement.models}
    count = len(layout)
    same = depth_axis.alike(layout.values())
    height = 0.28 * count
    axes = figure.subplots(1 if same else 2, 1, sharex=True, squeeze=False, height_ratios=[1] if same else [4, height])
    axis = axes[0, 0]
    if same:
        depth_axis.shade(axis, next(iter(layout.values())))
    else:
        depth_axis.strips(axes[1, 0], layout, styles)
    for model, style in styles.items():
        depth_axis.curve(axis, points[points["model"] == model], VALUE, style)
    axis.set_title("At the highest frequency of each feature map")
    axis.set_ylabel("Δ log amplitude")
    depth_axis.finish(axes[-1, 0])
    entries = depth_axis.model_handles(styles) + depth_axis.kind_handles(points)
    where: dict[str, Any] = (
        {"loc": "outside lower center", "ncols": columns(len(entries), 4)}
        if count == 1
        else {"loc": "outside right center"}
    )
    figure.legend(handles=entries, **where)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, in how many units attention lowers and the others raise the amplitude."""
    points = highest(measurement.table)
    parts = ((model, points[points["model"] == model]) for model in measurement.models)
    return [f"{m}: {tally(part, VALUE, quantity='the high-frequency amplitude')}." for m, part in parts]


def plots(measurement: Measurement) -> list[Panel]:
    """The curves against depth, then one plot of spectra a model."""
    points, styles = highest(measurement.table), model_styles(measurement.models)
    figure = interactive.against_depth(points, VALUE, styles, name="Δ log amplitude")
    heading = "Δ log amplitude at the highest frequency of each feature map, against depth"
    first = Panel(title=heading, figure=figure, key=interactive.key(points), wide=True)
    values = measurement.table[VALUE].dropna()
    limits = [1.05 * min([0.0, *values]), 1.05 * max([0.0, *values])]
    alone = len(measurement.models) == 1
    return [first, *(_plot(measurement.of(model).table, model, limits, alone=alone) for model in measurement.models)]


def _plot(table: pd.DataFrame, model: str, limits: list[float], *, alone: bool) -> Panel:
    traces = [_trace(rows.sort_values("frequency", kind="stable")) for _, rows in table.groupby("unit", sort=True)]
    scale = [[float(x), interactive.rgb(DEPTHS(float(x)))] for x in np.linspace(0, 1, 9)]
    bar: dict[str, Any] = {"title": {"text": "depth"}, "thickness": 10, "outlinewidth": 0}
    marker = {"color": [0, 1], "colorscale": scale, "showscale": True, "colorbar": bar}
    traces.append({"x": [None, None], "y": [None, None], "mode": "markers", "marker": marker, "hoverinfo": "skip"})
    layout = interactive.layout(x="frequency (× π)", y="Δ log amplitude")
    layout["showlegend"], layout["yaxis"]["range"] = False, limits
    return Panel(title=model, figure={"data": traces, "layout": layout}, wide=alone)


def _trace(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    colour = interactive.rgb(DEPTHS(float(cast(float, first["depth"]))))
    return {
        "x": interactive.numbers(rows["frequency"]),
        "y": interactive.numbers(rows[VALUE]),
        "name": interactive.unit_name(first),
        "mode": "lines",
        "line": {"color": colour, "width": 1.5},
        "hovertemplate": "%{fullData.name}<br>%{x:.2f} π: %{y:.3f}<extra></extra>",
    }


EXHIBIT = Exhibit(
    title="Fourier analysis of feature maps",
    question="Which units of the network weaken fine detail, and which strengthen it?",
    columns={"table": ("model", "unit", "tap", "kind", "depth", "frequency", VALUE)},
    draw=draw,
    sentences=sentences,
    caution=(
        "Each curve is relative to the mean (frequency 0) of the same feature map, so only the step from one unit to "
        "the next means something: do not compare the amplitudes of different networks, nor of maps of different "
        "size. A step shows what a unit does to these images in this network; it does not show that the kind of unit "
        "is the cause, nor that more or less detail makes a better classifier."
    ),
    interactive=plots,
)
