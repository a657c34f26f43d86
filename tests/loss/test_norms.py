"""Norms of long vectors against double precision."""

import pytest
import torch

from alternet.loss.norms import ROW, norm, unit

UNEVEN = torch.cat([torch.ones(1), torch.full((3 * 10**6,), 1e-4)])


@pytest.mark.parametrize("size", [0, 1, ROW - 1, ROW, 3 * ROW + 5, len(UNEVEN)])
def test_a_norm_is_that_in_double_precision(size: int) -> None:
    part = UNEVEN[:size]
    assert float(norm(part)) == pytest.approx(float(part.double().norm()), rel=1e-6)
    matrix = torch.randn(7, 300, generator=torch.Generator().manual_seed(size))
    assert float(norm(matrix.T)) == pytest.approx(float(matrix.double().norm()), rel=1e-6)


def test_single_precision_alone_would_not_do() -> None:
    exact = float(UNEVEN.double().norm())
    assert abs(float(unit(UNEVEN).double().norm()) - 1) < 1e-6
    assert abs(float(norm(UNEVEN)) / exact - 1) < 1e-6
    assert norm(UNEVEN).dtype == torch.float64 and unit(UNEVEN).dtype == torch.float32


def test_what_is_zero_stays_zero() -> None:
    assert unit(torch.zeros(5)).tolist() == [0] * 5
    assert unit(torch.full((2,), 1e-30)).tolist() == pytest.approx([0.5**0.5] * 2)
