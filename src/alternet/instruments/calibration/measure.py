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

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import cross_entropy

from alternet.data.image_batches import Batches
from alternet.errors import Doubt
from alternet.instruments.moments import mean_and_error, moments
from alternet.instruments.work import Batch, OnePass, Tables
from alternet.probe.dropout import Sampler
from alternet.scores import CONFIDENT, answers, calibration_error, contributions, reliability, require_classes
from alternet.shapes import Labels
from alternet.subject.subject import Subject

if TYPE_CHECKING:
    from alternet.instruments.calibration import Calibration

METRICS = ("accuracy", "top5", "nll", "brier", "ece", "signed_ece", "acc90", "unc90", "freq90", "iou", "iou90")
"""Every metric, in the order of the table."""


def overlaps(guess: Labels, targets: Labels, classes: int) -> Float64[Tensor, "3 k"]:
    """Per class: predictions that are right, all predictions, all labels."""
    counts = (torch.bincount(labels, minlength=classes) for labels in (targets[guess == targets], guess, targets))
    return torch.stack(list(counts)).double()


def mean_iou(counts: Float64[Tensor, "3 k"], *, convention: Literal["textbook", "paper"] = "textbook") -> float:
    """Mean over classes of intersection over union, from the sums of `overlaps`; nan if no class counts.

    A class counts if it is predicted or occurs among the labels, in the paper's code only if it occurs; there the mean
    over no class is 0.

    Examples:
        >>> mean_iou(overlaps(torch.tensor([0, 1]), torch.tensor([0, 0]), classes=3))
        0.25
    """
    both, predicted, labelled = counts
    union = predicted + labelled - both
    counted = (union if convention == "textbook" else labelled) > 0
    if convention == "paper" and not counted.any():
        return 0.0
    return (both[counted] / union[counted]).mean().item()


class CalibrationWork(OnePass):
    """Moments of the metrics that are means, and counts of the others."""

    reads_features: ClassVar = False
    instrument: "Calibration"

    def __init__(self, instrument: "Calibration", subject: Subject, batches: Batches) -> None:
        super().__init__(instrument, subject, batches)
        facts: dict[str, Any] = {}
        if instrument.convention == "paper":
            facts["batch_size"], self.compares = batches.batch_size, True  # its NLL is a mean over batches
        if instrument.samples:
            self.sampler = Sampler(subject.model, seed=instrument.seed)
            if not self.sampler.rates:
                raise ValueError(
                    f"{subject.name} has no dropout and no stochastic depth, so all samples would be the same. Leave "
                    "samples out, or train it with some: --set drop_path=0.1, --set model.drop_rate=0.1."
                )
            facts["dropout"] = dict(self.sampler.rates)
        self.facts = facts

    def part(self, batch: Batch, readings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logits = self._sampled(batch.images) if self.instrument.samples else batch.logits
        logits, targets = logits.cpu(), batch.targets.cpu()
        require_classes(logits, targets, instrument="calibration")
        paper, classes = self.instrument.convention == "paper", logits.shape[1]
        precision = torch.float32 if paper else torch.float64
        values = contributions(logits, targets, precision=precision)
        if paper:
            # a small probability is 0 in float32 and its logarithm infinite; each batch gives one mean
            values["nll"] = cross_entropy(logits.float().softmax(1).log(), targets)[None]
        guess, confidence = answers(logits, precision=precision)
        confident = confidence > CONFIDENT
        return {metric: moments(value) for metric, value in values.items()} | {
            "bins": reliability(logits, targets, self.instrument.bins, precision=precision),
            "iou": overlaps(guess, targets, classes),
            "iou90": overlaps(guess[confident], targets[confident], classes),
        }

    def _sampled(self, images: Tensor) -> Tensor:
        """Logarithms of the mean probabilities of all samples, in place of logits."""
        answers, subject = [], self.subject.in_arithmetic(self.subject.precision)  # each sample is another network
        for number in range(self.instrument.samples):
            with self.sampler.dropping(images, number):
                answers.append(subject.logits(images).double().log_softmax(1))
        if silent := sorted({*self.sampler.rates} - self.sampler.reached):
            line = f"{self.subject.name}: the dropout of {', '.join(silent)} is not a layer that runs, so it stays off."
            if not self.sampler.reached:
                raise ValueError(f"{line} All samples would be the same: leave samples out.")
            warnings.warn(line, Doubt, stacklevel=2)
        return torch.stack(answers).logsumexp(0) - math.log(len(answers))

    def tables(self, sums: Mapping[str, Tensor]) -> Tables:
        convention = self.instrument.convention
        ece, signed = calibration_error(sums["bins"], convention=convention)
        known: dict[str, tuple[float, float | None]] = {"ece": (ece, None), "signed_ece": (signed, None)}
        known |= {metric: (mean_iou(sums[metric], convention=convention), None) for metric in ("iou", "iou90")}
        for metric in METRICS:
            if metric not in known:
                value, error = (float(number) for number in mean_and_error(sums[metric]))
                undefined = convention == "paper" and sums[metric][0] == 0  # none is confident, or none wrong
                known[metric] = (0.0 if undefined else value, error)

        size = sums["bins"].shape[1]
        count, right, confidence, _ = sums["bins"]
        columns = zip(count.int().tolist(), (right / count).tolist(), (confidence / count).tolist(), strict=True)
        return {
            "table": [(metric, *known[metric]) for metric in METRICS],
            "reliability": [(i, i / size, (i + 1) / size, *column) for i, column in enumerate(columns)],
        }
