"""Corruption: known accuracies on published sets and on the fly, the mCE by hand, and what does not matter."""

import json
import shutil
from itertools import product
from math import isnan, nan, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.contract.optional import installed
from torch import nn

from alternet.data import ArrayImages, Batches, batches
from alternet.data.corruption_names import EXTRA, FAMILIES, SEVERITIES, STANDARD
from alternet.data.eval_transform import EvalTransform
from alternet.instruments.calibration import Calibration
from alternet.instruments.corruption import Corruption
from alternet.instruments.corruption.measure import (
    METRICS,
    CorruptionWork,
    Estimate,
    alexnet_errors,
    combination,
    mean_corruption_error,
    summary,
)
from alternet.measurement import Measurement
from alternet.subject.subject import Subject

on_the_fly = pytest.mark.skipif(not installed("corruption"), reason="the extra corruptions is not installed")
CLASSES, N = 4, 20
SETS = list(product(STANDARD, SEVERITIES))


class Colour(nn.Module):
    """Tells the class of a plain image by its grey value, 10 levels a class, with a confidence of its own."""

    def forward(self, x):
        level = (x.mean((1, 2, 3)) * 255 / 10).round().long().clamp(0, CLASSES - 1)
        return 3.0 * nn.functional.one_hot(level, CLASSES).to(x)


class Constant(nn.Module):
    """Always says class 1."""

    def forward(self, x):
        return torch.tensor([0.0, 1.0, 0.0, 0.0]).expand(len(x), -1)


def subject(model: nn.Module | None = None) -> Subject:
    return Subject(model or Colour(), name="net", input_size=(3, 32, 32))


def plain(levels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 32, 32, 3)).astype(np.uint8)


def clean(*, batch_size: int = 8, order: np.ndarray | None = None) -> Batches:
    targets = np.arange(N) % CLASSES
    pictures = ArrayImages(plain(10 * targets), targets, name="plain", classes=[str(k) for k in range(CLASSES)])
    chosen = np.arange(N) if order is None else order
    return Batches(dataset=pictures, transform=EvalTransform(img_size=(32, 32)), order=chosen, batch_size=batch_size)


