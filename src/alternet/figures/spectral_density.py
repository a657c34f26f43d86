"""Spectral density figure: the density of all eigenvalues of the Hessian, models on one logarithmic axis."""

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from alternet.figures import interactive
from alternet.figures.exhibit import Exhibit, Panel
from alternet.figures.style import FAINT, Drawing, label, model_styles, say_empty, short
from alternet.measurement import Measurement

PARTS = 100
"""The kernel's width is this part of the axis."""
POINTS = 600
KEY = ("dotted: height of a single eigenvalue", "band: from the lowest to the highest random vector")


@dataclass(frozen=True)
class Curve:
    """The density of one model's eigenvalues on a grid.

    Attributes:
        draws: The density that each random vector gives [draws, points].
        single: How high one eigenvalue by itself stands.
    """

    draws: NDArray
    single: float

    @property
    def mean(self) -> NDArray:
        """Over the random vectors."""
        return self.draws.mean(0)


def value(one: Measurement, metric: str) -> float:
    """A number of the table `moments`, nan where it is missing."""
    rows = one.tables["moments"]
    return float(rows.loc[rows["metric"] == metric, "value"].mean())


def axis(measurement: Measurement) -> tuple[NDArray, float]:
    """The grid over the spectra of all models, zero included, and the width of the kernel."""
    nodes = measurement.table["eigenvalue"].dropna()
    low, high = min(0.0, float(nodes.min())), max(0.0, float(nodes.max()))
    width = (high - low or 1.0) / PARTS
    return np.linspace(low - 4 * width, high + 4 * width, POINTS), width


def curve(one: Measurement, grid: NDArray, width: float) -> Curve:
    """The weights at the nodes as Gaussians of this width."""
    draws = []
    for _, nodes in one.table.dropna().groupby("draw"):
        places, weights = nodes["eigenvalue"].to_numpy(), nodes["weight"].to_numpy()
        kernels = np.exp(-0.5 * ((grid[:, None] - places) / width) ** 2) / (width * sqrt(2 * pi))
        draws.append(kernels @ weights)
    return Curve(np.array(draws), 1 / (value(one, "parameters") * width * sqrt(2 * pi)))


def curves(measurement: Measurement) -> tuple[NDArray, dict[str, Curve]]:
    """The grid, and the curve of each model that has nodes."""
    if measurement.table["eigenvalue"].isna().all():
        return np.zeros(0), {}
    grid, width = axis(measurement)
    known = [model for model in measurement.models if measurement.of(model).table["eigenvalue"].notna().any()]
    return grid, {model: curve(measurement.of(model), grid, width) for model in known}


def reach(drawn: dict[str, Curve]) -> tuple[float, float]:
    """From a third of a single eigenvalue to above the highest peak."""
    return min(one.single for one in drawn.values()) / 3, 3 * max(float(one.draws.max()) for one in drawn.values())


