"""Spectral density figure: how many eigenvalues the Hessian has where, models on one axis, from bulk to outliers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from alternet.figures import interactive
from alternet.figures.exhibit import Exhibit, Panel
from alternet.figures.style import FAINT, Drawing, label, model_styles, say_empty, short
from alternet.measurement import Measurement

LINEAR = 1e-3
"""The axis is linear as far as this part of the largest |eigenvalue|, and logarithmic beyond."""
PARTS = 80
"""The kernel's width is this part of the drawn axis."""
POINTS = 800
NAME, COUNT = "eigenvalue of the Hessian of all the data", "eigenvalues, smoothed"
KEY = ("a single eigenvalue peaks at 1", "band: from the lowest to the highest random vector")


@dataclass(frozen=True)
class Axis:
    """A scale that holds both the bulk around zero and what lies far out: u = asinh(eigenvalue / linear).

    Attributes:
        linear: About how far from zero the scale is linear.
        low: Where it begins, in u.
        high: Where it ends.
    """

    linear: float
    low: float
    high: float

    @classmethod
    def of(cls, nodes: NDArray) -> "Axis":
        """Wide enough for these eigenvalues and their kernels, zero included."""
        linear = LINEAR * float(np.abs(nodes).max()) or 1.0
        ends = np.arcsinh(np.array([min(0.0, nodes.min()), max(0.0, nodes.max())]) / linear)
        margin = 4 * (ends[1] - ends[0] or 1.0) / PARTS
        return cls(linear, float(ends[0] - margin), float(ends[1] + margin))

    @property
    def grid(self) -> NDArray:
        """Points at even distances, in u."""
        return np.linspace(self.low, self.high, POINTS)

    @property
    def width(self) -> float:
        """Of the kernel, in u."""
        return (self.high - self.low) / (PARTS + 8)

    def place(self, eigenvalues: ArrayLike) -> NDArray:
        """Eigenvalues in u."""
        return np.arcsinh(np.asarray(eigenvalues, dtype=float) / self.linear)

    def value(self, places: ArrayLike) -> NDArray:
        """From u to eigenvalues."""
        return self.linear * np.sinh(np.asarray(places, dtype=float))

    @property
    def ticks(self) -> list[float]:
        """Zero and powers of ten both ways, as far as they stand apart and within the axis.

        Examples:
            >>> Axis(1.0, -4.0, 8.0).ticks
            [-10.0, -1.0, 0.0, 1.0, 10.0, 100.0, 1000.0]
        """
        farthest = np.log10(np.abs(self.value([self.low, self.high])).max())
        powers = 10.0 ** np.arange(np.ceil(np.log10(self.linear)), np.floor(farthest) + 1)
        ticks = np.concatenate([-powers[::-1], [0.0], powers])
        places = self.place(ticks)
        return ticks[(places >= self.low) & (places <= self.high)].tolist()


def value(one: Measurement, metric: str) -> float:
    """A number of the table `moments`, nan where it is missing."""
    rows = one.tables["moments"]
    return float(rows.loc[rows["metric"] == metric, "value"].mean())


def curves(measurement: Measurement) -> tuple[Axis, dict[str, NDArray]]:
    """The axis, and for each model with eigenvalues the count that each random vector gives [draws, points]."""
    nodes = measurement.table["eigenvalue"].dropna().to_numpy()
    axis = Axis.of(nodes if len(nodes) else np.zeros(1))
    parts = {model: measurement.of(model) for model in measurement.models}
    return axis, {m: _counts(one, axis) for m, one in parts.items() if one.table["eigenvalue"].notna().any()}


def _counts(one: Measurement, axis: Axis) -> NDArray:
    draws = []
    for _, nodes in one.table.dropna(subset=["eigenvalue", "weight"]).groupby("draw"):
        distances = axis.grid[:, None] - axis.place(nodes["eigenvalue"])
        draws.append(np.exp(-0.5 * (distances / axis.width) ** 2) @ nodes["weight"].to_numpy())
    return value(one, "parameters") * np.array(draws)


def reach(drawn: Mapping[str, NDArray]) -> tuple[float, float]:
    """From a third of a single eigenvalue to above the highest peak."""
    return 0.3, 3 * max(float(counts.max()) for counts in drawn.values())


