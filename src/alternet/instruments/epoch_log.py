"""Key numbers of a network against the epoch, from measurements of its snapshots; nothing measures it by itself."""

import re
from collections.abc import Iterable
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.spec import Spec, integer, number, text
from alternet.measurement import Measurement
from alternet.plotting.legend import of_models
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import model_styles

NAMED = re.compile(r"(?P<run>.+)@(?:epoch-(?P<epoch>\d+)|(?P<word>init))(?P<mark> \(.*\))?")


def over_epochs(named: Iterable[tuple[Measurement, dict[str, dict[str, float]]]]) -> Measurement | None:
    """The key numbers of all models called `RUN@epoch-0010` or `RUN@init`, if a run has two or more of them.

    Args:
        named: Measurements with the key numbers of each of their models.
    """
    rows = []
    for measurement, found in named:
        for model, numbers in found.items():
            if (at := NAMED.fullmatch(model)) is not None:
                epoch = 0 if at["word"] else int(at["epoch"])
                rows += [
                    (at["run"], epoch, f"{measurement.instrument}: {key}", value) for key, value in numbers.items()
                ]
    table = pd.DataFrame(rows, columns=["model", "epoch", "number", "value"])
    table = table[table.groupby(["model", "number"])["epoch"].transform("nunique") > 1]
    if table.empty:
        return None
    names = list(dict.fromkeys(table["model"]))
    facts = tuple({"instrument": "epochs", "model": {"name": name}} for name in names)
    table = table.sort_values(["model", "number", "epoch"], kind="stable").reset_index(drop=True)
    return Measurement(instrument="epochs", tables={"table": table}, provenances=facts)


def panels(measurement: Measurement) -> list[Panel]:
    """One panel a number."""
    names = dict.fromkeys(measurement.table["number"])
    return [Panel(title=name, draw=partial(_epochs, measurement=measurement, name=name)) for name in names]


def _epochs(axis: Axes, measurement: Measurement, name: str) -> Targets:
    targets = []
    for model, look in model_styles(measurement.models).items():
        table = measurement.of(model).table
        rows = table[table["number"] == name].sort_values("epoch")
        with belongs_to(model, axis):
            axis.plot(rows["epoch"], rows["value"], marker="o", **look)
        texts = [f"epoch {at}: {value:.4g}" for at, value in zip(rows["epoch"], rows["value"], strict=True)]
        targets.append(points(axis, rows["epoch"], rows["value"], texts, name=model))
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return list(targets)


def sentences(measurement: Measurement) -> list[str]:
    """For each run, what every number was at its first epoch and at its last."""
    said = []
    for model in measurement.models:
        parts = []
        for name, rows in measurement.of(model).table.groupby("number", sort=False):
            first, last = rows.sort_values("epoch").iloc[0], rows.sort_values("epoch").iloc[-1]
            parts.append(
                f"{name} {first['value']:.3g} at epoch {first['epoch']}, {last['value']:.3g} at {last['epoch']}"
            )
        said.append(f"{model}: {'; '.join(parts)}.")
    return said


SPEC = Spec(
    name="epochs",
    order=1,
    title="In the course of training",
    question="How does what the instruments say of a network change while it learns?",
    caution=(
        "One number stands for each instrument; its section says what it leaves out. Lines join measurements and say "
        "nothing of the epochs between them. One run says nothing about how much another seed would differ."
    ),
    tables={
        "table": {
            "epoch": integer("epochs done"),
            "number": text("which number of which instrument"),
            "value": number("the number", missing=True),
        }
    },
    pools=False,
)
"""Measurements of snapshots are shown like an instrument."""

EXHIBIT = Exhibit(spec=SPEC, panels=panels, legend=of_models, sentences=sentences)
