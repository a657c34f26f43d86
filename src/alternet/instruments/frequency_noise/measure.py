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
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from alternet.instruments.answers import answered
from alternet.instruments.intervals import change_interval
from alternet.instruments.moments import mean_and_error, moments
from alternet.instruments.work import PerItem, Row, Tables, no_image
from alternet.probe.probe import Probe
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


def of_band(spectrum: Complex[Tensor, "n c h k"], mask: Mask, size: Sequence[int]) -> Images:
    """F⁻¹(F(δ) ⊙ M) of every image and channel, for a mask that treats a wave and its mirror image alike.

    Args:
        spectrum: F(δ), which `rfft2` gives of noise.
        mask: M.
        size: Height and width of the noise.

    Examples:
        >>> of_band(torch.fft.rfft2(torch.ones(1, 1, 4, 6)), band(4, 6, 0.5, half_width=0.3), (4, 6)).abs().max().item()
        0.0
    """
    half = mask[:, : spectrum.shape[-1]].to(spectrum.device)
    return torch.fft.irfft2(spectrum * half, s=tuple(size))


def white_noise(shape: Sequence[int], seeds: Iterable[int]) -> Images:
    """Gaussian noise of unit variance [n, *shape], each image drawn from a seed of its own.

    Examples:
        >>> one, two = white_noise((3, 2, 2), [5, 7]), white_noise((3, 2, 2), [7])
        >>> torch.equal(one[1], two[0])
        True
    """
    draw = partial(torch.randn, tuple(shape), dtype=torch.float32)
    return torch.stack([draw(generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class Sums(NamedTuple):
    """What one batch says of one band.

    Attributes:
        band: Its number.
        moments: Count, sum and sum of squares over images of what is right under the noise, of the same less what is
            right without it, and of the NLL under the noise, each the mean over the repeats [3, 3].
    """

    band: int
    moments: Float64[Tensor, "3 3"]

    @classmethod
    def of(cls, band: int, *moments: float) -> "Sums":
        """From a row of a journal, which holds the moments one after the other."""
        return cls(band, torch.tensor(moments, dtype=torch.float64).view(3, 3))


class FrequencyNoiseWork(PerItem):
    """An item is a batch: it is read, and its noise drawn and transformed, once for all bands."""

    instrument: "FrequencyNoise"
    record: ClassVar = Sums.of

    def begin(self) -> None:
        # a band without waves is refused before any image is decoded
        self.masks = [self._mask(*self.batches.shape[1:], frequency) for frequency in self.instrument.frequencies]
        self.probe = self.undo.enter_context(Probe(self.subject, taps=[]))

    def items(self) -> Sequence[tuple[int, int]]:
        return self.batches.places

    def rows(self, item: tuple[int, int]) -> list[Row]:
        asked, rows = self.instrument, []
        for images, targets in (batch := self.batches.at(item[0])):  # none if no image of it can be read
            here = images.to(self.subject.device)
            scores = partial(answered, self.probe, targets=targets, instrument="frequency_noise")
            before = scores(here)
            after = [torch.zeros_like(before) for _ in self.masks]
            for repeat in range(asked.repeats):
                seeds = (derived_seed(asked.seed, "frequency_noise", repeat, number) for number in batch.pictures)
                white = white_noise(images.shape[1:], seeds).to(here.device)
                spectrum = torch.fft.rfft2(white.sign() if asked.energy == "paper" else white)
                for total, mask in zip(after, self.masks, strict=True):
                    total += scores(self._noisy(here, spectrum, mask)) / asked.repeats
            for number, (right, nll) in enumerate(total.T for total in after):
                values = torch.stack([right, right - before[:, 0], nll], dim=1)
                rows.append((number, *moments(values).flatten().tolist()))
        return rows

    def tables(self, rows: Sequence[Sums]) -> Tables:
        if not rows:
            raise no_image(self.batches)
        table = []
        for number, frequency in enumerate(self.instrument.frequencies):
            of_band = [row.moments for row in rows if row.band == number]
            total = sum(of_band[1:], start=of_band[0])
            (accuracy, delta, nll), (_, error, _) = (values.tolist() for values in mean_and_error(total))
            ends = (end.item() for end in change_interval(total[:, 1]))
            table.append((frequency, accuracy, delta, nll, error, *ends))
        return {"table": table}

    def _noisy(self, images: Images, spectrum: Tensor, mask: Mask) -> Images:
        asked, noise = self.instrument, of_band(spectrum, mask, images.shape[2:])
        if asked.energy == "paper":  # it noises normalised images
            return images + noise * (asked.strength * images.new_tensor(self.subject.std or (1.0,)).view(-1, 1, 1))
        return images + noise * (asked.strength / noise.square().mean((1, 2, 3), keepdim=True).sqrt())

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