def draw(measurement: Measurement) -> Drawing:
    """The mean over random vectors as a line, their range as a band, a single eigenvalue as a dotted line."""
    grid, drawn = curves(measurement)
    looks = model_styles(measurement.models)
    figure = Drawing(figsize=(7.2, 4.0 + 0.34 * len(looks)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="eigenvalue of the Hessian of all the data", ylabel="density of eigenvalues")
    if not drawn:
        say_empty(axes)
        return figure
    low, high = reach(drawn)
    axes.set(yscale="log", ylim=(low, high), xlim=(grid[0], grid[-1]))
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    for model, one in drawn.items():
        look = looks[model]
        axes.plot(grid, one.mean.clip(low / 10), **look)
        band = (one.draws.min(0).clip(low / 10), one.draws.max(0).clip(low / 10))
        axes.fill_between(grid, *band, color=look["color"], alpha=0.15, linewidth=0)
        axes.axhline(one.single, color=look["color"], linestyle=":", linewidth=0.9, zorder=0)
    handles = [Line2D([], [], **looks[m], label=f"{label(m, 70)}\n{_facts(measurement.of(m))}") for m in drawn]
    dotted = Line2D([], [], color=FAINT, linestyle=":", linewidth=0.9, label="height of a single eigenvalue")
    figure.legend(handles=[*handles, dotted], loc="outside lower left", ncols=1)
    return figure


def _facts(one: Measurement) -> str:
    return f"trace {_with_error(one, 'trace')}, below zero {_with_error(one, 'negative_trace')}"


def _with_error(one: Measurement, metric: str) -> str:
    rows = one.tables["moments"]
    error = float(rows.loc[rows["metric"] == metric, "standard_error"].mean())
    return _minus(short(value(one, metric))) + (f" ± {short(2 * error)}" if error > 0 else "")


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text


def sentences(measurement: Measurement) -> list[str]:
    """For each model what the eigenvalues add up to, and from where to where they reach."""
    return [_sentence(model, measurement.of(model)) for model in measurement.models]


def _sentence(model: str, one: Measurement) -> str:
    if one.table["eigenvalue"].isna().all():
        return f"{model}: no eigenvalue could be measured."
    low, high = (_minus(short(value(one, metric))) for metric in ("smallest", "largest"))
    return (
        f"{model}: {value(one, 'parameters'):,.0f} eigenvalues from {low} to {high} add up to "
        f"{_with_error(one, 'trace')} (the trace), those below zero to {_with_error(one, 'negative_trace')}."
    )


def plots(measurement: Measurement) -> list[Panel]:
    """The same plot."""
    grid, drawn = curves(measurement)
    looks = model_styles(measurement.models)
    layout = interactive.layout(x="eigenvalue of the Hessian of all the data", y="density of eigenvalues")
    layout["yaxis"] |= {"type": "log", "exponentformat": "power"}
    layout["xaxis"] |= {"zeroline": True, "zerolinecolor": FAINT}
    if drawn:
        layout["yaxis"]["range"] = interactive.numbers(np.log10(reach(drawn)))
        layout["xaxis"]["range"] = interactive.numbers((grid[0], grid[-1]))
    data = [trace for model, one in drawn.items() for trace in _traces(model, one, grid, looks[model])]
    return [Panel(title="Density of eigenvalues", figure={"data": data, "layout": layout}, key=KEY, wide=True)]


def _traces(model: str, one: Curve, grid: NDArray, look: dict[str, Any]) -> list[dict[str, Any]]:
    name, floor = interactive.plain_text(model), reach({model: one})[0] / 10
    common = {"mode": "lines", "legendgroup": name, "name": name, "x": interactive.numbers(grid)}
    silent = {"showlegend": False, "hoverinfo": "skip", "line": {"width": 0}}
    low, high = (interactive.numbers(edge.clip(floor)) for edge in (one.draws.min(0), one.draws.max(0)))
    dotted = {"x": interactive.numbers(grid[[0, -1]]), "y": interactive.numbers([one.single] * 2)}
    return [
        common | silent | {"y": low},
        common | silent | {"y": high, "fill": "tonexty", "fillcolor": interactive.rgb(look["color"]) + "26"},
        common
        | {
            "y": interactive.numbers(one.mean.clip(floor)),
            "line": interactive.line(look),
            "hovertemplate": "<b>%{fullData.name}</b><br>eigenvalue %{x:.4g}<br>density %{y:.3g}<extra></extra>",
        },
        common | silent | dotted | {"line": {"color": look["color"], "dash": "dot", "width": 1}},
    ]


EXHIBIT = Exhibit(
    title="Spectral density of the Hessian",
    question="How are all eigenvalues of the Hessian distributed, and what do they add up to?",
    columns={
        "table": ("model", "draw", "node", "eigenvalue", "weight"),
        "moments": ("model", "metric", "value", "standard_error"),
    },
    draw=draw,
    sentences=sentences,
    caution=(
        "The density is smooth by construction: Lanczos sees the outer eigenvalues one by one and the bulk only as a "
        "few nodes, and the kernel hides what is nearer to each other than a hundredth of the axis. Below the dotted "
        "line lies less than one eigenvalue. The trace grows with the number of parameters and, like every measure of "
        "sharpness, depends on how the weights are scaled, so it compares networks of one architecture. Errors (two "
        "standard errors) are those of the random vectors, not of the choice of images."
    ),
    interactive=plots,
)
