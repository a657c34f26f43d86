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
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from math import nan, sqrt
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alternet.data.corrupted_sets import PairedBatches, paired
from alternet.data.corruption import corrupted, makers, require_corruptible
from alternet.data.corruption_names import CLEAN, FAMILIES, SEVERITIES, STANDARD
from alternet.data.image_batches import Batches
from alternet.instruments.moments import mean_and_error, moments
from alternet.instruments.work import PerItem, Tables
from alternet.probe.probe import Probe
from alternet.scores import calibration_error, contributions, reliability, require_classes
from alternet.subject.subject import Subject

if TYPE_CHECKING:
    from alternet.instruments.corruption import Corruption

METRICS = ("clean_accuracy", "mean_accuracy", "sets", *(f"severity_{s}" for s in SEVERITIES), "mce", "mce_paper")
"""Every metric of the summary, in its order."""


class SetRow(NamedTuple):
    """A row of the table, the published benchmark that its set belongs to, if any, and which answers were right.

    These are a bit an image, packed, in hexadecimal; rows of a half-finished measurement of version 0.1.0 have none.
    """

    corruption: str
    severity: int
    accuracy: float
    nll: float
    ece: float
    standard_error: float
    nll_standard_error: float
    images: int
    family: str
    benchmark: str
    right: str = ""


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


UNDEFINED = Estimate(nan, nan)

Scores = Mapping[tuple[str, int], Estimate]
"""The accuracy on each set, by corruption and severity."""

Right = Mapping[tuple[str, int], np.ndarray]
"""Of every image whether the answer was right, by set."""


def combination(
    weights: Mapping[tuple[str, int], float], scores: Scores, right: Right = MappingProxyType({})
) -> Estimate:
    """Weighted sum of accuracies; undefined if one is missing, or if there is none.

    All sets show the same images, so that their accuracies err together: the error is that of the mean over images of
    each one's own weighted sum. Where it is not known which images were right, it is the weighted sum of the errors,
    which it cannot exceed.

    Examples:
        >>> scores = {("fog", 1): Estimate(0.8, 0.02), ("fog", 2): Estimate(0.5, 0.04)}
        >>> value, error = combination({("fog", 1): 0.5, ("fog", 2): 0.5}, scores)
        >>> round(value, 3), round(error, 3)
        (0.65, 0.03)
    """
    if not weights or not weights.keys() <= scores.keys():
        return UNDEFINED
    value = sum(weight * scores[key].value for key, weight in weights.items())
    if weights.keys() <= right.keys() and len({len(right[key]) for key in weights}) == 1:
        each = np.sum([weight * right[key] for key, weight in weights.items()], axis=0)
        return Estimate(value, float(np.std(each, ddof=1)) / sqrt(len(each)) if len(each) > 1 else nan)
    return Estimate(value, sum(abs(weight) * scores[key].error for key, weight in weights.items()))


