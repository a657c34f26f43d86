"""Calibration: closed forms, permutations, torchmetrics and loops, and the numbers of the paper's code."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from alternet.data.image_batches import Batches
from alternet.instruments.calibration import Calibration
from alternet.instruments.calibration.measure import METRICS, mean_iou, overlaps
from alternet.instruments.work import Batch
from alternet.scores import bin_of, calibration_error, reliability
from alternet.subject.subject import Subject

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "instruments.npz")
LOGITS, TARGETS = (torch.from_numpy(GOLDEN[f"metrics_{what}"]) for what in ("logits", "targets"))
SAME = {"accuracy": "acc", "signed_ece": "ecse"}


def tables(logits, targets, splits: int | tuple[int, ...] = 1, **settings):
    images = torch.zeros(1, 1, 1, 1)
    work = Calibration(**settings).open(Subject(nn.Identity(), name="none"), Batches.of(images))
    total: dict = {}
    sizes = [len(part) for part in logits.chunk(splits)] if isinstance(splits, int) else splits
    for answers, labels in zip(logits.split(sizes), targets.split(sizes), strict=True):
        for key, value in work.part(Batch(images, labels, answers), {}).items():
            total[key] = total.get(key, 0) + value
    return work.tables(total)


def metrics(logits, targets, which=1, **settings):
    return {row[0]: row[which] for row in tables(logits, targets, **settings)["table"]}


def certain(classes, guess, n):
    """Logits that put nearly all probability on one class."""
    return torch.full((n, classes), -60.0).index_fill(1, torch.tensor([guess]), 60.0)


def confident(p, guess, n, classes=2):
    """Logits whose softmax is p at the guess and equal elsewhere."""
    probs = torch.full((n, classes), (1 - p) / (classes - 1), dtype=torch.float64)
    probs[:, guess] = p
    return probs.log()


def test_the_papers_code():
    golden = json.loads(str(GOLDEN["metrics"]))
    ours = metrics(LOGITS, TARGETS, convention="paper")
    assert set(golden) == {SAME.get(name, name) for name in METRICS}
    for name, value in ours.items():
        assert value == pytest.approx(golden[SAME.get(name, name)], abs=1e-5), name


def test_a_loop_over_images():
    probs = LOGITS.double().softmax(1).numpy()
    t, n = TARGETS.numpy(), len(TARGETS)
    guess, c = probs.argmax(1), probs.max(1)
    right, sure = guess == t, c > 0.9
    label = probs[np.arange(n), t]
    expected = {
        "accuracy": right.mean(),
        "top5": np.mean([(p > p[k]).sum() < 5 for p, k in zip(probs, t, strict=True)]),
        "nll": -np.log(label).mean(),
        "brier": np.mean([((p - np.eye(10)[k]) ** 2).sum() for p, k in zip(probs, t, strict=True)]),
        "acc90": right[sure].mean(),
        "unc90": (~sure)[~right].mean(),
        "freq90": sure.mean(),
    }
    ours = metrics(LOGITS, TARGETS)
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_torchmetrics(bins):
    from torchmetrics.classification import MulticlassCalibrationError, MulticlassJaccardIndex

    theirs = MulticlassCalibrationError(10, n_bins=bins, norm="l1")(LOGITS.double().softmax(1), TARGETS)
    assert metrics(LOGITS, TARGETS, bins=bins)["ece"] == pytest.approx(theirs.item(), abs=1e-6)
    iou = MulticlassJaccardIndex(10, average="macro")(LOGITS.argmax(1), TARGETS)
    assert metrics(LOGITS, TARGETS)["iou"] == pytest.approx(iou.item(), abs=1e-6)


@pytest.mark.parametrize("p", [0.55, 0.7, 0.95])
def test_always_right_with_confidence_p(p):
    got = metrics(confident(p, 1, 20), torch.ones(20, dtype=torch.int64))
    assert got["ece"] == pytest.approx(1 - p)
    assert got["signed_ece"] == pytest.approx(p - 1)
    assert got["nll"] == pytest.approx(-math.log(p))
    assert got["brier"] == pytest.approx(2 * (1 - p) ** 2)
    assert got["freq90"] == (p > 0.9)


def test_all_wrong_and_certain():
    got = metrics(certain(3, 0, 8), torch.ones(8, dtype=torch.int64))
    assert got["ece"] == pytest.approx(1)
    assert got["signed_ece"] == pytest.approx(1)
    assert (got["accuracy"], got["acc90"], got["unc90"], got["freq90"], got["iou"]) == (0, 0, 0, 1, 0)
    assert got["nll"] == pytest.approx(120)
    assert got["brier"] == pytest.approx(2)


def test_a_confidence_of_one_is_lost_by_the_papers_code_alone():
    right = certain(3, 0, 4), torch.zeros(4, dtype=torch.int64)
    assert metrics(*right)["ece"] == pytest.approx(0)
    assert metrics(*right, convention="paper")["ece"] == pytest.approx(1)


def test_an_underflow_is_infinite_in_the_papers_code_alone():
    wrong = certain(3, 0, 4), torch.ones(4, dtype=torch.int64)
    assert metrics(*wrong, convention="paper")["nll"] == math.inf


def as_released(batches, bins=10):
    """The released code's numbers by loops over float32 probabilities, which sees batches and single images alone."""
    edges, nll = np.linspace(0, 1, bins + 1), []
    count, right, confidence = np.zeros((3, bins))
    for logits, targets in batches:
        probs = logits.float().softmax(1)
        nll.append(nn.functional.cross_entropy(probs.log(), targets).item())
        for p, label in zip(probs.numpy(), targets.tolist(), strict=True):
            c = float(p.max())
            for k in range(bins):
                if edges[k] < c <= edges[k + 1]:
                    count[k], right[k] = count[k] + 1, right[k] + (p.argmax() == label)
                confidence[k] += c if edges[k] <= c < edges[k + 1] else 0
    filled = count > 0
    gaps = np.abs(right[filled] / count[filled] - confidence[filled] / count[filled])
    return {"nll": np.mean(nll), "ece": (gaps * count[filled]).sum() / count.sum()}


