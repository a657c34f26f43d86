"""Decoding: any image file as an RGB picture the way a viewer would show it; the one door through which files come.

What a file is, its content says and not its name, and only formats that hold pixels are opened: Pillow would start
Ghostscript for PostScript. A file that would take more memory or time than a picture should is not decoded.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from alternet.data.image_dataset import UnreadableImage
from alternet.files import open_file

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
)
"""Files with these endings are taken for images; others are passed over."""

FORMATS = ("JPEG", "JPEG2000", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""What is opened, by Pillow's names; no other program is started for any of them."""


class BeyondBounds(UnreadableImage):
    """A picture that is larger than pictures may be, see `Bounds`."""


@dataclass(frozen=True)
class Bounds:
    """How large a picture may be; each can be set in the environment.

    Attributes:
        pixels: Of one image, `ALTERNET_MAX_PIXELS`; 8192 by 8192. A pixel takes up to 24 bytes on its way to RGB.
        frames: Of an animation or a file of several pages, of which the first is taken, `ALTERNET_MAX_FRAMES`. Those
            of a GIF are not counted, which would mean to read them.
        bytes: Of a file, `ALTERNET_MAX_IMAGE_BYTES`; 256 MiB.
    """

    pixels: int = 2**26
    frames: int = 10_000
    bytes: int = 2**28

    @classmethod
    def set(cls) -> "Bounds":
        """The bounds as the environment sets them.

        Raises:
            ValueError: One of them is no positive whole number.
        """
        given: dict[str, int] = {}
        for field, variable in VARIABLES.items():
            if text := os.environ.get(variable):
                if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) > 0):
                    raise ValueError(
                        f"{variable} is {text[:40]!r}, expected a whole number above 0. Correct or unset it."
                    )
                given[field] = int(text)
        return cls(**given)

    def require(self, what: str, value: int, shown: str = "") -> None:
        """Refuse a picture of which something is beyond its bound.

        Raises:
            BeyondBounds: It is.
        """
        if value > (most := getattr(self, what)):
            raise BeyondBounds(f"it has {shown or value} {what}, more than {most}; {VARIABLES[what]} sets that")


VARIABLES = {"pixels": "ALTERNET_MAX_PIXELS", "frames": "ALTERNET_MAX_FRAMES", "bytes": "ALTERNET_MAX_IMAGE_BYTES"}
"""How the bounds are called in the environment."""


def decode(source: Path | IO[bytes]) -> Image.Image:
    """Read an image file.

    The picture is turned upright as its EXIF tag says. Transparent parts are laid on white. Grey, palette and CMYK
    images become RGB; 16-bit values are scaled to 8 bits. Of an animation the first frame is taken.

    Raises:
        UnreadableImage: It is truncated, no image, of a kind that has no displayable range (float pixels), or beyond
            the `Bounds`.
        ValueError: The environment sets bounds that are none.
    """
    bounds = Bounds.set()
    try:
        with opened(source, bounds) as picture:
            picture.load()
            return as_rgb(ImageOps.exif_transpose(picture))
    except Exception as error:  # a decoder fed with a damaged file may raise anything; none of it may end a measurement
        raise unreadable(error) from error


def unreadable(error: Exception) -> UnreadableImage:
    """What a decoder raised, as the reason why a picture is skipped."""
    if isinstance(error, UnreadableImage):
        return error
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImage(f"it is no whole file of {', '.join(FORMATS)}")
    said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else " ".join(str(error).split())
    return UnreadableImage(f"it cannot be read: {said[:120] or type(error).__name__}")


@contextmanager
def opened(source: Path | IO[bytes], bounds: Bounds) -> Iterator[Image.Image]:
    """A picture whose pixels are not read yet, if it is one that may be.

    Raises:
        BeyondBounds: It is beyond the bounds.
        OSError: It is no regular file, or cannot be opened.
        UnidentifiedImageError: It is of none of the formats.
    """
    with _file(source) as file:
        bounds.require("bytes", file.seek(0, os.SEEK_END))
        file.seek(0)
        with _bound_of_pillow_off(), Image.open(file, formats=FORMATS) as picture:
            _require_within(picture, bounds)
            yield picture


