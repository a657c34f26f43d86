"""Spectral density against dense Hessians: every moment of every random vector, and what the averages promise."""

from functools import cache
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import t
from tests.instruments.test_hessian import whole
from tests.loss.test_risk import NETWORKS, data, dense, loss_by_hand, subject
from torch import Tensor

from alternet.instruments.spectral_density import SpectralDensity
from alternet.instruments.spectral_density.measure import quadrature, signs
from alternet.loss.parameters import decayed
from alternet.loss.quadrature import Node, beyond, moments
from alternet.measurement import Measurement
from alternet.seeding import derived_seed

DOUBLE = torch.float64
FEW: dict[str, Any] = {"draws": 3, "steps": 6, "precision": "float64", "exact": 0}


@cache
def measured(kind: str) -> Measurement:
    return SpectralDensity(**FEW).measure(subject(NETWORKS[kind]), data(4))


def moment(measurement: Measurement, metric: str, column: str = "value") -> float:
    table = measurement.tables["moments"].set_index("metric")
    return float(table.loc[metric, column])


def vector(size: int, draw: int) -> Tensor:
    """The random vector of a draw."""
    generator = torch.Generator().manual_seed(derived_seed(0, "spectral_density", draw))
    return signs(torch.zeros(size, dtype=DOUBLE), generator)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_each_vector_has_the_moments_that_the_dense_hessian_gives_it(kind: str) -> None:
    hessian, table = whole(kind), measured(kind).table
    for draw in range(FEW["draws"]):
        nodes = table[table["draw"] == draw]
        image = v = vector(len(hessian), draw)
        for power in range(2 * FEW["steps"]):
            by_nodes = len(v) * (nodes["weight"] * nodes["eigenvalue"] ** power).sum()
            scale = len(v) * (nodes["weight"] * nodes["eigenvalue"].abs() ** power).sum()
            assert by_nodes == pytest.approx(float(v @ image), abs=1e-6 * scale), power
            image = hessian @ image


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_moments_are_means_over_the_vectors_with_their_standard_errors(kind: str) -> None:
    hessian, m = whole(kind), measured(kind)
    vectors = [vector(len(hessian), draw) for draw in range(3)]
    for metric, matrix in (("trace", hessian), ("squared_norm", hessian @ hessian)):
        values = [float(v @ matrix @ v) for v in vectors]
        assert moment(m, metric) == pytest.approx(np.mean(values), rel=1e-8)
        assert moment(m, metric, "standard_error") == pytest.approx(np.std(values, ddof=1) / 3**0.5, rel=1e-6)
    assert moment(m, "parameters") == len(hessian)
    assert moment(m, "largest") == m.table["eigenvalue"].max()
    assert moment(m, "smallest") == m.table["eigenvalue"].min()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_the_outermost_eigenvalues_are_counted_exactly(kind: str) -> None:
    """What is left to the random vectors is the Hessian without them."""
    hessian, settings = whole(kind), {"draws": 5, "steps": 40, "precision": "float64", "exact": 6}
    m = SpectralDensity(**settings).measure(subject(NETWORKS[kind]), data(4))
    values, vectors = torch.linalg.eigh(hessian)
    order = values.abs().argsort(descending=True)
    values, vectors = values[order], vectors[:, order]
    count = int(moment(m, "exact"))
    assert 0 < count < 6
    rest = (vectors[:, count:] * values[count:]) @ vectors[:, count:].T
    for metric, power in (("trace", 1), ("squared_norm", 2)):
        matrix = torch.linalg.matrix_power(rest, power)
        each = [float(values[:count].pow(power).sum() + v @ matrix @ v) for v in map(vector, [len(rest)] * 5, range(5))]
        assert moment(m, metric) == pytest.approx(np.mean(each), rel=1e-5)
        error = np.std(each, ddof=1) / 5**0.5
        assert moment(m, metric, "standard_error") == pytest.approx(error, rel=1e-3)
        assert moment(m, metric, "high") - moment(m, metric) == pytest.approx(t.ppf(0.975, 4) * error, rel=1e-3)
    bare = SpectralDensity(**settings | {"exact": 0}).measure(subject(NETWORKS[kind]), data(4))
    assert bare.table.equals(m.table) and moment(bare, "exact") == 0
    assert moment(m, "squared_norm", "standard_error") < 0.5 * moment(bare, "squared_norm", "standard_error")


