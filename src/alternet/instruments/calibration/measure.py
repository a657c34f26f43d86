"""Calibration: is the model right, and is its confidence honest?

With p the softmax of the logits, c = max p the confidence, and a prediction called confident where c > 0.9:

| metric | value |
|---|---|
| accuracy, top5 | share of images whose label has the highest, is among the five highest, probabilities |
| nll | mean of −log p[label] |
| brier | mean of Σₖ (p[k] − 1[k = label])² |
| ece | Σ over the bins (low, high] of c: share of the images × abs(mean confidence − accuracy) (Naeini et al. 2015) |
| signed_ece | the same without abs(): positive where the model is over-confident |
| acc90 | accuracy of the confident predictions |
| unc90 | share of the wrong predictions that are not confident |
| freq90 | share of the predictions that are confident |
| iou, iou90 | mean over classes of intersection over union of labels and predictions; of the confident ones alone |

A small ECE does not say that every probability is right: errors of opposite sign within a bin cancel, and it changes
with the bins. Confidence is trained: strong augmentation makes any of the paper's models under-confident and weak
augmentation over-confident (its Appendix F), so it is not a property of the architecture alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import one_hot

from alternet.instruments.base import Streaming, Tables
from alternet.instruments.moments import mean_and_error, moments
from alternet.probe.predictions import Predictions
from alternet.scores import require_classes
from alternet.shapes import Labels, Logits
from alternet.taps.find import Tap

CONFIDENT = 0.9
"""A prediction with a probability above this is called confident, as in the paper's code."""

METRICS = ("accuracy", "top5", "nll", "brier", "ece", "signed_ece", "acc90", "unc90", "freq90", "iou", "iou90")
"""Every metric, in the order of the table."""


def contributions(logits: Logits, targets: Labels) -> dict[str, Tensor]:
    """For every metric that is a plain mean, the values that it is the mean of, in float64.

    Examples:
        >>> values = contributions(torch.tensor([[0.0, 3.0], [0.0, 1.0]]), torch.tensor([1, 0]))
        >>> values["accuracy"].tolist(), values["acc90"].tolist(), values["unc90"].tolist()
        ([1.0, 0.0], [1.0], [1.0])
    """
    log_probs = logits.double().log_softmax(1)
    probs = log_probs.exp()
    guess, confidence = _answers(logits)
    right, confident = guess == targets, confidence > CONFIDENT
    best = logits.topk(min(5, logits.shape[1])).indices
    values = {
        "accuracy": right,
        "top5": (best == targets[:, None]).any(1),
        "nll": -log_probs.gather(1, targets[:, None]).squeeze(1),
        "brier": (probs - one_hot(targets, logits.shape[1])).square().sum(1),
        "acc90": right[confident],
        "unc90": ~confident[~right],
        "freq90": confident,
    }
    return {metric: value.double() for metric, value in values.items()}


def reliability(logits: Logits, targets: Labels, bins: int) -> Float64[Tensor, "4 bins"]:
    """Per bin (low, high] of confidence: predictions, right ones, sum of confidences, and those that are exactly 1.

    Examples:
        >>> reliability(torch.tensor([[0.0, 0.0], [0.0, 50.0]]), torch.tensor([0, 0]), bins=2).tolist()
        [[1.0, 1.0], [1.0, 0.0], [0.5, 1.0], [0.0, 1.0]]
    """
    guess, confidence = _answers(logits)
    certain = confidence.float() == 1  # in the precision of a float32 softmax
    values = torch.stack([torch.ones_like(confidence), (guess == targets).double(), confidence, certain.double()])
    return values @ one_hot(bin_of(confidence, bins), bins).double()


def bin_of(confidence: Float64[Tensor, " n"], bins: int) -> Labels:
    """Which of the equally wide bins (low, high] of [0, 1] each value lies in, from 0.

    Examples:
        >>> bin_of(torch.tensor([0.7, 0.7000000000000002, 1.0], dtype=torch.float64), bins=10).tolist()
        [6, 7, 9]
    """
    return torch.bucketize(confidence, torch.arange(1, bins, dtype=torch.float64) / bins)


