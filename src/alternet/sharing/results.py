"""Results: what was measured of exactly these weights, with its data and how far it may be off."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isnan, sqrt
from pathlib import Path
from typing import Any

from alternet.instruments.figures import FIGURES, sentences
from alternet.measurement import Measurement, find_measurements
from alternet.runs import RAW, TrainingRun

SHOWN = {
    "calibration": {
        "accuracy": "Accuracy",
        "top5": "Top-5 accuracy",
        "nll": "Negative log-likelihood, in nats",
        "brier": "Brier score",
        "ece": "Expected calibration error",
    },
    "corruption": {
        "mean_accuracy": "Mean accuracy over {sets} corrupted sets",
        "mce": "Mean corruption error",
    },
}
"""The metrics that are results of a classifier, by instrument; of all other instruments the card has sentences."""
TABLES = {"corruption": "summary"}
"""Where they stand, if not in `table`."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A number that was measured.

    Attributes:
        metric: What it is, as the tables call it.
        says: The same in words.
        value: The number.
        error: Its standard error over the images, where that is known.
        images: How many images it was measured on, where that is known.
        data: Name of the data.
        fingerprint: Stands for the images.
        split: Which part of the data, where it has any.
        settings: Of the instrument.
    """

    metric: str
    says: str
    value: float
    error: float | None = None
    images: int | None = None
    data: str
    fingerprint: str
    split: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def of_run(run: TrainingRun, snapshot: str) -> Iterator[Result]:
    """The accuracy that a run noted for the weights of a snapshot, on test images or on validation images of its own.

    Args:
        run: The run.
        snapshot: Its name, as in `run:DIR@SNAPSHOT`.
    """
    row = run.tested(snapshot)
    if row is None:
        return
    tested = "test" if "test_accuracy" in row else "validation"
    averaged = "ema_" if run.averaging and not snapshot.endswith(RAW) else ""
    value, facts = row[f"{averaged}{tested}_accuracy"], run.facts
    if isnan(value):
        return
    data, how = facts.get("data") or {}, facts.get(tested) or {}  # runs of 0.1.0 do not say how many images they were
    images = how.get("images")
    yield Result(
        metric="accuracy",
        says="Accuracy, as noted in training",
        value=value,
        error=sqrt(value * (1 - value) / (images - 1)) if images and images > 1 else None,
        images=images,
        data=str(data.get("name", "")),
        fingerprint=str(data.get("fingerprint", "")),
        split=str(how.get("split") or tested) if tested == "test" else tested,
    )


def of_measurements(folders: Sequence[Path], weights: str, name: str) -> tuple[list[Result], list[str], list[str]]:
    """What was measured of these weights.

    Args:
        folders: Where `alternet measure` wrote.
        weights: Checksum of the weights.
        name: What sentences call the model, in place of a name that may hold a path of this machine.

    Returns:
        Numbers; sentences; and which measurements are of other weights, as MODEL/INSTRUMENT.

    Raises:
        ValueError: There is none, or none of these weights.
    """
    found = [one for folder in folders for one in find_measurements(folder)]
    mine = [one for one in found if one.provenance["model"].get("weights_sha256") == weights]
    others = [f"{one.models[0]}/{one.instrument}" for one in found if one not in mine]
    if folders and not mine:
        raise ValueError(
            f"None of the measurements in {', '.join(map(str, folders))} is of these weights: {', '.join(others[:4])}. "
            "Measure what is exported: alternet measure calibration -m MODEL --data DATA --out OUT."
        )
    found_numbers = [result for one in mine for result in numbers(one)]
    shown = [one.renamed({one.models[0]: name}) for one in mine if one.instrument in FIGURES]
    said = [line for one in shown for line in sentences(one)]
    return found_numbers, said, others


def numbers(measurement: Measurement) -> Iterator[Result]:
    """The results of a classifier that a measurement of one model holds; none of most instruments."""
    names, facts = SHOWN.get(measurement.instrument, {}), measurement.provenance
    table = measurement.tables[TABLES.get(measurement.instrument, "table")] if names else measurement.table.head(0)
    rows = table.to_dict("records")
    sets = next((int(row["value"]) for row in rows if row["metric"] == "sets"), 0)
    for row in rows:
        value, error = row["value"], row.get("standard_error", float("nan"))
        if row["metric"] in names and not isnan(value):
            yield Result(
                metric=row["metric"],
                says=names[row["metric"]].format(sets=sets),
                value=value,
                error=None if isnan(error) else error,
                images=facts.get("images"),
                data=str(facts["data"]["name"]),
                fingerprint=str(facts["data"]["fingerprint"]),
                split=str(facts.get("split") or ""),
                settings=dict(facts.get("settings") or {}),
            )
