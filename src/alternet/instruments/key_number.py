"""Key number: one number that stands for what an instrument found of a model, and how far it may be off."""

from dataclasses import dataclass
from math import hypot, inf, isfinite, nan
from typing import Literal, TypedDict, get_args

from alternet.student import reach

Topic = Literal["accuracy and calibration", "robustness", "feature maps", "loss landscape", "cost"]
TOPICS: tuple[str, ...] = get_args(Topic)
"""In the order in which a report shows them."""


@dataclass(frozen=True, kw_only=True)
class KeyNumber:
    """One number of one model, for the first table of a report and for the log of a training.

    Attributes:
        value: The number.
        title: Head of its column, a few words; the same title is the same column.
        says: What it is, in a line, and what its interval is over.
        topic: With which others it stands.
        low: Low end of its 95 % interval; nan where none is known.
        high: High end.
        better: Which end is the better one, if either is.
        percent: Whether it is a fraction, said in per cent.
    """

    value: float
    title: str
    says: str
    topic: Topic
    low: float = nan
    high: float = nan
    better: Literal["higher", "lower", ""] = ""
    percent: bool = False

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return isfinite(self.low) and isfinite(self.high) and self.low < self.high

    def leads(self, other: "KeyNumber") -> bool:
        """Whether it is better than another by more than the difference may be off.

        The limit of a difference from two intervals that need not be symmetric is that of Zou and Donner (2008). It
        takes them for independent, which is too wide where both are of the same images.

        Examples:
            >>> def accuracy(value, error):
            ...     facts = {"title": "Accuracy", "says": "", "topic": "robustness", "better": "higher"}
            ...     return KeyNumber(value=value, low=value - error, high=value + error, **facts)
            >>> best = accuracy(0.80, 0.03)
            >>> best.leads(accuracy(0.75, 0.03)), best.leads(accuracy(0.77, 0.03)), best.leads(accuracy(0.7, nan))
            (True, False, False)
        """
        if not (self.better and self.known and other.known):
            return False
        if self.better == "higher":
            return self.value - other.value > hypot(self.value - self.low, other.high - other.value)
        return other.value - self.value > hypot(self.high - self.value, other.value - other.low)


class Ends(TypedDict, total=False):
    """The ends of an interval, if there is one."""

    low: float
    high: float


def interval(value: float, error: float, freedom: float = inf) -> Ends:
    """`low` and `high` from a standard error, which is over images unless its degrees of freedom are given.

    An error of 0, as where all answers are right, says nothing of other images and makes no interval.

    Examples:
        >>> {end: round(at, 3) for end, at in interval(0.5, 0.01).items()}, interval(1.0, 0.0)
        ({'low': 0.48, 'high': 0.52}, {})
    """
    if not isfinite(error) or error <= 0 or freedom < 1:
        return {}
    half = float(reach(error, freedom))
    return {"low": value - half, "high": value + half}
