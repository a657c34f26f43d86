"""Trajectory figure: the path of training in polar form and in its two largest principal components (Fig 1b)."""

from math import ceil, pi, sin
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes

from alternet.measurement import Measurement
from alternet.plotting import interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, INK, Drawing, columns, label, model_styles

WITHDRAWN = "A diagnostic of single runs: the authors withdrew this experiment as misleading and hard to reproduce."
SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
"""One a model, matplotlib's and plotly's: what one sees of a path of few snapshots is its points."""

KEY = ("angle 0, radius 1: initial weights", "radius 0: final weights", "hover for the step")


def draw(measurement: Measurement) -> Drawing:
    """All models in one polar plot and in one plane of their own two components; hollow rings are the beginnings."""
    figure = Drawing(figsize=(10.5, 5.2), layout="constrained")
    spec = figure.add_gridspec(1, 2)
    polar, plane = figure.add_subplot(spec[0], projection="polar"), figure.add_subplot(spec[1])
    assert isinstance(polar, PolarAxes)
    for model, look in _looks(measurement).items():
        points = measurement.of(model).table
        for axis, x, y in (
            (polar, np.deg2rad(points["angle"].fillna(0)), points["radius"]),
            (plane, points["pc1"], points["pc2"]),
        ):
            axis.plot(x, y, **look, markersize=4)
            axis.plot(x[:1], y[:1], marker="o", color=look["color"], markersize=11, fillstyle="none", clip_on=False)
    _finish_polar(polar, measurement.table)
    _finish_plane(plane)
    figure.legend(
        handles=_handles(measurement), loc="outside lower center", ncols=columns(len(measurement.models) + 2, 3)
    )
    figure.suptitle(WITHDRAWN, x=0.012, ha="left", fontsize=9)
    return figure


def _looks(measurement: Measurement) -> dict[str, dict[str, Any]]:
    markers = list(SYMBOLS)
    styles = model_styles(measurement.models)
    return {model: look | {"marker": markers[k % len(markers)]} for k, (model, look) in enumerate(styles.items())}


def _share(measurement: Measurement, model: str, component: int) -> float:
    explained = measurement.of(model).tables["explained"]
    return float(explained.loc[explained["component"] == component, "share"].sum())


def _finish_polar(axis: PolarAxes, table: pd.DataFrame) -> None:
    axis.set_thetamin(0)
    axis.set_thetamax(min(180, max(90, 30 * ceil(table["angle"].max() / 30 or 3))))
    axis.set_ylim(0, 1.05 * max(1, table["radius"].max()))
    axis.grid(color="#E4E4E4")
    axis.set_title("Distance from the final weights, and angle to the initial ones")
    axis.set_xlabel("radius", labelpad=14)
    axis.xaxis.set_tick_params(labelsize=8)


def _finish_plane(axis: Axes) -> None:
    axis.plot(0, 0, marker="*", color=INK, markersize=11, linestyle="none")
    axis.set(xlabel="pc1", ylabel="pc2", title="The plane of the first two components")
    axis.set_aspect("equal", adjustable="datalim")
    axis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)


def _handles(measurement: Measurement) -> list[Any]:
    named = []
    for model, look in _looks(measurement).items():
        parts = ", ".join(f"pc{k} {_share(measurement, model, k):.0%}" for k in (1, 2))
        named.append(Line2D([], [], **look, markersize=4, label=label(f"{model} ({parts})", 80)))
    ring = Line2D([], [], marker="o", color=FAINT, fillstyle="none", markersize=9, linestyle="none", label="initial")
    star = Line2D([], [], marker="*", color=INK, markersize=9, linestyle="none", label="final weights")
    return [*named, ring, star]


def walk(points: int, components: int = 2) -> float:
    """Part of the variance that the first components show of a random walk in many dimensions (Antognini 2018).

    Examples:
        >>> round(walk(1000, 1), 2), round(walk(4), 2)
        (0.61, 0.88)
    """
    shares = [1 / sin(pi * k / (2 * points)) ** 2 for k in range(1, points)]
    return sum(shares[:components]) / sum(shares)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, how the distance and the angle went, and how flat the path is next to a random walk's."""
    return [_sentence(model, measurement) for model in measurement.models]


def _sentence(model: str, measurement: Measurement) -> str:
    points = measurement.of(model).table
    radius, count = points["radius"], len(points)
    far = radius.max()
    fall = "falls from snapshot to snapshot" if radius.is_monotonic_decreasing else f"rises up to {far:.2f} on the way"
    turned = f"the angle reaches {points['angle'].max():.0f}°"
    shown = _share(measurement, model, 1) + _share(measurement, model, 2)
    return (
        f"{model}: over {count} snapshots the distance from the final weights {fall} and {turned}; two components show "
        f"{shown:.0%} of the path, where a random walk of as many points would show {walk(count):.0%}."
    )


def plots(measurement: Measurement) -> list[Panel]:
    """The same two plots."""
    polar, plane = [], []
    for model, look in _looks(measurement).items():
        points = measurement.of(model).table
        shared = {
            "name": interactive.plain_text(model),
            "mode": "lines+markers",
            "line": interactive.line(look),
            "marker": {"symbol": SYMBOLS[look["marker"]], "size": 7, "color": look["color"]},
            "text": [f"step {step}" for step in points["step"]],
        }
        place = "%{text}<br>radius %{r:.3f}, angle %{theta:.1f}°"
        theta, r = interactive.numbers(points["angle"].fillna(0)), interactive.numbers(points["radius"])
        polar.append(shared | {"type": "scatterpolar", "theta": theta, "r": r, "hovertemplate": place})
        x, y = interactive.numbers(points["pc1"]), interactive.numbers(points["pc2"])
        plane.append(shared | {"x": x, "y": y, "hovertemplate": "%{text}<br>pc1 %{x:.3f}, pc2 %{y:.3f}"})
    round_, flat = interactive.layout(x="", y=""), interactive.layout(x="pc1", y="pc2")
    del round_["xaxis"], round_["yaxis"]
    sector = [0, min(180, max(90, 30 * ceil(measurement.table["angle"].max() / 30 or 3)))]
    round_["polar"] = {"sector": sector, "radialaxis": {"rangemode": "tozero", "angle": 0}, "bgcolor": "white"}
    flat["yaxis"] |= {"scaleanchor": "x"}
    return [
        Panel(title="Radius and angle", figure={"data": polar, "layout": round_}, key=KEY),
        Panel(title="First two components", figure={"data": plane, "layout": flat}, key=("0, 0: final weights",)),
    ]


EXHIBIT = Exhibit(
    title="Weight trajectory",
    question="Which way did the weights take through training?",
    columns={
        "table": ("model", "step", "radius", "angle", "pc1", "pc2"),
        "explained": ("model", "component", "share", "cumulative"),
    },
    draw=draw,
    sentences=sentences,
    caution=(
        "The authors of the paper withdrew this experiment (their Fig. 1b) as misleading and not reproducible, so it "
        "is a diagnostic of one run and says nothing about an architecture. Another seed, learning rate or number of "
        "snapshots gives another path. A random walk in many dimensions, too, looks smooth and flat in its first "
        "components; and each model has components of its own, so paths share the axes but not the plane."
    ),
    interactive=plots,
)
