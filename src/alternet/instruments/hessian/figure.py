"""Hessian figure: the density of extreme eigenvalues, models on one axis (Fig 1c, 4, 6 and 7 of the paper)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.hessian import Hessian
from alternet.instruments.key_number import KeyNumber
from alternet.measurement import Measurement
from alternet.plotting.asinh_axis import AsinhAxis
from alternet.plotting.legend import Entry, models
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, letters, model_styles, say_empty, short

VALUE = "eigenvalue"
MATRICES = {
    "loss": "the Hessian",
    "gauss-newton": "the Gauss-Newton matrix",
    "residual": "the Hessian less the Gauss-Newton matrix",
}
"""What the eigenvalues are of, by the setting `of`."""
SINGLE = 200
"""Eigenvalues of a model that are drawn one by one; of more, evenly spaced ones in their order."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


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
    # what lies on either side of zero, for a point on that side
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


def matrix(measurement: Measurement) -> str:
    """What the eigenvalues are of; results of version 0.1.0, which knew the Hessian alone, do not say it."""
    kinds = {provenance.get("settings", {}).get("of", "loss") for provenance in measurement.provenances}
    return MATRICES.get(kinds.pop(), MATRICES["loss"]) if len(kinds) == 1 else "matrices of several kinds"


def panels(measurement: Measurement) -> list[Panel]:
    """All densities on one axis; below, every eigenvalue, and where half and nine tenths of them lie."""
    rows = len(measurement.models)
    return [
        Panel(
            title=f"Extreme eigenvalues of {matrix(measurement)}",
            draw=partial(_spectra, measurement=measurement),
            ratios=(3.0, 0.22 * rows + 0.1),
            size=(5.0, 3.3 + 0.3 * rows),
            wide=True,
        )
    ]


def _spectra(above: Axes, below: Axes, measurement: Measurement) -> Targets:
    pools, looks, targets = spectra(measurement), model_styles(measurement.models), []
    axis, rows = axis_of(pools), len(measurement.models)
    if not pools:
        say_empty(above)
    for row, (model, look) in enumerate(looks.items()):
        if model in pools:
            with belongs_to(model, above, below):
                values, heights = axis.value(axis.grid), curve(pools[model], axis)
                above.plot(values, heights, **look)
                below_zero = list(axis.grid < 0)
                above.fill_between(values, heights, where=below_zero, color=look["color"], alpha=0.3, linewidth=0)
                every = slice(None, None, 4)  # 100 places to point at are enough
                texts = [
                    f"eigenvalue {short(value)}\n{(pools[model] < value).mean():.1%} lie below"
                    for value in values[every]
                ]
                targets.append(points(above, values[every], heights[every], texts, name=model))
                targets += _strip(below, measurement.of(model).table.dropna(subset=[VALUE]), model, look, row)
    axis.apply(above)
    for one in (above, below):
        one.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    above.set(ylabel="density on this axis", yticks=[])
    above.set_ylim(bottom=0)
    above.tick_params(labelbottom=False)
    below.set(xlabel=f"eigenvalue of {matrix(measurement)} of one batch", yticks=[], ylim=(rows - 0.4, -0.6))
    below.spines["left"].set_visible(False)
    below.set_ylabel("quantiles", rotation=0, ha="right", va="center", color=FAINT, fontsize=letters(8))
    return targets


