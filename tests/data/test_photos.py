"""The photographs: pinned checksums, disjoint halves, contrast, and crops cut the slow way."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alternet.data import photos
from alternet.data.image_dataset import checksum
from alternet.data.photos import CONTRAST, CROPS, PHOTOGRAPHS, Photos, crop, photograph, region

SHA256 = {
    "train": "b8f5807b0847d4692a863f276abf6668fb8583af53c209efe7b053043d866385",
    "test": "00da1021ca9472000beeec10468a4db0db81435c26644a50c7dbb615cb94b5bb",
}


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_crops_are_the_same_on_every_machine(split: str) -> None:
    crops = Photos(split)
    assert checksum(*crops.pixels(range(len(crops)))) == SHA256[split]


def test_large_crops_are_the_same_on_every_machine() -> None:
    crops = Photos("test", 224)
    every_seventh = crops.pixels(range(0, len(crops), 7))
    assert checksum(*every_seventh) == "7bdad1f08622df358c0f376aa3bb9c92a4cc7bb032286b92170f7b2ca284eff4"


@pytest.mark.parametrize("size", [32, 224])
def test_train_and_test_share_no_pixel(size: int) -> None:
    touched = {split: [np.zeros(photograph(n).shape[:2], bool) for n in range(18)] for split in CROPS}
    for split, masks in touched.items():
        for window in Photos(split, size).windows:
            rows, columns = (slice(start, start + window.side) for start in (window.top, window.left))
            masks[window.photograph][rows, columns] = True
    for train, test in zip(touched["train"], touched["test"], strict=True):
        assert train.any() and test.any()
        assert not (train & test).any()


def test_the_two_regions_are_the_whole_photograph() -> None:
    for number in range(18):
        whole = np.zeros(photograph(number).shape[:2], int)
        for split in CROPS:
            whole[region(number, split)] += 1
        assert (whole == 1).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_photograph_gives_as_many_crops_in_turn(split: str) -> None:
    crops = Photos(split)
    _, targets = crops.pixels(range(len(crops)))
    assert targets.tolist() == list(range(18)) * CROPS[split]
    assert len(set(crops.windows)) == len(crops)
    sides = [window.side for window in crops.windows]
    assert sides.count(32) == sides.count(64) == len(crops) // 2


def test_crops_are_cut_and_averaged_as_described() -> None:
    crops = Photos("test")
    for index in range(0, len(crops), 23):
        window = crops.windows[index]
        source = photograph(window.photograph).astype(int)
        scale = window.side // 32
        row, column = index % 32, (index * 7) % 32
        top, left = window.top + scale * row, window.left + scale * column
        block = [source[top + i, left + j] for i in range(scale) for j in range(scale)]
        expected = [(2 * sum(int(pixel[c]) for pixel in block) + len(block)) // (2 * len(block)) for c in range(3)]
        assert np.asarray(crops[index][0])[row, column].tolist() == expected


def test_nearly_uniform_windows_are_left_out() -> None:
    for split in CROPS:
        scatter = [np.asarray(Image.fromarray(_window(w)).convert("L")).std() for w in Photos(split).windows]
        assert min(scatter) >= CONTRAST
    rocket = np.asarray(Image.fromarray(photograph(16)).convert("L"))
    corners = [rocket[i : i + 32, j : j + 32].std() for i in range(0, 390, 16) for j in range(0, 600, 16)]
    assert np.mean(np.array(corners) < CONTRAST) > 0.2  # there was something to leave out


def test_where_little_has_contrast_the_most_contrasting_windows_are_taken() -> None:
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[20:24, 30:34] = np.random.RandomState(0).randint(0, 255, (4, 4, 3))
    places = photos._places(pixels, 4, 25, seed=0)
    assert len(set(places)) == 25
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    scatter = {(i, j): grey[i : i + 4, j : j + 4].std() for i in range(57) for j in range(57)}
    assert sum(value >= CONTRAST for value in scatter.values()) > 25
    assert min(scatter[place] for place in places) >= CONTRAST
    assert {place for place, value in scatter.items() if value > 0} <= set(photos._places(pixels, 4, 100, seed=0))


def test_the_scatter_is_the_variance_of_every_window() -> None:
    pixels = photograph(4)[:40, :30]
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    scatter = photos._scatter(pixels, 7)
    assert scatter.shape == (34, 24)
    for row, column in [(0, 0), (33, 23), (5, 11)]:
        np.testing.assert_allclose(scatter[row, column], grey[row : row + 7, column : column + 7].var() * 7**4)


def test_windows_that_do_not_fit_are_as_large_as_the_region_allows() -> None:
    largest = {}
    for window in Photos("test", 224).windows:
        largest.setdefault(window.photograph, set()).add(window.side)
    names = [photograph.name for photograph in PHOTOGRAPHS]
    assert largest[names.index("hubble")] == {224, 448}
    assert largest[names.index("text")] == {171}  # a region of 172 by 224 has 108 places for 171, and 53 for 172
    window = next(w for w in Photos("test", 224).windows if w.side == 171)
    resized = Image.fromarray(_window(window)).resize((224, 224), Image.Resampling.BICUBIC)
    assert np.array_equal(crop(window, 224), np.asarray(resized))


def test_the_normalisation_is_that_of_the_training_crops() -> None:
    crops = Photos("train")
    pixels, _ = crops.pixels(range(len(crops)))
    np.testing.assert_allclose(pixels.mean((0, 1, 2)) / 255, crops.mean, atol=5e-5)
    np.testing.assert_allclose(pixels.std((0, 1, 2)) / 255, crops.std, atol=5e-5)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose([grey.mean() / 255, grey.std() / 255], [crops.grey_mean, crops.grey_std], atol=2e-4)


def test_every_photograph_names_whom_to_thank() -> None:
    assert len({photograph.file for photograph in PHOTOGRAPHS}) == len(PHOTOGRAPHS) == 18
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for photo in PHOTOGRAPHS:
        assert f"| {photo.name} | {photo.file} | {photo.credit} | {photo.licence} |" in page


def test_the_page_about_data_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["targets"].shape == (16, 18)


def test_a_wrong_split_or_size_is_refused() -> None:
    with pytest.raises(ValueError, match="no split 'val'"):
        Photos("val")
    with pytest.raises(ValueError, match="must be positive, got 0"):
        Photos("test", 0)


def test_a_damaged_installation_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(photos, "files", lambda _: tmp_path)
    photograph.cache_clear()
    with pytest.raises(ValueError, match="pip install --force-reinstall scikit-image"):
        photograph(0)
    photograph.cache_clear()


def _window(window: photos.Window) -> np.ndarray:
    rows, columns = (slice(start, start + window.side) for start in (window.top, window.left))
    return photograph(window.photograph)[rows, columns]
