"""Over seeds: what several trainings say together, as a mean with its error and interval."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from alternet.student import reach


class OverSeeds(NamedTuple):
    """Mean of a quantity over trainings, its standard error, and the ends of its 95 % interval (Student's)."""

    mean: float
    standard_error: float
    low: float
    high: float


def standard_error(values: np.ndarray) -> float:
    """Of the mean over seeds.

    Examples:
        >>> standard_error(np.array([1.0, 3.0]))
        1.0
    """
    return float(values.std(ddof=1)) / sqrt(len(values))


def over_seeds(values: Sequence[float] | np.ndarray) -> OverSeeds:
    """What the values of several seeds say of their mean; of two networks give differences, seed by seed.

    Examples:
        >>> [round(number, 3) for number in over_seeds([1.0, 3.0])]
        [2.0, 1.0, -10.706, 14.706]
    """
    array = np.asarray(values, dtype=np.float64)
    mean, error = float(array.mean()), standard_error(array)
    half = float(reach(error, len(array) - 1))
    return OverSeeds(mean, error, mean - half, mean + half)