def _strip(axes: Axes, table: pd.DataFrame, model: str, look: dict[str, Any], row: int) -> Targets:
    """Every eigenvalue as a tick, nine tenths as a thin line, the middle half as a thick one, the median as a dot."""
    ordered = table.sort_values(VALUE, kind="stable")
    if len(ordered) > SINGLE:
        ordered = ordered.iloc[np.linspace(0, len(ordered) - 1, SINGLE).round().astype(int)]
    colour, single = look["color"], ordered[VALUE].to_numpy()
    # one line with gaps: a path in the page instead of as many as there are eigenvalues
    x, y = np.repeat(single, 3), np.tile([row - 0.3, row + 0.3, np.nan], len(single))
    axes.plot(x, y, color=colour, linewidth=0.5, alpha=0.35)
    marks = np.quantile(table[VALUE], QUANTILES)
    axes.plot(marks[[0, 4]], [row, row], color=colour, linestyle=look["linestyle"], linewidth=1)
    axes.plot(marks[[1, 3]], [row, row], color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot(marks[[2]], [row], "o", color="white", markeredgecolor=colour, markersize=4.5)
    said = [
        f"{share:.0%} of the eigenvalues lie below {short(mark)}" for share, mark in zip(QUANTILES, marks, strict=True)
    ]
    details = zip(single, ordered["batch"], ordered["rank"], ordered["residual"], strict=True)
    texts = [
        f"{value:.4g} (batch {batch}, rank {rank}, residual {residual:.1g})" for value, batch, rank, residual in details
    ]
    every = points(axes, single, np.full(len(single), row + 0.3), texts, name=model)
    return [points(axes, marks, np.full(len(marks), row), said, name=model), every]


def legend(measurement: Measurement) -> list[Entry]:
    """The models with NEP and APE, and what is shaded."""
    looks, facts = model_styles(measurement.models), dict.fromkeys(measurement.models, "no eigenvalues")
    for model in spectra(measurement):
        one = measurement.of(model)
        facts[model] = f"NEP {_interval(one, 'nep')}, APE {_interval(one, 'ape')}"
    return [*models(looks, facts), Entry(Patch(color=FAINT, alpha=0.4), "below zero: the area is NEP")]


def _interval(one: Measurement, metric: str) -> str:
    """A metric with its interval, as far as they are defined: `4.2% (1 to 7.9)`."""
    rows = one.tables["summary"]
    numbers = rows.loc[rows["metric"] == metric, ["value", "low", "high"]].to_numpy(dtype=float)
    if not len(numbers) or np.isnan(numbers[0, 0]):
        return "undefined"
    factor, unit = (100, "%") if metric == "nep" else (1, "")
    value, low, high = factor * numbers[0]
    # without a negative eigenvalue results of 0.1.0 have 0 to 0, which is no interval to show
    known = not (np.isnan(low) or np.isnan(high) or low == high)
    return f"{short(value)}{unit}" + (f" ({short(low)} to {short(high)})" if known else "")


def sentences(measurement: Measurement) -> list[str]:
    """For each model NEP and APE with their intervals, from how many eigenvalues, and how good the worst of them is."""
    said = []
    for model in measurement.models:
        one = measurement.of(model)
        table = one.table.dropna(subset=[VALUE])
        if table.empty:
            said.append(f"{model}: no eigenvalue could be measured.")
            continue
        batches = table["batch"].nunique()
        negative = _interval(one, "nep")
        negative = negative.replace("0%", "none", 1) if negative.split()[0] == "0%" else negative
        worst = worst_residual(table)
        quality = f"the worst residual is {worst:.1g} of the largest eigenvalue of its batch" if worst else "all exact"
        said.append(
            f"{model}: of {len(table)} eigenvalues of {_of(one)}{batches} {'batches' if batches > 1 else 'batch'} "
            f"{negative} are negative (NEP), "
            f"the mean of the positive ones is {_interval(one, 'ape')} (APE); "
            f"{quality}{_certified(table)}.{_along(table)}{_too_few(one)}"
        )
    return said


def _of(one: Measurement) -> str:
    """The matrix, where it is not the Hessian that everybody expects."""
    name = matrix(one)
    return "" if name == MATRICES["loss"] else f"{name} over "


def _along(table: pd.DataFrame) -> str:
    """How much of the gradient lies along the eigenvectors, batch by batch; results of 0.1.0 do not say it."""
    if "overlap" not in table or table["overlap"].isna().all():
        return ""
    share = table.groupby("batch")["overlap"].sum(min_count=1).mean()
    return f" Along their eigenvectors lies {share:.0%} of the gradient's squared length."


def _certified(table: pd.DataFrame) -> str:
    """Of how many batches further eigenvalues were looked for in vain; results of 0.1.0 do not say it."""
    if "certified" not in table:
        return ""
    batches = table.groupby("batch")["certified"].min()
    if batches.all():
        return ", certified"
    return f", certified for {int(batches.sum())} of {len(batches)} batches" if batches.any() else ", not certified"


def _too_few(one: Measurement) -> str:
    """Which of NEP and APE has a value and no interval."""
    rows = one.tables["summary"].set_index("metric")
    without = [name.upper() for name in ("nep", "ape") if rows["value"].notna()[name] and rows["low"].isna()[name]]
    return f" Too few batches for an interval of {' and '.join(without)}." if without else ""


def worst_residual(table: pd.DataFrame) -> float:
    """The largest residual in terms of the largest |eigenvalue| of its batch.

    Examples:
        >>> worst_residual(pd.DataFrame({"batch": [0, 0], "eigenvalue": [-4, 1], "residual": [0.1, 0.2]}))
        0.05
    """
    largest = table[VALUE].abs().groupby(table["batch"]).transform("max")
    shares = (table["residual"] / largest).where(largest > 0, 0.0)
    return float(shares.max())


KEY: dict[str, dict[str, Any]] = {
    "nep": {"title": "NEP", "says": "share of the extreme eigenvalues that are negative", "percent": True},
    "ape": {"title": "APE", "says": "mean of the extreme eigenvalues that are positive"},
}


def numbers(measurement: Measurement) -> dict[str, KeyNumber]:
    """NEP and APE, the share of negative eigenvalues and the mean of positive ones."""
    table = measurement.tables["summary"]
    return {
        str(row["metric"]): KeyNumber(
            **{end: float(row[end]) for end in ("value", "low", "high")},
            topic="loss landscape",
            better="lower",
            **KEY[str(row["metric"])],
        )
        for _, row in table[table["metric"].isin(KEY)].iterrows()
    }


EXHIBIT = Exhibit(
    spec=Hessian.spec,
    panels=panels,
    legend=legend,
    layout={"columns": 1, "names": 100, "sharex": True},
    sentences=sentences,
    numbers=numbers,
)
