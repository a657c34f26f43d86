"""Fourier figure: Δ log amplitude against frequency (Fig 2a) and, at the highest frequency, against depth (Fig 8)."""

from functools import partial
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.fourier import Fourier
from alternet.instruments.key_number import KeyNumber
from alternet.measurement import Measurement
from alternet.plotting import depth_axis
from alternet.plotting.legend import Entry, models, put
from alternet.plotting.panel import ColourBar, Panel, Targets, belongs_to, lay, points
from alternet.plotting.style import Drawing, grid, model_styles, say_empty
from alternet.plotting.units import changes, tally, too_few

VALUE = "delta_log_amplitude"
DEPTHS: Colormap = ListedColormap(colormaps["plasma"](np.linspace(0.0, 0.88, 256)), name="depth")
BAR = ColourBar(
    ScalarMappable(Normalize(0, 1), DEPTHS), "normalised depth", ticks={0: "0 (stem)", 0.5: "0.5", 1: "1 (last)"}
)


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


def panels(measurement: Measurement) -> list[Panel]:
    """All models against depth, then the spectra of each, on one scale."""
    ends = highest(measurement.table)
    cells = {model: depth_axis.spans(ends[ends["model"] == model]) for model in measurement.models}
    looks, count = model_styles(measurement.models), len(cells)
    against_depth = Panel(
        title="At the highest frequency of each feature map",
        draw=partial(_against_depth, ends=ends, cells=cells, looks=looks),
        ratios=(1.0,) if depth_axis.alike(cells.values()) else (4.0, 0.28 * count),
        size=(5.0, 3.4 + 0.2 * count),
        wide=True,
    )
    values = measurement.table[VALUE].dropna()
    low, high = min([0.0, *values]), max([0.0, *values])
    limits = low - 0.04 * (high - low or 1.0), high + 0.04 * (high - low or 1.0)
    spectra = [
        Panel(title=model, draw=partial(_spectra, table=measurement.of(model).table, limits=limits), bar=BAR)
        for model in measurement.models
    ]
    return [against_depth, *spectra]


def _spectra(axis: Axes, table: pd.DataFrame, limits: tuple[float, float]) -> Targets:
    """A curve a unit; the end of each, which stands against depth, is dotted."""
    targets, model = [], str(table["model"].iloc[0])
    if table[VALUE].isna().all():
        say_empty(axis)
    for _, unit in table.groupby("unit", sort=True):
        rows = unit.sort_values("frequency", kind="stable")
        x, y, first = rows["frequency"], rows[VALUE], rows.iloc[0]
        colour = DEPTHS(float(rows["depth"].iloc[0]))
        with belongs_to(model, axis):
            axis.plot(x, y, color=colour, linewidth=1.1)
            axis.plot(x.iloc[-1:], y.iloc[-1:], "o", color=colour, markersize=2.5)
        texts = [f"{frequency:.2f}π: {value:.3f}" for frequency, value in zip(x, y, strict=True)]
        targets.append(points(axis, x, y, texts, name=depth_axis.unit_name(first), model=model))
    axis.set(xlim=(0, 1.02), ylim=limits, xlabel="frequency", ylabel="Δ log amplitude")
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25π", "0.5π", "0.75π", "1.0π"])
    return list(targets)


def _against_depth(
    axis: Axes,
    below: Axes | None = None,
    *,
    ends: pd.DataFrame,
    cells: dict[str, list[depth_axis.Span]],
    looks: dict[str, dict[str, Any]],
) -> Targets:
    """Curves of all models; their kinds of units as one background, or where they differ as strips below."""
    targets: Targets = []
    if below is None:
        depth_axis.shade(axis, next(iter(cells.values())))
    else:
        targets += depth_axis.strips(below, cells, looks)
    for model, look in looks.items():
        targets.append(depth_axis.curve(axis, ends[ends["model"] == model], VALUE, look))
    axis.set_ylabel("Δ log amplitude")
    depth_axis.finish(below or axis)
    return targets


def draw(measurement: Measurement) -> Drawing:
    """The spectra, and below them (beside them, for one model) all models against depth."""
    against_depth, *spectra = panels(measurement)
    rows, alone = grid(len(spectra))[0], len(spectra) == 1
    parts: Any
    if alone:
        figure = Drawing(figsize=(10.5, 4.2), layout="constrained")
        parts = figure.subfigures(1, 2, width_ratios=[1, 1.5])
    else:
        heights = [3.2 * rows, 4.0 + 0.22 * len(spectra)]
        figure = Drawing(figsize=(10.5, sum(heights)), layout="constrained")
        parts = figure.subfigures(2, 1, height_ratios=heights)
    lay(parts[0], spectra, sharex=True, sharey=True)
    lay(parts[1], [against_depth], titles=60, sharex=True)
    put(parts[1], legend(measurement), columns=4, **({} if alone else {"loc": "outside right center", "ncols": 1}))
    return figure


def legend(measurement: Measurement) -> list[Entry]:
    """Models, markers and shades."""
    return models(model_styles(measurement.models)) + depth_axis.kind_entries(highest(measurement.table))


def sentences(measurement: Measurement) -> list[str]:
    """For each model, in how many units attention lowers and the others raise the amplitude."""
    points = highest(measurement.table)
    parts = ((model, points[points["model"] == model]) for model in measurement.models)
    said = [f"{m}: {tally(part, VALUE, quantity='the high-frequency amplitude')}." for m, part in parts]
    return said + too_few(points)


def numbers(measurement: Measurement) -> dict[str, float | KeyNumber]:
    """At the highest frequency, the mean step of the units of each kind, and how many of attention are low-pass."""
    top = highest(measurement.table)
    found: dict[str, float | KeyNumber] = {}
    if "step" in top:
        groups = top.groupby("kind", sort=False)
        found = {f"high-frequency step of {kind}": rows["step"].mean() for kind, rows in groups}
    steps = top.assign(change=changes(top, VALUE))
    steps = steps[(steps["kind"] == "msa") & steps["change"].notna()]
    if len(steps):
        sure = "step_low" in steps and bool(steps["step_low"].notna().all())
        found["share of msa that lowers high frequencies"] = KeyNumber(
            value=(steps["change"] < 0).mean(),
            title="Attention low-pass",
            says="share of the attention units that lower the highest frequency of their map; from those that "
            "clearly do so to those that may",
            topic="feature maps",
            percent=True,
            low=(steps["step_high"] < 0).mean() if sure else nan,
            high=(steps["step_low"] <= 0).mean() if sure else nan,
        )
    return found


EXHIBIT = Exhibit(
    spec=Fourier.spec,
    panels=panels,
    legend=legend,
    draw=draw,
    sentences=sentences,
    numbers=numbers,
)