def nodes_of(eigenvalues: np.ndarray, turned: np.ndarray, random: np.random.Generator) -> list[Node]:
    """What as many steps as there are eigenvalues would say: all of these."""
    v = turned.T @ random.choice([-1.0, 1.0], len(eigenvalues))
    return [Node(value, part**2 / len(v)) for value, part in zip(eigenvalues.tolist(), v.tolist(), strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("draws", [5, 8])
def test_the_intervals_cover_the_truth_as_often_as_they_say(draws: int) -> None:
    random = np.random.default_rng(draws)
    eigenvalues = np.concatenate([[80.0, 40.0, 40.0, -20.0, 12.0], random.standard_normal(20)])
    turned = np.linalg.qr(random.standard_normal((25, 25)))[0]
    truth = {"trace": eigenvalues.sum(), "squared_norm": (eigenvalues**2).sum()}
    known = [Node(value, 0.0) for value in sorted(eigenvalues, key=abs)[-8:]]
    sets = []
    for _ in range(2000):
        nodes = [nodes_of(eigenvalues, turned, random) for _ in range(draws)]
        sets.append({metric: row for metric, *row in moments(nodes, [0.0] * draws, 25, known)})
    assert all(one["exact"][0] >= 5 for one in sets)
    for metric, value in truth.items():
        numbers = np.array([one[metric] for one in sets])
        assert 0.92 <= ((numbers[:, 2] <= value) & (value <= numbers[:, 3])).mean() <= 0.99
        spread = np.subtract(*np.quantile(numbers[:, 0], [0.975, 0.025]))
        assert np.median(numbers[:, 3] - numbers[:, 2]) <= 1.3 * spread


def test_without_a_gap_or_converged_nodes_nothing_is_taken_for_exact() -> None:
    known, nodes = [Node(5.0, 0.0, 0.01), Node(4.0, 0.0, 0.01)], [Node(5.0, 0.1, 0.001), Node(1.0, 0.9, 3.0)]
    assert beyond([nodes], known) == (4.5, [5.0])
    assert beyond([[Node(5.0, 0.1, 0.1)]], known) == (inf, [])
    assert beyond([nodes, [Node(1.0, 1.0)]], known) == (inf, [])  # a draw that has not come to see it
    assert beyond([[*nodes, Node(-6.0, 0.1)]], known) == (inf, [])
    assert beyond([nodes], [known[0], Node(4.97, 0.0, 0.01)]) == (inf, [])
    assert beyond([nodes], known[:1]) == beyond([nodes], []) == (inf, [])


@pytest.mark.slow
def test_the_true_sums_lie_within_a_few_standard_errors() -> None:
    hessian = whole("cnn")
    m = SpectralDensity(draws=40, steps=24, precision="float64").measure(subject(NETWORKS["cnn"]), data(4))
    eigenvalues = np.linalg.eigvalsh(hessian.numpy())
    below = eigenvalues[eigenvalues < 0].sum()
    assert below < -1e-3  # or the second sum would test nothing
    exact = {"trace": eigenvalues.sum(), "negative_trace": below, "squared_norm": (eigenvalues**2).sum()}
    for metric, value in exact.items():
        error = moment(m, metric, "standard_error")
        assert 0 < error < 0.2 * abs(value)
        assert abs(moment(m, metric) - value) < 4 * error, metric
    assert moment(m, "largest") == pytest.approx(eigenvalues[-1], rel=1e-6)
    assert moment(m, "smallest") == pytest.approx(eigenvalues[0], rel=1e-3)


@pytest.mark.slow
def test_data_in_several_batches_have_one_hessian() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(12)
    assert len(batches) == 3
    hessian = dense(*loss_by_hand(net, batches, 0.05, "textbook"))
    v = vector(len(hessian), 0)
    m = SpectralDensity(draws=1, steps=3, precision="float64").measure(net, batches)
    assert moment(m, "trace") == pytest.approx(float(v @ hessian @ v), rel=1e-8)
    assert m.tables["moments"]["standard_error"].isna().all()
    split = SpectralDensity(draws=1, steps=3, precision="float64", micro_batch=1).measure(net, batches)
    np.testing.assert_allclose(split.table["eigenvalue"], m.table["eigenvalue"], rtol=1e-6)


@pytest.mark.slow
def test_weight_decay_adds_itself_once_for_every_decayed_weight() -> None:
    net = subject(NETWORKS["vit"])
    count = sum(p.numel() for name, p in net.model.named_parameters() if name in decayed(net.model))
    with_decay, without = (SpectralDensity(**FEW, weight_decay=wd).measure(net, data(4)) for wd in (0.3, 0.0))
    assert moment(with_decay, "trace") - moment(without, "trace") == pytest.approx(0.3 * count, rel=1e-9)
    assert moment(with_decay, "l2_trace") == pytest.approx(0.3 * count, rel=1e-12)
    assert moment(with_decay, "nll_trace") == pytest.approx(moment(without, "trace"), rel=1e-9)
    assert moment(without, "l2_trace") == 0


def test_the_papers_penalty_has_its_part_of_the_trace() -> None:
    net = subject(NETWORKS["cnn"])
    m, bare = (SpectralDensity(**FEW, weight_decay=wd, l2="paper").measure(net, data(4)) for wd in (0.3, 0.0))
    assert moment(m, "nll_trace") == pytest.approx(moment(bare, "trace"), rel=1e-6)
    assert 0 < moment(m, "l2_trace") == pytest.approx(moment(m, "trace") - moment(bare, "trace"), rel=1e-6)


def test_a_block_of_parameters_has_the_spectrum_of_its_block() -> None:
    net = subject(NETWORKS["vit"])
    names = [name for name, _ in net.model.named_parameters()]
    m = SpectralDensity(**FEW, parameters=names[-1]).measure(net, data(4))
    assert moment(m, "parameters") == net.model.get_parameter(names[-1]).numel()


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_space_that_closes_gives_every_function_exactly(dtype: torch.dtype) -> None:
    values = torch.tensor([2.0, 2.0, -1.0, 0.0, 0.0, 0.0, 5.0], dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    ritz = quadrature(lambda v: values * v, signs(values, generator), 30, generator)
    assert len(ritz.values) == 4
    nodes = dict(zip(ritz.values.round(decimals=5).tolist(), ritz.coordinates[0].square().tolist(), strict=True))
    assert nodes == pytest.approx({5.0: 1 / 7, 2.0: 2 / 7, 0.0: 3 / 7, -1.0: 1 / 7}, abs=1e-6)


def test_as_many_steps_as_parameters_are_enough() -> None:
    matrix = torch.diag(torch.arange(5.0))
    generator = torch.Generator().manual_seed(0)
    ritz = quadrature(lambda v: matrix @ v, torch.randn(5, generator=generator), 64, generator)
    np.testing.assert_allclose(ritz.values, [4, 3, 2, 1, 0], atol=1e-5)


@pytest.mark.parametrize(("setting", "least"), [("draws", 1), ("steps", 2)])
def test_settings_out_of_range_are_refused(setting: str, least: int) -> None:
    SpectralDensity.with_settings({setting: least})
    with pytest.raises(
        ValueError, match=f"spectral_density got {setting}={least - 1}, expected a number of at least {least}"
    ):
        SpectralDensity.with_settings({setting: least - 1})
