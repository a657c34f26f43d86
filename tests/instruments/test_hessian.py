"""Hessian against closed forms, dense Hessians and two other tools, and through a kill."""

import copy
import os
import signal
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from scipy.sparse.linalg import eigsh
from tests.contract.state import differences, lived_in, of
from tests.instruments.killed import OneByOne, measure
from tests.loss.test_risk import NETWORKS, K, Softmax, data, dense, loss_by_hand, subject
from torch import Tensor, nn

from alternet.data.augment import PAPER_CIFAR
from alternet.data.image_batches import Batches
from alternet.instruments.hessian import Hessian
from alternet.subject.subject import Subject

EXACT: dict[str, Any] = {"precision": "float64", "tolerance": 1e-9, "max_products": 1000}


def eigenvalues(matrix: Tensor, k: int = 5) -> np.ndarray:
    """By magnitude, from the whole matrix."""
    values = np.linalg.eigvalsh(matrix.numpy())
    return values[np.argsort(-np.abs(values))][:k]


@cache
def whole(kind: str) -> Tensor:
    """The dense Hessian of the network on `data(4)`, weight decay 0.05."""
    return dense(*loss_by_hand(subject(NETWORKS[kind]), data(4), 0.05, "textbook"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_eigenvalues_are_those_of_the_dense_hessian(kind: str) -> None:
    table = Hessian(**EXACT).measure(subject(NETWORKS[kind]), data(4)).table
    np.testing.assert_allclose(table["eigenvalue"], eigenvalues(whole(kind)), rtol=1e-7)
    assert (table["residual"] <= 1e-9 * table["eigenvalue"].abs().max()).all()


@pytest.mark.slow
def test_every_batch_has_its_own() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(12)
    table = Hessian(**EXACT, weight_decay=0.7, l2="paper").measure(net, batches).table
    assert table["batch"].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert table["rank"].tolist() == [*range(5)] * 3
    assert (table["images"] == 4).all()
    for number in (0, 2):
        exact = dense(*loss_by_hand(net, batches.shard(number, 3), 0.7, "paper"))
        np.testing.assert_allclose(table.loc[table["batch"] == number, "eigenvalue"], eigenvalues(exact), rtol=1e-7)


def test_logistic_regression_at_zero_has_the_eigenvalues_of_its_images() -> None:
    """With equal probabilities H = XᵀX/n ⊗ (I/K − 11ᵀ/K²), so each eigenvalue of XᵀX/n, over K, comes K − 1 times."""
    net = subject(Softmax)
    for parameter in net.model.parameters():
        nn.init.zeros_(parameter)
    hessian = Hessian(**EXACT, weight_decay=0.0, augment="none", batch_size=5)
    batches = hessian.open(net, data(5, 5, side=2, mixed=False)).batches
    images, _ = next(iter(batches))
    x = torch.cat([((images - 0.5) / 0.25).flatten(1), torch.ones(5, 1)], dim=1).double()
    expected = np.repeat(np.linalg.eigvalsh((x @ x.T / 5).numpy())[::-1] / K, K - 1)
    found = hessian.measure(net, batches).table["eigenvalue"]
    np.testing.assert_allclose(found, expected[:5], rtol=1e-5)


def test_weight_decay_moves_every_eigenvalue_of_decayed_weights() -> None:
    net, batches = subject(Softmax), data(8, 8, side=2)
    block: dict[str, Any] = EXACT | {"parameters": "fc.weight", "k": 3}
    bare, moved = (Hessian(**block, weight_decay=wd).measure(net, batches).table for wd in (0.0, 0.25))
    np.testing.assert_allclose(moved["eigenvalue"], bare["eigenvalue"] + 0.25, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["largest", "both_ends"])
def test_either_end_can_be_asked_for(which: Any) -> None:
    net, batches = subject(NETWORKS["cnn"]), data(4)
    values = np.linalg.eigvalsh(whole("cnn").numpy())[::-1]
    expected = values[:5] if which == "largest" else [*values[:3], *values[-2:]]
    found = Hessian(**EXACT, which=which).measure(net, batches).table["eigenvalue"]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_a_part_of_the_parameters_has_the_curvature_of_its_block() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(4)
    names = [name for name, p in net.model.named_parameters() for _ in range(p.numel())]
    inside = torch.tensor([name.startswith("branch.") for name in names])
    expected = eigenvalues(whole("cnn")[inside][:, inside])
    for pattern in ("conv", "branch.*"):
        found = Hessian(**EXACT, parameters=pattern).measure(net, batches).table["eigenvalue"]
        np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.slow
def test_residuals_are_those_of_the_vectors_and_what_is_not_converged_says_so() -> None:
    table = Hessian(max_products=8).measure(subject(NETWORKS["vit"]), data(4)).table
    assert set(table["products"]) == {8}
    assert table["residual"].max() > 1e-3 * table["eigenvalue"].abs().max()
    exact = np.linalg.eigvalsh(whole("vit").numpy())
    for _, row in table.iterrows():
        assert np.abs(exact - row["eigenvalue"]).min() <= row["residual"] + 1e-4


def test_numbering_the_hidden_units_otherwise_changes_no_eigenvalue() -> None:
    net, batches = subject(NETWORKS["vit"]), data(8, 8)
    other = Subject(copy.deepcopy(net.model), name="net", input_size=net.input_size, mean=net.mean, std=net.std)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, axis in (("fc1.weight", 0), ("fc1.bias", 0), ("fc2.weight", 1)):
            parameter = other.model.get_parameter(f"blocks.0.mlp.{name}")
            parameter.copy_(parameter.index_select(axis, order))
    one, two = (Hessian(**EXACT).measure(s, batches).table["eigenvalue"] for s in (net, other))
    np.testing.assert_allclose(one, two, rtol=1e-9)
    changed = other.model.get_parameter("blocks.0.mlp.fc1.weight")
    assert not torch.equal(changed, net.model.get_parameter("blocks.0.mlp.fc1.weight"))


@pytest.mark.slow
def test_neither_micro_batches_nor_the_precision_change_the_numbers() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(8, 8)
    exact = Hessian(**EXACT).measure(net, batches).table
    for settings in ({"micro_batch": 3}, {"precision": "float32", "tolerance": 1e-5}):
        table = Hessian(**EXACT | settings).measure(net, batches).table
        np.testing.assert_allclose(table["eigenvalue"], exact["eigenvalue"], rtol=1e-4)


def test_a_batch_does_not_depend_on_those_before_it() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(12)
    hessian = Hessian()
    with hessian.open(net, batches) as work:
        assert work.items() == [(0,), (1,), (2,)]
        backwards = [row for number in (2, 1, 0) for row in work.rows((number,))]
    assert sorted(backwards) == [tuple(row) for row in hessian.measure(net, batches).table.iloc[:, 1:].to_numpy()]


def test_batches_of_sixteen_are_augmented_from_the_seed() -> None:
    net, plain = subject(NETWORKS["cnn"]), data(20, 5, mixed=False)
    first = Hessian(k=1).measure(net, plain)
    assert first.table["images"].tolist() == [16, 4]
    frozen = plain.frozen(PAPER_CIFAR, seed=0, batch_size=16)
    assert first.provenance["data"]["fingerprint"] == frozen.fingerprint
    pd.testing.assert_frame_equal(first.table, Hessian(k=1).measure(net, frozen).table)
    other = Hessian(k=1, seed=1).measure(net, plain).table["eigenvalue"]
    assert not np.allclose(first.table["eigenvalue"], other, rtol=0.01)


def test_the_summary_is_nep_and_ape_of_the_table() -> None:
    m = Hessian().measure(subject(NETWORKS["vit"]), data(12))
    pool, rows = m.table["eigenvalue"], m.tables["summary"].set_index("metric")
    assert rows["value"].to_dict() == pytest.approx(
        {
            "nep": (pool < 0).mean(),
            "ape": pool[pool > 0].mean(),
            "largest": pool.groupby(m.table["batch"]).max().mean(),
        }
    )
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "hessian: k must be at least 1, got 0"),
        ({"basis": 6}, r"hessian: basis must be at least 8 \(5 wanted and 3 to work with\), got 6"),
        ({"which": "smallest"}, "hessian got which='smallest', expected one of 'largest_magnitude'"),
        ({"precision": "float16"}, "hessian got precision='float16', expected one of 'float32', 'float64'"),
        ({"seed": -1}, "hessian got seed=-1, expected a number of at least 0"),
        ({"micro_batch": -1}, "got micro_batch=-1, expected a number of images, 0 for whole batches"),
        ({"weight_decay": float("nan")}, "got weight_decay=nan, expected a finite number"),
        ({"weight_decay": -0.1}, "got weight_decay=-0.1, expected a number of at least 0"),
        ({"parameters": "heed.*"}, "No parameter of 'net' answers to 'heed.*'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hessian(**settings).measure(subject(NETWORKS["cnn"]), data())


def test_an_interrupt_within_a_batch_leaves_the_model_as_it_was() -> None:
    net, calls = subject(NETWORKS["cnn"]), []
    lived_in(net.model)

    def interrupt(*_: Any) -> None:
        calls.append(0)
        if len(calls) == 4:  # two for the check that the model answers alike, the first batch, the second
            raise KeyboardInterrupt

    net.model.register_forward_hook(interrupt)
    before = of(net.model)
    with pytest.raises(KeyboardInterrupt):
        Hessian().measure(net, data(12))
    assert len(calls) == 4
    assert differences(before, of(net.model)) == []


@pytest.mark.slow
def test_a_killed_measurement_goes_on_with_the_batch_it_was_in(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "tests.instruments.killed", str(tmp_path / "killed")]
    root = Path(__file__).parents[2]
    assert subprocess.run(call, cwd=root, env=os.environ | {"KILL_AT": "2"}, check=False).returncode == -signal.SIGKILL
    OneByOne.seen.clear()
    resumed = measure(tmp_path / "killed")
    again = list(OneByOne.seen)
    straight = measure(None)
    assert (len(again), len(OneByOne.seen) - len(again)) == (2, 4)
    pd.testing.assert_frame_equal(resumed.table, straight.table, check_exact=True)


@pytest.fixture(scope="module")
def resnet() -> tuple[nn.Module, Tensor, Tensor, pd.DataFrame]:
    """A small ResNet of timm, a batch, and what we say of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("test_resnet", num_classes=5).eval()
        batches = Batches.of(torch.rand(4, 3, 24, 24), torch.arange(4))
    net = Subject(model, name="net", input_size=(3, 24, 24), mean=(0.0,) * 3, std=(1.0,) * 3)
    hessian = Hessian(k=3, augment="none", weight_decay=0.0, which="largest", tolerance=1e-4)
    images, targets = next(iter(hessian.open(net, batches).batches))
    return model, images, targets, hessian.measure(net, batches).table


@pytest.mark.slow
def test_curvlinops_finds_the_same(resnet: Any) -> None:
    model, images, targets, table = resnet
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about deprecated parts of torch
        from curvlinops import HessianLinearOperator

        parameters = [*model.parameters()]
        operator = HessianLinearOperator(model, nn.CrossEntropyLoss(), parameters, [(images, targets)])
        values = np.asarray(eigsh(operator.to_scipy(), k=3, which="LA", tol=1e-4, return_eigenvectors=False))
    np.testing.assert_allclose(table["eigenvalue"], np.sort(values)[::-1], rtol=2e-4)


@pytest.mark.slow
def test_pyhessian_finds_the_same_up_to_its_own_tolerance(resnet: Any) -> None:
    model, images, targets, table = resnet
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # its own, about reference cycles
        from pyhessian import hessian

        torch.manual_seed(0)
        other = hessian(copy.deepcopy(model), nn.CrossEntropyLoss(), data=(images, targets), cuda=False)
        values, _ = other.eigenvalues(top_n=1)
    np.testing.assert_allclose(table["eigenvalue"].iloc[0], values[0], rtol=0.02)
