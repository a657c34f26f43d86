"""Fourier heat map: how much accuracy does one plane wave cost, for every wave that an image can hold?

x' = x + r · strength · U_k: each image gets one real wave of the wave vector k = (kx, ky), whose sign r is drawn for
every channel (Yin et al. 2019, "A Fourier Perspective on Model Robustness in Computer Vision"). With
a = 2π(kx·x/w + ky·y/h),

    U_k = cos a + sin a = √2 · cos(a − π/4),

whose energy is at k and −k alone. Its mean square over the pixels is exactly 1 for every k but 0, on any grid: also for
those that are their own mirror image, as the checkerboard, where sin a is 0 everywhere.

Frequencies fx = 2·kx/w across and fy = 2·ky/h down are in units of π, 1 being the finest grating. A wave and its
mirror image −k differ by a shift; they are measured once and stand in the table twice. On an even side the index side/2
and its negative are one and the same wave, which stands there at 1 and at −1, so that every map is symmetric around its
middle.

The zero frequency is left out: it is no wave, but another brightness and tint.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, product
from math import pi
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from alternet.instruments.answers import answered
from alternet.instruments.intervals import change_interval
from alternet.instruments.moments import mean_and_error, moments, of_mean_and_error
from alternet.instruments.work import PerItem, Tables, no_image
from alternet.probe.probe import Probe
from alternet.seeding import derived_seed
from alternet.shapes import Images, Labels

if TYPE_CHECKING:
    from alternet.instruments.fourier_heatmap import FourierHeatmap

Direction = tuple[int, int]
"""How many periods a wave has down and across the image, (ky, kx); negative where it runs the other way."""


class Cell(NamedTuple):
    """A row of the table: a wave, as one of its aliases, and what it costs."""

    fx: float
    fy: float
    accuracy: float
    delta_accuracy: float
    standard_error: float


def wave(height: int, width: int, direction: Direction) -> Float[Tensor, "h w"]:
    """The wave U_k, of root mean square 1.

    Examples:
        >>> wave(2, 4, (0, 1)).round().int().tolist()
        [[1, 1, -1, -1], [1, 1, -1, -1]]
        >>> wave(2, 4, (1, 2)).round().int().tolist()
        [[1, -1, 1, -1], [-1, 1, -1, 1]]
    """
    down, across = (
        (torch.arange(side) * periods % side).double() * (2 * pi / side)  # whole periods off: exact
        for side, periods in zip((height, width), direction, strict=True)
    )
    angle = down[:, None] + across
    return (angle.cos() + angle.sin()).float()


def aliases(height: int, width: int, direction: Direction, *, side: int) -> list[Direction]:
    """Where a wave stands in the map: at k, at −k, and where its frequency is that of k on this grid; in order.

    Args:
        height: Of the image.
        width: Of the image.
        direction: The wave.
        side: The largest index of the map on either axis; 0 for all that there are.

    Examples:
        >>> aliases(4, 4, (0, 1), side=0), aliases(4, 4, (1, 2), side=0)
        ([(0, -1), (0, 1)], [(-1, -2), (-1, 2), (1, -2), (1, 2)])
    """
    down, across = direction
    found = (product(_same(height, sign * down, side=side), _same(width, sign * across, side=side)) for sign in (1, -1))
    return sorted(set(chain(*found)))


def directions(height: int, width: int, *, side: int) -> list[Direction]:
    """The different waves of the map, each by its last alias.

    Examples:
        >>> directions(3, 3, side=0)
        [(0, 1), (1, -1), (1, 0), (1, 1)]
        >>> len(directions(32, 32, side=0))
        513
    """
    seen: dict[Direction, Direction] = {}
    # from the last index down, since the first alias that is met names the wave
    for y in reversed(_indices(height, side)):
        for x in reversed(_indices(width, side)):
            once = min((y % height, x % width), (-y % height, -x % width))
            seen.setdefault(once, (y, x))
    seen.pop((0, 0))
    return sorted(seen.values())


def signs(channels: int, seeds: Iterable[int]) -> Float[Tensor, "n c 1 1"]:
    """+1 or −1 for each channel of each image, drawn from a seed of its own.

    Examples:
        >>> one, two = signs(3, [5, 7]), signs(3, [7])
        >>> torch.equal(one[1], two[0]), one.abs().unique().tolist()
        (True, [1.0])
    """
    draws = [torch.randint(2, (channels, 1, 1), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return 2 * torch.stack(draws).float() - 1


class FourierHeatmapWork(PerItem):
    """An item is a wave, by its direction.

    Attributes:
        right: Of the unchanged images, 1 where the answer is right, else 0.
    """

    instrument: "FourierHeatmap"
    record: ClassVar = Cell
    right: Float64[Tensor, " n"]

    def begin(self) -> None:
        if self.batches.shape[1:] == (1, 1):
            raise ValueError("fourier_heatmap got images of one pixel, which hold no wave. Give larger images.")
        self.probe = self.undo.enter_context(Probe(self.subject, taps=[]))
        right = [self._right(images.to(self.subject.device), targets) for images, targets in self.batches]
        if not right:
            raise no_image(self.batches)
        self.right = torch.cat(right)

    def items(self) -> list[Direction]:
        return directions(*self.batches.shape[1:], side=self.instrument.side)

    def rows(self, item: Direction) -> list[Cell]:
        asked, (height, width) = self.instrument, self.batches.shape[1:]
        added = asked.strength * wave(height, width, item).to(self.subject.device)
        sums, start = [], 0
        for images, targets in self.batches:
            places = range(start, start := start + len(images))
            seeds = (derived_seed(asked.seed, "fourier_heatmap", *item, place) for place in places)
            here = images.to(self.subject.device)
            right = self._right(here + signs(images.shape[1], seeds).to(here.device) * added, targets)
            sums.append(moments(torch.stack([right, right - self.right[places.start : places.stop]], dim=1)))
        (accuracy, delta), (_, error) = (values.tolist() for values in mean_and_error(sum(sums[1:], start=sums[0])))
        at = aliases(height, width, item, side=asked.side)
        return [Cell(2 * x / width, 2 * y / height, accuracy, delta, error) for y, x in at]

    def tables(self, rows: Sequence[Cell]) -> Tables:
        """The map row by row, from the most negative frequency on, with the interval of each change of accuracy."""
        cells = sorted(rows, key=lambda cell: (cell.fy, cell.fx))
        of = (torch.tensor(column, dtype=torch.float64) for column in list(zip(*cells, strict=True))[3:])
        low, high = (end.tolist() for end in change_interval(of_mean_and_error(len(self.right), *of)))
        return {"table": [(*cell, *ends) for cell, *ends in zip(cells, low, high, strict=True)]}

    def _right(self, images: Images, targets: Labels) -> Float64[Tensor, " n"]:
        return answered(self.probe, images, targets, instrument="fourier_heatmap")[:, 0]


def _same(length: int, index: int, *, side: int) -> list[int]:
    """The indices of the map that are the same frequency on so many pixels: two for the finest on an even side."""
    return [i for i in (index - length, index, index + length) if i in _indices(length, side)]


def _indices(length: int, side: int) -> range:
    most = min(side, length // 2) if side else length // 2
    return range(-most, most + 1)
