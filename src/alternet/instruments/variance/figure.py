"""Variance figure: feature-map variance against depth, one panel a model (Fig 9 and D.1 of the paper)."""

from typing import Any

import pandas as pd

from alternet.measurement import Measurement
from alternet.plotting import depth_axis, interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import Drawing, columns, model_styles, say_empty
from alternet.plotting.units import tally

VALUE = "variance"


def draw(measurement: Measurement) -> Drawing:
    """One panel a model with its own scale: variances of different networks are not comparable."""
    looks = model_styles(measurement.models)
    figure, panels = depth_axis.panels(measurement.models, height=2.9, name="feature-map variance")
    for model, axis in panels.items():
        points = measurement.of(model).table
        depth_axis.shade(axis, depth_axis.spans(points))
        depth_axis.curve(axis, points, VALUE, looks[model] | {"linestyle": "solid"})
        if points[VALUE].isna().all():
            say_empty(axis)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelbottom=True)
        depth_axis.finish(axis)
    handles = depth_axis.kind_handles(measurement.table)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns(len(handles), 6 if len(looks) > 1 else 4))
    return figure


def sentences(measurement: Measurement) -> list[str]:
    """For each model, in how many units attention lowers and the others raise the variance, and where it peaks."""
    return [_sentence(model, measurement.of(model).table) for model in measurement.models]


def _sentence(model: str, points: pd.DataFrame) -> str:
    known = points.dropna(subset=[VALUE])
    if known.empty:
        return f"{model}: no variance could be measured."
    top = known.sort_values(VALUE, kind="stable").iloc[-1]
    peak = f"it is largest, {top[VALUE]:.3g}, at depth {top['depth']:.2f} ({top['tap']})"
    return f"{model}: {tally(points, VALUE, quantity='the variance of feature maps')}; {peak}."


def plots(measurement: Measurement) -> list[Panel]:
    """One plot a model."""
    styles = model_styles(measurement.models)
    return [_plot(measurement.of(model).table, model, style) for model, style in styles.items()]


def _plot(points: pd.DataFrame, model: str, style: dict[str, Any]) -> Panel:
    figure = interactive.against_depth(
        points, VALUE, {model: style | {"linestyle": "solid"}}, name="feature-map variance"
    )
    figure["layout"]["showlegend"] = False
    figure["layout"]["yaxis"]["rangemode"] = "tozero"
    return Panel(title=model, figure=figure, key=interactive.key(points))


EXHIBIT = Exhibit(
    title="Variance of feature maps",
    question="Where does the network even its feature maps out, and where does it make them uneven?",
    columns={"table": ("model", "unit", "tap", "kind", "depth", VALUE)},
    draw=draw,
    sentences=sentences,
    caution=(
        "Variance has the scale of the activations, which normalisation layers and weights set freely: compare units "
        "of one network, not networks. A falling variance is what averaging does, but other operations lower it too, "
        "so it does not show by itself that a unit averages."
    ),
    interactive=plots,
)
