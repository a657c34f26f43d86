"""Frequency noise: how much accuracy does noise of one band of spatial frequencies cost?

x' = x + F⁻¹(F(δ) ⊙ M_f): noise δ is added to the image, of whose spectrum F(δ) a mask M_f leaves the band around the
frequency f (Park and Kim 2022, Fig. 2b). Frequencies are in units of π, 1 being the finest grating.

A wave has a frequency down, fy, and one across, fx. The square ring holds those with |max(fy, fx) − f| ≤ half width. It
is the paper's: like the diagonal of its Fourier analysis it goes to 1 on both axes, and no wave is out of its reach.
The round ring takes √(fy² + fx²) instead, and never meets the corners, beyond 1, a fifth of all waves.

White noise has more waves in the outer rings. With `energy="equal"` the noise of every image and band is scaled to the
same root mean square, so that bands differ in their frequencies alone. With `energy="paper"` it is left as it comes, as
in the released code, and outer bands are stronger for that reason alone.

What a band costs also depends on how much the images themselves hold there, so the curve is no property of the model.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from math import pi
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from alternet.instruments.perturbed import PerturbedWork
from alternet.instruments.work import Row, Tables
from alternet.seeding import derived_seed
from alternet.shapes import Images

if TYPE_CHECKING:
    from alternet.instruments.frequency_noise import FrequencyNoise

Ring = Literal["square", "round", "paper"]
Mask = Float[Tensor, "h w"]
"""Weights of the waves of an image, in the order of the discrete Fourier transform."""


@lru_cache(maxsize=64)
def band(height: int, width: int, frequency: float, *, half_width: float, ring: Ring = "square") -> Mask:
    """The mask M_f: 1 for the waves whose frequency is within `half_width` of `frequency`, the mean of the image apart.

    The ring `paper` is that of the released code. It is cut from index −m to m − 1 and holds one side of its outermost
    waves without their mirror images; of the noise, which is then complex, the real part is taken. That is to give
    such waves a weight of ½. It starts at the mean of the image where the band starts at 0.

    Examples:
        >>> band(4, 4, 0.5, half_width=0.1).int().tolist()
        [[0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]]
    """
    if ring == "paper":
        # in radians and in this order, since the code cuts off what is behind the point, rounding included
        low, high = (_square(height, width, frequency * pi + sign * half_width * pi) for sign in (-1, 1))
        return high - low
    down, across = (2 * torch.fft.fftfreq(side, dtype=torch.float64).abs() for side in (height, width))
    if ring == "square":
        radius = torch.maximum(down[:, None], across)
    else:
        radius = torch.hypot(down[:, None], across.expand(height, -1))
    inside = (radius - frequency).abs() <= half_width + 1e-9  # a wave on the edge is in, whatever rounding says
    inside[0, 0] = False
    return inside.float()


def in_band(noise: Images, mask: Mask) -> Images:
    """F⁻¹(F(δ) ⊙ M) of every image and channel, for a mask that treats a wave and its mirror image alike.

    Examples:
        >>> in_band(torch.ones(1, 1, 4, 6), band(4, 6, 0.5, half_width=0.3)).abs().max().item()
        0.0
    """
    height, width = noise.shape[2:]
    spectrum = torch.fft.rfft2(noise) * mask[:, : width // 2 + 1].to(noise.device)
    return torch.fft.irfft2(spectrum, s=(height, width))


def white_noise(shape: Sequence[int], seeds: Iterable[int]) -> Images:
    """Gaussian noise of unit variance [n, *shape], each image drawn from a seed of its own.

    Examples:
        >>> one, two = white_noise((3, 2, 2), [5, 7]), white_noise((3, 2, 2), [7])
        >>> torch.equal(one[1], two[0])
        True
    """
    draw = partial(torch.randn, tuple(shape), dtype=torch.float32)
    return torch.stack([draw(generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class FrequencyNoiseWork(PerturbedWork):
    """An item is a band, by its number."""

    instrument: "FrequencyNoise"

    def begin(self) -> None:
        # a band without waves is refused before any image is decoded
        for frequency in self.instrument.frequencies:
            self._mask(*self.batches.shape[1:], frequency)
        super().begin()

    def items(self) -> list[tuple[int]]:
        return [(number,) for number in range(self.instrument.bands)]

    def rows(self, item: tuple[int]) -> list[tuple]:
        asked, (number,) = self.instrument, item
        frequency = asked.frequencies[number]

        def noisy(images: Images, places: range, repeat: int) -> Images:
            height, width = images.shape[2:]
            mask = self._mask(height, width, frequency)
            seeds = (derived_seed(asked.seed, "frequency_noise", number, repeat, place) for place in places)
            white = white_noise(images.shape[1:], seeds).to(images.device)
            if asked.energy == "paper":
                deviation = images.new_tensor(self.subject.std or (1.0,)).view(-1, 1, 1)  # it noises normalised images
                return images + in_band(asked.strength * white.sign(), mask) * deviation
            noise = in_band(white, mask)
            return images + noise * (asked.strength / noise.square().mean((1, 2, 3), keepdim=True).sqrt())

        return [(frequency, *self.score(noisy, repeats=asked.repeats))]

    def tables(self, rows: Sequence[Row]) -> Tables:
        return {"table": self.with_intervals(rows, delta=2, error=4)}

    def _mask(self, height: int, width: int, frequency: float) -> Mask:
        asked = self.instrument
        ring = "paper" if asked.energy == "paper" else asked.ring
        mask = band(height, width, frequency, half_width=asked.half_width, ring=ring)
        if not mask.any():
            raise ValueError(
                f"No wave on {height}x{width} pixels has a frequency within {asked.half_width}π of {frequency:.3g}π, "
                f"so there is no such noise. Give larger images, or half_width={2 / min(height, width):.2g} or more."
            )
        return mask


def _square(height: int, width: int, radians: float) -> Mask:
    """The code's centre square, the waves of index −m to m − 1, and its mirror image, by half each."""
    inside = []
    for side in (height, width):
        reach = max(int(radians * side / (2 * pi)), 0)  # m
        index = (torch.fft.fftfreq(side, dtype=torch.float64) * side).round()
        inside.append(((index >= -reach) & (index < reach)).float())
    down, across = inside
    square = down[:, None] * across
    return (square + square.flip(0, 1).roll((1, 1), (0, 1))) / 2
