"""Similarity: invariances, the definition by loops, pytorch-cka, expectations within their own errors, two models."""

import math
from itertools import permutations

import cka as pytorch_cka
import numpy as np
import pytest
import torch
from tests.contract.networks import data, network
from tests.contract.state import differences, lived_in, of
from torch import nn

from alternet.data import Augmentation
from alternet.data.image_batches import Batches
from alternet.instruments.runner import measure_each
from alternet.instruments.similarity import Similarity
from alternet.instruments.similarity.measure import centred_gram, cka_and_error, products
from alternet.measurement import Measurement
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject


def features(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def summed(*batches):
    """The sums over mini-batches, each of them the features at every tap."""
    parts = [products(torch.stack([centred_gram(x) for x in batch])) for batch in batches]
    return {key: sum(part[key] for part in parts) for key in parts[0]}


def cka(*batches):
    """CKA of the first tap with the second."""
    return cka_and_error(summed(*batches), len(batches))[0][0, 1].item()


def hsic_by_definition(x, y):
    """Song et al. (2012): the three expectations of HSIC over images that are all different, counted out."""
    k, l, n = x.flatten(1) @ x.flatten(1).T, y.flatten(1) @ y.flatten(1).T, len(x)  # noqa: E741
    pairs, triples, fours = (list(permutations(range(n), size)) for size in (2, 3, 4))
    both = sum(k[i, j] * l[i, j] for i, j in pairs) / len(pairs)
    apart = sum(k[i, j] * l[q, r] for i, j, q, r in fours) / len(fours)
    one = sum(k[i, j] * l[i, q] for i, j, q in triples) / len(triples)
    return (both + apart - 2 * one).item()


def hsic_by_traces(x, y):
    """The same by whole Gram matrices, as the estimate is usually written."""
    k, l = (f.flatten(1).double().numpy() @ f.flatten(1).double().numpy().T for f in (x, y))  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    n, ones = len(k), np.ones(len(k))
    middle = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + middle - 2 / (n - 2) * (ones @ k @ l @ ones)) / (n * (n - 3))


