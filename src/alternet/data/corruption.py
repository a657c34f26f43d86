"""Corruption: the common corruptions of Hendrycks and Dietterich (2019), made on the fly from clean pictures.

Fifteen standard ones in four families and four extra ones, each at severities 1 to 5. The package
`imagecorruptions-imaug` (extra `corruptions`) makes them. It works on bytes in colour, as the published sets were made:
a picture is sized for the model, corrupted before any normalisation, and cut to bytes again.

All randomness of a picture comes from the seed, the corruption, its severity and the pixels. So it depends neither on
the other pictures nor on the order in which they come.
"""

import hashlib
import importlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from alternet.data.eval_transform import EvalTransform
from alternet.data.image_batches import Batches
from alternet.data.image_dataset import ImageDataset, Indices, Sample, UnreadableImage
from alternet.data.kept import decoded
from alternet.seeding import derived_seed, random_state_kept, reseed

SMALLEST = 32
"""Below so many pixels a side the library's shapes (drops, flakes, kernels) do not fit into the picture."""

ANY_SIZE = frozenset(
    ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "brightness", "contrast", "saturate")
)
"""Corruptions that have no shape, and so no smallest size."""

PACKAGE = "imagecorruptions-imaug"

MAKERS = (PACKAGE, "opencv-python", "scikit-image", "scipy", "pillow")
"""What the pixels of a corrupted picture depend on."""


def corrupted(batches: Batches, corruption: str, severity: int, *, seed: int = 0) -> Batches:
    """The same images in the same order, corrupted whenever they are read.

    Args:
        batches: Clean images, in colour or grey; a grey image is the corrupted colour picture turned grey.
        corruption: A name of `FAMILIES`.
        severity: 1 to 5.
        seed: What the randomness is drawn from.

    Raises:
        ValueError: The library is not installed, or the images cannot be corrupted.
    """
    require_corruptible(batches, [corruption])
    pictures = Corrupted(batches.dataset, batches.transform, corruption, severity, seed=seed)
    return replace(batches, dataset=pictures)


def require_corruptible(batches: Batches, corruptions: Sequence[str]) -> None:
    """Say now what will not work later.

    Raises:
        ValueError: The library is not installed, the images are too small, or they are no pictures.
    """
    _library()
    channels, *size = batches.shape
    if channels not in (1, 3):
        raise ValueError(
            f"Corruptions are made for colour or grey images, but those of {batches.name!r} have {channels} channels. "
            "Corrupt them yourself and measure calibration on the result."
        )
    shaped = [name for name in corruptions if name not in ANY_SIZE]
    if min(size) < SMALLEST and shaped:
        raise ValueError(
            f"{', '.join(shaped)} cannot be made on images of {size[0]} by {size[1]} pixels, expected at least "
            f"{SMALLEST} by {SMALLEST}. Give larger images with --img-size if the model takes them, or choose among "
            f"{', '.join(sorted(ANY_SIZE))}."
        )


def corrupt(pixels: np.ndarray, corruption: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """One corrupted picture; the caller's random state is left as it was.

    Args:
        pixels: Colours uint8 [h, w, 3].
        corruption: A name of `FAMILIES`.
        severity: 1 to 5.
        seed: What the randomness is drawn from, together with the other arguments.

    Returns:
        Colours uint8 [h, w, 3].

    Examples:
        >>> grey = np.full((32, 32, 3), 128, np.uint8)
        >>> noisy = corrupt(grey, "gaussian_noise", 3)
        >>> bool((noisy == corrupt(grey, "gaussian_noise", 3)).all()), bool((noisy == grey).all())
        (True, False)
    """
    make = _library().corruption_dict[corruption]
    content = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()
    source = (seed, corruption, severity, *pixels.shape, content)
    # two of the functions draw from the operating system unless they are given a seed of their own
    own = {"seed": derived_seed(*source, "own")} if "seed" in inspect.signature(make).parameters else {}
    with random_state_kept(), np.errstate(invalid="ignore"):
        reseed(*source)
        made = np.asarray(make(Image.fromarray(pixels), severity, **own))
    if corruption == "spatter" and np.isnan(made).any():
        return pixels  # where no drop falls on a small picture, the library divides by the largest of none
    return made.astype(np.uint8)


def makers() -> dict[str, str]:
    """The versions of the packages that make corruptions; "unknown" where the modules came in another package."""
    return {name: _version(name) for name in MAKERS}


class Corrupted(ImageDataset):
    """Pictures that are corrupted when they are taken, at the size in which a model sees them.

    Args:
        source: The clean pictures.
        transform: How they are sized; the corruption comes after it.
        corruption: A name of `FAMILIES`.
        severity: 1 to 5.
        seed: What the randomness is drawn from.
    """

    passing = True

    def __init__(
        self, source: ImageDataset, transform: EvalTransform, corruption: str, severity: int, *, seed: int = 0
    ) -> None:
        self.source, self.transform = source, transform
        self.corruption, self.severity, self.seed = corruption, severity, seed
        self.name, self.split, self.classes = source.name, source.split, source.classes
        self.indexable, self.size = source.indexable, transform.img_size
        self.img_size, self.crop_pct = source.img_size, 1.0

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self._made(self.source[index])

    @property
    def labelled(self) -> bool:
        """Whether every picture has a class."""
        return self.source.labelled

    def label(self, index: int) -> str:
        """What the clean picture is called."""
        return self.source.label(index)

    def statistics(self, colour: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Those of the clean pictures, which a model is normalised with."""
        return self.source.statistics(colour)

    def samples(self, indices: Indices) -> Iterator[Sample | UnreadableImage]:
        """The pictures in this order; in place of one that cannot be read, the reason why."""
        store, wanted = decoded(self.source, self.transform), [int(index) for index in indices]
        if self.transform.colour and all(index in store for index in wanted):
            for kept in map(store.__getitem__, wanted):
                if isinstance(kept, str):
                    yield UnreadableImage(kept)
                else:
                    yield self._of(kept[0].permute(1, 2, 0).numpy(), kept[1])
            return
        for sample in self.source.samples(indices):
            yield sample if isinstance(sample, UnreadableImage) else self._made(sample)

    @property
    def in_memory(self) -> tuple[Tensor, ...]:
        """Those of the clean pictures."""
        return self.source.in_memory

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Those of the clean pictures, and what is done to them."""
        done = {"corruption": self.corruption, "severity": self.severity, "seed": self.seed}
        return {"clean": self.source.facts(indices), "prepared": self.transform.facts} | done

    def _made(self, sample: Sample) -> Sample:
        return self._of(np.asarray(self.transform.resized(sample[0])), sample[1])

    def _of(self, pixels: np.ndarray, target: int) -> Sample:
        return Image.fromarray(corrupt(pixels, self.corruption, self.severity, seed=self.seed)), target


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _library() -> Any:
    try:
        return importlib.import_module("imagecorruptions")
    except ImportError as error:
        raise ValueError(
            f"Corruptions made on the fly need the package {PACKAGE}, which cannot be imported ({error}). Install it: "
            "pip install 'alternet[corruptions]', or give a published folder with --set published=PATH."
        ) from error
