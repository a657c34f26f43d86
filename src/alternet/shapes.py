"""Names for the tensor shapes that cross module borders: n samples, c channels, h × w positions, k classes."""

from jaxtyping import Float, Int
from torch import Tensor

Images = Float[Tensor, "n c h w"]
"""Pixels in [0, 1], before the model's normalisation."""

FeatureMap = Float[Tensor, "n _c _h _w"]
"""What a tap gives, whatever layout the model itself uses; each tap has channels and a grid of its own."""

Logits = Float[Tensor, "n k"]

Labels = Int[Tensor, " n"]
"""Class indices; -1 where the data has no label."""