@contextmanager
def _file(source: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """The file itself, or that of a path."""
    if isinstance(source, Path):
        with open_file(source) as file:
            yield file
    else:
        yield source


def _require_within(picture: Image.Image, bounds: Bounds) -> None:
    width, height = picture.size
    bounds.require("pixels", width * height, f"{width} x {height} = {width * height}")
    if picture.format == "TIFF":
        file: IO[bytes] = picture.fp  # pyright: ignore[reportAttributeAccessIssue] - of what was opened from a file
        bounds.require("frames", _pages(file, bounds.frames + 1), f"over {bounds.frames}")
    elif picture.format != "GIF":
        bounds.require("frames", getattr(picture, "n_frames", 1))


def _pages(file: IO[bytes], most: int) -> int:
    """How many pages a TIFF has, counted up to `most` by where each says that the next one begins.

    Pillow reads all tags of every page on the way, and pages may overlap: a small file would keep it for hours.
    """
    before = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    order, large = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
    count, tag, place = (f"{order}Q", 20, f"{order}Q") if large else (f"{order}H", 12, f"{order}I")
    width = 8 if large else 4
    (next_page,) = unpack(place, head[width : 2 * width])
    pages: set[int] = set()
    while next_page and next_page not in pages and len(pages) < most:
        pages.add(next_page)
        next_page = _number(file, next_page, count, size) * tag + next_page + (8 if large else 2)
        next_page = _number(file, next_page, place, size)
    file.seek(before)
    return len(pages)


def _number(file: IO[bytes], place: int, kind: str, size: int) -> int:
    """The number at a place of a file of so many bytes; 0 where it does not lie within."""
    width = {"H": 2, "I": 4, "Q": 8}[kind[1]]
    if place > size - width:
        return 0
    file.seek(place)
    return unpack(kind, file.read(width))[0]


class _bound_of_pillow_off(AbstractContextManager):
    """Let our bound of pixels hold in place of Pillow's, one for all threads; the last to leave puts it back."""

    _lock = threading.Lock()
    _inside = 0
    _before: int | None = None

    def __enter__(self) -> None:
        cls = type(self)
        with self._lock:
            if not cls._inside:
                cls._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            cls._inside += 1

    def __exit__(self, *error: object) -> None:
        cls = type(self)
        with self._lock:
            cls._inside -= 1
            if not cls._inside:
                Image.MAX_IMAGE_PIXELS = cls._before


@contextmanager
def bounded() -> Iterator[None]:
    """Let whatever other packages open with `Image.open` meanwhile pass the same door.

    Raises:
        UnreadableImage: From their `Image.open`, as `opened` does.
    """
    before: Callable[..., Any] = Image.open
    bounds = Bounds.set()

    def guarded(source: Any, mode: Any = "r", formats: Any = None) -> Image.Image:
        del formats
        _require_short(source, bounds)
        with _bound_of_pillow_off():
            picture = before(source, mode, FORMATS)
        try:
            _require_within(picture, bounds)
        except BeyondBounds:
            picture.close()
            raise
        return picture

    Image.open = guarded
    try:
        yield
    finally:
        Image.open = before


def _require_short(source: Any, bounds: Bounds) -> None:
    """Refuse what is no regular file or has too many bytes, before anything of it is read."""
    if isinstance(source, str | os.PathLike):
        with open_file(Path(source)) as file:
            bounds.require("bytes", file.seek(0, os.SEEK_END))
    elif getattr(source, "seekable", lambda: False)():
        here = source.tell()
        bounds.require("bytes", source.seek(0, os.SEEK_END))
        source.seek(here)


def as_rgb(picture: Image.Image) -> Image.Image:
    """A decoded picture of any mode in RGB, as `decode` describes.

    Raises:
        ValueError: Its pixels have no fixed range.
    """
    if picture.mode == "F":
        raise ValueError("float pixels have no fixed range; save the picture with 8 or 16 bits")
    if picture.mode.startswith("I"):  # Pillow would clip 16-bit values to 255 rather than scale them
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("integer pixels beyond 16 bits; save the picture with 8 or 16 bits")
        scaled = (values.astype(np.uint32) * 255 + 32767) // 65535
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