@pytest.mark.parametrize("n", [4, 5, 7])
def test_hsic_is_its_definition(n):
    x, y = features(n, 3, 2, 2).double() + 2, features(n, 5, 1, 1, seed=1).double()
    hsic = products(torch.stack([centred_gram(x), centred_gram(y)]))["hsic"] / (n * (n - 3))
    expected = [[hsic_by_definition(a, b) for b in (x, y)] for a in (x, y)]
    np.testing.assert_allclose(hsic.numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(expected, [[hsic_by_traces(a, b) for b in (x, y)] for a in (x, y)], rtol=1e-9)


def test_rotation_shift_and_scale_change_nothing():
    x = features(12, 4, 3, 3).double()
    rotation = torch.linalg.qr(features(36, 36, seed=1).double()).Q
    moved = (-3 * x.flatten(1) @ rotation + features(36, seed=2)).view_as(x)
    assert cka([x, moved]) == pytest.approx(1, abs=1e-12)
    y = features(12, 7, 2, 2, seed=3).double() + x[:, :1, :2, :2]
    assert cka([x, y]) == pytest.approx(cka([moved, y]), abs=1e-12)
    assert cka([x, y]) < 0.9
    assert cka([x, y]) == cka([y, x])
    stretched = x * torch.linspace(1, 9, 3)
    assert cka([x, stretched]) < 0.99


def test_independent_features_are_at_zero_on_both_sides():
    values = np.array(
        [cka([features(16, 6, 2, 2, seed=2 * s), features(16, 3, seed=2 * s + 1)[..., None, None]]) for s in range(300)]
    )
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert 0.3 < (values < 0).mean() < 0.7


def linked(n, seed):
    """Two taps that share a part of what they say."""
    x = features(n, 8, seed=seed)
    y = x @ features(8, 12, seed=-1).abs() + 6 * features(n, 12, seed=seed + 10**6)
    return [f[..., None, None] for f in (x, y)]


@pytest.mark.slow
def test_mini_batches_and_the_whole_agree_in_expectation():
    small = summed(*(linked(8, seed) for seed in range(600)))
    values, errors = cka_and_error(small, 600)
    whole = cka(linked(2000, seed=10**5))
    assert abs(values[0, 1] - whole) < 4 * errors[0, 1]
    assert errors[0, 1] < 0.02
    assert 0.1 < whole < 0.9


def test_the_error_is_the_jackknifes_to_first_order():
    batches = [linked(n, seed) for seed, n in enumerate([9] * 20 + [5])]
    values, errors = cka_and_error(summed(*batches), len(batches))
    adds = [products(torch.stack([centred_gram(x) for x in batch]))["hsic"] for batch in batches]

    def weighted(weights):
        total = sum(w * add for w, add in zip(weights, adds, strict=True))
        return (total / torch.outer(total.diagonal(), total.diagonal()).sqrt())[0, 1].item()

    ones, step = np.ones(len(batches)), 1e-5
    slopes = [(weighted(ones + step * e) - weighted(ones - step * e)) / (2 * step) for e in np.eye(len(batches))]
    m = len(batches)
    assert errors[0, 1] == pytest.approx(math.sqrt(m / (m - 1) * np.square(slopes).sum()), rel=1e-6)
    without = np.array([weighted(ones - e) for e in np.eye(m)])
    jackknife = math.sqrt((m - 1) / m * np.square(without - without.mean()).sum())
    assert errors[0, 1] == pytest.approx(jackknife, rel=0.15)
    assert weighted(ones) == pytest.approx(values[0, 1].item())
    assert errors.diagonal().tolist() == [0, 0]
    assert cka_and_error(summed(batches[0]), 1)[1].isnan().all()


@pytest.mark.slow
def test_the_error_is_how_far_repetitions_scatter():
    runs = [cka_and_error(summed(*(linked(8, 100 * r + s) for s in range(12))), 12) for r in range(150)]
    scatter = np.std([values[0, 1] for values, _ in runs], ddof=1)
    assert np.mean([errors[0, 1] for _, errors in runs]) == pytest.approx(scatter, rel=0.2)


def test_tokens_and_maps_in_either_memory_layout_are_alike():
    x = features(6, 8, 3, 5)
    expected = centred_gram(x.double())
    tokens = torch.cat([torch.ones(6, 2, 8), x.flatten(2).transpose(1, 2)], dim=1)  # two prefix tokens
    laid = [x, x.contiguous(memory_format=torch.channels_last), tokens[:, 2:].transpose(1, 2).unflatten(2, (3, 5))]
    for same in laid:
        assert torch.equal(same, x)
        torch.testing.assert_close(centred_gram(same), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("values", [1, 60, 10**6])
def test_how_much_is_multiplied_at_once_does_not_matter(values, monkeypatch):
    x = features(6, 8, 3, 5).double()
    expected = centred_gram(x)
    monkeypatch.setattr("alternet.instruments.similarity.measure.VALUES", max(values, 6))
    torch.testing.assert_close(centred_gram(x), expected, rtol=1e-12, atol=1e-12)


def test_a_large_mean_does_not_cost_the_precision():
    x = features(32, 64, 8, 8) + 1000
    exact = centred_gram(x.double())
    assert (centred_gram(x) - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4 / 3])
@pytest.mark.parametrize("n", [4, 7, 64])
def test_a_constant_feature_has_no_similarity(n, value):
    constant = torch.full((n, 3, 5, 5), value)
    values, errors = cka_and_error(
        summed([constant, features(n, 2, 2, 2)], [constant, features(n, 2, 2, 2, seed=1)]), 2
    )
    assert values.isnan().tolist() == [[True, True], [True, False]]
    assert errors.isnan().tolist() == [[True, True], [True, False]]


def test_what_varies_by_rounding_alone_is_constant():
    jitter = torch.finfo(torch.float32).eps * (features(9, 2, 3, 3) > 0)
    assert math.isnan(cka([3 * (1 + jitter), features(9, 2, 2, 2, seed=1)]))
    assert not math.isnan(cka([3 + 1e-4 * features(9, 2, 3, 3), features(9, 2, 2, 2, seed=1)]))


def test_a_feature_of_a_single_image_has_no_similarity():
    alone = torch.zeros(9, 2, 3, 3)
    alone[4] = features(2, 3, 3)
    assert math.isnan(cka([alone, features(9, 2, 2, 2)]))


def looked_at(subject, batches):
    """The features at every tap, batch by batch as they come."""
    with Probe(subject) as probe:
        return [list(probe.features(images)[0].values()) for images, _ in batches]


def by_traces(batches, others):
    """CKA of every pair, mini-batches weighted by n(n − 3), by whole Gram matrices."""

    def total(i, j, first, second):
        return sum(
            len(a[i]) * (len(a[i]) - 3) * hsic_by_traces(a[i], b[j])
            for a, b in zip(first, second, strict=True)
            if len(a[i]) > 3
        )

    return [
        [
            total(i, j, batches, others) / math.sqrt(total(i, i, batches, batches) * total(j, j, others, others))
            for j in range(len(others[0]))
        ]
        for i in range(len(batches[0]))
    ]


def matrix(measurement):
    return measurement.table.pivot(index="unit_a", columns="unit_b", values="cka").to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["vit-with-class-token", "channels-last-swin", "handwritten"])
