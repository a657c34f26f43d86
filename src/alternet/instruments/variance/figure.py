"""Variance figure: feature-map variance against depth, one panel a model (Fig 9 and D.1 of the paper)."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.variance import Variance
from alternet.measurement import Measurement
from alternet.plotting import depth_axis
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel, Targets
from alternet.plotting.style import model_styles, say_empty
from alternet.plotting.units import tally, too_few

VALUE = "variance"


def panels(measurement: Measurement) -> list[Panel]:
    """One panel a model with its own scale: variances of different networks are not comparable."""
    looks = model_styles(measurement.models)
    return [
        Panel(title=model, draw=partial(_against_depth, table=measurement.of(model).table, look=look))
        for model, look in looks.items()
    ]


def _against_depth(axis: Axes, table: pd.DataFrame, look: dict[str, Any]) -> Targets:
    depth_axis.shade(axis, depth_axis.spans(table))
    targets = depth_axis.curve(axis, table, VALUE, look | {"linestyle": "solid"})
    if table[VALUE].isna().all():
        say_empty(axis)
    axis.set_ylabel("feature-map variance")
    axis.set_ylim(bottom=0)
    depth_axis.finish(axis)
    return [targets]


def legend(measurement: Measurement) -> list[Entry]:
    """What markers and shades mean."""
    return depth_axis.kind_entries(measurement.table)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, in how many units attention lowers and the others raise the variance, and where it peaks."""
    said = []
    for model in measurement.models:
        points = measurement.of(model).table
        known = points.dropna(subset=[VALUE])
        if known.empty:
            said.append(f"{model}: no variance could be measured.")
            continue
        top = known.sort_values(VALUE, kind="stable").iloc[-1]
        peak = f"it is largest, {top[VALUE]:.3g}, at depth {top['depth']:.2f} ({top['tap']})"
        said.append(f"{model}: {tally(points, VALUE, quantity='the variance of feature maps')}; {peak}.")
    return said + too_few(measurement.table)


def numbers(measurement: Measurement) -> dict[str, float]:
    """The mean step of the units of each kind: below 0 where they even maps out."""
    table = measurement.table
    if "step" not in table:
        return {}
    return {f"step of {kind}": rows["step"].mean() for kind, rows in table.groupby("kind", sort=False)}


EXHIBIT = Exhibit(
    spec=Variance.spec,
    panels=panels,
    legend=legend,
    layout={"columns": 6, "sharex": True},
    sentences=sentences,
    numbers=numbers,
)
