"""Spectrum: what eigenvalues pooled over batches say, with intervals; no torch.

With p(λ) the density of the pool, the negative eigenvalue proportion is NEP = ∫_{λ<0} p(λ) dλ, the share of eigenvalues
below zero, and the average positive eigenvalue is APE = E[λ | λ > 0] (Park and Kim 2022, section 2). An eigenvalue that
is no further from zero than its own error is neither: it may lie on either side.

Eigenvalues of one batch belong together, so intervals are over batches, by leaving out one after the other (jackknife)
and Student's t. APE and the largest eigenvalue are skewed and positive, so theirs are symmetric in the logarithm. NEP
is a share: its interval is Wilson's (1927) for as many independent eigenvalues as have the same standard error.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alternet.student import quantile, reach

FEWEST = 5
"""Batches below which there are no intervals: those would be far wider than the spread that they stand for."""
EITHER = 3
"""Batches with a negative eigenvalue, and with one that is not, below which NEP has none: it would be chance."""

Row = tuple[str, float, float, float]
Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))


def summary(batches: ArrayLike, eigenvalues: ArrayLike, errors: ArrayLike = 0.0) -> list[Row]:
    """Metric, value, and low and high end of its 95 % interval over batches.

    Args:
        batches: Which batch each eigenvalue belongs to.
        eigenvalues: All of them.
        errors: How far each may be off. One that is no further from zero counts neither as negative nor as positive,
            and the intervals reach from where all such are left out to where all of them count.

    Returns:
        `nep`, `ape` and `largest`, the mean over batches of the largest eigenvalue of each. What is undefined is not a
        number: an APE without positive eigenvalues, and an interval where there are too few batches for one.

    Examples:
        >>> for metric, *row in summary([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [4, -1, 2, 3, 4, -1, 2, 3, 4, -1]):
        ...     print(metric, *(round(number, 2) for number in row))
        nep 0.3 0.07 0.7
        ape 3.14 2.24 4.42
        largest 3.6 2.98 4.34
    """
    values, errors = (np.asarray(some, dtype=float) for some in np.broadcast_arrays(eigenvalues, errors))
    _, place = np.unique(np.asarray(batches), return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0

    def per_batch(part: ArrayLike) -> NDArray:
        return np.bincount(place, weights=np.asarray(part, dtype=float), minlength=count)

    largest = np.full(count, -np.inf)
    np.maximum.at(largest, place, values)
    negative, positive, all_ = values < -errors, values > errors, per_batch(np.ones_like(values))
    either = ~negative & ~positive & (errors > 0)
    negatives = [per_batch(negative), per_batch(negative | either)]
    low, high = (_of_share(some, all_) for some in negatives)
    if np.isnan(low[0]) and not np.isnan(high[1]):
        low = (0.0, 0.0)  # too few are certainly negative, and so their share may be none
    positives = [positive, positive | either]
    means = [(per_batch(np.where(some, values.clip(0), 0)), per_batch(some)) for some in positives]
    reaches = [_of_ratio(*some) for some in means]
    return [
        ("nep", _ratio(negatives[0], all_), *(NONE if np.isnan(high[1]) else (low[0], high[1]))),
        ("ape", _ratio(*means[0]), min(low for low, _ in reaches), max(high for _, high in reaches)),
        ("largest", _ratio(largest, np.ones(count)), *_of_ratio(largest, np.ones(count))),
    ]


def _ratio(above: NDArray, below: NDArray) -> float:
    return float(above.sum() / below.sum()) if below.sum() else float("nan")


def left_out(above: NDArray, below: NDArray) -> NDArray:
    """The ratio of the sums without each batch; a single nan where too few batches are known to matter.

    Examples:
        >>> left_out(np.array([1.0, 1, 1, 1, 3]), np.ones(5)).tolist()
        [1.5, 1.5, 1.5, 1.5, 1.0]
    """
    rest = below.sum() - below
    return (above.sum() - above) / rest if len(rest) >= FEWEST and (rest > 0).all() else np.full(1, np.nan)


def jackknife_error(without: NDArray) -> float:
    """The standard error of a number, from what it is without each batch (Tukey 1958).

    Examples:
        >>> round(jackknife_error(np.array([1.5, 1.5, 1.5, 1.5, 1.0])), 6)
        0.4
    """
    count = len(without)
    return float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))


def _spread(without: NDArray) -> float:
    """Half an interval: the jackknife's standard error times Student's t."""
    return float(reach(jackknife_error(without), max(len(without) - 1, 1)))


def _of_ratio(above: NDArray, below: NDArray) -> Interval:
    """The interval of a ratio of sums over batches, symmetric in its logarithm where it is positive throughout."""
    without, ratio = left_out(above, below), _ratio(above, below)
    if np.isnan(without).any():
        return NONE
    if (without <= 0).any():
        return ratio - _spread(without), ratio + _spread(without)
    factor = np.exp(_spread(np.log(without)))
    return float(ratio / factor), float(ratio * factor)


def _of_share(some: NDArray, of: NDArray) -> Interval:
    """Wilson's interval of the share of some among all, with Student's t."""
    if len(of) < FEWEST or (some > 0).sum() < EITHER or (some < of).sum() < EITHER:
        return NONE
    share, square = _ratio(some, of), float(quantile(len(of) - 1) ** 2)
    variance = _spread(left_out(some, of)) ** 2 / square
    size = min(float(of.sum()), share * (1 - share) / variance) if variance else float(of.sum())
    centre = (share + square / (2 * size)) / (1 + square / size)
    half = np.sqrt(square * (share * (1 - share) / size + square / (4 * size**2))) / (1 + square / size)
    return float(centre - half), float(centre + half)
