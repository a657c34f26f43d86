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
from torch.autograd.functional import jacobian
from torch.func import functional_call

from alternet.data.augment import PAPER_CIFAR, Augmentation
from alternet.data.image_batches import Batches
from alternet.instruments.hessian import Hessian
from alternet.loss.parameters import decayed
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
    m = Hessian().measure(subject(NETWORKS["vit"]), data(20))
    assert (m.table["eigenvalue"].abs() > m.table["residual"]).all()  # or some would count as neither
    pool, rows = m.table["eigenvalue"], m.tables["summary"].set_index("metric")
    assert rows["value"].to_dict() == pytest.approx(
        {
            "nep": (pool < 0).mean(),
            "ape": pool[pool > 0].mean(),
            "largest": pool.groupby(m.table["batch"]).max().mean(),
        }
    )
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()


def curvature_by_hand(net: Subject, batches: Batches) -> Tensor:
    """Jᵀ·(∂²ℓ/∂z²)·J of the NLL, from the whole Jacobian and the softmax's covariance."""
    images, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    model, x = copy.deepcopy(net.model).double().eval(), ((images - 0.5) / 0.25).double()
    names = [name for name, _ in model.named_parameters()]

    def logits(*parameters: Tensor) -> Tensor:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    parameters = tuple(p.detach() for p in model.parameters())
    parts: Any = jacobian(logits, parameters)
    whole = torch.cat([part.flatten(2) for part in parts], dim=2)
    p = logits(*parameters).softmax(1)
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    weight = targets.double().sum(1) if targets.ndim == 2 else torch.ones(len(p), dtype=torch.float64)
    return torch.einsum("nkp,nkl,nlq,n->pq", whole, covariance, whole, weight) / len(images)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_two_parts_of_the_hessian_are_those_of_the_whole_jacobian(kind: str) -> None:
    net, batches = subject(NETWORKS[kind]), data(4)
    decays = [name in decayed(net.model) for name, p in net.model.named_parameters() for _ in range(p.numel())]
    newton = curvature_by_hand(net, batches) + 0.05 * torch.diag(torch.tensor(decays).double())
    rest = whole(kind) - newton
    parts = {}
    for part, matrix in {"gauss-newton": newton, "residual": rest}.items():
        table = Hessian(**EXACT, of=part).measure(net, batches).table
        np.testing.assert_allclose(table["eigenvalue"], eigenvalues(matrix), rtol=1e-6)
        parts[part] = table
    assert (parts["gauss-newton"]["eigenvalue"] > 0).all() and (parts["residual"]["eigenvalue"] < 0).any()
    again = Hessian(**EXACT, of="gauss-newton", micro_batch=3).measure(net, batches).table
    np.testing.assert_allclose(again["eigenvalue"], parts["gauss-newton"]["eigenvalue"], rtol=1e-6)


def test_a_product_with_the_residual_costs_two() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(4)
    one, two = (Hessian(max_products=4, of=of).measure(net, batches).table for of in ("gauss-newton", "residual"))
    assert set(one["products"]) == {4} and set(two["products"]) == {8}


@pytest.mark.slow
def test_the_overlap_is_the_squared_cosine_of_gradient_and_eigenvector() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(4)
    function, parameters = loss_by_hand(net, batches, 0.05, "textbook")
    gradient = torch.cat([g.flatten() for g in torch.func.grad(function)(parameters).values()])
    values, vectors = torch.linalg.eigh(whole("cnn"))
    order = values.abs().argsort(descending=True)[:5]
    expected = (vectors[:, order].T @ gradient / gradient.norm()).square()
    table = Hessian(**EXACT).measure(net, batches).table
    np.testing.assert_allclose(table["overlap"], expected, rtol=1e-5, atol=1e-9)


def test_what_is_certified_says_so_and_what_it_cost() -> None:
    net, batches = subject(NETWORKS["cnn"]), data(4)
    bare, checked = (Hessian(certify=certify).measure(net, batches).table for certify in (False, True))
    assert set(bare["certified"]) == set(bare["checking"]) == {0}
    assert set(checked["certified"]) == {1} and (checked["checking"] > 0).all()
    assert (checked["products"] == bare["products"] + checked["checking"]).all()


def test_copies_of_an_eigenvalue_are_counted() -> None:
    """Logistic regression with equal probabilities has each eigenvalue K − 1 times."""
    net = subject(Softmax)
    for parameter in net.model.parameters():
        nn.init.zeros_(parameter)
    batches = data(30, 30, side=2, mixed=False)
    settings: dict[str, Any] = {"weight_decay": 0.0, "augment": "none", "batch_size": 30, "k": 4}
    once, each = (Hessian(**settings, certify=certify).measure(net, batches).table for certify in (False, True))
    first, second, third, fourth = each["eigenvalue"]
    assert (
        first == pytest.approx(second, rel=0.01) and third == pytest.approx(fourth, rel=0.01) and second > 1.05 * third
    )
    assert once["eigenvalue"][1] < 0.95 * first
    assert set(each["certified"]) == {1}


def test_what_rounding_makes_negative_is_not_counted() -> None:
    """The loss of logistic regression is convex, and two images a batch leave most of its eigenvalues at zero."""
    net, batches = subject(Softmax), data(10, 2, side=2, mixed=False).frozen(Augmentation(), seed=0)
    settings: dict[str, Any] = {"weight_decay": 0.0, "k": 12, "certify": False, "precision": "float64"}
    certain, paper = (Hessian(**settings, negative=rule).measure(net, batches) for rule in ("certain", "paper"))
    assert certain.table.equals(paper.table)
    assert (paper.table["eigenvalue"] < 0).any() and paper.table["eigenvalue"].min() > -1e-9
    one, other = (m.tables["summary"].set_index("metric").loc["nep", "value"] for m in (certain, paper))
    assert one == 0 and other == (paper.table["eigenvalue"] < 0).mean()
    assert Hessian(convention="paper").negative == "paper"


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
        batches = Batches.of(torch.rand(4, 3, 24, 24), torch.arange(4), classes=tuple("abcde"))
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
