"""Moments: count, sum and sum of squares over images, from which a mean and its standard error follow."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Num
from torch import Tensor


def double(values: Num[Tensor, "..."]) -> Float64[Tensor, "..."]:
    """The values in float64, on the same device if that has float64.

    Examples:
        >>> double(torch.ones(2)).dtype
        torch.float64
    """
    return (values.cpu() if values.device.type == "mps" else values).double()


def moments(values: Float[Tensor, "n ..."]) -> Float64[Tensor, "3 ..."]:
    """Count, sum and sum of squares over the images, in float64; they add up over batches and processes.

    Examples:
        >>> moments(torch.tensor([1.0, 3.0])).tolist()
        [2.0, 4.0, 10.0]
    """
    values = double(values)
    total = values.sum(0)
    return torch.stack([torch.full_like(total, len(values)), total, values.square().sum(0)])


def mean_and_error(sums: Float64[Tensor, "3 ..."]) -> tuple[Float64[Tensor, "..."], Float64[Tensor, "..."]]:
    """Mean over the images and its standard error, s/√n with the unbiased s; one image has no standard error (nan).

    Examples:
        >>> mean, error = mean_and_error(moments(torch.tensor([1.0, 3.0])))
        >>> mean.item(), error.item()
        (2.0, 1.0)
    """
    count, total, squares = sums
    mean = total / count
    # rounding can put the mean of squares below the square of the mean
    error = ((squares / count - mean.square()).clamp(min=0) / (count - 1).clamp(min=1)).sqrt()
    return mean, torch.where(count > 1, error, torch.nan)


def of_mean_and_error(
    count: int, mean: Float64[Tensor, "..."], error: Float64[Tensor, "..."]
) -> Float64[Tensor, "3 ..."]:
    """The moments that `mean_and_error` says this of.

    Examples:
        >>> of_mean_and_error(2, *mean_and_error(moments(torch.tensor([1.0, 3.0])))).tolist()
        [2.0, 4.0, 10.0]
    """
    spread = (count - 1) * error.nan_to_num(0).square()  # a single image has no error, and no spread
    return torch.stack([torch.full_like(mean, count), count * mean, count * (spread + mean.square())])


STEP = "step to: "
"""Before the name of a tap: the sums of the change from the tap before it."""


def step_moments(values: Sequence[tuple[str, Float[Tensor, "n _"], object]]) -> dict[str, Float64[Tensor, "3 _"]]:
    """Moments of the values at every tap, and of their steps from the tap before, image by image.

    Images differ more from one another than a unit changes any of them. So the step has a smaller error than the
    difference of two means would suggest. Where the values of two taps stand for other things, as spectra of maps of
    other sizes do, only the last of each are compared; the first tap has no step.

    Args:
        values: Of every tap its name, the values of each image, and what decides what those stand for (the side of
            the map).

    Examples:
        >>> sums = step_moments([("a", torch.tensor([[1.0], [5.0]]), ""), ("b", torch.tensor([[2.0], [6.0]]), "")])
        >>> mean_and_error(sums["b"])[1].item(), mean_and_error(sums["step to: b"])[1].item()
        (2.0, 0.0)
    """
    sums, before, stood_for = {}, None, None
    for tap, now, stand_for in values:
        step = torch.full_like(now, torch.nan)
        if before is not None and stand_for == stood_for:
            step = now - before
        elif before is not None and min(before.shape[1], now.shape[1]) > 1:  # a single value is that at frequency 0
            step[:, -1] = now[:, -1] - before[:, -1]
        sums |= {tap: moments(now), f"{STEP}{tap}": moments(step)}
        before, stood_for = now, stand_for
    return sums


def require_finite(sums: Tensor, *, tap: str) -> None:
    """Refuse sums that one infinite or undefined value in a feature map has spoilt.

    Raises:
        ValueError: Not all of them are finite.
    """
    if not sums.isfinite().all():
        raise ValueError(
            f"The feature map at {tap!r} holds values that are infinite or not a number. "
            "Check the weights and the normalisation, or measure in float32."
        )
