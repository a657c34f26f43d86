"""Spectrum: what eigenvalues pooled over batches say, with intervals; no torch.

With p(λ) the density of the pool, the negative eigenvalue proportion is NEP = ∫_{λ<0} p(λ) dλ, the share of eigenvalues
below zero, and the average positive eigenvalue is APE = E[λ | λ > 0] (Park and Kim 2022, section 2). Eigenvalues of one
batch belong together, so it is batches that the bootstrap draws again.
"""

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
LEVEL = 0.95

Row = tuple[str, float, float, float]


def nep(eigenvalues: ArrayLike) -> float:
    """Negative eigenvalue proportion.

    Examples:
        >>> nep([-1, 0, 2, 6])
        0.25
    """
    return float((np.asarray(eigenvalues, dtype=float) < 0).mean())


def ape(eigenvalues: ArrayLike) -> float:
    """Average positive eigenvalue; not a number where none is positive.

    Examples:
        >>> ape([-1, 0, 2, 6])
        4.0
    """
    values = np.asarray(eigenvalues, dtype=float)
    positive = values[values > 0]
    return float(positive.mean()) if len(positive) else float("nan")


def summary(batches: ArrayLike, eigenvalues: ArrayLike, *, seed: int = 0) -> list[Row]:
    """Metric, value, and low and high end of its 95 % interval, by percentiles of a bootstrap over batches.

    Args:
        batches: Which batch each eigenvalue belongs to.
        eigenvalues: All of them.
        seed: What the bootstrap draws from.

    Returns:
        `nep`, `ape` and `largest`, the mean over batches of the largest eigenvalue of each. What is undefined is not a
        number: an APE without positive eigenvalues, an interval from one batch.

    Examples:
        >>> for row in summary([0, 0, 1, 1], [4, -1, 2, 6]):
        ...     print(*row)
        nep 0.25 0.0 0.5
        ape 4.0 4.0 4.0
        largest 5.0 4.0 6.0
    """
    values = np.asarray(eigenvalues, dtype=float)
    _, place = np.unique(np.asarray(batches), return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    largest = np.full(count, -np.inf)
    np.maximum.at(largest, place, values)

    # every metric is a ratio of sums over batches: NEP negative ÷ all, APE sum of the positive ÷ positive, ...
    parts = [values < 0, np.ones_like(values), np.where(values > 0, values, 0), values > 0]
    of_parts = [np.bincount(place, weights=part, minlength=count) for part in parts]
    sums = np.stack([*of_parts, largest, np.ones(count)], axis=1)
    draw = np.random.default_rng(seed).integers
    draws = np.zeros((0, sums.shape[1]))
    if count > 1:  # nothing can be drawn from one
        draws = np.stack([np.bincount(draw(count, size=count), minlength=count) @ sums for _ in range(RESAMPLES)])
    with np.errstate(invalid="ignore", divide="ignore"):
        measured, drawn = (some[..., ::2] / some[..., 1::2] for some in (sums.sum(0), draws))

    rows: list[Row] = []
    for metric, value, sample in zip(("nep", "ape", "largest"), measured, drawn.T, strict=True):
        known = sample[np.isfinite(sample)]
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (np.nan, np.nan)
        rows.append((metric, float(value), float(low), float(high)))
    return rows
