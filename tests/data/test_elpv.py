"""elpv: which cells are in which split, what counts as defective, and one line where its package is missing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alternet.data import batches, dataset, elpv
from alternet.data.elpv import Elpv, cells
from alternet.data.image_dataset import checksum

INSTALLED = pytest.mark.skipif(elpv.find_spec("elpv_dataset") is None, reason="needs pip install 'alternet[elpv]'")


def package() -> Path:
    return elpv._folder()


def labels() -> list[list[str]]:
    return [line.split() for line in (package() / "labels.csv").read_text().splitlines()]


@INSTALLED
def test_the_split_never_changes() -> None:
    """Published accuracies are of these cells: which they are, and their classes."""
    pinned = {}
    for split in ("train", "test"):
        names, targets = cells(split)
        pinned[split] = len(names), checksum(np.frombuffer("\n".join(names).encode(), np.uint8), targets)[:16]
    assert pinned == {"train": (1967, "c0979123b2dedd6e"), "test": (657, "7aaabb110a18bcf1")}


@INSTALLED
def test_the_splits_share_no_cell_and_keep_the_classes_and_probabilities() -> None:
    rows = labels()
    (train, _), (test, _) = cells("train"), cells("test")
    assert sorted([*train, *test]) == sorted(name for name, *_ in rows) and len(rows) == 2624
    for kind in ("mono", "poly"):
        for probability in ("0.0", "1.0", "0.3333333333333333", "0.6666666666666666"):
            stratum = {name for name, *facts in rows if facts == [probability, kind]}
            assert len(stratum & {*test}) == int(len(stratum) / 4 + 0.5)


@INSTALLED
def test_a_cell_is_defective_from_a_half_on() -> None:
    told = {name: (float(probability), kind) for name, probability, kind in labels()}
    for split in ("train", "test"):
        for name, target in zip(*cells(split), strict=True):
            probability, kind = told[name]
            state = "defective" if probability > 0.5 else "functional"
            assert Elpv.classes[target] == f"{kind} {state}"


@INSTALLED
@pytest.mark.slow
def test_the_images_are_those_of_the_package_in_any_size_grey_or_in_colour() -> None:
    data = batches("elpv", img_size=300, colour=False, limit=3)
    images, _ = next(iter(data))
    for image, index in zip(images, data.order, strict=True):
        with Image.open(package() / data.dataset.label(int(index))) as file:
            assert np.array_equal(np.asarray(file), (image[0] * 255).round().byte().numpy())
    assert data.fingerprint == "1b1d9cbac8864c60"

    small = batches("elpv", limit=4)
    images, _ = next(iter(small))
    assert small.shape == (3, 64, 64) and (images == images[:, :1]).all()
    assert batches("elpv", img_size=64, colour=False, limit=4).shape == (1, 64, 64)
    train = dataset("elpv", split="train").pixels(range(1967))[0] / 255
    assert train.mean() == pytest.approx(Elpv.grey_mean, abs=1e-4)
    assert train.std() == pytest.approx(Elpv.grey_std, abs=1e-4)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elpv, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"Install it with: pip install 'alternet\[elpv\]'"):
        batches("elpv")
