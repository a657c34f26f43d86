"""Scores: what accuracy, likelihood and calibration are made of, image by image, and what they are not defined for."""

from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import one_hot

from alternet.shapes import Labels, Logits

CONFIDENT = 0.9
"""A prediction with a probability above this is called confident, as in the paper's code."""


def require_classes(logits: Logits, targets: Tensor, *, instrument: str) -> None:
    """Refuse what is not one known class an image, and logits that are no numbers.

    Args:
        logits: The model's answer [n, k].
        targets: What the data says, expected to be class numbers [n] from 0 to k − 1.
        instrument: Who asks, for the message.

    Raises:
        ValueError: Labels are mixed, missing or unknown to the model, or a logit is not a number or +inf.

    Examples:
        >>> require_classes(torch.zeros(2, 5), torch.tensor([0, -1]), instrument="calibration")
        Traceback (most recent call last):
        ValueError: calibration needs a label for every image, but some have none. Leave those images out.
    """
    if targets.ndim != 1 or targets.is_floating_point():
        raise ValueError(
            f"{instrument} got soft labels of shape {tuple(targets.shape)}, expected one class an image. "
            "Measure on data that is not mixed or smoothed."
        )
    require_known(targets, logits.shape[1], instrument=instrument)
    require_numbers(logits)


def require_known(targets: Tensor, classes: int, *, instrument: str = "The loss") -> None:
    """Refuse labels that a model does not know.

    Args:
        targets: Class numbers [n], or distributions over classes [n, k].
        classes: How many the model knows.
        instrument: Who asks, for the message.

    Raises:
        ValueError: A label is missing or beyond them.

    Examples:
        >>> require_known(torch.tensor([0, 7]), 5)
        Traceback (most recent call last):
        ValueError: The data has the label 7, but the model knows 5 classes, 0 to 4. Measure it on its own classes.
    """
    if targets.ndim == 2:
        if targets.shape[1] > classes:
            raise ValueError(
                f"The data has {targets.shape[1]} classes, but the model knows {classes}. Measure it on its own ones."
            )
        return
    low, high = targets.min().item(), targets.max().item()
    if low < 0:
        raise ValueError(f"{instrument} needs a label for every image, but some have none. Leave those images out.")
    if high >= classes:
        raise ValueError(
            f"The data has the label {high}, but the model knows {classes} classes, 0 to {classes - 1}. Measure it on "
            "its own classes."
        )


def require_numbers(logits: Logits) -> None:
    """Refuse logits that no decision follows from.

    Raises:
        ValueError: One of them is not a number or +inf.

    Examples:
        >>> require_numbers(torch.tensor([[0.0, -torch.inf]]))
    """
    if logits.isnan().any() or logits.isposinf().any():
        raise ValueError(
            "The model gives logits that are infinite or not a number. Check its weights and the normalisation."
        )


def negative_log_likelihood(logits: Logits, targets: Labels) -> Float64[Tensor, " n"]:
    """−log softmax of each image's logits at its label, in float64.

    Examples:
        >>> negative_log_likelihood(torch.zeros(1, 2), torch.tensor([0])).exp().round(decimals=6)
        tensor([2.], dtype=torch.float64)
    """
    return -logits.double().log_softmax(1).gather(1, targets[:, None]).squeeze(1)


def right_and_nll(logits: Logits, targets: Labels) -> Float64[Tensor, "n 2"]:
    """For each image, 1 if the answer is right, else 0, and its negative log likelihood.

    No answer is right whose logits are no numbers; its likelihood is not a number either.

    Examples:
        >>> right_and_nll(torch.tensor([[0.0, 0.0], [torch.nan, 0.0]]), torch.tensor([0, 0])).tolist()
        [[1.0, 0.6931471805599453], [0.0, nan]]
    """
    undefined = (logits.isnan() | logits.isposinf()).any(1)
    right = (logits.argmax(1) == targets).double().masked_fill(undefined, 0)
    return torch.stack([right, negative_log_likelihood(logits, targets)], dim=1)


