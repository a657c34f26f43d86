"""Spectral density figure: how many eigenvalues the Hessian has where, models on one axis, from bulk to outliers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from alternet.measurement import Measurement
from alternet.plotting import interactive
from alternet.plotting.asinh_axis import AsinhAxis
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, Drawing, label, model_styles, say_empty, short

LINEAR = 1e-3
"""The axis is linear as far as this part of the largest |eigenvalue|, and logarithmic beyond."""
PARTS, MARGIN = 80, 0.05
"""The kernel's width in parts of the drawn axis, and the part of it that is left free at either end."""
NAME, COUNT = "eigenvalue of the Hessian of all the data", "eigenvalues, smoothed"
KEY = ("a single eigenvalue peaks at 1", "band: from the lowest to the highest random vector")


def value(one: Measurement, metric: str) -> float:
    """A number of the table `moments`, nan where it is missing."""
    rows = one.tables["moments"]
    return float(rows.loc[rows["metric"] == metric, "value"].mean())


def curves(measurement: Measurement) -> tuple[AsinhAxis, dict[str, NDArray]]:
    """The axis, and for each model with eigenvalues the count that each random vector gives [draws, points]."""
    nodes = measurement.table["eigenvalue"].dropna().to_numpy()
    axis = AsinhAxis.of(nodes, linear=LINEAR * float(np.abs(nodes).max(initial=0)), margin=MARGIN)
    parts = {model: measurement.of(model) for model in measurement.models}
    return axis, {m: _counts(one, axis) for m, one in parts.items() if one.table["eigenvalue"].notna().any()}


def kernel(axis: AsinhAxis) -> float:
    """The width of the kernel, in places."""
    return (axis.high - axis.low) / PARTS


def _counts(one: Measurement, axis: AsinhAxis) -> NDArray:
    draws = []
    for _, nodes in one.table.dropna(subset=["eigenvalue", "weight"]).groupby("draw"):
        distances = axis.grid[:, None] - axis.place(nodes["eigenvalue"])
        draws.append(np.exp(-0.5 * (distances / kernel(axis)) ** 2) @ nodes["weight"].to_numpy())
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
    axis.apply(axes)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(*reach(drawn))
    handles = [Line2D([], [], **looks[m], label=f"{label(m, 70)}\n{_facts(measurement.of(m))}") for m in drawn]
    handles.append(Line2D([], [], color=FAINT, linewidth=0.8, label="1: height of a single eigenvalue"))
    figure.legend(handles=handles, loc="outside lower left", ncols=1)
    return figure


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
    layout["xaxis"] |= {"zeroline": True, "zerolinecolor": FAINT} | axis.layout
    if drawn:
        layout["yaxis"]["range"] = interactive.numbers(np.log10(reach(drawn)))
    data = [trace for model, counts in drawn.items() for trace in _traces(model, counts, axis, looks[model])]
    return [Panel(title="All eigenvalues", figure={"data": data, "layout": layout}, key=KEY, wide=True)]


def _traces(model: str, counts: NDArray, axis: AsinhAxis, look: dict[str, Any]) -> list[dict[str, Any]]:
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
