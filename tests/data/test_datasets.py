"""Names, splits, subsets and sizes of data sets, and the small ones that need no file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alternet.data import batches, dataset, known_datasets
from alternet.data.datasets import DATASETS, data_root, subset
from alternet.data.digits import Digits
from alternet.errors import Doubt


@pytest.mark.parametrize("name", ["", "n" * 300, "n/" * 3000, "~nobody-at-all/images"])
def test_what_is_no_path_either(name: str) -> None:
    with pytest.raises(ValueError, match="There is no (data set|folder) '"):
        dataset(name)


@pytest.mark.parametrize("name", ["photo", "Photos", "cifar_100", "digit"])
def test_near_matches_are_offered(name: str) -> None:
    near = {"photo": "photos", "Photos": "photos", "cifar_100": "cifar100", "digit": "digits"}[name]
    with pytest.raises(ValueError, match=f"no data set '{name}'. Did you mean .*{near}"):
        batches(name)


def test_a_name_is_no_folder_and_a_folder_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save) -> None:
    save("photos/mine.png")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(Doubt, match="'photos' is the data set of that name, not the folder photos .* write ./photos"):
        embedded = batches("photos")
    assert (embedded.name, embedded.images) == ("photos", 1080)
    for path in ("photos/", "./photos", tmp_path / "photos"):
        assert (batches(path).name, batches(path).images) == ("photos (folder)", 1)
    for path in ("./gone", "quite/gone"):
        with pytest.raises(ValueError, match=f"no folder '{path}'"):
            batches(path)
    with pytest.raises(ValueError, match="no data set 'photos:'"):
        batches("photos:")


def test_a_wrong_split_size_or_limit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no split 'tset'. Choose train or test"):
        batches("photos", split="tset")
    with pytest.raises(ValueError, match="img_size must be positive, got -1"):
        batches("digits", img_size=-1)
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        batches("photos", limit=0)
    with pytest.raises(ValueError, match=r"crop_pct must lie in \(0, 1\]"):
        batches("digits", crop_pct=2.0)
    with pytest.raises(ValueError, match="no interpolation 'cubic'"):
        batches("digits", interpolation="cubic")


def test_the_subset_is_fixed_spread_out_and_in_order() -> None:
    chosen = subset(1080, 180, seed=0)
    assert np.array_equal(chosen, subset(1080, 180, seed=0)) and not np.array_equal(chosen, subset(1080, 180, seed=1))
    assert len(set(chosen)) == 180 and (np.diff(chosen) > 0).all() and chosen.max() < 1080
    counts = np.mean([np.bincount(subset(1080, 180, seed=s) // 108, minlength=10) for s in range(200)], axis=0)
    np.testing.assert_allclose(counts, 18, atol=1.2)  # four standard errors of a hypergeometric count
    assert subset(5, 9, seed=0).tolist() == subset(5, None, seed=3).tolist() == list(range(5))
    data = batches("photos", limit=100)
    assert torch.equal(next(iter(data))[1], next(iter(batches("photos", limit=100)))[1])
    assert len(set(next(iter(data))[1].tolist())) > 12


def test_photos_are_cut_at_the_wanted_size_and_others_resized() -> None:
    assert batches("photos", img_size=48).transform.keeps((48, 48))
    assert dataset("photos", img_size=48).size == (48, 48)
    wide = next(iter(batches("photos", img_size=(32, 48), limit=3)))[0]
    assert wide.shape == (3, 3, 32, 48)
    assert next(iter(batches("digits", limit=3)))[0].shape == (3, 3, 32, 32)
    assert next(iter(batches("digits", img_size=8, colour=False, limit=3)))[0].shape == (3, 1, 8, 8)
    for name in ("val", "valid", "validation", "test"):
        assert batches("photos", split=name).fingerprint == batches("photos").fingerprint


def test_grey_and_colour_photographs_differ_only_in_channels() -> None:
    colour, grey = (next(iter(batches("photos", colour=flag, batch_size=18)))[0] for flag in (True, False))
    assert torch.equal(colour[1, :1], grey[1])  # bricks, a grey photograph
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    assert (colour.mul(weights).sum(1, keepdim=True) - grey).abs().max() < 1 / 255


def test_the_digits_are_scikit_learns_split_within_each_class() -> None:
    train, test = Digits("train"), Digits("test")
    from sklearn.datasets import load_digits

    values, targets = (np.asarray(part) for part in load_digits(return_X_y=True))
    assert len(train) + len(test) == len(values)
    parts = [part.pixels(range(len(part))) for part in (train, test)]
    pooled = np.concatenate([images[..., 0].reshape(-1, 64) for images, _ in parts]).astype(float)
    assert sorted(np.rint(pooled * 16 / 255).tolist()) == sorted(values.tolist())
    shares = np.bincount(parts[1][1]) / np.bincount(targets)
    assert (abs(shares - 0.2) < 0.01).all()
    images = np.concatenate([part for part, _ in parts[:1]]) / 255
    np.testing.assert_allclose([images.mean(), images.std()], [train.grey_mean, train.grey_std], atol=5e-5)
    assert images.min() == 0 and images.max() == 1


def test_every_data_set_has_a_line() -> None:
    lines = known_datasets()
    assert set(DATASETS) < set(lines) and {"FOLDER", "wds/NAME", "torch/NAME"} < set(lines)
    assert all(line and "\n" not in line for line in lines.values())


def test_where_data_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALTERNET_DATA", raising=False)
    assert data_root() == Path.home() / ".cache/alternet"
    monkeypatch.setenv("ALTERNET_DATA", "/data")
    assert data_root() == Path("/data")
