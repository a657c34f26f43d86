"""Similarity: invariances, the definition by loops, pytorch-cka, expectations within their own errors, two models."""

import math
from itertools import permutations

import cka as pytorch_cka
import numpy as np
import pytest
import torch
from tests.contract.networks import data, network

from alternet.data import Augmentation
from alternet.data.image_batches import Batches
from alternet.instruments.figures import sentences
from alternet.instruments.similarity import Similarity
from alternet.instruments.similarity.measure import FEWEST, centred_gram, estimates, products
from alternet.probe.probe import Probe


def features(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def summed(*batches):
    """The sums over mini-batches, each of them the features at every tap."""
    parts = [products(torch.stack([centred_gram(x) for x in batch])) for batch in batches]
    return {key: sum(part[key] for part in parts) for key in parts[0]}


def cka(*batches):
    """CKA of the first tap with the second."""
    return estimates(summed(*batches), sum(len(x) for x, *_ in batches)).cka[0, 1].item()


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
    values, errors, *_ = estimates(small, 4800)
    whole = cka(linked(2000, seed=10**5))
    assert abs(values[0, 1] - whole) < 4 * errors[0, 1]
    assert errors[0, 1] < 0.02
    assert 0.1 < whole < 0.9


def test_the_error_is_that_of_pairs_of_images_to_first_order():
    """By slopes: what the CKA moves by as the weight of one pair of images does, in turn."""
    batches = [linked(n, seed) for seed, n in enumerate([7, 7, 5])]
    grams = [torch.stack([centred_gram(x) for x in batch]) for batch in batches]
    values, errors, *_ = estimates(summed(*batches), 19)

    def weighted(which, pair, weight):
        total = torch.zeros(2, 2, dtype=torch.float64)
        for number, (k, l) in enumerate(grams):  # noqa: E741
            weights = torch.ones_like(k)
            if number == which:
                weights[pair] += weight
            total += torch.tensor([[(weights * a * b).sum() for b in (k, l)] for a in (k, l)], dtype=torch.float64)
        return (total / torch.outer(total.diagonal(), total.diagonal()).sqrt())[0, 1].item()

    of_pairs, of_images, step = 0.0, 0.0, 1e-5
    for which, batch in enumerate(grams):
        n = batch.shape[1]
        slopes = np.zeros((n, n))
        for pair in np.ndindex(n, n):
            slopes[pair] = (weighted(which, pair, step) - weighted(which, pair, -step)) / (2 * step)
        of_pairs, of_images = of_pairs + np.square(slopes).sum(), of_images + np.square(slopes.sum(1)).sum()
    variance = 4 * of_images - 2 * min(of_pairs, of_images)
    assert errors[0, 1] == pytest.approx(math.sqrt(variance * 19 / 18), rel=1e-5)
    assert weighted(0, (0, 1), 0.0) == pytest.approx(values[0, 1].item())
    assert errors.diagonal().tolist() == [0, 0]


@pytest.mark.slow
def test_the_error_is_how_far_repetitions_scatter():
    runs = [estimates(summed(*(linked(8, 100 * r + s) for s in range(12))), 96) for r in range(150)]
    scatter = np.std([run.cka[0, 1] for run in runs], ddof=1)
    assert np.mean([run.error[0, 1] for run in runs]) == pytest.approx(scatter, rel=0.2)


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
    batches = [constant, features(n, 2, 2, 2)], [constant, features(n, 2, 2, 2, seed=1)]
    values, errors, *_ = estimates(summed(*batches), 2 * n)
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


def without_leading(x, k):
    """Features less their k leading principal components, by a dense singular value decomposition in float64."""
    rows = x.flatten(1).double().numpy()
    u, s, v = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    s[:k] = 0
    return torch.from_numpy((u * s) @ v)


@pytest.mark.parametrize("k", [1, 3])
def test_without_leading_principal_components_by_a_dense_decomposition(k):
    subject = network("handwritten")
    batches = data(subject, n=19)
    seen = looked_at(subject, batches.shuffled(seed=0, batch_size=8))  # the last three images add nothing
    left = [[without_leading(x, k) for x in batch] for batch in seen[:2]]
    measured = Similarity(batch_size=8, remove=k).measure(subject, batches)
    np.testing.assert_allclose(matrix(measured), by_traces(left, left), rtol=1e-4, atol=1e-5)
    assert not np.allclose(matrix(measured), matrix(Similarity(batch_size=8).measure(subject, batches)), atol=0.01)
    assert measured.provenance["settings"]["remove"] == k


def test_a_component_that_all_share_is_all_that_they_share():
    """Two features alike in one strong direction alone: 1 with it and near 0 without."""
    strong = 30 * features(64, 1, 1, 1)
    x, y = (torch.cat([strong, features(64, 40, 1, 1, seed=seed)], 1) for seed in (1, 2))
    grams = [torch.stack([centred_gram(z, remove=k) for z in (x, y)]) for k in (0, 1)]
    with_it, without = (estimates(products(gram), 64).cka[0, 1].item() for gram in grams)
    assert with_it > 0.95 and abs(without) < 0.1


def test_nothing_is_left_of_features_of_fewer_components():
    x = features(20, 3, 1, 1)
    assert centred_gram(x, remove=2).abs().max() > 0
    assert centred_gram(x, remove=3).abs().max() == 0


def test_images_shuffled_by_loops():
    subject = network("handwritten")
    batches = data(subject, n=16)
    seen = looked_at(subject, batches.shuffled(seed=0, batch_size=8))
    others = [[x.roll(1, 0) for x in batch] for batch in seen]
    table = Similarity(batch_size=8, null="shuffled").measure(subject, batches).table
    null = table.pivot(index="unit_a", columns="unit_b", values="null_cka").to_numpy()
    np.testing.assert_allclose(null, by_traces(seen, others), rtol=1e-4, atol=1e-5)
    assert abs(null).max() < table["cka"].max()
    assert Similarity(batch_size=8).measure(subject, batches).table["null_cka"].isna().all()


def test_shuffled_images_are_at_zero_in_expectation():
    """Features as like as can be, of which each image is compared with another one."""
    nulls = []
    for seed in range(300):
        gram = centred_gram(features(16, 4, 1, 1, seed=seed))
        nulls.append(((gram * gram.roll((1, 1), (0, 1))).sum() / gram.square().sum()).item())
    assert abs(np.mean(nulls)) < 4 * np.std(nulls) / math.sqrt(300) + 0.01


FEW = [(128, 1), (64, 2), (25, 4)]
SAMPLES = [(64, 2, 100), *(pytest.param(*case, 2000, marks=pytest.mark.thorough) for case in FEW)]
"""Images of a mini-batch, mini-batches and sets."""


def drawn_mixtures(sets, n, m, *, dimensions, decay, share, seed=0):
    """Normal features of which a share is common, as grams [sets, 2, m, n, n], and the CKA of their population."""
    random = np.random.default_rng(seed)
    spectrum = np.arange(1, dimensions + 1.0)[:, None] ** -decay
    first, second = (spectrum * random.normal(size=(dimensions, 30)) for _ in range(2))
    second = share * first @ random.normal(size=(30, 30)) / math.sqrt(30) + (1 - share) * second
    own, cross = ([a.T @ a for a in (first, second)], first.T @ second)
    truth = np.square(cross).sum() / math.sqrt(np.square(own[0]).sum() * np.square(own[1]).sum())
    z = random.normal(size=(sets, m, n, dimensions))
    both = torch.from_numpy(np.stack([z @ first, z @ second], 1))
    return both, truth


@pytest.mark.parametrize(("n", "m", "sets"), SAMPLES)
@pytest.mark.parametrize(
    "features", [{"dimensions": 10, "decay": 0.5, "share": 0.7}, {"dimensions": 40, "decay": 0.1, "share": 0.3}]
)
def test_few_mini_batches_have_intervals_that_cover(features, n, m, sets):
    both, truth = drawn_mixtures(sets, n, m, **features)
    found = []
    for one in both:  # [2, m, n, 30]
        sums = [products(torch.stack([centred_gram(x[..., None, None]) for x in pair])) for pair in one.transpose(0, 1)]
        total = {key: sum(part[key] for part in sums) for key in sums[0]}
        estimate = estimates(total, n * m)
        found.append([part[0, 1].item() for part in (estimate.cka, estimate.low, estimate.high)])
    cka, low, high = np.array(found).T
    coverage = np.mean((low <= truth) & (truth <= high))
    width = np.median(high - low) / np.subtract(*np.quantile(cka, [0.975, 0.025]))
    slack = 3 * math.sqrt(0.95 * 0.05 / sets) if sets < 2000 else 0
    assert 0.92 - slack < coverage <= 0.99 + slack and width < 1.3 + slack


def test_too_few_images_have_no_interval_and_the_sentences_say_so():
    subject = network("handwritten")
    few = Similarity(batch_size=8).measure(subject, data(subject, n=16))
    assert few.table.query("unit_a != unit_b")["low"].isna().all() and few.table["standard_error"].notna().all()
    assert "There are too few images for intervals of the CKA." in sentences(few)
    many = Similarity(batch_size=25, null="shuffled").measure(subject, data(subject, n=FEWEST))
    assert (many.table["low"] <= many.table["cka"]).all() and (many.table["cka"] <= many.table["high"]).all()
    assert sentences(many)[1].startswith("With the images shuffled, |CKA| is 0.0")


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
