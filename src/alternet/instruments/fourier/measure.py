"""Fourier: which spatial frequencies do feature maps hold, unit by unit?

With F the 2-D discrete Fourier transform of one channel of a feature map, the log amplitude is log(|F| + 1e-6), its
mean taken over channels and images, and Δ log amplitude at frequency f is its value there minus its value at f = 0
(Park and Kim 2022, Fig. 2a and 8). Frequencies are in units of π: 0 is the mean of the map, 1 the finest grating.

Along the diagonal both axes have the frequency f. The transform there needs no 2-D spectrum: F[k, k] sums
a[x, y]·exp(−2πi k(x + y)/n), which depends on x + y modulo n alone. So it is the 1-D spectrum of the sums along wrapped
anti-diagonals. On an h × w grid the same holds with n = min(h, w): both axes at the frequencies of the shorter side.

Only the trend from unit to unit means something. A lower curve in one model than in another does not say that the
other one sees more detail, since Δ also depends on how large the mean of the map is.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import nan
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from alternet.instruments.chunks import images_at_once
from alternet.instruments.intervals import step_columns
from alternet.instruments.moments import STEP, double, mean_and_error, require_finite, step_moments
from alternet.instruments.work import Batch, OnePass, Tables, where
from alternet.shapes import FeatureMap
from alternet.taps.find import Tap

if TYPE_CHECKING:
    from alternet.instruments.fourier import Fourier

FLOOR = 1e-6
"""Added to amplitudes before the logarithm, as in the paper's code."""

NO_STEP = (nan,) * 4
"""At frequency 0, where Δ is 0 by definition."""


def diagonal_sums(features: FeatureMap) -> Float[Tensor, "n c s"]:
    """Sums along wrapped anti-diagonals: entry s holds every position with x + y ≡ s modulo the shorter side.

    Rows padded to a length p ≡ 1 modulo the shorter side put position (x, y) at x·p + y ≡ x + y of the flat map, so
    that cutting the flat map into pieces of the shorter side's length lays the anti-diagonals under each other.

    Examples:
        >>> diagonal_sums(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).tolist()
        [[[5.0, 5.0]]]
    """
    n, c, h, w = features.shape
    side = min(h, w)
    height, width = h + -h % side, w + (1 - w) % side
    channels_last = features.stride(1) == 1
    maps, space = (features.permute(0, 2, 3, 1), 1) if channels_last else (features, 2)
    size = (height, width, c) if channels_last else (c, height, width)
    at_once = min(images_at_once(features), n)
    padded = features.new_zeros(at_once, *size)  # taken once for all chunks
    inside = padded.narrow(space, 0, h).narrow(space + 1, 0, w)
    pieces = padded.flatten(space, space + 1).unflatten(space, (-1, side))
    sums = []
    for part in maps.split(at_once):
        inside[: len(part)].copy_(part)
        sums.append(pieces[: len(part)].sum(space))
    return torch.cat(sums).transpose(1, 2) if channels_last else torch.cat(sums)


def diagonal_log_amplitude(features: FeatureMap) -> Float[Tensor, "n f"]:
    """Mean over channels of log(|F| + 1e-6) along the half diagonal of the spectrum, at frequencies 2k/min(h, w).

    Examples:
        >>> grating = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> diagonal_log_amplitude(grating[None, None]).exp().round().tolist()
        [[0.0, 4.0]]
    """
    return _log_amplitude(torch.fft.rfft(double(diagonal_sums(features))), features.dtype).mean(1)


def radial_log_amplitude(features: FeatureMap) -> Float[Tensor, "n f"]:
    """Mean over channels and over rings of the spectrum of log(|F| + 1e-6), at frequencies 2k/min(h, w).

    A ring holds the frequency vectors whose length is nearest to it; those in the corners, beyond the last, are out.

    Examples:
        >>> grating = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
        >>> radial_log_amplitude(grating[None, None]).shape
        torch.Size([1, 2])
    """
    log_amplitude = _log_amplitude(torch.fft.fft2(features), features.dtype).mean(1)
    return log_amplitude.flatten(1) @ _rings(*features.shape[2:]).to(log_amplitude)


def frequencies(side: int) -> list[float]:
    """True frequencies of the half diagonal in units of π, the Nyquist frequency 1 included where `side` is even.

    Examples:
        >>> frequencies(4), frequencies(5), frequencies(1)
        ([0.0, 0.5, 1.0], [0.0, 0.4, 0.8], [0.0])
    """
    return [2 * k / side for k in range(side // 2 + 1)]


def paper_frequencies(side: int) -> list[float]:
    """Labels of the half diagonal in the paper: (side + 1) // 2 points, called 0 to 1 whatever they are.

    Examples:
        >>> paper_frequencies(6), paper_frequencies(5), paper_frequencies(1)
        ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], [0.0])
    """
    points = (side + 1) // 2
    return [k / max(points - 1, 1) for k in range(points)]


class FourierWork(OnePass):
    """Moments of Δ log amplitude over the images at every tap, and of its steps from the tap before."""

    instrument: "Fourier"

    def read(self, tap: Tap, feature: FeatureMap) -> Tensor:
        log_amplitude = diagonal_log_amplitude if self.instrument.direction == "diagonal" else radial_log_amplitude
        values = log_amplitude(feature)[:, : len(self._axis(tap))]  # the paper leaves the last one out
        return values - values[:, :1]

    def part(self, batch: Batch, readings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return step_moments([(tap.name, readings[tap.name], min(tap.shape[1:])) for tap in self.taps])

    def tables(self, sums: Mapping[str, Tensor]) -> Tables:
        rows = []
        for tap in self.taps:
            require_finite(sums[tap.name], tap=tap.name)
            delta, error = (values.tolist() for values in mean_and_error(sums[tap.name]))
            steps = step_columns(sums[f"{STEP}{tap.name}"])
            points = zip(self._axis(tap), delta, error, steps, strict=True)
            rows += [
                (*where(tap), frequency, *value, *(step if frequency else NO_STEP))
                for frequency, *value, step in points
            ]
        return {"table": rows}

    def _axis(self, tap: Tap) -> list[float]:
        axis = frequencies if self.instrument.axis == "textbook" else paper_frequencies
        return axis(min(tap.shape[1:]))


def _log_amplitude(spectrum: Tensor, dtype: torch.dtype) -> Tensor:
    return spectrum.to(dtype.to_complex()).abs().add_(FLOOR).log_()


@lru_cache(maxsize=64)
def _rings(height: int, width: int) -> Float[Tensor, "positions f"]:
    """Weights of the mean over each ring, one row a position of the flat spectrum."""
    side = min(height, width)
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)
    nearest = ((down.square() + across.square()).sqrt() * side).round().long().flatten()
    inside = one_hot(nearest)[:, : side // 2 + 1].double()
    return inside / inside.sum(0)
