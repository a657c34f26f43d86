"""Cue conflict: names, folders with what does not belong there, and made images by their definition."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alternet.data import batches, dataset
from alternet.data.cue_conflict import (
    PATCHES,
    CueConflict,
    CueConflictFolder,
    coarse,
    conflict,
    luminance,
    parsed,
    shuffled_patches,
)
from alternet.data.image_dataset import checksum
from alternet.data.photos import Photos, photograph

Save = Callable[..., Path]


@pytest.mark.parametrize(
    ("stem", "pair"),
    [
        ("airplane1-bicycle2", ("airplane", "bicycle")),
        ("cat-dog", ("cat", "dog")),
        ("hot_dog12-teddy bear3", ("hot_dog", "teddy bear")),
        ("Cat1-Dog2", ("Cat", "Dog")),
    ],
)
def test_names_are_read(stem: str, pair: tuple[str, str]) -> None:
    assert parsed(stem) == pair


@pytest.mark.parametrize(
    "stem",
    [
        "",
        "cat",
        "cat1",
        "1-2",
        "cat1-",
        "-dog1",
        "a1-b2-c3",
        "cat1--dog2",
        "a 1-b2",
        "a1 -b2",
        "a-b_",
        "c@t1-dog2",
        "cät1-dog2",
        "a1-b2\n",
    ],
)
def test_other_names_are_not(stem: str) -> None:
    assert parsed(stem) is None


def test_a_folder_flat_or_with_subfolders(save: Save, tmp_path: Path) -> None:
    for name in ("cat/cat1-dog2.png", "cat/cat2-dog10.png", "dog1-cat1.png", "deep/er/cat3-cow1.png"):
        save(name)
    data = batches(f"cue-conflict:{tmp_path}", img_size=16)
    assert data.classes == ("cat-cow", "cat-dog", "dog-cat") and data.labelled
    assert next(iter(data))[1].tolist() == [1, 1, 0, 2]
    pictures = dataset(f"cue-conflict:{tmp_path}")
    assert isinstance(pictures, CueConflictFolder)
    assert pictures.targets == [1, 1, 0, 2]


def test_one_pair_alone_is_labelled(save: Save, tmp_path: Path) -> None:
    save("cat1-dog2.png")
    assert CueConflictFolder(tmp_path).labelled


def test_a_file_with_another_name_is_named(save: Save, tmp_path: Path) -> None:
    save("cat/cat1-dog2.png")
    save("cat/readme.png")
    with pytest.raises(ValueError, match=r"holds 'cat/readme.png', whose name does not say shape and texture"):
        CueConflictFolder(tmp_path)


def test_damaged_images_are_skipped_and_listed(save: Save, tmp_path: Path) -> None:
    save("cat1-dog1.png")
    save("cat2-dog1.png").write_bytes(b"no image")
    data = batches(f"cue-conflict:{tmp_path}", img_size=16)
    assert [targets.tolist() for _, targets in data] == [[0]]
    assert data.skipped == ("cat2-dog1.png",)


def test_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    for name in ("cue-conflict", f"cue-conflict:{tmp_path}"):
        with pytest.raises(ValueError, match="no train split"):
            dataset(name, split="train")


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        dataset(f"cue-conflict:{tmp_path / 'none'}")


@pytest.mark.slow
def test_the_made_images_are_the_same_on_every_machine() -> None:
    made = CueConflict()
    assert (
        checksum(*made.pixels(range(len(made)))) == "70e961d7b7ef84579f38b6a0ce88e4df748fe0bd7418116da8a18462e150be43"
    )
    large = CueConflict(222)
    assert (
        checksum(*large.pixels(range(0, len(large), 101)))
        == "6b6991a09cdd948706f13397386b60d754e0df5fc363e240eb489cc8c472a164"
    )


def test_every_pair_has_four_images_of_different_crops() -> None:
    made = CueConflict()
    assert Counter(made[index][1] for index in range(0, len(made), 51)).total() == 24
    assert len(made.classes) == 18 * 17 and len(made) == 4 * 18 * 17
    windows = [made._windows(index) for index in range(len(made))]
    for index, (shape, texture) in enumerate(windows):
        assert (shape.photograph, texture.photograph) == made.pairs[index % 306]
    assert len({windows[k] for k in range(len(made))}) == len(made)
    seen = Counter(shape for shape, _ in windows)
    assert set(seen.values()) == {1, 2}  # 68 images of a shape, 60 crops


def test_a_made_image_is_what_it_says() -> None:
    made = CueConflict(36)
    for index in (0, 700, 1223):
        shape, texture = made._windows(index)
        boxes = [photograph(w.photograph)[w.top : w.top + w.side, w.left : w.left + w.side] for w in (shape, texture)]
        assert {w.side for w in (shape, texture)} <= {36, 72}
        crops = [Photos("test", 36)[Photos("test", 36).windows.index(w)][0] for w in (shape, texture)]
        moved = shuffled_patches(np.asarray(crops[1]), seed=index)
        assert sorted(map(bytes, patches(moved))) == sorted(map(bytes, patches(np.asarray(crops[1]))))
        np.testing.assert_array_equal(np.asarray(made[index][0]), conflict(np.asarray(crops[0]), moved))
        assert all(box.size for box in boxes)


def patches(pixels: np.ndarray) -> list[np.ndarray]:
    side = len(pixels) // PATCHES
    return [
        pixels[i : i + side, j : j + side].copy() for i in range(0, 4 * side, side) for j in range(0, 4 * side, side)
    ]


def test_the_patches_do_not_stay() -> None:
    pixels = np.asarray(Photos("test")[5][0])
    assert not np.array_equal(shuffled_patches(pixels, seed=0), pixels)


def test_coarse_by_a_loop() -> None:
    values = np.random.RandomState(0).randint(0, 256, (7, 5))
    mirrored = np.pad(values, 2, mode="symmetric")
    for row, column in np.ndindex(7, 5):
        mean = mirrored[row : row + 5, column : column + 5].sum() / 25
        assert coarse(values, 2)[row, column] == int(mean + 0.5)


def test_coarse_grey_is_the_shapes_and_colour_and_detail_are_the_textures() -> None:
    random = np.random.RandomState(0)
    shape, texture = (random.randint(80, 170, (32, 32, 3)).astype(np.uint8) for _ in range(2))
    made = conflict(shape, texture).astype(int)
    assert made.min() > 0 and made.max() < 255  # nothing was cut off
    detail = luminance(texture) - coarse(luminance(texture), 1)
    assert np.abs(luminance(made.astype(np.uint8)) - detail - coarse(luminance(shape), 1)).max() <= 1
    np.testing.assert_array_equal(made - made[..., :1], texture.astype(int) - texture[..., :1].astype(int))


def test_a_side_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 pixels, got 3"):
        CueConflict(3)


def test_prepared_batches_are_the_images_themselves() -> None:
    data = batches("cue-conflict", limit=40, batch_size=16)
    images, targets = next(iter(data))
    index = int(data.order[3])
    made = CueConflict()
    np.testing.assert_array_equal((images[3] * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(made[index][0]))
    assert targets[3] == made[index][1] and data.classes[targets[3]] == made.classes[index % 306]
    assert batches("cue-conflict", limit=39).fingerprint != data.fingerprint
