"""Corruptions made on the fly: every one at every severity, from seeds alone, at the size the model sees."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contract.state import differences, of

from alternet.data import batches
from alternet.data.corruption import (
    ANY_SIZE,
    corrupt,
    corrupted,
    makers,
    require_corruptible,
)
from alternet.data.corruption_names import EXTRA, FAMILIES, SEVERITIES, STANDARD
from alternet.data.image_batches import Batches

library = pytest.importorskip("imagecorruptions", reason="the extra corruptions is not installed")

ALWAYS_ALIKE = {
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
}
"""Corruptions without anything random."""


def picture(height: int = 32, width: int = 32) -> np.ndarray:
    """Smooth colours with some texture."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(x / 5 + y / 9 + phase) for phase in (0, 1, 2)]
    noise = np.random.RandomState(0).normal(0, 8, (height, width, 3))
    return (np.stack(waves, axis=2) + noise).clip(0, 255).astype(np.uint8)


def images(n: int = 5, *, side: int = 32, batch_size: int = 2) -> Batches:
    values = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Batches.of(values, torch.arange(n) % 3, batch_size=batch_size)


def stacked(found: Batches) -> torch.Tensor:
    return torch.cat([values for values, _ in found])


def test_the_names_are_the_librarys():
    assert list(STANDARD) == library.get_corruption_names("common")
    assert list(EXTRA) == library.get_corruption_names("validation")
    for family in ("noise", "blur", "weather", "digital"):
        assert [name for name in STANDARD if STANDARD[name] == family] == library.get_corruption_names(family)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(32, 32), (33, 47)], ids=["smallest", "odd"])
@pytest.mark.parametrize("corruption", FAMILIES)
def test_every_corruption_works_at_every_severity_and_only_by_its_seed(corruption: str, size: tuple[int, int]):
    pixels = picture(*size)
    seen = set()
    for severity in SEVERITIES:
        made = corrupt(pixels, corruption, severity, seed=1)
        assert made.shape == pixels.shape and made.dtype == np.uint8
        assert (made != pixels).any()
        np.random.seed(severity)  # whatever the caller's state
        np.testing.assert_array_equal(corrupt(pixels, corruption, severity, seed=1), made)
        assert (corrupt(pixels, corruption, severity, seed=2) == made).all() == (corruption in ALWAYS_ALIKE)
        seen.add(made.tobytes())
    assert len(seen) == len(SEVERITIES)


@pytest.mark.slow
def test_random_state_and_picture_are_left_as_they_were():
    pixels = picture()
    model, kept = torch.nn.Identity(), pixels.copy()
    before = of(model)["random"]
    for corruption in FAMILIES:
        corrupt(pixels, corruption, 5)
    assert differences(before, of(model)["random"]) == []
    np.testing.assert_array_equal(pixels, kept)


def test_contrast_and_noise_are_as_strong_as_published():
    pixels = picture()
    mean = pixels.mean((0, 1))
    for severity, factor in zip(SEVERITIES, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True):
        slow = np.floor((pixels - mean) * factor + mean + 1e-6)
        assert abs(corrupt(pixels, "contrast", severity) - slow).max() <= 1
    grey = np.full((64, 64, 3), 128, np.uint8)
    for severity, scale in zip((1, 2, 3), (0.08, 0.12, 0.18), strict=True):
        spread = corrupt(grey, "gaussian_noise", severity).std() / 255
        assert abs(spread / scale - 1) < 0.05
    for severity, share in zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True):
        assert abs((corrupt(grey, "impulse_noise", severity) != 128).mean() / share - 1) < 0.15


def test_pictures_do_not_share_their_noise():
    dark, light = (np.full((32, 32, 3), level, np.uint8) for level in (120, 121))
    noise = [corrupt(pixels, "gaussian_noise", 1).astype(int) - pixels for pixels in (dark, light)]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_a_picture_on_which_no_drop_falls_stays_as_it_is():
    pixels = picture()
    dry = [seed for seed in range(150) if (corrupt(pixels, "spatter", 1, seed=seed) == pixels).all()]
    assert 0 < len(dry) < 75
    assert all(corrupt(pixels, "spatter", 1, seed=seed).any() for seed in dry)


