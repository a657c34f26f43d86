"""Hessian figure: the density of extreme eigenvalues, models on one axis (Fig 1c, 4, 6 and 7 of the paper)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from alternet.measurement import Measurement
from alternet.plotting import interactive
from alternet.plotting.asinh_axis import AsinhAxis
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, Drawing, label, model_styles, say_empty, short

VALUE, NAME = "eigenvalue", "eigenvalue of the Hessian of one batch"
POINTS = 2000
"""Eigenvalues of a model that an interactive plot shows; of more, evenly spaced ones in their order."""
KEY = ("shaded: below zero, its area is NEP", "ticks: single eigenvalues")


def bandwidth(values: ArrayLike) -> float:
    """Silverman's rule: 0.9 · min(standard deviation, interquartile range / 1.349) · n^(−1/5).

    Examples:
        >>> round(bandwidth([1, 2, 3, 4, 5]), 3)
        0.967
    """
    values = np.asarray(values, dtype=float)
    quarters = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349
    spreads = [spread for spread in (values.std(ddof=min(1, len(values) - 1)), quarters) if spread > 0]
    spread = min(spreads, default=0.05 * max(float(np.abs(values).max()), 1e-9))
    return float(0.9 * spread * len(values) ** -0.2)


def density(values: ArrayLike, grid: ArrayLike, width: float) -> NDArray:
    """Gaussian kernel density of values at the points of a grid, reflected at zero.

    What a kernel would smear across zero is turned back, so that the area below zero is exactly the share of negative
    values.

    Examples:
        >>> density([9.0], [-1.0, 8.0, 9.0], 1.0).round(3).tolist()
        [0.0, 0.242, 0.399]
    """
    values, grid = np.asarray(values, dtype=float), np.asarray(grid, dtype=float)
    sides = {True: values[values < 0], False: values[values >= 0]}
    heights = [_kernels(point - sides[point < 0], width) + _kernels(point + sides[point < 0], width) for point in grid]
    return np.array(heights) / len(values)


def _kernels(distances: NDArray, width: float) -> float:
    return float(np.exp(-0.5 * (distances / width) ** 2).sum() / (width * np.sqrt(2 * np.pi)))


def spectra(measurement: Measurement) -> dict[str, NDArray]:
    """The eigenvalues of each model that has any."""
    pools = {model: measurement.of(model).table[VALUE].dropna().to_numpy() for model in measurement.models}
    return {model: values for model, values in pools.items() if len(values)}


def axis_of(pools: Mapping[str, NDArray]) -> AsinhAxis:
    """An axis for all models, even as far as the median |eigenvalue| of the flattest one, but not endlessly fine."""
    sizes = [np.abs(values[values != 0]) for values in pools.values()]
    largest = max((size.max(initial=0.0) for size in sizes), default=0.0)
    linear = max(min((float(np.median(size)) for size in sizes if len(size)), default=0.0), 1e-4 * largest)
    every = np.concatenate(list(pools.values())) if pools else np.zeros(1)
    return AsinhAxis.of(every, linear=linear, margin=0.12)


def curve(values: NDArray, axis: AsinhAxis) -> NDArray:
    """The density over the axis, of area 1 on it, at its grid."""
    places = axis.place(values)
    return density(places, axis.grid, bandwidth(places))


def draw(measurement: Measurement) -> Drawing:
    """All densities on one axis; below, where the middle half and nine tenths of the eigenvalues lie."""
    pools, looks = spectra(measurement), model_styles(measurement.models)
    axis, rows = axis_of(pools), len(measurement.models)
    figure = Drawing(figsize=(7.2, 3.6 + 0.5 * rows), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 0.22 * rows + 0.1])
    if not pools:
        say_empty(above)
    for model, values in pools.items():
        _curve(above, curve(values, axis), axis, looks[model])
        _strip(below, values, looks[model], measurement.models.index(model))
    axis.apply(above)
    _finish(above, below, rows)
    handles = [Line2D([], [], **looks[m], label=_legend(m, measurement.of(m), known=m in pools)) for m in looks]
    figure.legend(handles=handles, loc="outside lower left", ncols=1)
    return figure


def _curve(axes: Axes, heights: NDArray, axis: AsinhAxis, look: dict[str, Any]) -> None:
    places, values = axis.grid, axis.value(axis.grid)
    axes.plot(values, heights, **look)
    axes.fill_between(values, heights, where=list(places < 0), color=look["color"], alpha=0.3, linewidth=0)


def _strip(axes: Axes, values: NDArray, look: dict[str, Any], row: int) -> None:
    """Nine tenths as a thin line, the middle half as a thick one, the median as a dot."""
    q05, q25, q50, q75, q95 = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    colour = look["color"]
    axes.plot([q05, q95], [row, row], color=colour, linestyle=look["linestyle"], linewidth=1)
    axes.plot([q25, q75], [row, row], color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot([q50], [row], "o", color="white", markeredgecolor=colour, markersize=4.5)


def _finish(above: Axes, below: Axes, rows: int) -> None:
    for axis in (above, below):
        axis.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    above.set(ylabel="density on this axis", yticks=[])
    above.set_ylim(bottom=0)
    above.tick_params(labelbottom=False)
    below.set(xlabel=NAME, yticks=[], ylim=(rows - 0.4, -0.6))
    below.spines["left"].set_visible(False)
    below.set_ylabel("quantiles", rotation=0, ha="right", va="center", color=FAINT, fontsize=8)


def _legend(model: str, one: Measurement, *, known: bool) -> str:
    facts = f"NEP {_interval(one, 'nep')}, APE {_interval(one, 'ape')}" if known else "no eigenvalues"
    return f"{label(model, 70)}\n{facts}"


def _interval(one: Measurement, metric: str) -> str:
    """A metric with its interval, as far as they are defined: `4.2% (1 to 7.9)`."""
    rows = one.tables["summary"]
    numbers = rows.loc[rows["metric"] == metric, ["value", "low", "high"]].to_numpy(dtype=float)
    if not len(numbers) or np.isnan(numbers[0, 0]):
        return "undefined"
    factor, unit = (100, "%") if metric == "nep" else (1, "")
    value, low, high = factor * numbers[0]
    known = not (np.isnan(low) or np.isnan(high) or (metric == "nep" and value == 0))
    return f"{short(value)}{unit}" + (f" ({short(low)} to {short(high)})" if known else "")


def sentences(measurement: Measurement) -> list[str]:
    """For each model NEP and APE with their intervals, from how many eigenvalues, and how good the worst of them is."""
    return [_sentence(model, measurement.of(model)) for model in measurement.models]


def _sentence(model: str, one: Measurement) -> str:
    table = one.table.dropna(subset=[VALUE])
    if table.empty:
        return f"{model}: no eigenvalue could be measured."
    pool, batches = len(table), table["batch"].nunique()
    negative = _interval(one, "nep") if (table[VALUE] < 0).any() else "none"
    worst = worst_residual(table)
    quality = f"the worst residual is {worst:.1g} of the largest eigenvalue of its batch" if worst else "all exact"
    return (
        f"{model}: of {pool} eigenvalues of {batches} {'batches' if batches > 1 else 'batch'} {negative} are negative "
        f"(NEP), the mean of the positive ones is {_interval(one, 'ape')} (APE); {quality}."
    )


def worst_residual(table: pd.DataFrame) -> float:
    """The largest residual in terms of the largest |eigenvalue| of its batch.

    Examples:
        >>> worst_residual(pd.DataFrame({"batch": [0, 0], "eigenvalue": [-4, 1], "residual": [0.1, 0.2]}))
        0.05
    """
    largest = table[VALUE].abs().groupby(table["batch"]).transform("max")
    shares = (table["residual"] / largest).where(largest > 0, 0.0)
    return float(shares.max())


def plots(measurement: Measurement) -> list[Panel]:
    """One plot with all densities, and every eigenvalue below them."""
    pools, looks = spectra(measurement), model_styles(measurement.models)
    axis = axis_of(pools)
    layout = interactive.layout(x=NAME, y="density on this axis")
    share = min(0.4, 0.07 * len(looks))
    layout["xaxis"] |= {"anchor": "y2", "zeroline": True, "zerolinecolor": FAINT} | axis.layout
    layout["yaxis"] |= {"domain": [share + 0.04, 1], "showticklabels": False, "rangemode": "tozero"}
    layout["yaxis2"] = {"domain": [0, share], "visible": False, "fixedrange": True, "range": [len(looks) - 0.5, -0.5]}
    data = [trace for model, values in pools.items() for trace in _traces(model, values, axis, looks[model])]
    for row, model in enumerate(pools):
        data.append(_ticks(measurement.of(model).table.dropna(subset=[VALUE]), axis, looks[model]["color"], row))
    figure = {"data": data, "layout": layout}
    return [Panel(title="Extreme eigenvalues of the Hessian", figure=figure, key=KEY, wide=True)]


def _traces(model: str, values: NDArray, axis: AsinhAxis, look: dict[str, Any]) -> list[dict[str, Any]]:
    grid, heights = axis.grid, curve(values, axis)
    common = {"mode": "lines", "line": interactive.line(look), "legendgroup": interactive.plain_text(model)}
    below = grid < 0
    shade = {"x": interactive.numbers(grid[below]), "y": interactive.numbers(heights[below]), "fill": "tozeroy"}
    red, green, blue = (round(255 * part) for part in to_rgb(look["color"]))
    shade |= {"fillcolor": f"rgba({red},{green},{blue},0.3)", "line": {"width": 0}}
    whole = {"x": interactive.numbers(grid), "y": interactive.numbers(heights), "name": interactive.plain_text(model)}
    whole |= {"customdata": interactive.numbers(axis.value(grid))}
    hover = "<b>%{fullData.name}</b><br>eigenvalue %{customdata:.4g}<extra></extra>"
    return [common | whole | {"hovertemplate": hover}, common | shade | {"showlegend": False, "hoverinfo": "skip"}]


def _ticks(table: pd.DataFrame, axis: AsinhAxis, colour: str, row: int) -> dict[str, Any]:
    ordered = table.sort_values(VALUE, kind="stable")
    if len(ordered) > POINTS:
        ordered = ordered.iloc[np.linspace(0, len(ordered) - 1, POINTS).round().astype(int)]
    known = (interactive.numbers(ordered[column]) for column in (VALUE, "residual"))
    details = zip(*known, ordered["batch"], ordered["rank"], strict=True)
    model = interactive.plain_text(ordered["model"].iloc[0])
    return {
        "x": interactive.numbers(axis.place(ordered[VALUE])),
        "y": [row] * len(ordered),
        "yaxis": "y2",
        "mode": "markers",
        "marker": {"color": colour, "size": 8, "symbol": "line-ns-open", "opacity": 0.6},
        "customdata": [[value, residual, int(batch), int(rank)] for value, residual, batch, rank in details],
        "legendgroup": model,
        "showlegend": False,
        "name": model,
        "hovertemplate": (
            "<b>%{fullData.name}</b><br>eigenvalue %{customdata[0]:.4g}<br>batch %{customdata[2]}, rank "
            "%{customdata[3]}<br>residual %{customdata[1]:.2g}<extra></extra>"
        ),
    }


EXHIBIT = Exhibit(
    title="Sharpness: extreme eigenvalues of the Hessian",
    question="How sharp is the loss around the weights, and does it curve downwards in some directions?",
    columns={
        "table": ("model", "batch", "rank", VALUE, "residual"),
        "summary": ("model", "metric", "value", "low", "high"),
    },
    draw=draw,
    sentences=sentences,
    caution=(
        "Only the eigenvalues of largest magnitude of each batch are seen, so NEP is coupled to sharpness: where the "
        "positive ones are large, negative ones are crowded out. Sharpness depends on how the weights are scaled: two "
        "networks that compute the same function can have different eigenvalues, so compare networks of one "
        "architecture, or trained alike, and do not read it as generalisation. BatchNorm is in evaluation mode, and "
        "eigenvalues of small batches are larger than those of all data. Intervals (95 %) cover the choice of "
        "batches, not the seed of the training."
    ),
    interactive=plots,
)
