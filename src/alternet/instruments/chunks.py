"""Chunks: how many images a processor takes up at once, so that what it writes in between stays in its cache."""

from torch import Tensor

VALUES = 2**20
"""Values of a chunk on a CPU. What is larger lies in fresh memory each time, which costs more than the sums."""


def images_at_once(features: Tensor) -> int:
    """How many images make a chunk; a GPU takes them all.

    Example:
        >>> import torch
        >>> images_at_once(torch.zeros(16, 256, 56, 56)), images_at_once(torch.zeros(16, 384, 14, 14))
        (1, 13)
    """
    if features.device.type != "cpu":
        return max(1, len(features))
    return max(1, VALUES // max(features[0].numel(), 1)) if len(features) else 1
