"""Asinh axis: one scale for what is near zero, of either sign, and for what is orders of magnitude larger."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

POINTS = 400
TICKS, APART = 9, 0.06
"""How many ticks at most, and how far from that of zero the first ones stand, in parts of the axis."""
ROUND: tuple[tuple[Sequence[float], int], ...] = (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 5))
"""Of how many round numbers each power of ten, or each second or further one, has ticks: as many as make TICKS."""


@dataclass(frozen=True)
class AsinhAxis:
    """Values lie at the places asinh(value / linear): evenly about zero, by their logarithm far from it.

    Attributes:
        linear: About how far from zero the scale is even.
        low: Where it begins, as a place.
        high: Where it ends.
    """

    linear: float
    low: float
    high: float

    @classmethod
    def of(cls, values: ArrayLike, *, linear: float, margin: float = 0.05) -> "AsinhAxis":
        """Wide enough for these values and for zero, with a part of its length left free at either end.

        Examples:
            >>> round(AsinhAxis.of([-1.0, 1.0], linear=1.0, margin=0.0).high, 4)
            0.8814
        """
        linear = linear if linear > 0 else 1.0
        places = np.arcsinh(np.asarray(values, dtype=float) / linear)
        low, high = float(places.min(initial=0.0)), float(places.max(initial=0.0))
        free = margin * (high - low or 1.0) / (1 - 2 * margin)
        return cls(linear, low - free, high + free)

    @property
    def grid(self) -> NDArray:
        """Many places at even distances, and zero from both sides, where a curve may jump."""
        return np.unique([*np.linspace(self.low, self.high, POINTS), np.nextafter(0.0, -1.0), 0.0])

    def place(self, values: ArrayLike) -> NDArray:
        """Where values lie."""
        return np.arcsinh(np.asarray(values, dtype=float) / self.linear)

    def value(self, places: ArrayLike) -> NDArray:
        """What lies at places."""
        return self.linear * np.sinh(np.asarray(places, dtype=float)) + 0.0  # no −0

    @property
    def ticks(self) -> list[float]:
        """Zero and round numbers both ways, few enough to be read.

        Examples:
            >>> AsinhAxis(1.0, -4.0, 8.0).ticks, AsinhAxis(1.0, -1.0, 2.5).ticks
            ([-10.0, -1.0, 0.0, 1.0, 10.0, 100.0, 1000.0], [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0])
        """
        ends = self.value([self.low, self.high])
        least, most = float(self.value(APART * (self.high - self.low))), float(np.abs(ends).max())
        for mantissas, step in ROUND:
            exponents = np.arange(np.floor(np.log10(most)), np.floor(np.log10(least)) - 1, -step)
            sizes = np.sort(np.outer(10.0**exponents, mantissas).ravel())
            sizes = sizes[sizes >= least]
            ticks = np.concatenate([-sizes[::-1], [0.0], sizes])
            ticks = ticks[(ticks >= ends[0]) & (ticks <= ends[1])].tolist()
            if len(ticks) <= TICKS:
                return ticks
        return [0.0]

    @property
    def labels(self) -> list[str]:
        """The ticks in words.

        Examples:
            >>> AsinhAxis(1.0, -4.0, 8.0).labels
            ['−10', '−1', '0', '1', '10', '100', '1,000']
        """
        return [f"{tick:,.12g}".replace("-", "−") if 1e-4 < abs(tick) < 1e7 else f"{tick:g}" for tick in self.ticks]

    def apply(self, axes: Axes) -> None:
        """Make it the horizontal axis of a drawing, which goes on to take values."""
        axes.set_xscale("asinh", linear_width=self.linear)
        axes.set_xlim(*self.value([self.low, self.high]).tolist())
        axes.set_xticks(self.ticks, labels=self.labels)
        axes.xaxis.set_minor_locator(NullLocator())
