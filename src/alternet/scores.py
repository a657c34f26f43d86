"""Scores: what accuracy, likelihood and calibration are made of, image by image, and what they are not defined for."""

from typing import Literal

import torch
from jaxtyping import Float64
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


def answers(logits: Logits) -> tuple[Labels, Float64[Tensor, " n"]]:
    """The predicted classes and their probabilities."""
    return logits.argmax(1), logits.double().softmax(1).amax(1)


def contributions(logits: Logits, targets: Labels) -> dict[str, Tensor]:
    """For every metric that is a plain mean, the values that it is the mean of, in float64.

    Examples:
        >>> values = contributions(torch.tensor([[0.0, 3.0], [0.0, 1.0]]), torch.tensor([1, 0]))
        >>> values["accuracy"].tolist(), values["acc90"].tolist(), values["unc90"].tolist()
        ([1.0, 0.0], [1.0], [1.0])
    """
    log_probs = logits.double().log_softmax(1)
    probs = log_probs.exp()
    guess, confidence = answers(logits)
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
    guess, confidence = answers(logits)
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
        >>> calibration_error(torch.tensor([[4.0], [1.0], [3.0], [0.0]], dtype=torch.float64))
        (0.5, 0.5)
    """
    count, right, confidence, certain = bins
    if convention == "paper":
        confidence = confidence - certain
    gaps = (confidence - right) / count.sum()
    return gaps.abs().sum().item(), gaps.sum().item()
