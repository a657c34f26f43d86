"""Lanczos on operators whose spectrum is known, and its residuals recomputed."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from alternet.loss.krylov import Krylov
from alternet.loss.lanczos import Eigenpairs, Lanczos

DOUBLE = torch.float64


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def symmetric(spectrum: Any, dtype: torch.dtype = DOUBLE) -> Tensor:
    values = torch.as_tensor(spectrum, dtype=DOUBLE)
    turned = torch.linalg.qr(torch.randn(len(values), len(values), dtype=DOUBLE, generator=generator())).Q
    matrix = (turned * values) @ turned.T
    return ((matrix + matrix.T) / 2).to(dtype)


def bulk(size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(size)


def found(matrix: Tensor, **settings: Any) -> Eigenpairs:
    random = generator()  # one for both: a fresh vector must not be the start again
    start = torch.randn(len(matrix), generator=random).to(matrix)
    return Lanczos(**settings)(lambda v: matrix @ v, start, generator=random)


OUTLIERS = np.concatenate([bulk(200), [30, 25, -20, 18, -40, 12]])


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        ("largest_magnitude", [-40, 30, 25, -20, 18]),
        ("largest", [30, 25, 18, 12, np.sort(bulk(200))[-1]]),
        ("both_ends", [30, 25, 18, -20, -40]),
    ],
)
def test_the_wanted_end_of_a_chosen_spectrum_is_found(which: Any, wanted: list[float], dtype: torch.dtype) -> None:
    pairs = found(symmetric(OUTLIERS, dtype), which=which, tolerance=1e-4)
    assert pairs.converged
    np.testing.assert_allclose(pairs.values, wanted, atol=40 * 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("settings", [{}, {"basis": 9}, {"max_products": 12}, {"which": "both_ends", "k": 4}])
@pytest.mark.parametrize("spectrum", [OUTLIERS, bulk(150), [0.05] * 60 + [3, 7], np.linspace(-1, 1, 7)])
def test_residuals_are_honest_and_vectors_orthonormal(spectrum: Any, settings: dict, dtype: torch.dtype) -> None:
    matrix = symmetric(spectrum, dtype)
    pairs = found(matrix, **settings)
    vectors, exact = pairs.vectors.double(), matrix.double()
    residuals = (vectors @ exact - pairs.values[:, None] * vectors).norm(dim=1)
    rounding = 200 * torch.finfo(dtype).eps * float(np.abs(spectrum).max())
    torch.testing.assert_close(pairs.residuals, residuals, rtol=0.01, atol=rounding)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(len(vectors), dtype=DOUBLE), rtol=0, atol=rounding)
    nearest = np.abs(np.asarray(spectrum)[None] - pairs.values.numpy()[:, None]).min(1)
    assert (nearest <= pairs.residuals.numpy() + rounding).all()  # some eigenvalue is within each residual
    assert pairs.converged == bool((pairs.residuals <= 1e-3 * pairs.values.abs().max()).all())


def test_what_has_not_converged_is_given_with_its_residual() -> None:
    pairs = found(symmetric(bulk(300)), max_products=6)
    assert (pairs.converged, pairs.products, len(pairs.values)) == (False, 6, 5)
    assert pairs.residuals.max() > 1e-3 * pairs.values.abs().max()
    assert len(found(symmetric(bulk(300)), max_products=2).values) == 2


def test_a_restart_bounds_the_memory_and_not_the_accuracy() -> None:
    calls = []
    matrix = symmetric(bulk(300))
    reference = np.linalg.eigvalsh(matrix.numpy())
    wanted = reference[np.argsort(-np.abs(reference))][:5]
    for basis in (8, 10, 16, 301):
        pairs = found(matrix, basis=basis, tolerance=1e-8, max_products=2000)
        np.testing.assert_allclose(pairs.values, wanted, atol=1e-10)
        calls.append(pairs.products)
    assert calls == sorted(calls, reverse=True)
    krylov = Krylov(lambda v: matrix @ v, torch.ones(300, dtype=DOUBLE), 7, generator())
    assert krylov.vectors.shape == (8, 300)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize(
    ("spectrum", "wanted", "products"),
    [
        ([0] * 40, [0] * 5, 6),
        ([1] * 40 + [2] * 6, [2] * 5, 12),
        ([1] * 40 + [2] * 3, [2, 2, 2, 1, 1], 9),
        ([0.05] * 60 + [3, 7], [7, 3, 0.05, 0.05, 0.05], 6),
        ([5, -3, 1], [5, -3, 1], 3),
        ([4], [4], 1),
    ],
)
def test_copies_are_counted_where_the_space_closes(spectrum: Any, wanted: Any, products: int, dtype: Any) -> None:
    unchecked, checked = (found(symmetric(spectrum, dtype), certify=certify) for certify in (False, True))
    for pairs in (unchecked, checked):
        np.testing.assert_allclose(pairs.values, wanted, atol=1e-5)
        assert pairs.converged
    assert unchecked.products <= products + 2 and not unchecked.certified
    assert checked.products <= products + 4 and checked.certified


def test_within_a_rich_spectrum_a_multiple_eigenvalue_is_given_once_without_the_check() -> None:
    """What the head of the file says: the start vector sees one copy, and only rounding brings the others in."""
    matrix = symmetric(np.concatenate([bulk(200), [30, 30, 30, 25, 20]]))
    unchecked, checked = (found(matrix, k=3, certify=certify) for certify in (False, True))
    assert (unchecked.converged, unchecked.certified, unchecked.checking) == (True, False, 0)
    np.testing.assert_allclose(unchecked.values, [30, 25, 20], atol=0.03)
    assert (checked.converged, checked.certified) == (True, True)
    np.testing.assert_allclose(checked.values, [30, 30, 30], atol=0.03)
    assert 0 < checked.checking < checked.products


def test_the_end_that_converges_later_is_waited_for() -> None:
    """-10 is found before 10.2 where the start has little of that, but does not take its place."""
    values = torch.as_tensor(np.concatenate([bulk(200), [50, -40, -10, 10.2]]), dtype=DOUBLE)
    for seed in range(20):
        start = torch.randn(len(values), generator=torch.Generator().manual_seed(seed)).double()
        start[values == 10.2] *= 0.1
        pairs = Lanczos(k=3, certify=False)(lambda v: values * v, start, generator=generator())
        np.testing.assert_allclose(pairs.values, [50, -40, 10.2], atol=0.06)


def test_a_cluster_is_told_apart_as_far_as_the_tolerance_goes() -> None:
    spectrum = np.concatenate([bulk(100), [30, 29.999, 29.998]])
    pairs = found(symmetric(spectrum), k=3, tolerance=1e-7)
    np.testing.assert_allclose(pairs.values, [30, 29.999, 29.998], atol=1e-6)


def test_an_operator_that_is_not_symmetric_shows_in_the_residuals() -> None:
    matrix = symmetric(OUTLIERS)
    skew = torch.randn(len(matrix), len(matrix), dtype=DOUBLE, generator=generator())
    pairs = found(matrix + 0.2 * (skew - skew.T), max_products=20)
    assert not pairs.converged
    assert pairs.residuals.max() > 0.01 * pairs.values.abs().max()


def test_the_start_of_a_space_does_not_matter_much_but_a_good_one_saves_products() -> None:
    matrix = symmetric(OUTLIERS)
    pairs = found(matrix, certify=False)
    again = Lanczos(certify=False)(lambda v: matrix @ v, pairs.vectors.sum(0), generator=generator())
    torch.testing.assert_close(again.values, pairs.values, rtol=0, atol=0.04)
    assert again.products < pairs.products
    zero = Lanczos()(lambda v: matrix @ v, torch.zeros(len(matrix), dtype=DOUBLE), generator=generator())
    torch.testing.assert_close(zero.values, pairs.values, rtol=0, atol=0.04)


def test_scipy_finds_the_same_and_needs_as_many_products() -> None:
    matrix = symmetric(bulk(300)).numpy()
    count = []

    def product(v: np.ndarray) -> np.ndarray:
        count.append(0)
        return matrix @ v

    operator = LinearOperator(matrix.shape, matvec=product, dtype=np.float64)
    start = torch.randn(300, generator=generator()).double().numpy()
    values = np.asarray(eigsh(operator, k=5, which="LM", tol=1e-3, ncv=31, v0=start, return_eigenvectors=False))
    pairs = found(torch.as_tensor(matrix), certify=False)
    np.testing.assert_allclose(pairs.values, values[np.argsort(-np.abs(values))], atol=1e-3)
    assert pairs.products <= len(count)


def test_an_operator_may_hand_out_what_it_was_given() -> None:
    start = torch.randn(30, generator=generator()).double()
    pairs = Lanczos(k=3)(lambda v: v, start, generator=generator())
    np.testing.assert_allclose(pairs.values, [1, 1, 1])
    torch.testing.assert_close(pairs.vectors @ pairs.vectors.T, torch.eye(3, dtype=DOUBLE))


def test_a_product_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="Product 1 with the operator is not finite"):
        Lanczos()(lambda v: v * float("nan"), torch.ones(9), generator=generator())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"tolerance": -1.0}, "tolerance must be at least 0"),
        ({"tolerance": float("nan")}, "tolerance must be at least 0"),
        ({"max_products": 0}, "max_products must be at least 1"),
        ({"k": 20, "basis": 22}, r"basis must be at least 23 \(20 wanted and 3 to work with\), got 22"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lanczos(**settings)


def test_vectors_of_millions_of_uneven_entries_have_length_one() -> None:
    uneven = torch.cat([torch.ones(1), torch.full((3 * 10**6,), 1e-4)])
    start = torch.randn(len(uneven), generator=generator())
    pairs = Lanczos(k=1)(lambda v: uneven * (uneven.double() @ v.double()).float(), start, generator=generator())
    assert float(pairs.values[0]) == pytest.approx(1.03, rel=1e-4)
    assert float(pairs.vectors[0].double().norm()) == pytest.approx(1, abs=1e-5)