@pytest.mark.parametrize("n", [16, 22, 19])
def test_a_model_by_loops_with_a_smaller_last_batch(layout, n):
    subject = network(layout)
    batches = data(subject, n=n)
    seen = looked_at(subject, batches.shuffled(seed=0, batch_size=8))
    measured = Similarity(batch_size=8).measure(subject, batches)
    np.testing.assert_allclose(matrix(measured), by_traces(seen, seen), rtol=1e-4, atol=1e-5)
    assert measured.table["tap_a"].tolist() == [a.name for a in subject.taps for _ in subject.taps]
    assert measured.table["tap_b"].tolist() == [b.name for _ in subject.taps for b in subject.taps]
    assert set(measured.table["model_b"]) == {subject.name}
    units = measured.tables["units"]
    assert units["stage"].tolist() == [tap.stage for tap in subject.taps]
    assert set(units["side"]) == {"a"}


def test_pytorch_cka():
    one, two = network("vit-with-registers"), network("post-activation-resnet")
    batches = data(one, n=24)
    seen, other = (looked_at(s, batches.shuffled(seed=3, batch_size=12)) for s in (one, two))

    def grams(taps):
        return torch.stack([x.flatten(1).double() @ x.flatten(1).double().T for x in taps])

    parts = [pytorch_cka.hsic(grams(a), grams(b)) for a, b in zip(seen, other, strict=True)]
    cross, own, theirs = (sum(part[i] for part in parts) for i in range(3))
    expected = cross / torch.outer(own, theirs).sqrt()
    measured = Similarity(batch_size=12, seed=3, other=two).measure(one, batches)
    np.testing.assert_allclose(matrix(measured), expected.numpy(), rtol=1e-4, atol=1e-5)
    whole = pytorch_cka.cka_from_features(
        [x.flatten(1).double() for x in seen[0]], [x.flatten(1).double() for x in other[0]]
    )
    ours = [[cka([x, y]) for y in other[0]] for x in seen[0]]
    np.testing.assert_allclose(np.clip(ours, 0, 1), whole.numpy(), rtol=1e-4, atol=1e-5)