def draw(measurement: Measurement) -> Drawing:
    """The mean over random vectors as a line, their range as a band; both axes logarithmic but around zero."""
    axis, drawn = curves(measurement)
    looks = model_styles(measurement.models)
    figure = Drawing(figsize=(7.2, 4.0 + 0.34 * len(looks)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=NAME, ylabel=COUNT)
    if not drawn:
        say_empty(axes)
        return figure
    for line in (axes.axvline(0), axes.axhline(1)):
        line.set(color=FAINT, linewidth=0.8, zorder=0)
    for model, counts in drawn.items():
        x, band = axis.value(axis.grid), (counts.min(0), counts.max(0))
        axes.plot(x, counts.mean(0), **looks[model])
        axes.fill_between(x, *band, color=looks[model]["color"], alpha=0.15, linewidth=0)
    _finish(axes, axis, reach(drawn))
    handles = [Line2D([], [], **looks[m], label=f"{label(m, 70)}\n{_facts(measurement.of(m))}") for m in drawn]
    handles.append(Line2D([], [], color=FAINT, linewidth=0.8, label="1: height of a single eigenvalue"))
    figure.legend(handles=handles, loc="outside lower left", ncols=1)
    return figure


def _finish(axes: Axes, axis: Axis, heights: tuple[float, float]) -> None:
    axes.set_xscale("asinh", linear_width=axis.linear)
    axes.set_yscale("log", nonpositive="clip")
    axes.set(xlim=axis.value([axis.low, axis.high]), ylim=heights)
    axes.set_xticks(axis.ticks, labels=[_power(tick) for tick in axis.ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _power(tick: float) -> str:
    """A power of ten as a label.

    Examples:
        >>> [_power(tick) for tick in (-1000.0, 0.0, 1.0, 0.01)]
        ['−1,000', '0', '1', '0.01']
    """
    return (
        f"{tick:,g}".replace("-", "−")
        if 1e-3 <= abs(tick) < 1e6 or tick == 0
        else f"$10^{{{np.log10(abs(tick)):.0f}}}$"
    )


def _facts(one: Measurement) -> str:
    parts = {"NLL": "nll_trace", "L2": "l2_trace", "below zero": "negative_trace"}
    return ", ".join([f"trace {_with_error(one, 'trace')}", *(f"{p} {_with_error(one, m)}" for p, m in parts.items())])


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
        f"{_with_error(one, 'trace')} (the trace), of which L2 makes {short(value(one, 'l2_trace'))}; those below "
        f"zero add up to {_with_error(one, 'negative_trace')}."
    )


def plots(measurement: Measurement) -> list[Panel]:
    """The same plot; the scale of its horizontal axis is drawn by hand."""
    axis, drawn = curves(measurement)
    looks = model_styles(measurement.models)
    layout = interactive.layout(x=NAME, y=COUNT)
    layout["yaxis"] |= {"type": "log", "exponentformat": "power"}
    layout["xaxis"] |= {"zeroline": True, "zerolinecolor": FAINT, "ticktext": [short(tick) for tick in axis.ticks]}
    layout["xaxis"] |= {"tickvals": interactive.numbers(axis.place(axis.ticks)), "range": [axis.low, axis.high]}
    if drawn:
        layout["yaxis"]["range"] = interactive.numbers(np.log10(reach(drawn)))
    data = [trace for model, counts in drawn.items() for trace in _traces(model, counts, axis, looks[model])]
    return [Panel(title="All eigenvalues", figure={"data": data, "layout": layout}, key=KEY, wide=True)]


def _traces(model: str, counts: NDArray, axis: Axis, look: dict[str, Any]) -> list[dict[str, Any]]:
    name = interactive.plain_text(model)
    common = {"mode": "lines", "legendgroup": name, "name": name, "x": interactive.numbers(axis.grid)}
    silent = {"showlegend": False, "hoverinfo": "skip", "line": {"width": 0}}
    low, mean, high = (interactive.numbers(part.clip(1e-3)) for part in (counts.min(0), counts.mean(0), counts.max(0)))
    hover = "<b>%{fullData.name}</b><br>eigenvalue %{customdata:.3g}<br>smoothed count %{y:.3g}<extra></extra>"
    line = {"y": mean, "line": interactive.line(look), "hovertemplate": hover}
    return [
        common | silent | {"y": low},
        common | silent | {"y": high, "fill": "tonexty", "fillcolor": interactive.rgb(look["color"]) + "26"},
        common | line | {"customdata": interactive.numbers(axis.value(axis.grid))},
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
        "few nodes, and the kernel hides what is nearer to each other than an eightieth of the axis, which stretches "
        "what is small. What lies below 1 is less than one eigenvalue. The trace grows with the number of parameters "
        "and, like every measure of sharpness, depends on how the weights are scaled, so it compares networks of one "
        "architecture. Errors (two standard errors) are those of the random vectors, not of the choice of images."
    ),
    interactive=plots,
)