def answers(logits: Logits, *, precision: torch.dtype = torch.float64) -> tuple[Labels, Float[Tensor, " n"]]:
    """The predicted classes and their probabilities, by a softmax in a precision; the paper's code has float32."""
    return logits.argmax(1), logits.to(precision).softmax(1).amax(1)


def contributions(
    logits: Logits, targets: Labels, *, precision: torch.dtype = torch.float64
) -> dict[str, Float64[Tensor, " m"]]:
    """For every metric that is a plain mean, the values that it is the mean of; those of `acc90` and `unc90` are fewer.

    Examples:
        >>> values = contributions(torch.tensor([[0.0, 3.0], [0.0, 1.0]]), torch.tensor([1, 0]))
        >>> values["accuracy"].tolist(), values["acc90"].tolist(), values["unc90"].tolist()
        ([1.0, 0.0], [1.0], [1.0])
    """
    log_probs = logits.to(precision).log_softmax(1)
    guess, confidence = answers(logits, precision=precision)
    right, confident = guess == targets, confidence > CONFIDENT
    best = logits.topk(min(5, logits.shape[1])).indices
    values = {
        "accuracy": right,
        "top5": (best == targets[:, None]).any(1),
        "nll": -log_probs.gather(1, targets[:, None]).squeeze(1),
        "brier": (log_probs.exp() - one_hot(targets, logits.shape[1])).square().sum(1),
        "acc90": right[confident],
        "unc90": ~confident[~right],
        "freq90": confident,
    }
    return {metric: value.double() for metric, value in values.items()}


def reliability(
    logits: Logits, targets: Labels, bins: int, *, precision: torch.dtype = torch.float64
) -> Float64[Tensor, "4 bins"]:
    """Per bin (low, high] of confidence: predictions, right ones, sum of confidences, and that of the paper's code.

    The code counts predictions in (low, high] but adds their confidence to the bin [low, high) that it lies in. So one
    that is exactly 1 adds to none, and one on another edge adds to the next bin.

    Examples:
        >>> reliability(torch.tensor([[0.0, 0.0], [0.0, 50.0]]), torch.tensor([0, 0]), bins=2).tolist()
        [[1.0, 1.0], [1.0, 0.0], [0.5, 1.0], [0.0, 0.5]]
    """
    guess, confidence = answers(logits, precision=precision)
    confidence = confidence.double()
    inside = one_hot(bin_of(confidence, bins), bins).double()
    right_open = one_hot(bin_of(confidence, bins, closed="low"), bins + 1)[:, :bins].double()
    counted = torch.stack([torch.ones_like(confidence), (guess == targets).double(), confidence]) @ inside
    return torch.cat([counted, (confidence @ right_open)[None]])


def bin_of(confidence: Float64[Tensor, " n"], bins: int, *, closed: Literal["low", "high"] = "high") -> Labels:
    """Which of the equally wide bins of [0, 1] each value lies in, from 0: (low, high], or [low, high), for 1 `bins`.

    Examples:
        >>> bin_of(torch.tensor([0.7, 0.7000000000000002, 1.0], dtype=torch.float64), bins=10).tolist()
        [6, 7, 9]
        >>> bin_of(torch.tensor([0.5, 1.0], dtype=torch.float64), bins=10, closed="low").tolist()
        [5, 10]
    """
    if closed == "low":
        return torch.bucketize(confidence, torch.arange(1, bins + 1, dtype=torch.float64) / bins, right=True)
    return torch.bucketize(confidence, torch.arange(1, bins, dtype=torch.float64) / bins)


def calibration_error(
    bins: Float64[Tensor, "4 bins"], *, convention: Literal["textbook", "paper"] = "textbook"
) -> tuple[float, float]:
    """ECE and signed ECE from the sums of `reliability`.

    Examples:
        >>> calibration_error(torch.tensor([[4.0], [1.0], [3.0], [0.0]], dtype=torch.float64))
        (0.5, 0.5)
    """
    count, right, confidence, of_the_code = bins
    if convention == "paper":
        confidence = of_the_code
    gaps = (confidence - right) / count.sum()
    return gaps.abs().sum().item(), gaps.sum().item()
