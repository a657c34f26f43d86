"""Calibration figure: reliability diagrams with their histograms of confidence (Fig F.1a of the paper)."""

from collections.abc import Iterator
from math import isnan
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from alternet.measurement import Measurement
from alternet.plotting import interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, INK, Drawing, grid, model_styles, title

GAP: dict[str, Any] = {"facecolor": "none", "hatch": "////", "edgecolor": "#555555", "linewidth": 0.7}
KEY = ("upper bars: accuracy in the bin", "lower bars: share of images", "dashed: perfectly calibrated")
IDEAL = (0, (4, 2))


def metrics(table: pd.DataFrame) -> dict[str, float]:
    """The metrics of one model by name.

    Examples:
        >>> metrics(pd.DataFrame({"metric": ["accuracy"], "value": [0.5]}))
        {'accuracy': 0.5}
    """
    return {str(k): float(v) for k, v in zip(table["metric"], table["value"], strict=True)}


def percent(table: pd.DataFrame, metric: str) -> str:
    """A metric of one model in percent, with its standard error where that is known.

    Examples:
        >>> percent(pd.DataFrame({"metric": ["accuracy"], "value": [0.5], "standard_error": [0.012]}), "accuracy")
        '50.0% ± 1.2%'
    """
    row = table[table["metric"] == metric].iloc[0]
    error = row.get("standard_error", float("nan"))
    return f"{row['value']:.1%}" if pd.isna(error) else f"{row['value']:.1%} ± {error:.1%}"


def overconfidence(reliability: pd.DataFrame) -> float:
    """Mean confidence less accuracy over all images: positive where the network believes too much.

    Examples:
        >>> bins = pd.DataFrame({"count": [1, 3, 0], "accuracy": [0, 1, None], "confidence": [0.4, 0.8, None]})
        >>> round(overconfidence(bins), 3)
        -0.05
    """
    filled = reliability[reliability["count"] > 0]
    gaps = (filled["confidence"] - filled["accuracy"]) * filled["count"]
    return float(gaps.sum() / filled["count"].sum()) if len(filled) else float("nan")


def draw(measurement: Measurement) -> Drawing:
    """One reliability diagram a model, each above the histogram of its confidences."""
    count = len(measurement.models)
    rows, columns = grid(count)
    figure = Drawing(figsize=(3.5 * columns if columns > 1 else 4.6, 4.6 * rows + 0.4), layout="constrained")
    axes = figure.subplots(2 * rows, columns, sharex=True, sharey="row", squeeze=False, height_ratios=[3, 1] * rows)
    pairs = [(upper, lower) for above, below in _paired(axes) for upper, lower in zip(above, below, strict=True)]
    for pair, (model, style) in zip(pairs, model_styles(measurement.models).items(), strict=False):
        _reliability(pair[0], measurement.of(model), style["color"])
        _histogram(pair[1], measurement.of(model), style["color"])
    for pair in pairs[count:]:
        pair[0].set_axis_off()
        pair[1].set_axis_off()
    for above, below in _paired(axes):
        above[0].set_ylabel("accuracy")
        below[0].set_ylabel("share of images")
    figure.legend(handles=_handles(), loc="outside lower center", ncols=3 if columns > 1 else 1)
    return figure


def _paired(axes: Any) -> Iterator[tuple[Any, Any]]:
    yield from zip(axes[0::2], axes[1::2], strict=True)


def _reliability(axis: Axes, one: Measurement, colour: str) -> None:
    bins = one.tables["reliability"]
    bins = bins[bins["count"] > 0]
    low, width = bins["low"], bins["high"] - bins["low"]
    axis.bar(low, bins["accuracy"], width, align="edge", color=colour, alpha=0.75, edgecolor="white", linewidth=0.8)
    gap = bins["confidence"] - bins["accuracy"]
    axis.bar(low, gap, width, bottom=bins["accuracy"], align="edge", **GAP)
    axis.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=IDEAL)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.set_title(title(one.models[0], 30))
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2}
    text = "\n".join(_figures(one.table))
    axis.text(0.04, 0.97, text, transform=axis.transAxes, va="top", fontsize=8.5, bbox=box)


def _figures(table: pd.DataFrame) -> list[str]:
    values = metrics(table)
    texts = {
        "accuracy": lambda: f"accuracy {percent(table, 'accuracy')}",
        "nll": lambda: f"NLL {values['nll']:.3f}",
        "ece": lambda: f"ECE {values['ece']:.1%}",
    }
    return [text() for name, text in texts.items() if name in values]


