"""Corruption: how much accuracy do noise, blur, weather and compression cost?

Hendrycks and Dietterich (2019) corrupt test images in 15 ways at 5 severities each. Two numbers sum them up:

| metric | value |
|---|---|
| mean_accuracy | plain mean of the accuracies on the 75 sets: the robustness of Park and Kim (2022) |
| mce | mean over corruptions of Σₛ error / Σₛ error of AlexNet: the mean corruption error of the benchmark |

The two need not rank models alike. The second is defined only for published sets, and only against AlexNet's errors on
the same ones. What is corrupted on the fly is another data set than the published one of the same name.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import nan
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from alternet.data.batches import Batches
from alternet.data.corrupted_sets import PairedBatches, paired
from alternet.data.corruption import (
    EXTRA,
    FAMILIES,
    SEVERITIES,
    STANDARD,
    corrupted,
    makers,
    require_corruptible,
)
from alternet.instruments.base import Itemised, Row, Tables
from alternet.instruments.calibration.measure import Calibration
from alternet.probe.predictions import Predictions
from alternet.subject.subject import Subject

CLEAN = "clean"

METRICS = ("clean_accuracy", "mean_accuracy", "sets", *(f"severity_{s}" for s in SEVERITIES), "mce", "mce_paper")
"""Every metric of the summary, in its order."""


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


UNDEFINED = Estimate(nan, nan)

Scores = Mapping[tuple[str, int], Estimate]
"""The accuracy on each set, by corruption and severity."""


def combination(weights: Mapping[tuple[str, int], float], scores: Scores) -> Estimate:
    """Weighted sum of accuracies; undefined if one is missing, or if there is none.

    Its error is the weighted sum of the errors. It cannot be larger than that; it would be smaller if right and wrong
    did not fall on the same images in every set, but they mostly do.

    Examples:
        >>> scores = {("fog", 1): Estimate(0.8, 0.02), ("fog", 2): Estimate(0.5, 0.04)}
        >>> value, error = combination({("fog", 1): 0.5, ("fog", 2): 0.5}, scores)
        >>> round(value, 3), round(error, 3)
        (0.65, 0.03)
    """
    if not weights or not weights.keys() <= scores.keys():
        return UNDEFINED
    value = sum(weight * scores[key].value for key, weight in weights.items())
    return Estimate(value, sum(abs(weight) * scores[key].error for key, weight in weights.items()))


def mean_corruption_error(scores: Scores, alexnet: Mapping[str, float]) -> Estimate:
    """Mean over corruptions of the error in units of AlexNet's, both averaged over the severities.

    Args:
        scores: The accuracies; undefined if one of the 75 sets is missing.
        alexnet: Its error under each of the standard corruptions; undefined if empty.

    Examples:
        >>> scores = {(name, severity): Estimate(0.6, 0.01) for name in STANDARD for severity in SEVERITIES}
        >>> round(mean_corruption_error(scores, dict.fromkeys(STANDARD, 0.8)).value, 6)
        0.5
    """
    share = 1 / (len(STANDARD) * len(SEVERITIES))
    weights = {(name, s): -share / error for name, error in alexnet.items() for s in SEVERITIES}
    ratio = combination(weights, scores)
    return Estimate(ratio.value - sum(weights.values()), ratio.error)


@cache
def alexnet_errors(benchmark: str) -> dict[str, float]:
    """AlexNet's error under each standard corruption, from the shipped table; empty where there is none.

    Args:
        benchmark: `imagenet-c` for the numbers of the benchmark's authors; `imagenet-c-paper`, `cifar10-c-paper` or
            `cifar100-c-paper` for those released with the paper's code.

    Examples:
        >>> alexnet_errors("imagenet-c")["fog"], alexnet_errors("cifar10-c")
        (0.819324, {})
    """
    text = files("alternet.instruments").joinpath("alexnet_errors.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["corruption"]: float(row[benchmark]) for row in rows if benchmark in row}


def summary(scores: Scores, benchmark: str = "") -> dict[str, Estimate]:
    """Every metric of `METRICS`, from the accuracies on all sets; the extra corruptions do not count.

    Args:
        scores: The accuracies, those of the clean images under ("clean", 0).
        benchmark: Which published one the sets are, if any.
    """
    standard = [key for key in scores if key[0] in STANDARD]

    def mean(keys: Iterable[tuple[str, int]]) -> Estimate:
        chosen = list(keys)
        return combination(dict.fromkeys(chosen, 1 / max(len(chosen), 1)), scores)

    found = {"clean_accuracy": scores.get((CLEAN, 0), UNDEFINED), "mean_accuracy": mean(standard)}
    found["sets"] = Estimate(len(standard), nan)
    found |= {f"severity_{s}": mean(key for key in standard if key[1] == s) for s in SEVERITIES}
    found["mce"] = mean_corruption_error(scores, alexnet_errors(benchmark))
    found["mce_paper"] = mean_corruption_error(scores, alexnet_errors(f"{benchmark}-paper"))
    return found


@dataclass(frozen=True, kw_only=True)
class Corruption(Itemised[tuple[Predictions, Batches]]):
    """Accuracy, likelihood and calibration on clean images and under common corruptions.

    Attributes:
        published: Folder of CIFAR-10-C, CIFAR-100-C or ImageNet-C, the data being the clean images; by default the
            corruptions are made on the fly, which needs the extra `corruptions`. The provenance holds its name alone.
        extra: Measure the four extra corruptions too; they do not enter the summary.
        only: Names of the corruptions to measure, separated by commas, instead of all standard ones.
        bins: Number of equally wide bins of confidence, for the ECE.
        seed: What the corruptions made on the fly are drawn from.

    Examples:
        >>> Corruption(only="fog, snow").corruptions
        ('fog', 'snow')
    """

    published: str = ""
    extra: bool = False
    only: str = ""
    bins: int = 10
    seed: int = 0

    name = "corruption"
    question = "How much accuracy do noise, blur, weather and compression cost?"
    columns: ClassVar = {
        "table": (
            "corruption",
            "severity",
            "accuracy",
            "nll",
            "ece",
            "standard_error",
            "nll_standard_error",
            "images",
            "family",
        ),
        "summary": ("metric", "value", "standard_error"),
    }
    needs_labels = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins < 1:
            raise ValueError(f"corruption got bins={self.bins}, expected at least 1.")
        if self.only and self.extra:
            raise ValueError("corruption got both only and extra, expected one of them. Name the extra ones in only.")
        if unknown := sorted(set(self.corruptions) - set(FAMILIES)):
            raise ValueError(
                f"corruption got only={self.only!r}, but knows no {', '.join(map(repr, unknown))}. "
                f"Choose from {', '.join(FAMILIES)}."
            )

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names of the corruptions to measure, in order."""
        if self.only:
            return tuple(dict.fromkeys(name.strip() for name in self.only.split(",")))
        return tuple(STANDARD) + (tuple(EXTRA) if self.extra else ())

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values; of the published folder the name alone, wherever it lies."""
        named = Path(self.published).expanduser().resolve().name if self.published else ""
        return super().settings | {"published": named}

    @property
    def facts(self) -> dict[str, Any]:
        """Where corruptions are made, the versions of what makes them."""
        return {} if self.published else {"corruptions_by": makers()}

    def prepare(self, batches: Batches) -> Batches:
        """The batches, with their published counterparts if there are any, after a check of what will be needed."""
        if batches.augment is not None:
            raise ValueError(
                f"corruption got augmented batches of {batches.name!r}, expected images as they are. "
                "Measure on batches that are not frozen."
            )
        if self.published:
            return paired(batches, self.published, self.corruptions)
        require_corruptible(batches, self.corruptions)
        return batches

    @contextmanager
    def view(self, subject: Subject, batches: Batches) -> Iterator[tuple[Predictions, Batches]]:
        with Predictions(subject) as predictions:
            yield predictions, batches

    def items(self, view: tuple[Predictions, Batches]) -> list[tuple[str, int]]:
        return [(CLEAN, 0), *((name, severity) for name in self.corruptions for severity in SEVERITIES)]

    def rows(self, view: tuple[Predictions, Batches], item: tuple[str, int]) -> list[Row]:
        (predictions, clean), (name, severity) = view, item
        sums = self._sums(predictions, self._set(clean, name, severity) if severity else clean)
        if not sums:
            raise ValueError(f"No picture of {clean.name!r} could be read under {name} {severity}. Check its files.")
        metrics = {row[0]: row[1:] for row in Calibration(bins=self.bins).tables((), sums)["table"]}
        (accuracy, error), (nll, nll_error), (ece, _) = (metrics[metric] for metric in ("accuracy", "nll", "ece"))
        images, family = int(sums["accuracy"][0]), FAMILIES.get(name, CLEAN)
        benchmark = clean.benchmark if isinstance(clean, PairedBatches) else ""
        return [(name, severity, accuracy, nll, ece, error, nll_error, images, family, benchmark)]

    def tables(self, rows: Sequence[Row]) -> Tables:
        scores = {(row[0], row[1]): Estimate(row[2], row[5]) for row in rows}
        found = summary(scores, benchmark=rows[0][-1])
        return {"table": [row[:-1] for row in rows], "summary": [(metric, *found[metric]) for metric in METRICS]}

    def _set(self, clean: Batches, corruption: str, severity: int) -> Batches:
        if isinstance(clean, PairedBatches):
            return clean.corrupted(corruption, severity)
        return corrupted(clean, corruption, severity, seed=self.seed)

    def _sums(self, predictions: Predictions, batches: Batches) -> dict[str, Tensor]:
        """What calibration sums over the images of one set."""
        total: dict[str, Tensor] = {}
        for images, targets in batches:
            part = Calibration(bins=self.bins).sums({}, predictions.logits(images), targets)
            total = {key: value + total.get(key, torch.zeros_like(value)) for key, value in part.items()}
        return total