@pytest.mark.parametrize("scale", [1, 8, 40])
def test_the_papers_code_where_confidences_are_on_edges_and_batches_of_unequal_size(scale):
    """A float64 softmax is below 1 where that of float32 is 1; halves lie on the edge between two bins."""
    logits = torch.cat([scale * LOGITS, torch.full((7, 10), -80.0).index_fill(1, torch.tensor([2, 5]), 0.0)])
    targets = torch.cat([TARGETS, torch.full((7,), 5)])
    sizes = (64,) * 6 + (20, 3)
    ours = metrics(logits, targets, splits=sizes, convention="paper")
    theirs = as_released(zip(logits.split(sizes), targets.split(sizes), strict=True))
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-6)


def test_what_is_undefined_is_zero_in_the_papers_code():
    nobody_sure = metrics(torch.zeros(4, 10), torch.zeros(4, dtype=torch.int64), convention="paper")
    assert (nobody_sure["acc90"], nobody_sure["iou90"], nobody_sure["freq90"]) == (0, 0, 0)
    all_right = metrics(certain(3, 1, 4), torch.ones(4, dtype=torch.int64), convention="paper")
    assert all_right["unc90"] == 0


def test_a_confidence_between_the_cutoff_in_float32_and_in_float64_is_not_confident_in_the_papers_code():
    logits = torch.tensor([[0.0, math.log(9.0)]])
    assert logits.double().softmax(1).max() > 0.9 > logits.softmax(1).max().double() - 1e-7
    right = logits, torch.tensor([1])
    assert metrics(*right)["freq90"] == 1 and metrics(*right, convention="paper")["freq90"] == 0


def test_the_size_of_the_batches_is_a_fact_of_the_papers_measurement_alone():
    data, model = Batches.of(torch.zeros(1, 1, 1, 1), batch_size=3), Subject(nn.Identity(), name="none")
    assert Calibration(convention="paper").open(model, data).facts == {"batch_size": 3}
    assert Calibration().open(model, data).facts == {}


