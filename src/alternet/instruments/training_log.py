"""Training figure: the loss on training batches and the accuracy on test or validation images, epoch by epoch."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.key_number import KeyNumber
from alternet.instruments.spec import Spec, integer, number
from alternet.measurement import Measurement
from alternet.plotting.legend import of_models
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, model_styles
from alternet.plotting.units import counted
from alternet.runs import logged

SHOWN = {
    "train_loss": "training loss",
    "test_accuracy": "test accuracy",
    "validation_accuracy": "validation accuracy",
}
TESTED = ("test_accuracy", "validation_accuracy")
"""A run has one of the two: of the test split, or of images that its recipe took out of training."""


def chance(measurement: Measurement) -> float | None:
    """The accuracy of guessing, one in so many classes, if all models were trained for the same number of them."""
    classes = {provenance.get("num_classes") for provenance in measurement.provenances}
    count = classes.pop() if len(classes) == 1 else None
    return 1 / count if isinstance(count, int) and count > 0 else None


def panels(measurement: Measurement) -> list[Panel]:
    """Loss, then accuracy of those models that were tested on test images, then of those on validation images."""
    given = {column: measurement.table[column].notna().any() for column in SHOWN if column in measurement.table}
    return [
        Panel(title=words.capitalize(), draw=partial(_epochs, measurement=measurement, column=column))
        for column, words in SHOWN.items()
        if given.get(column) or (column == "test_accuracy" and not any(given.get(one) for one in TESTED))
    ]


def _epochs(axis: Axes, measurement: Measurement, column: str) -> Targets:
    targets, accuracy = [], column in TESTED
    for model, look in model_styles(measurement.models).items():
        rows = measurement.of(model).table.sort_values("epoch", kind="stable")
        if accuracy and len(measurement.models) > 1 and rows[column].isna().all():
            continue
        x, y = rows["epoch"], rows[column]
        with belongs_to(model, axis):
            axis.plot(x, y, marker="o" if len(rows) == 1 else "", **look)
        texts = [f"epoch {at}: {value:{'.1%' if accuracy else '.4g'}}" for at, value in zip(x, y, strict=True)]
        targets.append(points(axis, x, y, texts, name=model))
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if accuracy:
        axis.set_ylim(0, 1)
        axis.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        if (guess := chance(measurement)) is not None:
            axis.axhline(guess, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
            where = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "color": FAINT}
            axis.annotate("chance", (1, guess), **where)
    return list(targets)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, the accuracy that it reached, and how far that is above chance."""
    guess = chance(measurement)
    against = "" if guess is None else f" (chance: {guess:.1%})"
    said = []
    for model in measurement.models:
        rows = measurement.of(model).table.sort_values("epoch")
        column = next((one for one in TESTED if one in rows and rows[one].notna().any()), None)
        if column is None:
            said.append(f"{model}: no test accuracy was measured in training.")
            continue
        last, epochs = rows.dropna(subset=[column]).iloc[-1], counted(len(rows), "epoch")
        averaged = last.get(f"ema_{column}", float("nan"))  # not in SPEC, so a table may lack it
        mean = "" if pd.isna(averaged) else f", {averaged:.1%} with the moving average of its weights"
        said.append(f"{model}: {SHOWN[column]} {last[column]:.1%}{mean} after {epochs}{against}.")
    return said


SPEC = Spec(
    name="training",
    order=0,
    title="Training",
    question="Did the networks learn, and had they finished learning?",
    caution=(
        "The training loss is measured on augmented batches while the weights still move, the accuracy on clean "
        "images: the two are not on one scale. Validation images are a part of the training split that was not "
        "trained on; where settings were chosen by them, their accuracy is too high. One run a network says "
        "nothing about how much another seed would differ."
    ),
    tables={
        "table": {
            "epoch": integer("epochs done"),
            "train_loss": number("mean loss of the epoch's batches"),
            "test_accuracy": number("share of right answers on the test split", missing=True),
            "validation_accuracy": number(
                "the same on images that the recipe took out of training, of runs that tested these instead",
                missing=True,
                drawn=False,
            ),
        }
    },
)
"""The log of a training run is shown like an instrument, though nothing measures it."""


def numbers(measurement: Measurement) -> dict[str, KeyNumber]:
    """The accuracy after the last epoch, and how fast the training went."""
    rows, found = measurement.table.sort_values("epoch"), {}
    for column in TESTED:
        if column in rows and len(known := rows[column].dropna()):
            title = "Accuracy" if column == "test_accuracy" else "Validation accuracy"
            averaged = f"ema_{column}" in rows and rows[f"ema_{column}"].notna().any()
            found[title.lower()] = KeyNumber(
                value=logged(rows.loc[known.index[-1]], column),
                title=title,
                says=f"{SHOWN[column]} after the last epoch" + (" of the averaged weights" if averaged else ""),
                topic="accuracy and calibration",
                better="higher",
                percent=True,
            )
    if "images_per_second" in rows:  # not in SPEC, so a table may lack it
        found["images a second"] = KeyNumber(
            value=float(rows["images_per_second"].median()),
            title="Images a second",
            says="in training, the median over epochs",
            topic="cost",
            better="higher",
        )
    return found


EXHIBIT = Exhibit(spec=SPEC, panels=panels, legend=of_models, sentences=sentences, numbers=numbers)
