"""Frequency-noise figure: what noise of each frequency band costs in accuracy, all models on one axis (Fig 2b)."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.measurement import Measurement
from alternet.plotting.disturbed import VALUE, clean, interval, loss, low_against_high, reach
from alternet.plotting.legend import Entry, models
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, model_styles, say_empty


def panels(measurement: Measurement) -> list[Panel]:
    """Change of accuracy against frequency, all models on one axis."""
    settings = [provenance.get("settings", {}) for provenance in measurement.provenances]
    known = {(each.get("energy"), each.get("strength")) for each in settings}
    energy, strength = known.pop() if len(known) == 1 else (None, None)
    title = "Accuracy under noise of one frequency band"
    if energy == "equal" and strength is not None:  # only then is it the same for all models and bands
        title += f", RMS {strength:.3g} of the image range"
    return [Panel(title=title, draw=partial(_bands, measurement=measurement), size=(5.0, 3.8), wide=True)]


def _bands(axis: Axes, measurement: Measurement) -> Targets:
    """In percentage points, with a shade of the 95 % interval."""
    targets: Targets = []
    for model, look in model_styles(measurement.models, points=True).items():
        rows = measurement.of(model).table.sort_values("frequency", kind="stable")
        x, y, (low, high) = rows["frequency"], 100 * rows[VALUE], interval(rows)
        with belongs_to(model, axis):
            axis.fill_between(x, 100 * low, 100 * high, color=look["color"], alpha=0.16, linewidth=0)
            axis.plot(x, y, **look)
        targets.append(points(axis, x, y, [_band(row) for _, row in rows.iterrows()], name=model))
    if measurement.table[VALUE].isna().all():
        say_empty(axis)
    axis.axhline(0, color=FAINT, linewidth=0.9, zorder=0)
    axis.set(xlim=(0, 1), xlabel="frequency of the noise", ylabel="change of accuracy (percentage points)")
    ticks = np.linspace(0.1, 0.9, 5)
    axis.set_xticks(ticks, [f"{tick:.1f}π" for tick in ticks])
    return targets


def _band(row: "pd.Series[Any]") -> str:
    lost = f"{row['frequency']:.2f}π: loss {loss(row)} points"
    return f"{lost}\naccuracy {row['accuracy']:.1%}, NLL {row['nll']:.3f}"


def legend(measurement: Measurement) -> list[Entry]:
    """The models with what they know without noise."""
    known = {model: f"{clean(measurement.of(model).table):.1%} without noise" for model in measurement.models}
    shade = Entry(Patch(color=FAINT, alpha=0.3, linewidth=0), "95 % interval")
    return [*models(model_styles(measurement.models, points=True), known), shade]


def sentences(measurement: Measurement) -> list[str]:
    """For each model, which band costs it most, and low bands against high ones; for two models, where they cross."""
    tables = {model: measurement.of(model).table.dropna(subset=[VALUE]) for model in measurement.models}
    said = []
    for model, table in tables.items():
        if table.empty:
            said.append(f"{model}: no accuracy under noise was measured.")
            continue
        worst = table.sort_values(VALUE, kind="stable").iloc[0]
        lost = f"{loss(worst)} percentage points"
        most = f"noise at {worst['frequency']:.2g}π costs most, {lost}"
        most = most if worst[VALUE] < 0 else "noise costs nothing in any band"
        right = f"right on {clean(table):.1%} of the images without noise"
        said.append(f"{model}: {right}; {most}{low_against_high(table)}.")
    if len(tables) == 2 and not any(table.empty for table in tables.values()):
        (one, first), (other, second) = tables.items()
        both = first.merge(second, on="frequency", suffixes=("", "_other"))
        said += [f"{one} and {other}: {comparison(one, other, both)}."] if len(both) else []
    return said


def comparison(one: str, other: str, both: pd.DataFrame) -> str:
    """Which of two models loses less in which bands; bands whose gap may be owed to chance do not count.

    The intervals are combined as if independent (Newcombe 1998). Two models on the same images agree more than that, so
    this is careful.

    Examples:
        >>> both = pd.DataFrame({"frequency": [0.1, 0.5, 0.9], "delta_accuracy": [-0.1, -0.2, -0.2]})
        >>> both = both.assign(delta_accuracy_other=[-0.2, -0.2, -0.1], standard_error=0, standard_error_other=0)
        >>> comparison("a", "b", both)
        'a loses less up to 0.1π, b from 0.9π on'
    """
    both = both.sort_values("frequency")
    other_alone = both.filter(regex="_other$").rename(columns=lambda name: name.removesuffix("_other"))
    apart = both[VALUE] - other_alone[VALUE]
    clear = apart.abs() > np.hypot(reach(both), reach(other_alone))
    gaps = list(zip(both["frequency"][clear], apart[clear], strict=True))
    if not gaps:
        return "no band tells them apart"
    winners = [one if gap > 0 else other for _, gap in gaps]
    turns = [place for place in range(1, len(gaps)) if winners[place] != winners[place - 1]]
    if not turns:
        rest = "" if len(gaps) == len(both) else ", the others do not tell them apart"
        return f"{winners[0]} loses less in {len(gaps)} of {len(both)} bands{rest}"
    if len(turns) > 1:
        return f"{one} loses less in {winners.count(one)} of {len(both)} bands, {other} in {winners.count(other)}"
    low, high = gaps[turns[0] - 1][0], gaps[turns[0]][0]
    return f"{winners[0]} loses less up to {low:.2g}π, {winners[-1]} from {high:.2g}π on"


EXHIBIT = Exhibit(
    spec=FrequencyNoise.spec,
    panels=panels,
    legend=legend,
    layout={"columns": 1, "names": 70},
    sentences=sentences,
)
