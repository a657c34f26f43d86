"""Interpolation figure: NLL, NLL + L2 and accuracy on the line between two sets of weights."""

import pandas as pd
from matplotlib.axes import Axes

from alternet.measurement import Measurement
from alternet.plotting import interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, Drawing, columns, label, model_styles, say_empty

PARTS = {"nll": "NLL alone", "loss": "NLL + L2", "accuracy": "Accuracy"}
KEY = ("x = 0: the network", "x = 1: the other weights")


def draw(measurement: Measurement) -> Drawing:
    """Three panels, all models in each; the two ends are marked."""
    figure = Drawing(figsize=(10.5, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (part, name) in zip(axes, PARTS.items(), strict=True):
        _panel(axis, measurement, part)
        axis.set(title=name, xlabel="x (0: the network, 1: the other weights)")
    handles = axes[0].get_lines()[: len(measurement.models)]
    for line, model in zip(handles, measurement.models, strict=True):
        line.set_label(label(model, 80))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns(len(handles), 3))
    return figure


def _panel(axis: Axes, measurement: Measurement, part: str) -> None:
    for model, look in model_styles(measurement.models).items():
        points = measurement.of(model).table
        axis.plot(points["x"], points[part].astype(float), **look, marker=".")
    if measurement.table[part].isna().all():
        say_empty(axis)
    for end in (0, 1):
        axis.axvline(end, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)


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
    return [_sentence(model, measurement.of(model).table) for model in measurement.models]


def _sentence(model: str, points: pd.DataFrame) -> str:
    above, between = barrier(points), points[points["x"].between(0, 1)]
    if lost := int(between["nll"].isna().sum()):
        return f"{model}: the NLL is not finite at {lost} of {len(between)} points from one end to the other."
    if above.max() <= 1e-9:
        return f"{model}: no barrier on the line; the NLL is nowhere above what the two ends lead to expect."
    return (
        f"{model}: on the line the NLL stands up to {above.max():.3g} above what the two ends lead to expect, "
        f"at x = {above.idxmax():.3g}."
    )


def plots(measurement: Measurement) -> list[Panel]:
    """A plot a panel."""
    return [_plot(measurement, part, name) for part, name in PARTS.items()]


def _plot(measurement: Measurement, part: str, name: str) -> Panel:
    traces = []
    for model, look in model_styles(measurement.models).items():
        points = measurement.of(model).table
        traces.append(
            {
                "x": interactive.numbers(points["x"]),
                "y": interactive.numbers(points[part].astype(float)),
                "name": interactive.plain_text(model),
                "mode": "lines+markers",
                "line": interactive.line(look),
                "marker": {"color": look["color"], "size": 5},
            }
        )
    return Panel(title=name, figure={"data": traces, "layout": interactive.layout(x="x", y=name)}, key=KEY)


EXHIBIT = Exhibit(
    title="Interpolation",
    question="Is there a barrier between two sets of weights?",
    columns={"table": ("model", "x", "nll", "loss", "accuracy")},
    draw=draw,
    sentences=sentences,
    caution=(
        "A barrier on the straight line does not part two networks: a curve may join them without one, and so may a "
        "permutation of neurons that changes no prediction. No barrier from the initial weights does not mean that "
        "training met none. Statistics of BatchNorm between the ends fit neither network, which can make a barrier by "
        "itself."
    ),
    interactive=plots,
)
