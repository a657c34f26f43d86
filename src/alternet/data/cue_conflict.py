"""Cue conflict: images whose shape says one class and whose texture says another (Geirhos et al. 2019).

Classes are pairs, called `shape-texture`. `CueConflictFolder` reads published images; `CueConflict` makes some of the
photographs, so that networks trained on `photos` can be asked.

A made image has the coarse light and dark of one crop, its shape, and the fine detail and the colours of a crop of
another class, its texture, whose own layout was destroyed by shuffling patches. Everything is computed in integers, so
the images are the same on every machine.
"""

import re
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alternet.data.folder import Folder
from alternet.data.image_dataset import ImageDataset, Indices, Sample, checksum
from alternet.data.photos import PHOTOGRAPHS, Photos, crop, photograph

REPEATS = 4
"""Images of every pair of classes, each of other crops."""

PATCHES = 4
"""The texture is cut into so many by so many patches, and these are shuffled."""

FINE = 32
"""What is finer than a box of side/32 pixels to either side is texture; what is coarser is shape."""

PAIR = re.compile(
    r"(?P<shape>[a-z](?:[a-z _]*[a-z])?)\d*-(?P<texture>[a-z](?:[a-z _]*[a-z])?)\d*", re.IGNORECASE | re.ASCII
)
"""A file name without its ending, such as `airplane1-bicycle2`."""


def parsed(stem: str) -> tuple[str, str] | None:
    """Shape and texture in a file name without its ending; nothing if it is not such a name.

    Examples:
        >>> parsed("airplane1-bicycle2"), parsed("polar bear-cat"), parsed("airplane1"), parsed("a1-b2-c3")
        (('airplane', 'bicycle'), ('polar bear', 'cat'), None, None)
    """
    found = PAIR.fullmatch(stem)
    return None if found is None else (found["shape"], found["texture"])


class CueConflictFolder(Folder):
    """Image files named after the classes of shape and texture, as those of Geirhos et al.: `airplane1-bicycle2.png`.

    They may lie in subfolders, whose names do not matter. Images of equal shape and texture are in no conflict; they
    are kept here, and `shape_bias` passes them over.

    Args:
        root: The folder.

    Raises:
        ValueError: It is no folder, holds no images, or an image whose name is none of that kind.

    Examples:
        >>> root = getfixture("tmp_path")
        >>> for name in ("cat1-dog2.png", "dog1-cat10.png"):
        ...     Image.new("RGB", (40, 30)).save(root / name)
        >>> pictures = CueConflictFolder(root)
        >>> pictures.classes, pictures[1][1]
        (('cat-dog', 'dog-cat'), 1)
    """

    def __init__(self, root: str | Path) -> None:
        super().__init__(root, "test")
        pairs = [parsed(file.stem) for file in self.files]
        for file, pair in zip(self.files, pairs, strict=True):
            if pair is None:
                raise ValueError(
                    f"{self.root} holds {file.as_posix()!r}, whose name does not say shape and texture as in "
                    "airplane1-bicycle2.png. Rename it, or move it elsewhere."
                )
        self._pairs = ["-".join(pair) for pair in pairs if pair is not None]
        self.classes = tuple(sorted(set(self._pairs)))

    @property
    def labelled(self) -> bool:
        """Always: the name of a file says what it shows."""
        return True

    @cached_property
    def targets(self) -> list[int]:
        """Number of the pair of every file, without reading any."""
        numbers = {pair: number for number, pair in enumerate(self.classes)}
        return [numbers[pair] for pair in self._pairs]

    def __getitem__(self, index: int) -> Sample:
        return super().__getitem__(index)[0], self.classes.index(self._pairs[index])