def test_order_and_batches_do_not_matter():
    whole = metrics(LOGITS, TARGETS)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert metrics(LOGITS[order], TARGETS[order]) == pytest.approx(whole, abs=1e-12)
    assert metrics(LOGITS, TARGETS, splits=7) == pytest.approx(whole, abs=1e-12)


def test_a_shift_of_the_logits_does_not_matter():
    assert metrics(LOGITS.double() + 1000, TARGETS) == pytest.approx(metrics(LOGITS, TARGETS), abs=1e-9)


def test_bins_are_open_below_and_closed_above():
    edges = np.arange(1, 11) / 10
    below, above = torch.from_numpy(edges), torch.from_numpy(np.nextafter(edges[:-1], 1))
    assert bin_of(below, bins=10).tolist() == list(range(10))
    assert bin_of(above, bins=10).tolist() == list(range(1, 10))
    half = reliability(torch.zeros(1, 2), torch.tensor([0]), bins=10)[0]
    assert half.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_signed_errors_cancel_between_bins_and_absolute_ones_do_not():
    bins = torch.tensor([[4.0, 4.0], [4.0, 0.0], [3.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert calibration_error(bins) == (0.25, 0.0)


def test_the_reliability_table():
    rows = tables(LOGITS, TARGETS)["reliability"]
    c = LOGITS.double().softmax(1).amax(1).numpy()
    right = (LOGITS.argmax(1) == TARGETS).numpy()
    assert sum(row[3] for row in rows) == 400
    for number, low, high, count, accuracy, confidence in rows:
        inside = (c > low) & (c <= high)
        assert (number, count) == (round(low * 10), inside.sum())
        if count:
            assert (accuracy, confidence) == pytest.approx((right[inside].mean(), c[inside].mean()))
        else:
            assert np.isnan([accuracy, confidence]).all()


def test_standard_errors():
    errors = metrics(LOGITS, TARGETS, which=2)
    right = (LOGITS.argmax(1) == TARGETS).double().numpy()
    assert errors["accuracy"] == pytest.approx(right.std(ddof=1) / 20)
    nll = torch.nn.functional.cross_entropy(LOGITS.double(), TARGETS, reduction="none").numpy()
    assert errors["nll"] == pytest.approx(nll.std(ddof=1) / 20)
    assert {name for name, error in errors.items() if error is None} == {"ece", "signed_ece", "iou", "iou90"}


def test_classes_that_do_not_occur():
    guess, targets = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 0, 1])
    counts = overlaps(guess, targets, classes=5)
    assert mean_iou(counts) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert mean_iou(counts, convention="paper") == pytest.approx((2 / 3 + 0) / 2)
    assert math.isnan(mean_iou(torch.zeros(3, 4, dtype=torch.float64)))


def test_nobody_is_confident():
    got = metrics(torch.zeros(4, 10), torch.zeros(4, dtype=torch.int64))
    assert math.isnan(got["acc90"])
    assert math.isnan(got["iou90"])
    assert got["freq90"] == 0


def test_fewer_than_five_classes():
    got = metrics(torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert got["top5"] == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_precision_of_the_logits(dtype):
    logits = LOGITS.to(dtype)
    assert metrics(logits, TARGETS) == pytest.approx(metrics(logits.double(), TARGETS), abs=1e-12)


def test_labels_that_cannot_be_used():
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="label 3, but the model knows 3 classes"):
        metrics(logits, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="some have none"):
        metrics(logits, torch.tensor([0, -1]))
    with pytest.raises(ValueError, match=r"soft labels of shape \(2, 3\)"):
        metrics(logits, torch.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match="infinite or not a number"):
        metrics(torch.tensor([[0.0, torch.nan]]), torch.tensor([0]))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="bins=0, expected a number of at least 1"):
        Calibration(bins=0)
    with pytest.raises(ValueError, match="bins='ten', expected an integer"):
        Calibration(bins="ten")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="'textbook', 'paper'"):
        Calibration(convention="book")  # pyright: ignore[reportArgumentType]