def mean_corruption_error(
    scores: Scores, alexnet: Mapping[str, float], right: Right = MappingProxyType({})
) -> Estimate:
    """Mean over corruptions of the error in units of AlexNet's, both averaged over the severities.

    Args:
        scores: The accuracies; undefined if one of the 75 sets is missing.
        alexnet: Its error under each of the standard corruptions; undefined if empty.
        right: Which answers were right, if known.

    Examples:
        >>> scores = {(name, severity): Estimate(0.6, 0.01) for name in STANDARD for severity in SEVERITIES}
        >>> round(mean_corruption_error(scores, dict.fromkeys(STANDARD, 0.8)).value, 6)
        0.5
    """
    share = 1 / (len(STANDARD) * len(SEVERITIES))
    weights = {(name, s): -share / error for name, error in alexnet.items() for s in SEVERITIES}
    ratio = combination(weights, scores, right)
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
    text = files("alternet.instruments.corruption").joinpath("alexnet_errors.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["corruption"]: float(row[benchmark]) for row in rows if benchmark in row}


def summary(scores: Scores, benchmark: str = "", right: Right = MappingProxyType({})) -> dict[str, Estimate]:
    """Every metric of `METRICS`, in which extra corruptions do not count, then `mean_NAME` of each corruption.

    Args:
        scores: The accuracies, those of the clean images under ("clean", 0).
        benchmark: Which published one the sets are, if any.
        right: Which answers were right, if known.
    """
    standard = [key for key in scores if key[0] in STANDARD]

    def mean(keys: Iterable[tuple[str, int]]) -> Estimate:
        chosen = list(keys)
        return combination(dict.fromkeys(chosen, 1 / max(len(chosen), 1)), scores, right)

    found = {"clean_accuracy": scores.get((CLEAN, 0), UNDEFINED), "mean_accuracy": mean(standard)}
    found["sets"] = Estimate(len(standard), nan)
    found |= {f"severity_{s}": mean(key for key in standard if key[1] == s) for s in SEVERITIES}
    found["mce"] = mean_corruption_error(scores, alexnet_errors(benchmark), right)
    found["mce_paper"] = mean_corruption_error(scores, alexnet_errors(f"{benchmark}-paper"), right)
    names = dict.fromkeys(name for name, _ in scores if name != CLEAN)
    return found | {f"mean_{name}": mean(key for key in scores if key[0] == name) for name in names}


class CorruptionWork(PerItem):
    """An item is a set of images: the clean ones, or one corruption at one severity."""

    instrument: "Corruption"
    record: ClassVar = SetRow

    def __init__(self, instrument: "Corruption", subject: Subject, batches: Batches) -> None:
        if batches.augment is not None:
            raise ValueError(
                f"corruption got augmented batches of {batches.name!r}, expected images as they are. "
                "Measure on batches that are not frozen."
            )
        if instrument.published:
            batches = paired(batches, instrument.published, instrument.corruptions)
        else:
            require_corruptible(batches, instrument.corruptions)
        super().__init__(instrument, subject, batches)
        self.facts = {} if instrument.published else {"corruptions_by": makers()}

    def begin(self) -> None:
        self.probe = self.undo.enter_context(Probe(self.subject, taps=[]))

    def items(self) -> list[tuple[str, int]]:
        return [(CLEAN, 0), *((name, severity) for name in self.instrument.corruptions for severity in SEVERITIES)]

    def rows(self, item: tuple[str, int]) -> list[SetRow]:
        name, severity = item
        if severity == 0:
            batches = self.batches
        elif isinstance(self.batches, PairedBatches):
            batches = self.batches.corrupted(name, severity)
        else:
            batches = corrupted(self.batches, name, severity, seed=self.instrument.seed)

        sums: dict[str, Tensor] = {}
        right: list[Tensor] = []
        for images, targets in batches:
            logits, labels = self.probe.logits(images).cpu(), targets.cpu()
            require_classes(logits, labels, instrument="corruption")
            values = contributions(logits, labels)
            right.append(values["accuracy"])
            part = {metric: moments(values[metric]) for metric in ("accuracy", "nll")}
            part["bins"] = reliability(logits, labels, self.instrument.bins)
            sums = {key: value + sums.get(key, torch.zeros_like(value)) for key, value in part.items()}
        if not sums:
            raise ValueError(
                f"No picture of {self.batches.name!r} could be read under {name} {severity}. Check its files."
            )

        (accuracy, error), (nll, nll_error) = (
            [value.item() for value in mean_and_error(sums[metric])] for metric in ("accuracy", "nll")
        )
        ece, _ = calibration_error(sums["bins"])
        images, family = int(sums["accuracy"][0]), FAMILIES.get(name, CLEAN)
        benchmark = self.batches.benchmark if isinstance(self.batches, PairedBatches) else ""
        bits = np.packbits(torch.cat(right).bool().numpy()).tobytes().hex()
        return [SetRow(name, severity, accuracy, nll, ece, error, nll_error, images, family, benchmark, bits)]

    def tables(self, rows: Sequence[SetRow]) -> Tables:
        scores = {(row.corruption, row.severity): Estimate(row.accuracy, row.standard_error) for row in rows}
        right = {(row.corruption, row.severity): _unpacked(row) for row in rows if row.right}
        found = summary(scores, rows[0].benchmark, right)
        columns = SetRow._fields.index("benchmark")
        return {
            "table": [row[:columns] for row in rows],
            "summary": [(metric, *each) for metric, each in found.items()],
        }


def _unpacked(row: SetRow) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(row.right), np.uint8), count=row.images)
