"""Lesion figure: the change of accuracy without each unit against depth, one panel a model (Fig 10b, D.4)."""

from functools import partial
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.lesion import Lesion
from alternet.measurement import Measurement
from alternet.plotting import depth_axis
from alternet.plotting.depth_axis import ERROR
from alternet.plotting.disturbed import interval, loss
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, model_styles, say_empty
from alternet.plotting.units import counted

VALUE = "delta_accuracy"
POINTS = "points"
LEFT_ALONE = "left alone: changes shape"
"""What a unit without a number is called: its convolution could not be taken out."""
DOTTED = (0, (1, 2))


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the change of accuracy, its error and its interval in percentage points, in order of units.

    Examples:
        >>> table = pd.DataFrame({"unit": [1], "delta_accuracy": [-0.25], "standard_error": [0.01]})
        >>> in_points(table)["points"].tolist()
        [-25.0]
    """
    scaled = table.assign(points=100 * table[VALUE], standard_error=100 * table[ERROR])
    if {"low", "high"} <= set(table):
        scaled = scaled.assign(low=100 * table["low"], high=100 * table["high"])
    return scaled.sort_values("unit", kind="stable").reset_index(drop=True)


def borders(points: pd.DataFrame) -> list[float]:
    """The depths between the last unit of a stage and the first of the next, from rows in order of units.

    Examples:
        >>> borders(pd.DataFrame({"depth": [0.0, 0.5, 1.0], "stage": [0, 0, 1]}))
        [0.75]
    """
    rows = zip(points["depth"], points["stage"], strict=True)
    return [(before + after) / 2 for (before, old), (after, new) in pairwise(rows) if old != new]


def at_stage_ends(points: pd.DataFrame) -> pd.Series:
    """Which rows are attention at the end of a stage: its last attention, if at most one unit comes after it.

    That one is the MLP of the same block, where blocks have one.

    Examples:
        >>> kinds = ["msa", "mlp", "msa", "mlp", "conv", "msa"]
        >>> at_stage_ends(pd.DataFrame({"kind": kinds, "stage": [0, 0, 0, 0, 1, 1]})).tolist()
        [False, False, True, False, False, True]
    """
    behind = points.groupby("stage", sort=False).cumcount(ascending=False)
    attention = points["kind"] == "msa"
    later = points.assign(msa=attention).iloc[::-1].groupby("stage", sort=False)["msa"].cumsum().reindex(points.index)
    return attention & (later == 1) & (behind <= 1)


def panels(measurement: Measurement) -> list[Panel]:
    """One panel a model with its own scale, which reaches as far as its largest loss."""
    looks = model_styles(measurement.models)
    return [
        Panel(title=model, draw=partial(_losses, table=in_points(measurement.of(model).table), colour=look["color"]))
        for model, look in looks.items()
    ]


def _losses(axis: Axes, table: pd.DataFrame, colour: str) -> Targets:
    known, lost = table.dropna(subset=[POINTS]), table[table[POINTS].isna()]
    model = str(table["model"].iloc[0])
    if known.empty:
        say_empty(axis)
    axis.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    with belongs_to(model, axis):
        axis.vlines(known["depth"], 0, known[POINTS], color=colour, linewidth=3, alpha=0.3, zorder=2)
        values = depth_axis.curve(axis, known, POINTS, {"color": colour, "linestyle": "none"})
        axis.plot(lost["depth"], [0.0] * len(lost), "x", color=FAINT, markersize=5, zorder=4)
    for border in borders(table):
        axis.axvline(border, color=FAINT, linewidth=0.9, linestyle=DOTTED, zorder=1)
    axis.set_ylabel("Δ accuracy (percentage points)")
    depth_axis.finish(axis)
    texts = [
        f"{depth_axis.unit_name(row)}\nloss {loss(row, POINTS, percent=1)} points\n"
        f"accuracy {row['accuracy']:.1%}, Δ NLL {row['delta_nll']:+.3g}"
        for _, row in known.iterrows()
    ]
    crosses = [f"{depth_axis.unit_name(row)}\n{LEFT_ALONE}" for _, row in lost.iterrows()]
    return [values._replace(texts=texts), points(axis, lost["depth"], 0 * lost["depth"], crosses, name=model)]


def legend(measurement: Measurement) -> list[Entry]:
    """What markers, crosses and lines mean."""
    table = measurement.table
    # its markers alone: this figure has no shades
    entries = [entry for entry in depth_axis.kind_entries(table) if isinstance(entry.handle, Line2D)]
    if table[VALUE].isna().any():
        cross = Line2D([], [], marker="x", markeredgecolor=FAINT, linestyle="none")
        entries.append(Entry(cross, LEFT_ALONE))
    if any(borders(in_points(part)) for _, part in table.groupby("model", sort=False)):
        dots = Line2D([], [], color=FAINT, linewidth=0.9, linestyle=DOTTED)
        entries.append(Entry(dots, "between stages"))
    return entries


def sentences(measurement: Measurement) -> list[str]:
    """For each model, the unit whose removal costs most, and attention at the ends of stages beside all other units."""
    said = []
    for model in measurement.models:
        points = in_points(measurement.of(model).table)
        known = points.dropna(subset=[POINTS])
        if known.empty:
            said.append(f"{model}: no unit could be removed.")
            continue

        worst = known.sort_values(POINTS, kind="stable").iloc[0]
        most = "no unit costs more than chance explains"
        _, highest = interval(worst.to_frame().T, POINTS)
        if worst[POINTS] < 0 and not highest.iloc[0] > 0:
            now, before = worst["accuracy"], worst["accuracy"] - worst[VALUE]
            lost = f"{loss(worst, POINTS, percent=1)} points of accuracy, from {before:.1%} to {now:.1%}"
            most = f"removing {depth_axis.unit_name(worst)} costs most, {lost}"
        clauses = [most]

        ends = at_stage_ends(known)
        if ends.any() and not ends.all():
            mean, other = -known.loc[ends, POINTS].mean(), -known.loc[~ends, POINTS].mean()
            these, others = (counted(int(some.sum()), "unit") for some in (ends, ~ends))
            clauses.append(
                f"attention at the end of a stage ({these}) costs {_number(mean)} points on average, "
                f"all else ({others}) {_number(other)}"
            )
        if left := len(points) - len(known):
            clauses.append(f"left alone, as a convolution changes the map's shape: {counted(left, 'unit')}")
        said.append(f"{model}: {'; '.join(clauses)}.")
    return said


def _number(points: float) -> str:
    return f"{points + 0.0:.1f}".replace("-0.0", "0.0").replace("-", "−")


EXHIBIT = Exhibit(
    spec=Lesion.spec,
    panels=panels,
    legend=legend,
    layout={"columns": 6, "sharex": True},
    sentences=sentences,
)