class CueConflict(ImageDataset):
    """Images made of the test crops of the photographs, for every pair of two classes as many.

    Args:
        size: Side of the images in pixels.

    Examples:
        >>> made = CueConflict()
        >>> len(made), made[0][0].size, made.classes[made[0][1]]
        (1224, (32, 32), 'astronaut-brick')
    """

    img_size, crop_pct = 32, 1.0
    mean, std = Photos.mean, Photos.std
    grey_mean, grey_std = Photos.grey_mean, Photos.grey_std

    def __init__(self, size: int = 32) -> None:
        if size < PATCHES:
            raise ValueError(f"Cue-conflict images need a side of at least {PATCHES} pixels, got {size}.")
        self.name, self.split, self.side, self.size = "cue-conflict", "test", size, (size, size)
        self.pairs = tuple(permutations(range(len(PHOTOGRAPHS)), 2))
        names = [photograph.name for photograph in PHOTOGRAPHS]
        self.classes = tuple(f"{names[shape]}-{names[texture]}" for shape, texture in self.pairs)
        whole = -(-size // PATCHES) * PATCHES  # the next side that can be cut into patches
        self._shapes, self._textures = Photos("test", size), Photos("test", whole)

    def __len__(self) -> int:
        return REPEATS * len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return Image.fromarray(self._made(index)), index % len(self.pairs)

    def pixels(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Images and numbers of pairs by index."""
        return np.stack([self._made(int(index)) for index in indices]), np.asarray(indices) % len(self.pairs)

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Checksums of the photographs and of the windows cut from them."""
        windows = [(w.photograph, w.top, w.left, w.side) for index in indices for w in self._windows(index)]
        pixels = [checksum(photograph(number)) for number in range(len(PHOTOGRAPHS))]
        recipe = {"patches": PATCHES, "fine": FINE}
        return {"photographs": pixels, "windows": checksum(np.array(windows, dtype=np.int64))} | recipe

    def _windows(self, index: int) -> tuple[Any, Any]:
        """The windows of shape and texture; a class shows another crop in every pair and repeat, as far as they go."""
        repeat, (shape, texture) = index // len(self.pairs), self.pairs[index % len(self.pairs)]
        classes, crops = len(PHOTOGRAPHS), len(self._shapes) // len(PHOTOGRAPHS)
        turns = (REPEATS * (texture - (texture > shape)) + repeat, REPEATS * (shape - (shape > texture)) + repeat)
        return (
            self._shapes.windows[classes * (turns[0] % crops) + shape],
            self._textures.windows[classes * (turns[1] % crops) + texture],
        )

    def _made(self, index: int) -> np.ndarray:
        shape, texture = self._windows(index)
        shuffled = shuffled_patches(crop(texture, self._textures.side), seed=index)
        return conflict(crop(shape, self.side), shuffled[: self.side, : self.side])


def require_test(split: str) -> None:
    """Refuse to train on images in conflict.

    Raises:
        ValueError: Another split than the one for testing is asked for.
    """
    if split == "train":
        raise ValueError("cue-conflict has no train split: its images have no right answer. Train on photos.")


def conflict(shape: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """The texture with its coarse grey values replaced by those of the shape; both uint8 [s, s, 3].

    Examples:
        >>> flat = np.full((8, 8, 3), 90, np.uint8)
        >>> np.array_equal(conflict(shape=flat, texture=np.full((8, 8, 3), (200, 0, 0), np.uint8))[0, 0], [230, 30, 30])
        True
    """
    reach = max(len(shape) // FINE, 1)
    shift = coarse(luminance(shape), reach) - coarse(luminance(texture), reach)
    return np.clip(texture.astype(np.int64) + shift[..., None], 0, 255).astype(np.uint8)


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Grey values (ITU-R BT.601) as Pillow rounds them."""
    return np.asarray(Image.fromarray(pixels).convert("L")).astype(np.int64)


def coarse(values: np.ndarray, reach: int) -> np.ndarray:
    """The mean over the box of `reach` pixels to either side, mirrored at the border, rounded, halves up.

    Examples:
        >>> coarse(np.array([[0, 0, 9], [0, 0, 9], [0, 0, 9]]), reach=1)[1].tolist()
        [0, 3, 6]
    """
    side = 2 * reach + 1
    sums = np.pad(np.pad(values, reach, mode="symmetric"), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (2 * boxes + side * side) // (2 * side * side)


def shuffled_patches(pixels: np.ndarray, *, seed: int) -> np.ndarray:
    """The patches of an image in another order, drawn from a seed; its side must be a multiple of their number."""
    side = len(pixels) // PATCHES
    patches = pixels.reshape(PATCHES, side, PATCHES, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    order = np.random.RandomState(seed).permutation(len(patches))  # never changes between versions
    moved = patches[order].reshape(PATCHES, PATCHES, side, side, 3)
    return moved.swapaxes(1, 2).reshape(pixels.shape)
