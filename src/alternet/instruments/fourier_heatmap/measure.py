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
from dataclasses import dataclass
from itertools import chain, product
from math import pi
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Itemised, Row, Tables
from alternet.instruments.perturbed import Perturbed
from alternet.seeding import derived_seed
from alternet.shapes import Images
from alternet.subject.subject import Subject

Direction = tuple[int, int]
"""How many periods a wave has down and across the image, (ky, kx); negative where it runs the other way."""


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
    return 2.0 * torch.stack(draws) - 1


@dataclass(frozen=True, kw_only=True)
class FourierHeatmap(Itemised[Perturbed]):
    """Accuracy under one plane wave after the other, with the same waves for every model.

    A wave is added to images in [0, 1], before the model normalises them, and the sum is not clipped: clipping would
    add further frequencies. Every wave costs a forward pass: give `side`, and few images.

    Attributes:
        strength: Root mean square of the wave, in units of the image range [0, 1].
        side: Largest number of periods across and down the image, |kx| and |ky|; 0 for all that the image can hold.
        seed: What the signs are drawn from, with the wave and the place of the image in the data.

    Examples:
        >>> FourierHeatmap(side=8).settings
        {'strength': 0.05, 'side': 8, 'seed': 0}
    """

    strength: float = 0.05
    side: int = 0
    seed: int = 0

    name = "fourier_heatmap"
    question = "Which wave, of which frequency and direction, is the model fragile to?"
    columns: ClassVar = {"table": ("fx", "fy", "accuracy", "delta_accuracy", "standard_error")}
    needs_labels = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("strength", "side"):
            if getattr(self, setting) < 0:
                raise ValueError(f"{self.name} got {setting}={getattr(self, setting)}, expected at least 0.")

    def view(self, subject: Subject, batches: Batches) -> Perturbed:
        if batches.shape[1:] == (1, 1):
            raise ValueError(f"{self.name} got images of one pixel, which hold no wave. Give larger images.")
        return Perturbed(subject, batches, instrument=self.name)

    def items(self, view: Perturbed) -> list[Direction]:
        return directions(*view.batches.shape[1:], side=self.side)

    def rows(self, view: Perturbed, item: Direction) -> list[Row]:
        height, width = view.batches.shape[1:]
        added = self.strength * wave(height, width, item).to(view.subject.device)

        def waved(images: Images, places: range, _repeat: int) -> Images:
            seeds = (derived_seed(self.seed, self.name, *item, place) for place in places)
            return images + signs(images.shape[1], seeds).to(images.device) * added

        score = view.score(waved)
        found = (score.accuracy, score.delta_accuracy, score.standard_error)
        at = aliases(height, width, item, side=self.side)
        return [(2 * x / width, 2 * y / height, *found) for y, x in at]

    def tables(self, rows: Sequence[Row]) -> Tables:
        """The map row by row, from the most negative frequency on."""
        return {"table": sorted(rows, key=lambda row: (row[1], row[0]))}


def _same(length: int, index: int, *, side: int) -> list[int]:
    """The indices of the map that are the same frequency on so many pixels: two for the finest on an even side."""
    return [i for i in (index - length, index, index + length) if i in _indices(length, side)]


def _indices(length: int, side: int) -> range:
    most = min(side, length // 2) if side else length // 2
    return range(-most, most + 1)