@pytest.mark.slow
@pytest.mark.parametrize("corruption", ["glass_blur", "impulse_noise", "snow"])
def test_a_picture_is_corrupted_alike_in_any_company(corruption: str):
    whole = stacked(corrupted(images(batch_size=5), corruption, 3))
    for batch_size in (1, 2):
        torch.testing.assert_close(stacked(corrupted(images(batch_size=batch_size), corruption, 3)), whole)
    few = images()
    alone = Batches.of(stacked(few)[3:4], torch.tensor([0]))
    torch.testing.assert_close(stacked(corrupted(alone, corruption, 3)), whole[3:4])
    shards = [corrupted(images(batch_size=1).shard(rank, 2), corruption, 3) for rank in range(2)]
    torch.testing.assert_close(stacked(shards[0]), whole[::2])
    torch.testing.assert_close(stacked(shards[1]), whole[1::2])


def test_what_comes_out_is_the_corrupted_bytes_in_the_unit_range():
    clean = images()
    made = corrupted(clean, "frost", 2, seed=7)
    assert made.shape == clean.shape and made.images == clean.images and made.classes == clean.classes
    bytes_ = [(x * 255).round().byte().permute(1, 2, 0).numpy() for x in stacked(clean)]
    slow = np.stack([corrupt(x, "frost", 2, seed=7) for x in bytes_])
    np.testing.assert_array_equal((stacked(made) * 255).round().byte().permute(0, 2, 3, 1).numpy(), slow)
    np.testing.assert_array_equal(torch.cat([y for _, y in made]), torch.cat([y for _, y in clean]))
    assert made.fingerprint != clean.fingerprint
    assert made.fingerprint != corrupted(clean, "frost", 3, seed=7).fingerprint


def test_pictures_are_sized_before_they_are_corrupted(tmp_path):
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        Image.fromarray(picture(96, 80)).save(tmp_path / kind / "1.png")
    (tmp_path / "b" / "2.png").write_bytes(b"no picture")
    clean = batches(tmp_path, img_size=48)
    made = corrupted(clean, "pixelate", 5)
    ((values, targets),) = list(made)
    assert targets.tolist() == [0, 1]
    assert made.skipped == clean.skipped == ("b/2.png",)
    ((sized, _),) = list(clean)
    pixels = (sized[0] * 255).round().byte().permute(1, 2, 0).numpy()
    found = (values[0] * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, corrupt(pixels, "pixelate", 5))


def test_a_grey_image_is_the_corrupted_colours_turned_grey():
    grey = Batches.of(stacked(images())[:, :1], torch.arange(5) % 3)
    made = corrupted(grey, "spatter", 4)
    assert made.shape == (1, 32, 32)
    pixels = (stacked(grey) * 255).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
    slow = [np.asarray(Image.fromarray(corrupt(x, "spatter", 4)).convert("L")) for x in pixels]
    np.testing.assert_array_equal((stacked(made)[:, 0] * 255).round().byte().numpy(), np.stack(slow))


def test_small_images_get_only_what_has_no_shape():
    small = images(side=16)
    with pytest.raises(
        ValueError, match=r"fog, snow cannot be made on images of 16 by 16 pixels, expected at least 32"
    ):
        require_corruptible(small, ["contrast", "fog", "snow"])
    for corruption in ANY_SIZE:
        assert stacked(corrupted(small, corruption, 1)).shape == (5, 3, 16, 16)


def test_images_that_are_no_pictures_are_refused():
    deep = Batches.of(torch.rand(2, 4, 32, 32), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="colour or grey images, but those of 'tensors' have 4 channels"):
        corrupted(deep, "fog", 1)


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    assert makers()["imagecorruptions-imaug"].startswith("1.")
    monkeypatch.setattr("alternet.data.corruption.MAKERS", ("no-such-package",))
    assert makers() == {"no-such-package": "unknown"}
    with pytest.raises(ValueError, match=r"pip install 'alternet\[corruptions\]', or give a published folder"):
        corrupted(images(), "fog", 1)
