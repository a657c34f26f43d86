"""elpv: electroluminescence images of solar cells, functional or defective (extra `elpv`).

The images are those of the package `elpv-dataset`, under the licence CC BY-NC-SA 4.0 (not for commercial use), which is
why they are an extra. Whoever uses them cites Buerhop-Lutz et al. (2018) and Deitsch et al. (2019, 2021).
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alternet.data.decoding import Bounds, opened
from alternet.data.image_dataset import ImageDataset, Indices, Sample, checksum
from alternet.data.shares import divide

SIDE = 300
"""Side of the images in pixels."""

DEFECTIVE = 0.5
"""From this probability of a defect on, a cell counts as defective. The experts' four answers are 0, 1/3, 2/3 and 1."""

TEST = "1/4"
"""Share of the test images, as in Deitsch et al. (2019), who do not say which these are."""


class Elpv(ImageDataset):
    """2624 cells of 44 solar modules (Buerhop-Lutz et al., 2018), grey, 300 by 300 pixels; the split is fixed.

    Four classes: functional or defective, of monocrystalline or polycrystalline modules. A cell is defective where the
    experts gave a defect a probability of 2/3 or 1, and functional at 0 or 1/3: the nearer of the two. (Deitsch et al.,
    2019, count 1/3 as defective too, but with a third of the weight.) A quarter of the cells of each kind and each
    probability are test images. Which cell comes from which module is not published, so cells of one module are in
    both splits.

    The images are made smaller once, with Pillow's bicubic filter, and kept in memory.

    Args:
        split: `train` (1967 cells) or `test` (657).
        size: Side at which they are kept; above 300 they keep their own.

    Raises:
        ValueError: The package is not installed, or its files are damaged.
    """

    name = "elpv"
    classes = ("mono functional", "mono defective", "poly functional", "poly defective")
    img_size, crop_pct = 64, 1.0
    mean, std = (0.5948,) * 3, (0.1577,) * 3  # of the training images at size 64
    grey_mean, grey_std = 0.5948, 0.1577

    def __init__(self, split: str, size: int = 64) -> None:
        self.split, self.side = split, min(size, SIDE)
        self.size = (self.side, self.side)
        names, self.targets = cells(split)
        self.names = names
        self.grey = kept(split, self.side)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return Image.fromarray(self.grey[index]).convert("RGB"), int(self.targets[index])

    def label(self, index: int) -> str:
        """The file's name in the package."""
        return self.names[index]

    def pixels(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and class numbers by index."""
        grey = self.grey[np.asarray(indices, dtype=np.int64)]
        return np.repeat(grey[..., None], 3, axis=3), self.targets[np.asarray(indices, dtype=np.int64)]

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Checksum of which cells these are, and of their pixels and classes."""
        chosen = np.asarray(indices, dtype=np.int64)
        named = "\n".join(self.names[index] for index in chosen).encode()
        pixels = checksum(self.grey[chosen], self.targets[chosen])
        return {"cells": checksum(np.frombuffer(named, np.uint8)), "side": self.side, "sha256": pixels}


def cells(split: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Files of the cells of a split within the package's folder, and their class numbers."""
    try:
        rows = [line.split() for line in (_folder() / "labels.csv").read_text(encoding="utf-8").splitlines() if line]
        read = [(name, float(probability), ("mono", "poly").index(kind)) for name, probability, kind in rows]
    except (OSError, ValueError) as error:
        raise ValueError(f"The labels of elpv-dataset cannot be read ({error}). {_AGAIN}") from error
    strata = np.array([2 * round(3 * probability) + kind for _, probability, kind in read])
    train, test = divide(strata, validation=TEST, name="elpv")
    taken = [read[index] for index in (test if split == "test" else train)]
    targets = [2 * kind + (probability >= DEFECTIVE) for _, probability, kind in taken]
    return tuple(name for name, *_ in taken), np.array(targets, dtype=np.int64)


@lru_cache(maxsize=4)
def kept(split: str, side: int) -> np.ndarray:
    """The grey images of a split at one size, uint8 [n, side, side]."""
    folder, pictures = _folder(), []
    for name in cells(split)[0]:
        try:
            with opened(folder / name, Bounds()) as picture:
                grey = picture.convert("L")
        except OSError as error:
            raise ValueError(f"The image {name} of elpv-dataset cannot be read ({error}). {_AGAIN}") from error
        pictures.append(np.asarray(grey.resize((side, side), Image.Resampling.BICUBIC)))
    pixels = np.stack(pictures)
    pixels.flags.writeable = False  # whoever asks again gets the same array
    return pixels


_AGAIN = "Install the package anew: pip install --force-reinstall elpv-dataset"


def _folder() -> Path:
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise ValueError("elpv needs the package elpv-dataset. Install it with: pip install 'alternet[elpv]'")
    return Path(next(iter(found.submodule_search_locations))) / "data"
