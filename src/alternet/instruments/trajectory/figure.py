"""Trajectory figure: the path of training in polar form and in its two largest principal components (Fig 1b)."""

from functools import partial
from math import ceil, pi, sin

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes
from numpy.typing import ArrayLike

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.trajectory import Trajectory
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry, models, put
from alternet.plotting.panel import Panel, Points, Targets, belongs_to, points
from alternet.plotting.style import FAINT, INK, Drawing, letters, model_styles

WITHDRAWN = "A diagnostic of single runs: the authors withdrew this experiment as misleading and hard to reproduce."


def panels(measurement: Measurement) -> list[Panel]:
    """All models in one polar plot and in one plane of their own two components; hollow rings are the beginnings."""
    polar = partial(_polar, measurement=measurement)
    plane = partial(_plane, measurement=measurement)
    return [
        Panel(title="Distance from the final weights, and angle to the initial ones", draw=polar, projection="polar"),
        Panel(title="The plane of the first two components", draw=plane),
    ]


def _polar(axis: PolarAxes, measurement: Measurement) -> Targets:
    targets = []
    for model in measurement.models:
        table = measurement.of(model).table.sort_values("step", kind="stable")
        angle, radius = table["angle"].fillna(0), table["radius"]  # the final weights have no angle
        turned = table["angle"].map(lambda angle: "" if pd.isna(angle) else f", angle {angle:.1f}°")
        rows = zip(table["step"], radius, turned, strict=True)
        texts = [f"step {step}\nradius {far:.3f}{angle}" for step, far, angle in rows]
        targets.append(_path(axis, np.deg2rad(angle), radius, texts, model, measurement))
    widest, farthest = measurement.table["angle"].max(), measurement.table["radius"].max()
    axis.set_thetamin(0)
    axis.set_thetamax(min(180, max(90, 30 * ceil(widest / 30 or 3))))
    axis.set_ylim(0, 1.05 * max(1, farthest))
    axis.grid(color="#E4E4E4")
    axis.set_xlabel("radius", labelpad=14)
    axis.xaxis.set_tick_params(labelsize=8)
    return targets


def _plane(axis: Axes, measurement: Measurement) -> Targets:
    targets = []
    for model in measurement.models:
        table = measurement.of(model).table.sort_values("step", kind="stable")
        x, y = table["pc1"], table["pc2"]
        texts = [f"step {step}\npc1 {a:.3f}, pc2 {b:.3f}" for step, a, b in zip(table["step"], x, y, strict=True)]
        targets.append(_path(axis, x, y, texts, model, measurement))
    axis.plot(0, 0, marker="*", color=INK, markersize=11, linestyle="none")
    axis.set(xlabel="pc1", ylabel="pc2")
    axis.set_aspect("equal", adjustable="datalim")
    axis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)
    return targets


def _path(axis: Axes, x: ArrayLike, y: ArrayLike, texts: list[str], model: str, measurement: Measurement) -> Points:
    look = model_styles(measurement.models, points=True)[model]
    found = points(axis, x, y, texts, name=model)
    with belongs_to(model, axis):
        axis.plot(*found.boxes.T[:2], **look, markersize=4)
        ring = {"color": look["color"], "markersize": 11, "fillstyle": "none", "clip_on": False}
        axis.plot(*found.boxes[:1].T[:2], marker="o", **ring)
    return found


def draw(measurement: Measurement) -> Drawing:
    """Both panels side by side, and what the authors say of them."""
    figure = Drawing(figsize=(10.5, 5.2), layout="constrained")
    spec = figure.add_gridspec(1, 2)
    for place, panel in enumerate(panels(measurement)):
        axis = figure.add_subplot(spec[place], projection=panel.projection)
        panel.draw(axis)
        axis.set_title(panel.title)
    put(figure, legend(measurement), width=80)
    figure.suptitle(WITHDRAWN, x=0.012, ha="left", fontsize=letters(9))
    return figure


def legend(measurement: Measurement) -> list[Entry]:
    """The models with what of their paths the plane shows, and where paths begin and end."""
    looks = {model: look | {"markersize": 4} for model, look in model_styles(measurement.models, points=True).items()}
    facts = {model: ", ".join(f"pc{k} {_share(measurement, model, k):.0%}" for k in (1, 2)) for model in looks}
    ring = Line2D([], [], marker="o", color=FAINT, fillstyle="none", markersize=9, linestyle="none")
    star = Line2D([], [], marker="*", color=INK, markersize=9, linestyle="none")
    return [*models(looks, facts), Entry(ring, "initial"), Entry(star, "final weights")]


def _share(measurement: Measurement, model: str, component: int) -> float:
    explained = measurement.of(model).tables["explained"]
    return float(explained.loc[explained["component"] == component, "share"].sum())


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
    said = []
    for model in measurement.models:
        points = measurement.of(model).table
        radius, count = points["radius"], len(points)
        falls = radius.is_monotonic_decreasing
        fall = "falls from snapshot to snapshot" if falls else f"rises up to {radius.max():.2f} on the way"
        turned = f"the angle reaches {points['angle'].max():.0f}°"
        shown = _share(measurement, model, 1) + _share(measurement, model, 2)
        said.append(
            f"{model}: over {count} snapshots the distance from the final weights {fall} and {turned}; two components "
            f"show {shown:.0%} of the path, where a random walk of as many points would show {walk(count):.0%}."
        )
    return said


EXHIBIT = Exhibit(
    spec=Trajectory.spec,
    panels=panels,
    legend=legend,
    draw=draw,
    sentences=sentences,
)
