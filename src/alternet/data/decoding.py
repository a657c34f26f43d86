"""Decoding: any image file as an RGB picture the way a viewer would show it."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from alternet.data.image_dataset import UnreadableImage

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
)
"""Files with these endings are taken for images; others are passed over."""


def decode(source: Path | BinaryIO) -> Image.Image:
    """Read an image file.

    The picture is turned upright as its EXIF tag says. Transparent parts are laid on white. Grey, palette and CMYK
    images become RGB; 16-bit values are scaled to 8 bits. Of an animation the first frame is taken.

    Raises:
        UnreadableImage: It is truncated, no image, or of a kind that has no displayable range (float pixels).
    """
    try:
        with Image.open(source) as opened:
            opened.load()
            return as_rgb(ImageOps.exif_transpose(opened))
    except Exception as error:  # a decoder fed with a damaged file may raise anything; none of it may end a measurement
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error


def as_rgb(picture: Image.Image) -> Image.Image:
    """A decoded picture of any mode in RGB, as `decode` describes.

    Raises:
        ValueError: Its pixels have no fixed range.
    """
    if picture.mode == "F":
        raise ValueError("float pixels have no fixed range; save the picture with 8 or 16 bits")
    if picture.mode.startswith("I"):  # Pillow would clip 16-bit values to 255 rather than scale them
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("integer pixels beyond 16 bits; save the picture with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
