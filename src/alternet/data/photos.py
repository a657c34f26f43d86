"""Photos: crops of the eighteen photographs that scikit-image ships; real images without a download.

Each photograph is one class. It is cut in half across its longer side: training crops come from the first half, test
crops from the second, so the two share no pixel. Half of the crops are windows of `size` pixels, half are windows of
twice that, averaged 2 by 2. Nearly uniform windows are left out. Everything is computed in integers, so the crops are
the same on every machine.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from alternet.data.decoding import Bounds, opened
from alternet.data.image_dataset import ImageDataset, Indices, Sample, checksum

CROPS = {"train": 300, "test": 60}
"""Crops of every photograph."""

CONTRAST = 4
"""Smallest standard deviation of the grey values in a window, in levels of 255."""

KEPT_SIDE = 64
"""Crops up to this size are kept in memory together; larger ones are cut out when they are asked for."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One photograph: its class, its file in scikit-image, and whom to thank for it."""

    name: str
    file: str
    credit: str
    licence: str


PHOTOGRAPHS = (
    Photograph("astronaut", "astronaut.png", "NASA, Great Images", "public domain"),
    Photograph("brick", "brick.png", "CC0Textures, Bricks25", "CC0"),
    Photograph("camera", "camera.png", "Lav Varshney", "CC0"),
    Photograph("cell", "cell.png", "Müller, Schürmann, Girardo, Cojoc and Guck (2018)", "CC0"),
    Photograph("chelsea", "chelsea.png", "Stefan van der Walt", "CC0"),
    Photograph("clock", "clock_motion.png", "Stefan van der Walt", "public domain"),
    Photograph("coffee", "coffee.png", "Rachel Michetti, Pikolo Espresso Bar", "CC0"),
    Photograph("coins", "coins.png", "Brooklyn Museum Collection", "no known restrictions"),
    Photograph("grass", "grass.png", "DeviantArt, linolafett, Grass 01", "CC0"),
    Photograph("gravel", "gravel.png", "CC0Textures, Gravel04", "CC0"),
    Photograph("hubble", "hubble_deep_field.jpg", "NASA, HubbleSite", "public domain"),
    Photograph("ihc", "ihc.png", "Center for Microscopy and Molecular Imaging", "no known restrictions"),
    Photograph("moon", "moon.png", "scikit-image", "as scikit-image"),
    Photograph(
        "motorcycle",
        "motorcycle_left.png",
        "Middlebury Stereo 2014",
        "as scikit-image",
    ),
    Photograph("page", "page.png", "scikit-image", "as scikit-image"),
    Photograph("retina", "retina.jpg", "Mikael Häggström (2014)", "CC0"),
    Photograph("rocket", "rocket.jpg", "SpaceX", "public domain"),
    Photograph("text", "text.png", "Wikipedia, Corner.png", "public domain"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A square of a photograph: which one, its upper left corner and its side, in pixels."""

    photograph: int
    top: int
    left: int
    side: int


class Photos(ImageDataset):
    """Crops of the photographs, in turn one of each.

    Args:
        split: `train` or `test`.
        size: Side of the crops in pixels. Where half a photograph is smaller than a window, the largest window that
            leaves enough places in it is taken, and resized with Pillow's bicubic filter.

    Examples:
        >>> photos = Photos("test")
        >>> len(photos), photos[0][0].size, photos.classes[photos[1][1]]
        (1080, (32, 32), 'brick')
    """

    img_size, crop_pct = 32, 1.0
    mean, std = (0.4734, 0.4016, 0.3787), (0.2407, 0.2057, 0.2111)  # of the training crops at size 32
    grey_mean, grey_std = 0.4205, 0.2040

    def __init__(self, split: str, size: int = 32) -> None:
        if split not in CROPS:
            raise ValueError(f"photos has no split {split!r}. Choose train or test.")
        if size < 1:
            raise ValueError(f"The size of the crops must be positive, got {size}.")
        self.name, self.split, self.side, self.size = "photos", split, size, (size, size)
        self.classes = tuple(photograph.name for photograph in PHOTOGRAPHS)
        self.windows = windows(split, size)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Sample:
        pixels, targets = self.pixels([index])
        return Image.fromarray(pixels[0]), int(targets[0])

    @cached_property
    def targets(self) -> list[int]:
        """Class number of every crop."""
        return [window.photograph for window in self.windows]

    def pixels(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Crops and class numbers by index."""
        if self.side <= KEPT_SIDE:
            images = crops(self.split, self.side)[list(indices)]
        else:
            images = np.stack([crop(self.windows[index], self.side) for index in indices])
        return images, np.array([self.windows[index].photograph for index in indices], dtype=np.int64)

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Checksums of the photographs and of the windows cut from them."""
        taken = [self.windows[index] for index in indices]
        table = np.array([(w.photograph, w.top, w.left, w.side) for w in taken], dtype=np.int64)
        pixels = [checksum(photograph(number)) for number in range(len(PHOTOGRAPHS))]
        return {"photographs": pixels, "windows": checksum(table)}


@lru_cache(maxsize=len(PHOTOGRAPHS))
def photograph(number: int) -> np.ndarray:
    """A photograph as uint8 [h, w, 3]; grey ones have three equal channels."""
    source = files("skimage") / "data" / PHOTOGRAPHS[number].file
    try:
        with source.open("rb") as file, opened(file, Bounds()) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(
            f"scikit-image's photograph {PHOTOGRAPHS[number].file} cannot be read ({error}). "
            "Install the package anew: pip install --force-reinstall scikit-image"
        ) from error
    pixels.flags.writeable = False
    return pixels


def region(number: int, split: str) -> tuple[slice, slice]:
    """Rows and columns of a photograph that belong to a split: one half across its longer side.

    Examples:
        >>> region(7, "train"), region(7, "test")  # coins, 303 by 384
        ((slice(0, 303, None), slice(0, 192, None)), (slice(0, 303, None), slice(192, 384, None)))
    """
    height, width = photograph(number).shape[:2]
    longer = max(height, width)
    half = slice(0, longer // 2) if split == "train" else slice(longer // 2, longer)
    return (slice(0, height), half) if width >= height else (half, slice(0, width))


@lru_cache(maxsize=16)
def windows(split: str, size: int) -> tuple[Window, ...]:
    """Where the crops of a split are cut, in the order of the data set: one of each photograph in turn."""
    count, of_each = CROPS[split], []
    for number in range(len(PHOTOGRAPHS)):
        rows, columns = region(number, split)
        pixels = photograph(number)[rows, columns]
        height, width = pixels.shape[:2]

        # small and large windows in turn, neither larger than one that still has `count` different places
        shorter = min(height, width)
        fitting = (side for side in range(shorter, 0, -1) if (height - side + 1) * (width - side + 1) >= count)
        largest = next(fitting)
        sides = [min(size, largest), min(2 * size, largest)]
        places = {side: _places(pixels, side, count, seed=number) for side in set(sides)}
        step = len(places)  # where both sides are the same, no place is taken twice

        of_photograph = []
        for turn in range(count):
            side = sides[turn % 2]
            top, left = places[side][turn // step]
            of_photograph.append(Window(number, rows.start + top, columns.start + left, side))
        of_each.append(of_photograph)
    return tuple(window for turn in zip(*of_each, strict=True) for window in turn)


def crop(window: Window, size: int) -> np.ndarray:
    """Cut a window out and bring it to `size` by `size`, uint8 [h, w, 3]."""
    top, left, side = window.top, window.left, window.side
    pixels = photograph(window.photograph)[top : top + side, left : left + side]
    if side == size:
        return pixels
    if side == 2 * size:
        return halved(pixels)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))


@lru_cache(maxsize=4)
def crops(split: str, size: int) -> np.ndarray:
    """All crops of a split, uint8 [n, size, size, 3]."""
    pixels = np.stack([crop(window, size) for window in windows(split, size)])
    pixels.flags.writeable = False  # whoever asks again gets the same array
    return pixels


def halved(pixels: np.ndarray) -> np.ndarray:
    """The mean of every 2 by 2 pixels, rounded to the nearest, halves up.

    Examples:
        >>> halved(np.array([[[1], [2]], [[2], [1]]], np.uint8)).item()
        2
    """
    wide = pixels.astype(np.uint16)
    return ((wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2] + 2) // 4).astype(np.uint8)


def _places(pixels: np.ndarray, side: int, count: int, *, seed: int) -> list[tuple[int, int]]:
    """Different corners of windows with contrast, in a random but fixed order; the most contrasting if they are few."""
    scatter = _scatter(pixels, side)
    across = scatter.shape[1]
    enough = np.flatnonzero(scatter >= (CONTRAST * side * side) ** 2)
    if len(enough) < count:
        enough = np.argsort(-scatter.ravel(), kind="stable")[:count]
    chosen = np.random.RandomState(seed).permutation(enough)[:count]  # RandomState never changes between versions
    return [(int(place) // across, int(place) % across) for place in chosen]


def _scatter(pixels: np.ndarray, side: int) -> np.ndarray:
    """Variance of the grey values in every window, times the fourth power of its side, in exact integers."""
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(np.int64)
    return side * side * _sums(grey * grey, side) - _sums(grey, side) ** 2


def _sums(values: np.ndarray, side: int) -> np.ndarray:
    """Sums over all square windows, through the summed-area table."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    table[1:, 1:] = values.cumsum(0).cumsum(1)
    return table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