def test_a_last_batch_of_three_adds_nothing():
    subject = network("handwritten")
    seven = data(subject, n=7)
    shuffled = seven.shuffled(seed=0, batch_size=4)
    four = Batches.of(*next(iter(shuffled)), batch_size=4)
    measured = Similarity(batch_size=4).measure(subject, seven)
    np.testing.assert_allclose(matrix(measured), by_traces(*[looked_at(subject, four)] * 2), rtol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_than_four_images_are_refused(n):
    subject = network("handwritten")
    with pytest.raises(ValueError, match="compares the images of a mini-batch and found none of 4 or more"):
        Similarity().measure(subject, data(subject, n=n))


def test_the_order_of_the_data_does_not_matter_and_the_seed_does():
    subject = network("handwritten")
    images, targets = (torch.cat(parts) for parts in zip(*data(subject, n=20), strict=True))
    there = Batches.of(images, targets, batch_size=5)
    measured = matrix(Similarity(batch_size=10).measure(subject, there))
    again = there.shard(0, 1).shuffled(seed=7)
    np.testing.assert_array_equal(matrix(Similarity(batch_size=10).measure(subject, again)), measured)
    other = matrix(Similarity(batch_size=10, seed=1).measure(subject, there))
    assert not np.allclose(other, measured, atol=1e-6)


def test_mixed_images_are_refused():
    subject = network("handwritten")
    mixed = data(subject).frozen(Augmentation(mixup=1.0))
    with pytest.raises(ValueError, match="frozen with images of a batch mixed"):
        Similarity().measure(subject, mixed)


class Silent(nn.Module):
    """Its second unit is the same for every image."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        nn.init.zeros_(self.second.weight)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).mean((2, 3)))


def test_a_silent_unit_is_left_empty_in_the_table():
    subject = Subject(Silent(), name="silent", input_size=(3, 8, 8))
    measured = Similarity(batch_size=4).measure(subject, data(subject, n=9))
    assert np.isnan(matrix(measured)).tolist() == [[False, True], [True, True]]
    assert "undefined" in "".join(text.get_text() for text in measured.draw().legends[0].get_texts())


def test_a_value_that_is_not_finite_is_named():
    subject = network("handwritten")
    with torch.no_grad():
        subject.model.get_submodule("blocks.1.branch.2").bias.fill_(torch.inf)
    with pytest.raises(ValueError, match=f"feature map at '{subject.taps[-1].name}' holds values"):
        Similarity().measure(subject, data(subject))


def test_two_models_are_left_as_they_were_and_stand_in_the_provenance(tmp_path):
    one, two = network("handwritten"), network("plain-convolutions")
    batches = data(one)
    lived_in(one.model)
    lived_in(two.model)
    before = of(one.model), of(two.model)
    forth = Similarity(other=two).measure(one, batches, out=tmp_path)
    back = Similarity(other=one).measure(two, batches)
    assert differences(before, (of(one.model), of(two.model))) == []
    np.testing.assert_allclose(matrix(forth), matrix(back).T, rtol=1e-6)
    assert set(forth.table["model_b"]) == {"plain"}
    assert forth.tables["units"].groupby("side")["tap"].apply(list).to_dict() == {
        "a": [tap.name for tap in one.taps],
        "b": [tap.name for tap in two.taps],
    }
    assert forth.provenance["settings"] == {"batch_size": 64, "other": "plain", "seed": 0}
    assert forth.provenance["other"]["model"]["weights_sha256"] == two.weights_sha256
    assert forth.provenance["model"]["weights_sha256"] == one.weights_sha256
    asked = Similarity(other=two)
    ((given, again),) = measure_each([asked], one, batches, out=tmp_path)
    assert given is asked
    assert isinstance(again, Measurement)
    np.testing.assert_array_equal(matrix(again), matrix(forth))
    with torch.no_grad():
        two.model.get_submodule("9").bias.add_(1)
    changed = Subject(two.model, name="plain", input_size=two.input_size, mean=two.mean, std=two.std)
    with pytest.raises(ValueError, match="another other"):
        Similarity(other=changed).measure(one, batches, out=tmp_path)


def test_both_models_are_left_as_they_were_after_an_error():
    one, two = network("handwritten"), network("plain-convolutions")
    _ = one.taps, two.taps

    def fail(*_):
        raise RuntimeError("out of memory")

    two.model.get_submodule("7").register_forward_hook(fail)
    before = of(one.model), of(two.model)
    with pytest.raises(RuntimeError, match="out of memory"):
        Similarity(other=two).measure(one, data(one))
    assert differences(before, (of(one.model), of(two.model))) == []


def test_a_model_beside_itself_is_the_model_alone():
    alone, beside = network("handwritten"), network("handwritten")
    one, two = (Similarity(other=other).measure(alone, data(alone)) for other in (None, beside))
    np.testing.assert_array_equal(matrix(one), matrix(two))
    assert set(two.tables["units"]["side"]) == {"a"}
    with torch.no_grad():
        beside.model.get_submodule("head").bias.add_(1)
    changed = Subject(beside.model, name="handwritten", input_size=beside.input_size)
    with pytest.raises(ValueError, match="two models named 'handwritten' with different weights"):
        Similarity(other=changed).measure(alone, data(alone))


def test_models_of_the_same_layout_keep_their_own_normalisation():
    one = network("handwritten")
    two = Subject(one.model, name="unnormalised", input_size=one.input_size)
    batches = data(one, n=8)
    seen, other = (looked_at(s, batches.shuffled(seed=0, batch_size=8)) for s in (one, two))
    measured = matrix(Similarity(other=two).measure(one, batches))
    np.testing.assert_allclose(measured, by_traces(seen, other), rtol=1e-4, atol=1e-5)
    assert measured[0, 0] != pytest.approx(1, abs=1e-6)


def test_another_model_is_loaded_by_its_name_at_the_same_size():
    subject = network("vit-with-registers")
    measured = Similarity(other="test_resnet").measure(subject, data(subject))
    assert measured.provenance["other"]["model"]["name"] == "test_resnet"
    assert measured.provenance["other"]["input"]["size"] == [3, 32, 32]
    assert set(measured.table["model_b"]) == {"test_resnet"}


def test_wrong_calls_say_what_to_do():
    with pytest.raises(ValueError, match="batch_size=3, expected a number of at least 4: the unbiased HSIC"):
        Similarity(batch_size=3)
    with pytest.raises(ValueError, match="other=5, expected the name of a model"):
        Similarity(other=5)  # pyright: ignore[reportArgumentType]
    subject = network("rectangular-grid")
    with pytest.raises(ValueError, match="takes 24 x 40"):
        Similarity(other="test_resnet").measure(subject, data(subject))
    with pytest.raises(ValueError, match="no timm model 'resnet5000'"):
        Similarity(other="resnet5000").measure(network("handwritten"), data(subject))
    grey = Subject(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2)), name="grey", input_size=(1, 8, 8))
    with pytest.raises(ValueError, match="takes 3 channels and 'grey' takes 1"):
        Similarity(other=grey).measure(subject, data(subject))
