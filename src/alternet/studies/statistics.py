"""Intervals, tests and verdicts of the claims.

The unit of replication is a training. Over several of them an interval is Student's, of the differences seed by seed
where both arms were trained from the same seeds, and Welch's where they were not. A bootstrap over so few would be too
narrow: over three seeds its 95 % interval covers about 3 times in 4, Student's 19 times in 20 (the tests show both). Of
one training each the interval is over images, by stored standard errors: it says what holds for these networks, not for
others trained likewise. Units of one network are never taken for independent.
"""

from collections.abc import Mapping, Sequence
from math import hypot, inf, isnan, nan, sqrt
from typing import NamedTuple

import numpy as np

from alternet.student import reach
from alternet.studies.over_seeds import standard_error

Runs = Mapping[int, tuple[float, float]]
"""Of every seed the value and its standard error over images, nan where there is none."""


class Estimate(NamedTuple):
    """A mean difference and how well it is known.

    Attributes:
        value: The difference.
        error: Its standard error; nan where it cannot be estimated.
        freedom: Degrees of freedom of the error; infinite over images.
        unit: Over what it was estimated.
        single: Whether it rests on one training of each arm.
    """

    value: float
    error: float
    freedom: float
    unit: str
    single: bool

    def interval(self) -> tuple[float, float]:
        """Both ends; nan where there is no error.

        Examples:
            >>> low, high = Estimate(1.0, 0.5, 2.0, "3 seeds", False).interval()
            >>> round(low, 2), round(high, 2)
            (-1.15, 3.15)
        """
        half = float(reach(self.error, self.freedom))
        return self.value - half, self.value + half

    def p_value(self, null: float) -> float:
        """Two-sided, that the difference is `null`."""
        from scipy.stats import t

        return float(2 * t.sf(abs(self.value - null) / self.error, self.freedom))


def compare(runs: Runs, others: Runs | None = None) -> Estimate:
    """The mean of some runs, or how much it is above that of others.

    Seeds that both have pair their runs, if all of them do; otherwise the two means are taken to be independent, which
    makes the interval wider than it need be where some are shared.

    Examples:
        >>> compare({0: (3.0, nan), 1: (5.0, nan)}, {0: (2.0, nan), 1: (2.0, nan)})[:4]
        (2.0, 1.0, 1.0, '2 seeds, paired')
        >>> compare({0: (0.8, 0.03)}, {0: (0.7, 0.04)})[1:4]
        (0.05, inf, 'images (one run)')
        >>> compare({0: (0.8, nan)})[1:4]
        (nan, inf, 'one run')
    """
    ours = np.array([value for value, _ in runs.values()])
    if others is None:
        return _of_one(ours, runs, f"{len(ours)} seeds")
    if runs.keys() == others.keys():
        pairs = {
            seed: (value - others[seed][0], hypot(error, others[seed][1])) for seed, (value, error) in runs.items()
        }
        return _of_one(np.array([value for value, _ in pairs.values()]), pairs, f"{len(pairs)} seeds, paired")
    theirs = np.array([value for value, _ in others.values()])
    difference = float(ours.mean() - theirs.mean())
    if len(ours) == len(theirs) == 1:
        (_, one), (_, other) = *runs.values(), *others.values()
        return _over_images(difference, hypot(one, other))
    unit = f"{len(ours)} and {len(theirs)} seeds"
    if min(len(ours), len(theirs)) < 2:
        return Estimate(difference, nan, inf, unit, False)
    parts = [float(values.var(ddof=1)) / len(values) for values in (ours, theirs)]
    if not sum(parts):
        return Estimate(difference, nan, inf, f"{unit}, all equal", False)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (ours, theirs), strict=True))
    return Estimate(difference, sqrt(sum(parts)), freedom, unit, False)


def _of_one(values: np.ndarray, runs: Runs, unit: str) -> Estimate:
    if len(values) == 1:
        ((value, error),) = runs.values()
        return _over_images(value, error)
    value, error = float(values.mean()), standard_error(values)
    if error <= 1e-12 * abs(value):  # runs that do not differ show no spread to judge by
        return Estimate(value, nan, inf, f"{unit}, all equal", False)
    return Estimate(value, error, float(len(values) - 1), unit, False)


def _over_images(value: float, error: float) -> Estimate:
    if isnan(error) or not error:
        return Estimate(value, nan, inf, "one run", True)
    return Estimate(value, error, inf, "images (one run)", True)


class Verdict(NamedTuple):
    """What an estimate says of a claim.

    Attributes:
        word: `supported`, `contradicted` or `undecided`, with `(one run)` or `(no interval)` where the sign alone
            speaks.
        p: Two-sided, at the nearest end of what is claimed; nan without an interval.
    """

    word: str
    p: float


def judge(estimate: Estimate, low: float, high: float) -> Verdict:
    """The one rule: where the 95 % interval lies.

    Wholly within what is claimed: supported. Wholly outside: contradicted. Else undecided. Without an interval the
    value itself is looked at, and the verdict says so.

    Args:
        estimate: The effect.
        low: The claim is that the effect is above this,
        high: and below this; either may be infinite.

    Examples:
        >>> judge(Estimate(0.3, 0.1, inf, "images of one run", True), 0, inf).word
        'supported'
        >>> judge(Estimate(0.3, 0.2, inf, "images of one run", True), 0, inf).word
        'undecided'
        >>> judge(Estimate(0.3, nan, inf, "one run", True), -inf, 0).word
        'contradicted (one run)'
    """
    near = min((end for end in (low, high) if end not in (-inf, inf)), key=lambda end: abs(estimate.value - end))
    if isnan(estimate.error):
        word = _where(estimate.value, estimate.value, low, high)
        return Verdict(f"{word} ({'one run' if estimate.single else 'no interval'})", nan)
    return Verdict(_where(*estimate.interval(), low, high), estimate.p_value(near))


def _where(left: float, right: float, low: float, high: float) -> str:
    if low < left and right < high:
        return "supported"
    if right < low or left > high:
        return "contradicted"
    return "undecided"


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's (1979) step-down method; nan stays, and does not count.

    Examples:
        >>> [round(p, 3) for p in holm([0.01, nan, 0.04, 0.03])]
        [0.03, nan, 0.06, 0.06]
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if not isnan(p))
    corrected, largest = [nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[place] = largest
    return corrected
