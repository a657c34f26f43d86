"""Calibration figure: reliability diagrams with their histograms of confidence (Fig F.1a of the paper)."""

from functools import partial
from math import isfinite, isnan, nan
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from alternet.instruments.calibration import Calibration
from alternet.instruments.exhibit import Exhibit
from alternet.instruments.key_number import Ends, KeyNumber, interval
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry, put
from alternet.plotting.panel import Panel, Points, Targets, belongs_to, lay
from alternet.plotting.style import FAINT, INK, Drawing, grid, letters, model_styles
from alternet.student import wilson

GAP: dict[str, Any] = {"facecolor": "none", "hatch": "////", "edgecolor": "#555555", "linewidth": 0.7}
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
        >>> percent(pd.DataFrame({"metric": ["accuracy"], "value": [0.0], "standard_error": [0.0]}), "accuracy")
        '0.0%'
    """
    row = table[table["metric"] == metric].iloc[0]
    error = row.get("standard_error", float("nan"))
    # an error of 0 where all or none is right says nothing of what other images would give
    return f"{row['value']:.1%}" if pd.isna(error) or not error else f"{row['value']:.1%} ± {error:.1%}"


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


def panels(measurement: Measurement) -> list[Panel]:
    """One reliability diagram a model, each above the histogram of its confidences."""
    looks = model_styles(measurement.models)
    return [
        Panel(
            title=model,
            draw=partial(_diagram, one=measurement.of(model), colour=look["color"]),
            ratios=(3.0, 1.0),
            size=(3.9, 4.3),
        )
        for model, look in looks.items()
    ]


def _diagram(above: Axes, below: Axes, one: Measurement, colour: str) -> Targets:
    bins = one.tables["reliability"]
    bins = bins[bins["count"] > 0]
    (model,), low, high, total = one.models, bins["low"], bins["high"], max(int(bins["count"].sum()), 1)
    accuracy, confidence, share = bins["accuracy"], bins["confidence"], bins["count"] / total
    look: dict[str, Any] = {"align": "edge", "color": colour, "edgecolor": "white", "linewidth": 0.8}
    with belongs_to(model, above, below):
        above.bar(low, accuracy, high - low, alpha=0.75, **look)
        above.bar(low, confidence - accuracy, high - low, bottom=accuracy, align="edge", **GAP)
        below.bar(low, share, high - low, **look)
    above.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=IDEAL)

    values = metrics(one.table)
    numbers = [f"accuracy {percent(one.table, 'accuracy')}"] if "accuracy" in values else []
    numbers += [f"NLL {values['nll']:.3f}"] if "nll" in values else []
    numbers += [f"ECE {values['ece']:.1%}"] if "ece" in values else []
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2}
    above.text(0.04, 0.97, "\n".join(numbers), transform=above.transAxes, va="top", fontsize=letters(8.5), bbox=box)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    below.set(xlabel="confidence", ylabel="share of images")
    below.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")

    texts = [
        f"confidence {row['low']:.2f} to {row['high']:.2f}, mean {row['confidence']:.1%}\n"
        f"accuracy {row['accuracy']:.1%}\n{row['count']:.0f} images, {row['count'] / total:.1%} of all"
        for _, row in bins.iterrows()
    ]
    bars = ((above, pd.concat([accuracy, confidence], axis=1).max(axis=1)), (below, share))
    return [
        Points(axis, pd.DataFrame([low, 0 * low, high, top]).to_numpy().T, texts, model, model) for axis, top in bars
    ]


def draw(measurement: Measurement) -> Drawing:
    """The diagrams in rows, confidence and accuracy alike in all."""
    rows, across = grid(len(measurement.models))
    figure = Drawing(figsize=(3.5 * across if across > 1 else 4.6, 4.6 * rows + 0.4), layout="constrained")
    lay(figure, panels(measurement), titles=30, sharex=True, sharey="row")
    put(figure, legend(measurement), columns=3 if across > 1 else 1)
    return figure


def legend(measurement: Measurement) -> list[Entry]:
    """What bars and line mean."""
    ideal = Line2D([], [], color=INK, linewidth=1, linestyle=IDEAL)
    bars = [Entry(Patch(facecolor=FAINT), "accuracy in the bin"), Entry(Patch(**GAP), "gap to mean confidence")]
    return [*bars, Entry(ideal, "perfectly calibrated")]


def sentences(measurement: Measurement) -> list[str]:
    """For each model, its accuracy and whether its confidence is too high or too low."""
    said = []
    for model in measurement.models:
        one = measurement.of(model)
        values, over = metrics(one.table), overconfidence(one.tables["reliability"])
        parts = [f"accuracy {percent(one.table, 'accuracy')}"] if "accuracy" in values else []
        if not isnan(over):
            points = f"{abs(100 * over):.1f}"
            side = "over-confident" if over > 0 else "under-confident"
            believed = f"on average {side} by {points} percentage points"
            parts.append("mean confidence equal to accuracy" if points == "0.0" else believed)
        if "ece" in values:
            parts.append(f"expected calibration error {values['ece']:.1%}")
        said.append(f"{model}: {', '.join(parts) or 'no prediction was measured'}.")
    return said


KEY: dict[str, dict[str, Any]] = {
    "accuracy": {"title": "Accuracy", "says": "share of right answers", "better": "higher", "percent": True},
    "nll": {"title": "NLL", "says": "mean negative log-likelihood, in nats", "better": "lower"},
    "ece": {"title": "ECE", "says": "expected calibration error", "better": "lower", "percent": True},
}


def numbers(measurement: Measurement) -> dict[str, KeyNumber]:
    """Accuracy, NLL and expected calibration error."""
    table, images = measurement.table, measurement.provenance.get("images")
    errors = table["standard_error"] if "standard_error" in table else [nan] * len(table)
    found = {}
    for metric, value, error in zip(table["metric"], table["value"].astype(float), errors, strict=True):
        if metric in KEY:
            ends = interval(value, error)
            if metric == "accuracy" and images and isfinite(value):  # few images are no reason for more than 100 %
                low, high = wilson(round(value * images), images)
                ends = Ends(low=low, high=high)
            found[metric] = KeyNumber(value=value, topic="accuracy and calibration", **ends, **KEY[metric])
    return found


EXHIBIT = Exhibit(
    spec=Calibration.spec,
    panels=panels,
    legend=legend,
    draw=draw,
    sentences=sentences,
    numbers=numbers,
)
