"""Labels: refuse answers and labels of a batch that accuracy and likelihood are not defined for."""

from torch import Tensor

from alternet.shapes import Logits


def require_classes(logits: Logits, targets: Tensor, *, instrument: str) -> None:
    """Refuse what is not one known class an image, and logits that are no numbers.

    Args:
        logits: The model's answer [n, k].
        targets: What the data says, expected to be class numbers [n] from 0 to k − 1.
        instrument: Who asks, for the message.

    Raises:
        ValueError: Labels are mixed, missing or unknown to the model, or a logit is not a number or +inf.

    Examples:
        >>> import torch
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
        >>> import torch
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
        >>> import torch
        >>> require_numbers(torch.tensor([[0.0, -torch.inf]]))
    """
    if logits.isnan().any() or logits.isposinf().any():
        raise ValueError(
            "The model gives logits that are infinite or not a number. Check its weights and the normalisation."
        )
