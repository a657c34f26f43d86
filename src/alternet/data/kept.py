"""Kept: frozen batches in memory, within a budget of bytes; what is beyond is drawn again from the same seed."""

import os

import torch
from torch import Tensor

from alternet.data.eval_transform import unit_range
from alternet.stamp import Stamp

BUDGET = 4 * 2**30
"""Bytes of frozen batches that are kept; `ALTERNET_KEPT_BYTES` sets another number, 0 keeps none."""


def budget() -> int:
    """How many bytes may be kept.

    Raises:
        ValueError: The environment says something else than a number.
    """
    text = os.environ.get("ALTERNET_KEPT_BYTES", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(
            f"ALTERNET_KEPT_BYTES is {text[:40]!r}, expected a whole number of bytes. Correct or unset it."
        )
    return int(text) if text else BUDGET


class Kept(dict[int, tuple[Tensor, Tensor]]):
    """Frozen batches by number: images of 256 levels as bytes, others as they are, and their targets.

    Examples:
        >>> kept = Kept()
        >>> kept.keep(0, unit_range(torch.arange(256, dtype=torch.uint8)), torch.zeros(1))
        >>> kept.size, torch.equal(kept.batch(0)[0], unit_range(torch.arange(256)))
        (260, True)
    """

    versions: Stamp = ()
    """Versions of the images in memory that they were drawn from."""

    size: int = 0
    """Bytes that are kept."""

    def keep(self, number: int, images: Tensor, targets: Tensor) -> None:
        """Keep a batch if there is room for it."""
        levels = images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
        stored = levels if torch.equal(unit_range(levels), images) else images  # mixing and erasing leave the levels
        size = sum(part.numel() * part.element_size() for part in (stored, targets))
        if self.size + size <= budget():
            self[number] = stored.clone(), targets.clone()
            self.size += size

    def clear(self) -> None:
        """Forget all batches."""
        super().clear()
        self.size = 0

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """A batch as it was drawn; whoever writes into it changes nothing that is kept."""
        images, targets = self[number]
        return unit_range(images) if images.dtype == torch.uint8 else images.clone(), targets.clone()