def _histogram(axis: Axes, one: Measurement, colour: str) -> None:
    bins = one.tables["reliability"]
    share = bins["count"] / max(int(bins["count"].sum()), 1)
    width = bins["high"] - bins["low"]
    axis.bar(bins["low"], share, width, align="edge", color=colour, edgecolor="white", linewidth=0.8)
    axis.tick_params(labelbottom=True)
    axis.set_xlabel("confidence")
    axis.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")


def _handles() -> list[Any]:
    ideal = Line2D([], [], color=INK, linewidth=1, linestyle=IDEAL, label="perfectly calibrated")
    return [Patch(facecolor=FAINT, label="accuracy in the bin"), Patch(**GAP, label="gap to mean confidence"), ideal]


def sentences(measurement: Measurement) -> list[str]:
    """For each model, its accuracy and whether its confidence is too high or too low."""
    return [_sentence(model, measurement.of(model)) for model in measurement.models]


def _sentence(model: str, one: Measurement) -> str:
    values, over = metrics(one.table), overconfidence(one.tables["reliability"])
    parts = [f"accuracy {percent(one.table, 'accuracy')}"] if "accuracy" in values else []
    if not isnan(over):
        points = f"{abs(100 * over):.1f}"
        side = "over-confident" if over > 0 else "under-confident"
        believed = f"on average {side} by {points} percentage points"
        parts.append("mean confidence equal to accuracy" if points == "0.0" else believed)
    if "ece" in values:
        parts.append(f"expected calibration error {values['ece']:.1%}")
    return f"{model}: {', '.join(parts) or 'no prediction was measured'}."


def plots(measurement: Measurement) -> list[Panel]:
    """One reliability diagram a model; the histogram is in the hover texts and the bars' width is the bin's."""
    styles = model_styles(measurement.models)
    return [_plot(measurement.of(model), model, styles[model]["color"]) for model in measurement.models]


def _plot(one: Measurement, model: str, colour: str) -> Panel:
    bins = one.tables["reliability"]
    bins = bins[bins["count"] > 0]
    common: dict[str, Any] = {
        "type": "bar",
        "x": interactive.numbers((bins["low"] + bins["high"]) / 2),
        "width": interactive.numbers(bins["high"] - bins["low"]),
        "customdata": [list(row) for row in bins[["low", "high", "count"]].itertuples(index=False)],
    }
    where = "confidence %{customdata[0]:.2f} to %{customdata[1]:.2f}<br>%{customdata[2]} images<br>"
    accuracy = {
        "y": interactive.numbers(bins["accuracy"]),
        "name": "accuracy",
        "marker": {"color": colour, "opacity": 0.75},
    }
    share = interactive.numbers(bins["count"] / bins["count"].sum())
    count = {"y": share, "name": "share of images", "marker": {"color": FAINT}, "yaxis": "y2"}
    ideal = {"x": [0, 1], "y": [0, 1], "mode": "lines", "name": "perfectly calibrated", "hoverinfo": "skip"}
    line = {"line": {"color": INK, "width": 1, "dash": "dash"}}
    layout = interactive.layout(x="confidence", y="accuracy")
    layout["xaxis"] |= {"range": [0, 1], "anchor": "y2"}
    layout["yaxis"] |= {"range": [0, 1], "domain": [0.32, 1]}
    layout["yaxis2"] = layout["yaxis"] | {
        "range": None,
        "domain": [0, 0.22],
        "title": {"text": "share"},
        "tickformat": ".0%",
    }
    data = [
        common | accuracy | {"hovertemplate": f"{where}accuracy %{{y:.1%}}<extra></extra>"},
        common | count | {"hovertemplate": f"{where}%{{y:.1%}} of all<extra></extra>"},
        ideal | line,
    ]
    return Panel(title=model, figure={"data": data, "layout": layout | {"showlegend": False}}, key=KEY)


EXHIBIT = Exhibit(
    title="Calibration",
    question="When the network is 80 % sure, is it right in 80 % of the cases?",
    columns={
        "table": ("model", "metric", "value"),
        "reliability": ("model", "bin", "low", "high", "count", "accuracy", "confidence"),
    },
    draw=draw,
    sentences=sentences,
    caution=(
        "Calibration holds for data like that measured here and says nothing about other data. What follows ± is one "
        "standard error; bins with few images scatter by chance. Training with mixup, CutMix or label smoothing makes "
        "networks under-confident, so a difference between two networks may come from their recipes and not from "
        "their architectures."
    ),
    interactive=plots,
)
