"""Decoding: every kind of image file comes out as a viewer would show it, and damaged ones as unreadable."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alternet.data.decoding import BeyondBounds, bounded, decode
from alternet.data.image_dataset import UnreadableImage

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    file.seek(0)
    return file


def test_grey_becomes_three_equal_channels() -> None:
    pixels = np.asarray(decode(encoded(Image.fromarray(RAMP))))
    assert np.array_equal(pixels, np.stack([RAMP] * 3, axis=2))


def test_palette_colours_are_looked_up() -> None:
    picture = Image.fromarray(RAMP % 2, "P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    pixels = np.asarray(decode(encoded(picture)))
    assert pixels[0, 0].tolist() == [10, 20, 30] and pixels[0, 1].tolist() == [200, 100, 50]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(mode: str) -> None:
    transparency = {}
    if mode == "P":
        picture = Image.fromarray(RAMP % 2, "P")
        picture.putpalette([0, 0, 0, 90, 90, 90])
        transparency = {"transparency": 0}
    else:
        alpha = Image.fromarray((RAMP % 2) * 255)
        picture = Image.fromarray((RAMP % 2) * 90).convert(mode)
        picture.putalpha(alpha)
    pixels = np.asarray(decode(encoded(picture, "PNG", **transparency)))
    assert pixels[0, 0].tolist() == [255] * 3 and pixels[0, 1].tolist() == [90] * 3


def test_half_transparency_is_half_white() -> None:
    pixels = np.asarray(decode(encoded(Image.new("RGBA", (2, 2), (100, 0, 50, 128)))))
    np.testing.assert_allclose(pixels[0, 0], [177, 127, 152], atol=1)


def test_sixteen_bits_are_scaled_not_cut_off() -> None:
    values = np.array([[0, 257, 32896], [65535, 128, 129]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = np.asarray(decode(encoded(Image.fromarray(values), kind)))
        assert pixels[..., 0].tolist() == [[0, 1, 128], [255, 0, 1]]
    assert np.asarray(decode(encoded(Image.fromarray(values.astype(np.int32)), "TIFF")))[1, 0, 2] == 255


def test_one_bit_and_cmyk() -> None:
    assert np.asarray(decode(encoded(Image.fromarray(RAMP > 100)))).max() == 255
    pixels = np.asarray(decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")))
    np.testing.assert_allclose(pixels[4, 4], [255, 0, 0], atol=6)


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_the_picture_is_turned_upright(orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.asarray(decode(encoded(Image.fromarray(pixels), exif=exif)))
    assert upright.shape == ((6, 10, 3) if orientation < 5 else (10, 6, 3))
    assert upright[corner].tolist() == [255] * 3 and upright.sum() == 3 * 255


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(file))[0, 0].tolist() == [255, 0, 0]


def test_damaged_files_are_unreadable(tmp_path: Path) -> None:
    noise = np.random.RandomState(0).randint(0, 255, (64, 64, 3)).astype(np.uint8)
    whole = {kind: encoded(Image.fromarray(noise), kind).getvalue() for kind in ("JPEG", "PNG", "GIF", "BMP")}
    damaged = [content[: len(content) // 2] for content in whole.values()]
    damaged += [b"", b"not an image", whole["PNG"][:40], bytes(200)]
    for content in damaged:
        with pytest.raises(UnreadableImage, match="it cannot be read: .|it is no whole file of JPEG, .*PPM"):
            decode(io.BytesIO(content))
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(UnreadableImage):
            decode(path)


def test_pixels_without_a_range_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="float pixels have no fixed range"):
        decode(encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"))
    with pytest.raises(UnreadableImage, match="beyond 16 bits"):
        decode(encoded(Image.fromarray(RAMP.astype(np.int32) * 10**6), "TIFF"))


def test_a_decompression_bomb_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTERNET_MAX_PIXELS", "100")
    with pytest.raises(UnreadableImage, match="it has 50 x 50 = 2500 pixels, more than 100; ALTERNET_MAX_PIXELS sets"):
        decode(encoded(Image.new("RGB", (50, 50))))
    monkeypatch.setenv("ALTERNET_MAX_PIXELS", "2500")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # ours holds in place of Pillow's, which stays as it was
    assert decode(encoded(Image.new("RGB", (50, 50)))).size == (50, 50)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_what_other_packages_open_passes_the_same_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n")
    with Image.open(file) as picture:
        assert picture.format == "EPS"
    with bounded(), pytest.raises(OSError, match="cannot identify"):
        Image.open(file)
    monkeypatch.setenv("ALTERNET_MAX_PIXELS", "100")
    Image.new("RGB", (50, 50)).save(file)
    with bounded(), pytest.raises(BeyondBounds, match="2500 pixels"):
        Image.open(file)
    with Image.open(file) as whole:
        assert whole.size == (50, 50)
    monkeypatch.setenv("ALTERNET_MAX_PIXELS", "2500")
    monkeypatch.setenv("ALTERNET_MAX_IMAGE_BYTES", "50")
    for source in (file, io.BytesIO(file.read_bytes())):
        with bounded(), pytest.raises(BeyondBounds, match="bytes, more than 50"):
            Image.open(source)