def calibration_error(
    bins: Float64[Tensor, "4 bins"], *, convention: Literal["textbook", "paper"] = "textbook"
) -> tuple[float, float]:
    """ECE and signed ECE from the sums of `reliability`.

    Examples:
        >>> calibration_error(torch.tensor([[4.0], [1.0], [3.0], [0.0]]))
        (0.5, 0.5)
    """
    count, right, confidence, certain = bins
    if convention == "paper":
        confidence = confidence - certain
    gaps = (confidence - right) / count.sum()
    return gaps.abs().sum().item(), gaps.sum().item()


def overlaps(guess: Labels, targets: Labels, classes: int) -> Float64[Tensor, "3 k"]:
    """Per class: predictions that are right, all predictions, all labels."""
    counts = (torch.bincount(labels, minlength=classes) for labels in (targets[guess == targets], guess, targets))
    return torch.stack(list(counts)).double()


def mean_iou(counts: Float64[Tensor, "3 k"], *, convention: Literal["textbook", "paper"] = "textbook") -> float:
    """Mean over classes of intersection over union, from the sums of `overlaps`; nan if no class counts.

    A class counts if it is predicted or occurs among the labels, in the paper's code only if it occurs.

    Examples:
        >>> mean_iou(overlaps(torch.tensor([0, 1]), torch.tensor([0, 0]), classes=3))
        0.25
    """
    both, predicted, labelled = counts
    union = predicted + labelled - both
    counted = (union if convention == "textbook" else labelled) > 0
    return (both[counted] / union[counted]).mean().item()


@dataclass(frozen=True, kw_only=True)
class Calibration(Streaming):
    """Accuracy and the honesty of confidence, with the reliability diagram.

    Attributes:
        bins: Number of equally wide bins of confidence, for the ECE and the diagram.
        convention: `textbook`, or `paper` for what the paper's code does: a confidence of exactly 1 adds nothing to the
            sum of its bin; −log of the float32 softmax, which can be infinite; IoU over the classes among the labels.

    Examples:
        >>> Calibration(bins=15).settings
        {'bins': 15, 'convention': 'textbook'}
    """

    bins: int = 10
    convention: Literal["textbook", "paper"] = "textbook"

    name = "calibration"
    question = "Is the model right, and is its confidence honest?"
    columns: ClassVar = {
        "table": ("metric", "value", "standard_error"),
        "reliability": ("bin", "low", "high", "count", "accuracy", "confidence"),
    }
    needs_labels = True
    view = Predictions

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins < 1:
            raise ValueError(f"calibration got bins={self.bins}, expected at least 1.")

    def sums(self, readings: Mapping[str, Tensor], logits: Logits, targets: Tensor) -> dict[str, Tensor]:
        logits, targets = logits.cpu(), targets.cpu()
        require_classes(logits, targets, instrument="calibration")
        values = contributions(logits, targets)
        if self.convention == "paper":
            values["nll"] = -logits.float().softmax(1).log().gather(1, targets[:, None]).squeeze(1).double()
        (guess, confidence), classes = _answers(logits), logits.shape[1]
        confident = confidence > CONFIDENT
        return {metric: moments(value) for metric, value in values.items()} | {
            "bins": reliability(logits, targets, self.bins),
            "iou": overlaps(guess, targets, classes),
            "iou90": overlaps(guess[confident], targets[confident], classes),
        }

    def tables(self, taps: Sequence[Tap], sums: Mapping[str, Tensor]) -> Tables:
        ece, signed = calibration_error(sums["bins"], convention=self.convention)
        known: dict[str, tuple[float, float | None]] = {"ece": (ece, None), "signed_ece": (signed, None)}
        known |= {metric: (mean_iou(sums[metric], convention=self.convention), None) for metric in ("iou", "iou90")}
        for metric in METRICS:
            if metric not in known:
                value, error = (float(number) for number in mean_and_error(sums[metric]))
                known[metric] = (value, error)
        return {"table": [(metric, *known[metric]) for metric in METRICS], "reliability": _diagram(sums["bins"])}


def _answers(logits: Logits) -> tuple[Labels, Float64[Tensor, " n"]]:
    """The predicted classes and their probabilities."""
    return logits.argmax(1), logits.double().softmax(1).amax(1)


def _diagram(bins: Float64[Tensor, "4 bins"]) -> list[tuple]:
    size = bins.shape[1]
    count, right, confidence, _ = bins
    columns = zip(count.int().tolist(), (right / count).tolist(), (confidence / count).tolist(), strict=True)
    return [(i, i / size, (i + 1) / size, *column) for i, column in enumerate(columns)]
