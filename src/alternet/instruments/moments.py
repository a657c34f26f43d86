"""Moments: count, sum and sum of squares over images, from which a mean and its standard error follow."""

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
