"""Variance: how much do feature maps vary over space, unit by unit?

For one image and channel with the map x of h·w positions, s² = Σ (x − x̄)² / (h·w − 1). `variance` is the mean of s²
over channels and images (Park and Kim 2022, Fig. 9). `sample_variance` reads "variance of a feature map" per sample:
all c·h·w values of an image about their common mean, divided by c·h·w − 1, then the mean over images; it adds the
differences between channels.

The values scale with the square of the features. So a unit may be compared with the one before it, but neither two
models nor two stages with another normalisation may be compared by their level.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from alternet.instruments.chunks import images_at_once
from alternet.instruments.intervals import step_columns
from alternet.instruments.moments import STEP, mean_and_error, require_finite, step_moments
from alternet.instruments.work import Batch, OnePass, Tables, where
from alternet.shapes import FeatureMap
from alternet.taps.find import Tap


def variances(features: FeatureMap) -> Float[Tensor, "n 2"]:
    """`variance` and `sample_variance` of every image; see the head of this file.

    A map of a single position varies nowhere: its variance is 0.

    Examples:
        >>> variances(torch.tensor([[[[1.0, 3.0]], [[5.0, 7.0]]]])).tolist()
        [[2.0, 6.666666507720947]]
    """
    channels, positions = features.shape[1], features[0, 0].numel()
    found = []
    for part in features.split(images_at_once(features)):
        means = part.mean((2, 3), keepdim=True)
        within = (part - means).square_().sum((1, 2, 3))
        between = positions * (means - means.mean(1, keepdim=True)).square().sum((1, 2, 3))
        spatial = within / (channels * max(positions - 1, 1))
        found.append(torch.stack([spatial, (within + between) / max(channels * positions - 1, 1)], dim=1))
    return torch.cat(found)


class VarianceWork(OnePass):
    """Moments of both variances over the images at every tap, and of their steps from the tap before."""

    def read(self, tap: Tap, feature: FeatureMap) -> Tensor:
        return variances(feature)

    def part(self, batch: Batch, readings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return step_moments([(tap.name, readings[tap.name], "variances") for tap in self.taps])

    def tables(self, sums: Mapping[str, Tensor]) -> Tables:
        rows = []
        for tap in self.taps:
            require_finite(sums[tap.name], tap=tap.name)
            (variance, sample), (error, _) = (values.tolist() for values in mean_and_error(sums[tap.name]))
            step, _ = step_columns(sums[f"{STEP}{tap.name}"])
            rows.append((*where(tap), variance, sample, error, *step))
        return {"table": rows}
