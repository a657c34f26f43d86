"""Shares of a data set: every class keeps its part, smaller parts lie in larger ones, and no seed has a say."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alternet.data import batches
from alternet.data.folder import Folder
from alternet.data.image_batches import Batches
from alternet.data.shares import divide
from alternet.training.recipe import Recipe
from alternet.training.train_data import TrainData

TARGETS = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [512, 200, 130]))


def test_every_class_keeps_its_share_rounded_to_the_nearest_image() -> None:
    train, held_out = divide(TARGETS, subset="1/16", validation="1/8")
    for target, images in ((0, 512), (1, 200), (2, 130)):
        validated = int(images / 8 + 0.5)
        assert (TARGETS[held_out] == target).sum() == validated
        assert (TARGETS[train] == target).sum() == int((images - validated) / 16 + 0.5)


def test_smaller_shares_lie_in_larger_ones() -> None:
    shares = ["1/64", "1/32", "1/16", "1/3", "1/2", "1"]
    for validation in ("0", "1/8", "1/3"):
        nested = [set(divide(TARGETS, subset=share, validation=validation)[0].tolist()) for share in shares]
        assert all(small < large for small, large in pairwise(nested))
    one, other = (set(divide(TARGETS, validation=share)[1].tolist()) for share in ("1/8", "1/4"))
    assert one < other


def test_the_parts_share_no_image_and_validation_does_not_change_with_the_subset() -> None:
    whole, held_out = divide(TARGETS, validation="1/8")
    assert sorted([*whole, *held_out]) == list(range(len(TARGETS)))
    small, same = divide(TARGETS, subset="1/16", validation="1/8")
    assert np.array_equal(held_out, same) and not set(small) & set(held_out)


def test_the_draw_never_changes() -> None:
    """Published runs name their images by the share alone."""
    train, held_out = divide(TARGETS, subset="1/64", validation="1/64")
    assert train.tolist() == [26, 56, 74, 124, 150, 151, 168, 233, 242, 282, 372, 451, 615]
    assert held_out.tolist() == [76, 102, 136, 194, 278, 306, 313, 326, 394, 502, 523, 590, 592]


@pytest.mark.parametrize("shares", [{"subset": "1/64"}, {"validation": "1/64"}, {"validation": "63/64"}])
def test_a_share_that_leaves_a_class_empty_is_refused(shares: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"Of the 30 images of class 1 of few, .* Every class needs one"):
        divide(np.repeat([0, 1], [640, 30]), name="few", **shares)


def test_images_without_a_class_are_left_out_and_absent_classes_do_not_count() -> None:
    train, held_out = divide([3, -1, 3, 7, 7, -1], validation="1/2")
    assert sorted([*train, *held_out]) == [0, 2, 3, 4]


def test_a_recipe_takes_a_share_in_any_spelling_and_refuses_others() -> None:
    assert Recipe(subset="2/32") == Recipe(subset="1/16") == Recipe().with_settings({"subset": 0.0625})
    assert Recipe().with_settings({"validation": "0.125"}).validation == "1/8"
    for wrong in ("2", "-1/2", "one", "1/0", True):
        with pytest.raises(ValueError, match="expected a part of the whole, such as 1/16"):
            Recipe().with_settings({"subset": wrong})
    for nothing in ({"subset": "0"}, {"validation": "1"}):
        with pytest.raises(ValueError, match="leave nothing to train on"):
            Recipe(**nothing)


def targets_of(data: Batches) -> list[int]:
    return [target for _, targets in data for target in targets.tolist()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count in (("train", 16), ("test", 4)):
        for kind in ("cat", "dog"):
            for number in range(count):
                file = tmp_path / split / kind / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    return tmp_path


def test_every_kind_of_data_knows_its_classes_without_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [batches(name, split="train", img_size=8) for name in ("digits", "photos", folder)]
    sets.append(Batches.of(torch.rand(9, 3, 8, 8), torch.arange(9) % 3))
    for data in sets:
        assert np.asarray(data.dataset.targets).tolist() == targets_of(data)
    monkeypatch.setattr(Folder, "__getitem__", lambda *_: pytest.fail("a picture was read"))
    train, held_out = sets[2].divided(subset="1/2", validation="1/4")
    assert (train.images, held_out.images) == (12, 8)


def test_training_goes_over_the_subset_and_tests_the_validation_images() -> None:
    train, test = (batches("digits", split=split) for split in ("train", "test"))
    recipe = Recipe(subset="1/16", validation="1/8", batch_size=8)
    data = TrainData.of(train, test, recipe)
    part, held_out = train.divided(subset="1/16", validation="1/8")
    assert data.fingerprint == f"{part.fingerprint}-{held_out.fingerprint}"
    assert data.shares == {"tested": "validation", "training_images": part.images, "validation_images": held_out.images}
    tested = torch.cat([images for images, _ in data.test()])
    assert torch.equal(tested, torch.cat([images for images, _ in held_out]))
    again = TrainData.of(train, test, Recipe(subset="1/16", validation="1/8", batch_size=8, seed=7))
    assert again.fingerprint == data.fingerprint
    whole = TrainData.of(train, test, Recipe(batch_size=8))
    assert whole.shares == {} and whole.tested == "test"
    assert whole.fingerprint == f"{train.fingerprint}-{test.fingerprint}"


def test_a_subset_alone_is_still_tested_on_the_test_split() -> None:
    data = TrainData.named("digits", Recipe(subset="1/4", batch_size=8))
    assert (data.tested, data.test_images.split, data.test_images.images) == ("test", "test", 364)
    assert len(data.train_images) == pytest.approx(Fraction(1433, 4), abs=5)


def test_grey_images_are_trained_on_where_they_are_asked_for() -> None:
    assert TrainData.named("digits", Recipe(batch_size=8), colour=False).input_size == (1, 32, 32)
