"""Training figure: the loss on training batches and the accuracy on the test split, epoch by epoch."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alternet.measurement import Measurement
from alternet.plotting import depth_axis, interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, Drawing, model_styles

SHOWN = {"train_loss": "training loss", "test_accuracy": "test accuracy"}
AVERAGED = "ema_test_accuracy"


def chance(measurement: Measurement) -> float | None:
    """The accuracy of guessing, one in so many classes, if all models were trained for the same number of them."""
    classes = {provenance.get("num_classes") for provenance in measurement.provenances}
    count = classes.pop() if len(classes) == 1 else None
    return 1 / count if isinstance(count, int) and count > 0 else None


def draw(measurement: Measurement) -> Drawing:
    """Loss on the left, accuracy on the right, all models on the same axes."""
    figure = Drawing(figsize=(10.5, 3.8), layout="constrained")
    axes = figure.subplots(1, 2)
    styles = model_styles(measurement.models)
    for axis, (column, words) in zip(axes, SHOWN.items(), strict=True):
        for model, style in styles.items():
            _curve(axis, measurement.of(model).table.sort_values("epoch"), column, style)
        axis.set_title(words.capitalize())
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[1].set_ylim(0, 1)
    axes[1].yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    if (guess := chance(measurement)) is not None:
        axes[1].axhline(guess, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
        axes[1].annotate("chance", (1, guess), xycoords=("axes fraction", "data"), ha="right", va="bottom", color=FAINT)
    figure.legend(handles=depth_axis.model_handles(styles), loc="outside lower center", ncols=min(len(styles), 3))
    return figure


def _curve(axis: Axes, rows: pd.DataFrame, column: str, style: dict[str, Any]) -> None:
    axis.plot(rows["epoch"], rows[column], marker="o" if len(rows) == 1 else "", **style)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, the accuracy that it reached, and how far that is above chance."""
    guess = chance(measurement)
    against = "" if guess is None else f" (chance: {guess:.1%})"
    return [_sentence(model, measurement.of(model).table, against) for model in measurement.models]


def _sentence(model: str, rows: pd.DataFrame, against: str) -> str:
    known = rows.dropna(subset=["test_accuracy"]).sort_values("epoch")
    if known.empty:
        return f"{model}: no test accuracy was measured in training."
    last, count = known.iloc[-1], len(rows)
    epochs = f"{count} epoch" if count == 1 else f"{count} epochs"
    averaged = last.get(AVERAGED, float("nan"))
    mean = "" if pd.isna(averaged) else f", {averaged:.1%} with the moving average of its weights"
    return f"{model}: test accuracy {last['test_accuracy']:.1%}{mean} after {epochs}{against}."


def plots(measurement: Measurement) -> list[Panel]:
    """Loss and accuracy against epochs."""
    return [_plot(measurement, column, words) for column, words in SHOWN.items()]


def _plot(measurement: Measurement, column: str, words: str) -> Panel:
    styles = model_styles(measurement.models)
    traces = []
    for model, style in styles.items():
        rows = measurement.of(model).table.sort_values("epoch")
        shape = {"x": interactive.numbers(rows["epoch"]), "y": interactive.numbers(rows[column])}
        name = {"name": interactive.plain_text(model), "mode": "lines" if len(rows) > 1 else "markers"}
        traces.append(shape | name | {"line": interactive.line(style), "hovertemplate": "epoch %{x}: %{y:.4g}"})
    layout: dict[str, Any] = interactive.layout(x="epoch", y=words) | {"hovermode": "x unified"}
    if measurement.table["epoch"].max() <= 10:
        layout["xaxis"]["dtick"] = 1
    if column == "test_accuracy":
        layout["yaxis"] = layout["yaxis"] | {"range": [0, 1], "tickformat": ".0%"}
    return Panel(title=f"{words.capitalize()} against epochs", figure={"data": traces, "layout": layout})


EXHIBIT = Exhibit(
    title="Training",
    question="Did the networks learn, and had they finished learning?",
    columns={"table": ("model", "epoch", "train_loss", "test_accuracy")},
    draw=draw,
    sentences=sentences,
    caution=(
        "The training loss is measured on augmented batches while the weights still move, the accuracy on clean test "
        "images: the two are not on one scale. One run a network says nothing about how much another seed would differ."
    ),
    interactive=plots,
)