def wrong(number: int, severity: int) -> np.ndarray:
    """Which images corruption `number` spoils at a severity."""
    return np.arange(N) < (number % 3) + 2 * severity


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder like CIFAR-10-C in which the number of images with a wrong colour is known."""
    root, targets = tmp_path / "CIFAR-10-C", np.arange(N) % CLASSES
    root.mkdir()
    np.save(root / "labels.npy", np.tile(targets, 5))
    for number, name in enumerate(FAMILIES):
        shown = [np.where(wrong(number, s), (targets + 1) % CLASSES, targets) for s in SEVERITIES]
        np.save(root / f"{name}.npy", plain(10 * np.concatenate(shown)))
    return root


def values(m: Measurement) -> dict[str, float]:
    return dict(zip(m.tables["summary"]["metric"], m.tables["summary"]["value"], strict=True))


def errors(m: Measurement) -> dict[str, float]:
    return dict(zip(m.tables["summary"]["metric"], m.tables["summary"]["standard_error"], strict=True))


def test_known_accuracies_of_published_arrays(published: Path):
    m = Corruption(published=str(published), extra=True).measure(subject(), clean())
    table = m.table.set_index(["corruption", "severity"])
    assert list(table.index) == [("clean", 0), *product(FAMILIES, SEVERITIES)]
    assert table.at[("clean", 0), "accuracy"] == 1
    for number, name in enumerate(FAMILIES):
        for severity in SEVERITIES:
            row = table.loc[(name, severity)]
            accuracy = 1 - wrong(number, severity).mean()
            assert row["accuracy"] == pytest.approx(accuracy)
            assert row["standard_error"] == pytest.approx(sqrt(accuracy * (1 - accuracy) / (N - 1)))
            assert row["nll"] == pytest.approx(np.log(np.e**3 + 3) - 3 * accuracy)
            assert row["ece"] == pytest.approx(abs(np.e**3 / (np.e**3 + 3) - accuracy))
            assert row["images"] == N and row["family"] == FAMILIES[name]
    mean = np.mean([1 - wrong(number, s).mean() for number in range(15) for s in SEVERITIES])
    found = values(m)
    assert list(found) == [*METRICS, *(f"mean_{name}" for name in FAMILIES)]
    answers = np.array([[~wrong(number, s) for s in SEVERITIES] for number in range(15)])
    each = answers.mean((0, 1))
    assert errors(m)["mean_accuracy"] == pytest.approx(each.std(ddof=1) / sqrt(N))
    assert errors(m)["severity_2"] == pytest.approx(answers[:, 1].mean(0).std(ddof=1) / sqrt(N))
    assert errors(m)["mean_fog"] == pytest.approx(answers[list(FAMILIES).index("fog")].mean(0).std(ddof=1) / sqrt(N))
    assert found["mean_accuracy"] == pytest.approx(mean)
    assert found["sets"] == 75 and found["clean_accuracy"] == 1
    for s in SEVERITIES:
        assert found[f"severity_{s}"] == pytest.approx(np.mean([1 - wrong(n, s).mean() for n in range(15)]))
    assert isnan(found["mce"]) and isnan(found["mce_paper"])  # it is no CIFAR-10-C, whatever its name


def test_scores_are_those_of_calibration(published: Path):
    m = Corruption(published=str(published), bins=7, only="fog").measure(subject(), clean())
    images = np.load(published / "fog.npy")[3 * N : 4 * N]
    tensors = torch.from_numpy(images.copy()).permute(0, 3, 1, 2) / 255
    alone = Calibration(bins=7).measure(subject(), Batches.of(tensors, torch.arange(N) % CLASSES))
    expected = alone.table.set_index("metric")
    row = m.table.set_index("severity").loc[4]
    for metric in ("accuracy", "nll", "ece"):
        assert row[metric] == pytest.approx(expected.at[metric, "value"])
    for metric, column in (("accuracy", "standard_error"), ("nll", "nll_standard_error")):
        assert row[column] == pytest.approx(expected.at[metric, "standard_error"])


def test_a_subset_takes_the_same_images_of_every_set(published: Path):
    order = np.array([1, 3, 5, 18])
    m = Corruption(published=str(published)).measure(subject(), clean(order=order))
    for (name, severity), row in m.table.set_index(["corruption", "severity"]).iloc[1:].iterrows():
        accuracy = 1 - wrong(list(FAMILIES).index(name), severity)[order].mean()
        assert row["accuracy"] == pytest.approx(accuracy)


def test_known_accuracies_of_published_image_files(tmp_path: Path):
    def save(path: Path, level: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (level,) * 3).save(path, format="PNG")

    for k, number in product(range(CLASSES), range(2)):
        save(tmp_path / "val" / f"c{k}" / f"{number}.JPEG", 10 * k)
        for severity in SEVERITIES:
            level = 10 * ((k + 1) % CLASSES if number < 1 and severity > 2 else k)
            save(tmp_path / "ImageNet-C" / "blur" / "fog" / str(severity) / f"c{k}" / f"{number}.JPEG", level)
    (tmp_path / "ImageNet-C" / "blur" / "fog" / "5" / "c1" / "0.JPEG").write_bytes(b"damaged")
    data = batches(tmp_path / "val", img_size=32)
    m = Corruption(published=str(tmp_path / "ImageNet-C"), only="fog").measure(subject(), data)
    assert m.table["accuracy"].tolist() == pytest.approx([1, 1, 1, 0.5, 0.5, 4 / 7])
    assert m.table["images"].tolist() == [8, 8, 8, 8, 8, 7]
    assert m.provenance["skipped"] == ["c1/0.JPEG"] and m.provenance["images"] == 7


@pytest.mark.slow
@on_the_fly
def test_a_constant_classifier_has_its_share_everywhere():
    generator = torch.Generator().manual_seed(0)
    data = Batches.of(torch.rand(5, 3, 32, 32, generator=generator), torch.tensor([0, 1, 1, 3, 2]))
    m = Corruption(extra=True).measure(subject(Constant()), data)
    assert len(m.table) == 1 + 19 * 5
    assert m.table["accuracy"].tolist() == pytest.approx([0.4] * 96)
    assert values(m)["mean_accuracy"] == pytest.approx(0.4)
    assert errors(m)["mean_accuracy"] == pytest.approx(sqrt(0.4 * 0.6 / 4))  # the same images are right everywhere
    assert isnan(values(m)["mce"])
    assert m.provenance["corruptions_by"].keys() >= {"imagecorruptions-imaug", "scikit-image"}


@pytest.mark.slow
@on_the_fly
def test_batches_do_not_matter_and_seeds_do():
    torch.manual_seed(0)
    net = subject(
        nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 4))
    )
    only = {"only": "impulse_noise,glass_blur,frost,spatter"}

    def table(batch_size: int, **settings) -> pd.DataFrame:
        data = batches("photos", limit=6, batch_size=batch_size)
        data = Batches.of(torch.cat([x for x, _ in data]), torch.arange(6) % 4, batch_size=batch_size)
        return Corruption(**only, **settings).measure(net, data).table

    whole = table(6)
    pd.testing.assert_frame_equal(table(6), whole)
    for batch_size in (1, 4):
        pd.testing.assert_frame_equal(table(batch_size), whole, rtol=1e-5)
    other = table(6, seed=1)
    assert (other["nll"] != whole["nll"]).sum() == 20 and other["nll"][0] == whole["nll"][0]


def test_an_interrupted_measurement_goes_on(published: Path, tmp_path: Path, monkeypatch):
    instrument = Corruption(published=str(published), only="fog,snow")
    straight = instrument.measure(subject(), clean())
    measured: list[tuple[str, int]] = []
    rows = CorruptionWork.rows

    def stopping(self, item):
        if len(measured) == 4:
            raise KeyboardInterrupt
        measured.append(item)
        return rows(self, item)

    monkeypatch.setattr(CorruptionWork, "rows", stopping)
    with pytest.raises(KeyboardInterrupt):
        instrument.measure(subject(), clean(), out=tmp_path / "out")
    assert measured == [("clean", 0), ("fog", 1), ("fog", 2), ("fog", 3)]
    measured.clear()
    monkeypatch.setattr(CorruptionWork, "rows", lambda self, item: measured.append(item) or rows(self, item))
    moved = shutil.move(published, tmp_path / "elsewhere" / "CIFAR-10-C")
    resumed = Corruption(published=str(moved), only="fog,snow").measure(subject(), clean(), out=tmp_path / "out")
    assert measured == [("fog", 4), ("fog", 5), *(("snow", s) for s in SEVERITIES)]
    for key, table in straight.tables.items():
        pd.testing.assert_frame_equal(resumed.tables[key], table)


def test_the_provenance_names_the_folder_and_no_place(published: Path, tmp_path: Path):
    m = Corruption(published=str(published), only="fog").measure(subject(), clean(), out=tmp_path / "out")
    assert m.provenance["settings"]["published"] == "CIFAR-10-C"
    assert m.provenance["data"]["name"] == "plain with CIFAR-10-C"
    assert str(tmp_path) not in json.dumps({key: fact for key, fact in m.provenance.items() if key != "call"})
    assert "corruptions_by" not in m.provenance
    changed = np.load(published / "fog.npy")
    changed[0] += 1
    np.save(published / "fog.npy", changed)
    with pytest.raises(ValueError, match="holds a measurement with another data"):
        Corruption(published=str(published), only="fog").measure(subject(), clean(), out=tmp_path / "out")


def test_sets_that_are_a_benchmark_get_its_mce(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("alternet.data.corrupted_sets.CIFAR_TEST", N)
    targets = np.arange(N) % 10
    np.save(tmp_path / "labels.npy", np.tile(targets, 5))
    for name in STANDARD:
        np.save(tmp_path / f"{name}.npy", plain(np.zeros(5 * N)))
    pictures = ArrayImages(plain(np.zeros(N)), targets, name="cifar10", classes=[str(k) for k in range(10)])
    data = Batches(dataset=pictures, transform=EvalTransform(img_size=(32, 32)), order=np.arange(N))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    found = values(Corruption(published=str(tmp_path)).measure(subject(head), data))
    assert found["mean_accuracy"] == pytest.approx(0.1)
    assert found["mce_paper"] == pytest.approx(np.mean([0.9 / e for e in alexnet_errors("cifar10-c-paper").values()]))
    assert isnan(found["mce"])


def accuracies(value: float = 0.5, error: float = 0.01) -> dict[tuple[str, int], Estimate]:
    return {("clean", 0): Estimate(0.9, 0.005)} | dict.fromkeys(SETS, Estimate(value, error))


def test_mean_corruption_error_by_hand():
    scores = accuracies()
    scores["fog", 1], scores["fog", 5] = Estimate(0.9, 0.0), Estimate(0.2, 0.02)
    alexnet = dict.fromkeys(STANDARD, 0.8) | {"fog": 0.5}
    fog = (0.1 + 3 * 0.5 + 0.8) / (5 * 0.5)
    value, error = mean_corruption_error(scores, alexnet)
    assert value == pytest.approx((14 * 0.5 / 0.8 + fog) / 15)
    assert error == pytest.approx((14 * 0.01 / 0.8 + (0 + 3 * 0.01 + 0.02) / 5 / 0.5) / 15)


def test_alexnet_against_itself_is_one_and_against_nobody_undefined():
    for benchmark in ("imagenet-c", "imagenet-c-paper", "cifar10-c-paper", "cifar100-c-paper"):
        alexnet = alexnet_errors(benchmark)
        assert list(alexnet) == list(STANDARD)
        scores = {(name, s): Estimate(1 - alexnet[name], 0.01) for name, s in SETS}
        assert mean_corruption_error(scores, alexnet).value == pytest.approx(1)
    assert isnan(mean_corruption_error(scores, {}).value)


def test_published_numbers_of_alexnet():
    authors = [88.6, 89.4, 92.3, 82.0, 82.6, 78.6, 79.8, 86.7, 82.7, 81.9, 56.5, 85.3, 64.6, 71.8, 60.7]
    np.testing.assert_allclose([100 * e for e in alexnet_errors("imagenet-c").values()], authors, atol=0.06)
    released = {  # accuracies at the five severities, from the tables released with the paper's code
        ("imagenet-c-paper", "jpeg_compression"): (0.43782, 0.40026, 0.37722, 0.30692, 0.2246),
        ("imagenet-c-paper", "fog"): (0.29762, 0.21528, 0.14028, 0.11426, 0.0484),
        ("cifar100-c-paper", "snow"): (0.512, 0.4074, 0.4146, 0.3867, 0.3424),
        ("cifar10-c-paper", "zoom_blur"): (0.8395, 0.8439, 0.8403, 0.8374, 0.8278),
    }
    for (benchmark, name), accuracy in released.items():
        assert alexnet_errors(benchmark)[name] == pytest.approx(1 - np.mean(accuracy), abs=1e-6)


def test_a_resnet_has_its_published_mce():
    """ResNet-50's corruption errors as Hendrycks and Dietterich (2019) print them, in per cent of AlexNet's."""
    printed = [80, 82, 83, 75, 89, 78, 80, 78, 75, 66, 57, 71, 85, 77, 77]
    alexnet = alexnet_errors("imagenet-c")
    scores = {
        (n, s): Estimate(1 - p / 100 * alexnet[n], 0.0)
        for (n, p) in zip(STANDARD, printed, strict=True)
        for s in SEVERITIES
    }
    assert mean_corruption_error(scores, alexnet).value == pytest.approx(0.767, abs=0.003)


def test_the_summary_is_undefined_where_something_is_missing():
    whole = summary(accuracies() | {("spatter", 1): Estimate(0.0, 0.5)}, "imagenet-c")
    assert whole["mean_accuracy"] == pytest.approx((0.5, 0.01)) and whole["sets"].value == 75
    assert whole["mce"].value == pytest.approx(np.mean([0.5 / e for e in alexnet_errors("imagenet-c").values()]))
    assert whole["mce"].value > whole["mce_paper"].value
    part = summary({key: score for key, score in accuracies().items() if key[0] in ("clean", "fog")}, "imagenet-c")
    assert part["mean_accuracy"] == pytest.approx((0.5, 0.01)) and part["sets"].value == 5
    assert isnan(part["mce"].value)
    assert isnan(summary(accuracies(), "cifar10-c")["mce"].value)
    assert not isnan(summary(accuracies(), "cifar10-c")["mce_paper"].value)
    extra = summary({("spatter", 1): Estimate(0.3, 0.1)})
    assert isnan(extra["mean_accuracy"].value) and isnan(extra["clean_accuracy"].value) and extra["sets"].value == 0
    assert isnan(combination({("fog", 1): 1.0}, {}).value)


def test_the_error_of_a_mean_is_never_too_small():
    """The same images in every set, right or wrong with the difficulty of each: draws of the truth itself."""
    random = np.random.RandomState(0)
    difficulty = random.uniform(size=400)
    means, bounds = [], []
    for _ in range(300):
        chosen = random.choice(difficulty, 50)
        right = random.uniform(size=(75, 50)) > chosen
        p = right.mean(1)
        sets = {key: Estimate(float(v), sqrt(v * (1 - v) / 49)) for key, v in zip(SETS, p, strict=True)}
        mean = summary(sets)["mean_accuracy"]
        means.append(mean.value)
        bounds.append(mean.error)
    assert np.std(means) < np.mean(bounds) < 3 * np.std(means)


@pytest.mark.parametrize("sets", [pytest.param(200, id="quick"), pytest.param(2000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0], ids=["by chance", "mixed", "the same images"])
def test_the_mean_over_sets_is_covered(shared, sets):
    """Right or wrong by the difficulty of an image, by chance in every set, or by a part of each."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(sets):
        difficulty = shared * random.uniform(size=100) + (1 - shared) * 0.4
        answers = random.uniform(size=(75, 100)) > difficulty
        right = dict(zip(SETS, answers, strict=True))
        scores = {key: Estimate(float(answer.mean()), nan) for key, answer in right.items()}
        found.append(summary(scores, "imagenet-c", right)["mean_accuracy"])
    value, error = np.array(found).T
    truth = 1 - (shared / 2 + (1 - shared) * 0.4)
    coverage = np.mean(abs(value - truth) < 2 * error)
    width = np.median(4 * error) / np.subtract(*np.quantile(value, [0.975, 0.025]))
    assert 0.92 - (0.03 if sets < 2000 else 0) < coverage <= 0.99 and width < 1.3


