"""JPEGs that benchmarks make on the spot."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def made(files: Iterable[Path], *, size: tuple[int, int], coarse: tuple[int, int], grain: float) -> None:
    """Write pictures of soft blobs with some grain, about as large on the disk as photographs are.

    Args:
        files: Where each goes.
        size: Width and height.
        coarse: How many blobs across and down.
        grain: Standard deviation of the grain, in levels.
    """
    noise = np.random.RandomState(0)
    for file in files:
        blobs = noise.randint(0, 256, (coarse[1], coarse[0], 3), dtype=np.uint8)
        soft = np.asarray(Image.fromarray(blobs).resize(size))
        picture = (soft + noise.normal(0, grain, (size[1], size[0], 3))).clip(0, 255).astype(np.uint8)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file, quality=90)
