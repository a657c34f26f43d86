"""Spectral density figure: how many eigenvalues the Hessian has where, models on one axis, from bulk to outliers."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.spectral_density import SpectralDensity
from alternet.measurement import Measurement
from alternet.plotting.asinh_axis import AsinhAxis
from alternet.plotting.legend import Entry, models
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, model_styles, say_empty, short

LINEAR = 1e-3
"""The axis is linear as far as this part of the largest |eigenvalue|, and logarithmic beyond."""
PARTS, MARGIN = 80, 0.05
"""The kernel's width in parts of the drawn axis, and the part of it that is left free at either end."""
NAME, COUNT = "eigenvalue of the Hessian of all the data", "eigenvalues, smoothed"


def value(one: Measurement, metric: str) -> float:
    """A number of the table `moments`, nan where it is missing."""
    rows = one.tables["moments"]
    return float(rows.loc[rows["metric"] == metric, "value"].mean())


def curves(measurement: Measurement) -> tuple[AsinhAxis, dict[str, NDArray]]:
    """The axis, and for each model with eigenvalues the count that each random vector gives [draws, points]."""
    nodes = measurement.table["eigenvalue"].dropna().to_numpy()
    axis = AsinhAxis.of(nodes, linear=LINEAR * float(np.abs(nodes).max(initial=0)), margin=MARGIN)
    drawn = {}
    for model in measurement.models:
        one, draws = measurement.of(model), []
        for _, part in one.table.dropna(subset=["eigenvalue", "weight"]).groupby("draw"):
            distances = axis.grid[:, None] - axis.place(part["eigenvalue"])
            draws.append(np.exp(-0.5 * (distances / kernel(axis)) ** 2) @ part["weight"].to_numpy())
        if one.table["eigenvalue"].notna().any():
            drawn[model] = value(one, "parameters") * np.array(draws)
    return axis, drawn


def kernel(axis: AsinhAxis) -> float:
    """The width of the kernel, in places."""
    return (axis.high - axis.low) / PARTS


def panels(measurement: Measurement) -> list[Panel]:
    """The mean over random vectors as a line, their range as a band; both axes logarithmic but around zero."""
    return [Panel(title="All eigenvalues", draw=partial(_counted, measurement=measurement), size=(5.0, 3.8), wide=True)]


def _counted(axes: Axes, measurement: Measurement) -> Targets:
    axis, drawn = curves(measurement)
    looks, targets, x = model_styles(measurement.models), [], axis.value(axis.grid)
    axes.set(xlabel=NAME, ylabel=COUNT)
    if not drawn:
        say_empty(axes)
        return []
    for line in (axes.axvline(0), axes.axhline(1)):
        line.set(color=FAINT, linewidth=0.8, zorder=0)
    for model, counts in drawn.items():
        low, mean, high = counts.min(0), counts.mean(0), counts.max(0)
        with belongs_to(model, axes):
            axes.plot(x, mean, **looks[model])
            axes.fill_between(x, low, high, color=looks[model]["color"], alpha=0.15, linewidth=0)
        every = slice(None, None, 4)  # 100 places to point at are enough
        rows = zip(x[every], mean[every], low[every], high[every], strict=True)
        texts = [f"eigenvalue {_minus(short(at))}\nsmoothed count {m:.3g} ({a:.3g} to {b:.3g})" for at, m, a, b in rows]
        targets.append(points(axes, x[every], mean[every], texts, name=model))
    axis.apply(axes)
    # clip: far from every node the smoothed count is 0
    axes.set_yscale("log", nonpositive="clip")
    # from a third of a single eigenvalue to above the highest peak
    axes.set_ylim(0.3, 3 * max(float(counts.max()) for counts in drawn.values()))
    return list(targets)


def legend(measurement: Measurement) -> list[Entry]:
    """The models with what their eigenvalues add up to, the line at one eigenvalue, and the band."""
    _, drawn = curves(measurement)
    looks = {model: look for model, look in model_styles(measurement.models).items() if model in drawn}
    facts = {}
    for model in looks:
        one = measurement.of(model)
        whole, nll, l2, negative = (
            _with_error(one, metric) for metric in ("trace", "nll_trace", "l2_trace", "negative_trace")
        )
        facts[model] = f"trace {whole}, NLL {nll}, L2 {l2}, below zero {negative}"
    known = models(looks, facts)
    line = Entry(Line2D([], [], color=FAINT, linewidth=0.8), "1: height of a single eigenvalue")
    band = Entry(Patch(color=FAINT, alpha=0.25, linewidth=0), "from the lowest to the highest random vector")
    return [*known, line, band] if known else []


def _with_error(one: Measurement, metric: str) -> str:
    rows = one.tables["moments"]
    row, said = rows[rows["metric"] == metric], _minus(short(value(one, metric)))
    if "low" in row and row["high"].mean() > row["low"].mean():
        return f"{said} ({_minus(short(row['low'].mean()))} to {_minus(short(row['high'].mean()))})"
    error = float(row["standard_error"].mean())
    return f"{said} ± {short(error)} (standard error)" if error > 0 else said


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text


def sentences(measurement: Measurement) -> list[str]:
    """For each model what the eigenvalues add up to, and from where to where they reach."""
    said = []
    for model in measurement.models:
        one = measurement.of(model)
        if one.table["eigenvalue"].isna().all():
            said.append(f"{model}: no eigenvalue could be measured.")
            continue
        low, high = (_minus(short(value(one, metric))) for metric in ("smallest", "largest"))
        said.append(
            f"{model}: {value(one, 'parameters'):,.0f} eigenvalues from {low} to {high} add up to "
            f"{_with_error(one, 'trace')} (the trace), of which L2 makes {short(value(one, 'l2_trace'))}; those below "
            f"zero add up to {_with_error(one, 'negative_trace')}."
        )
    return said


EXHIBIT = Exhibit(
    spec=SpectralDensity.spec,
    panels=panels,
    legend=legend,
    layout={"columns": 1, "names": 100},
    sentences=sentences,
)