def test_an_error_is_an_upper_bound_where_it_is_not_known_which_answers_were_right():
    right = {("fog", 1): np.array([1, 0, 1, 0]), ("fog", 2): np.array([0, 1, 0, 1])}
    scores = {key: Estimate(0.5, 0.289) for key in right}
    both = dict.fromkeys(right, 0.5)
    assert combination(both, scores, right) == pytest.approx((0.5, 0))
    assert combination(both, scores) == pytest.approx((0.5, 0.289))
    right["fog", 2] = right["fog", 2][:3]  # a picture of this set could not be read
    assert combination(both, scores, right) == pytest.approx((0.5, 0.289))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"only": "fog,smog"}, r"only='fog,smog', but knows no 'smog'. Choose from gaussian_noise, "),
        ({"only": "fog", "extra": True}, "both only and extra, expected one of them"),
        ({"bins": 0}, "bins=0, expected a number of at least 1"),
        ({"extra": 1}, "extra=1, expected true or false"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Corruption(**settings)


def test_settings_name_the_corruptions():
    assert Corruption().corruptions == tuple(STANDARD)
    assert Corruption(extra=True).corruptions == (*STANDARD, *EXTRA)
    assert Corruption(only=" snow, spatter,snow").corruptions == ("snow", "spatter")


def test_data_that_cannot_be_corrupted_is_refused_at_once(published: Path, tmp_path: Path):
    from alternet.data import WEAK

    frozen = clean().frozen(WEAK)
    with pytest.raises(ValueError, match="corruption got augmented batches of 'plain', expected images as they are"):
        Corruption(published=str(published)).measure(subject(), frozen)
    with pytest.raises(ValueError, match="There is no folder .*nowhere"):
        Corruption(published=str(tmp_path / "nowhere")).measure(subject(), clean())


def test_a_set_without_a_readable_picture_is_an_error(tmp_path: Path):
    for name in ("val/a/1.png", "val/b/2.png", *(f"C/fog/{s}/{n}" for s in SEVERITIES for n in ("a/1.png", "b/2.png"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / "C" / "fog" / "4" / name).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="No picture of 'val with C' could be read under fog 4"):
        Corruption(published=str(tmp_path / "C"), only="fog").measure(subject(), batches(tmp_path / "val", img_size=32))
