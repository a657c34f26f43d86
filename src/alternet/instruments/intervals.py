"""Intervals: 95 % intervals that cover what they say, from moments over images; none where there is too little data.

How often they cover and how wide they are, by simulation, stands in docs/verification.md.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from alternet.instruments.moments import mean_and_error
from alternet.student import LEVEL, quantile

FEWEST = 30
"""Images below which the mean of a skewed quantity has no interval: it would cover too seldom."""

Interval = tuple[Float64[Tensor, "..."], Float64[Tensor, "..."]]


def mean_interval(sums: Float64[Tensor, "3 ..."]) -> Interval:
    """Student's interval of a mean over images, from `moments`; nan for fewer than `FEWEST` images.

    Examples:
        >>> from alternet.instruments.moments import moments
        >>> low, high = mean_interval(moments(torch.arange(100.0)))
        >>> round(low.item(), 2), round(high.item(), 2)
        (43.74, 55.26)
        >>> mean_interval(moments(torch.arange(5.0)))[0].item()
        nan
    """
    mean, error = mean_and_error(sums)
    count = sums[0]
    reach = torch.as_tensor(quantile((count - 1).clamp(min=1).cpu().numpy())).to(error) * error
    reach = torch.where(count >= FEWEST, reach, torch.nan)
    return mean - reach, mean + reach


def change_interval(sums: Float64[Tensor, "3 ..."]) -> Interval:
    """The interval of a mean change of answers, from `moments` of each image's change in [−1, 1].

    Where answers changed, it is Bonett and Price's (2012) for paired shares: as if one more image had been lost and one
    more won, clipped to [−1, 1]. Where none changed, it is exact (Clopper and Pearson 1934): the largest share of lost
    ones, and of won ones, under which that is still to be expected once in forty times.

    Examples:
        >>> from alternet.instruments.moments import moments
        >>> low, high = change_interval(moments(torch.tensor([-1.0] * 10 + [1.0] * 2 + [0.0] * 88)))
        >>> round(low.item(), 3), round(high.item(), 3)
        (-0.149, -0.008)
        >>> low, high = change_interval(moments(torch.zeros(100)))
        >>> round(low.item(), 3), round(high.item(), 3)
        (-0.036, 0.036)
    """
    from scipy.special import ndtri

    count, total, squares = sums
    mean = total / (count + 2)
    reach = float(ndtri((1 + LEVEL) / 2)) * (((squares + 2) / (count + 2) - mean.square()) / (count + 2)).sqrt()
    none = 1 - ((1 - LEVEL) / 2) ** (1 / count)
    low, high = (torch.where(squares == 0, side * none, mean + side * reach).clamp(-1, 1) for side in (-1, 1))
    return torch.where(count > 0, low, torch.nan), torch.where(count > 0, high, torch.nan)


def step_columns(sums: Float64[Tensor, "3 f"]) -> list[tuple[float, float, float, float]]:
    """Mean step, its standard error and its interval, for the columns of a table that are called so."""
    columns = (*mean_and_error(sums), *mean_interval(sums))
    return list(zip(*(column.tolist() for column in columns), strict=True))
