"""Interpolation figure: NLL, NLL + L2 and accuracy on the line between two sets of weights."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.interpolation import Interpolation
from alternet.measurement import Measurement
from alternet.plotting.legend import of_models
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, model_styles, say_empty

PARTS = {"nll": "NLL alone", "loss": "NLL + L2", "accuracy": "Accuracy"}


def panels(measurement: Measurement) -> list[Panel]:
    """A panel a quantity, all models in each; the two ends are marked."""
    return [
        Panel(title=name, draw=partial(_on_the_line, measurement=measurement, part=part))
        for part, name in PARTS.items()
    ]


def _on_the_line(axis: Axes, measurement: Measurement, part: str) -> Targets:
    targets = []
    for model, look in model_styles(measurement.models).items():
        table = measurement.of(model).table.sort_values("x", kind="stable")
        x, y = table["x"], table[part].astype(float)
        with belongs_to(model, axis):
            axis.plot(x, y, **look, marker=".")
        texts = [
            f"x = {at:.3g}: {value:{'.1%' if part == 'accuracy' else '.4g'}}" for at, value in zip(x, y, strict=True)
        ]
        targets.append(points(axis, x, y, texts, name=model))
    if measurement.table[part].isna().all():
        say_empty(axis)
    for end in (0, 1):
        axis.axvline(end, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    axis.set_xlabel("x (0: the network, 1: the other weights)")
    return list(targets)


def barrier(points: pd.DataFrame) -> pd.Series:
    """By how much the NLL stands above the straight line between its two ends, by x.

    Examples:
        >>> barrier(pd.DataFrame({"x": [0.0, 0.5, 1.0], "nll": [1.0, 2.5, 3.0]})).tolist()
        [0.0, 0.5, 0.0]
    """
    between = points[points["x"].between(0, 1)].set_index("x")["nll"].astype(float)
    x = between.index.to_numpy()
    return between - ((1 - x) * between.iloc[0] + x * between.iloc[-1])


def sentences(measurement: Measurement) -> list[str]:
    """For each model, how high the barrier is."""
    said = []
    for model in measurement.models:
        points = measurement.of(model).table
        above, between = barrier(points), points[points["x"].between(0, 1)]
        if lost := int(between["nll"].isna().sum()):
            what = f"the NLL is not finite at {lost} of {len(between)} points from one end to the other"
        elif above.max() <= 1e-9:
            what = "no barrier on the line; the NLL is nowhere above what the two ends lead to expect"
        else:
            what = f"on the line the NLL stands up to {above.max():.3g} above what the two ends lead to expect, "
            what += f"at x = {above.idxmax():.3g}"
        said.append(f"{model}: {what}.")
    return said


EXHIBIT = Exhibit(
    spec=Interpolation.spec,
    panels=panels,
    legend=of_models,
    layout={"names": 80},
    sentences=sentences,
)
