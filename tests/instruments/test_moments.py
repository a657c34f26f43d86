"""Moments: they add up, and give the mean and its error without cancellation."""

import numpy as np
import pytest
import torch

from alternet.instruments.moments import mean_and_error, moments, require_finite


def test_numpy_over_any_split():
    values = torch.randn(23, 4, generator=torch.Generator().manual_seed(0)) + 50
    total = sum((moments(part) for part in values.split(5)), torch.zeros(3, 4, dtype=torch.float64))
    mean, error = mean_and_error(total)
    each = values.double().numpy()
    np.testing.assert_allclose(mean.numpy(), each.mean(0), rtol=1e-13)
    np.testing.assert_allclose(error.numpy(), each.std(0, ddof=1) / np.sqrt(23), rtol=1e-9)


def test_equal_values_have_no_error_and_none_has_no_mean():
    assert mean_and_error(moments(torch.full((9,), 0.1)))[1] == pytest.approx(0, abs=1e-9)
    assert all(value.isnan() for value in mean_and_error(moments(torch.empty(0))))
    assert mean_and_error(moments(torch.ones(1)))[1].isnan()


def test_what_is_not_finite():
    require_finite(torch.ones(3), tap="a")
    with pytest.raises(ValueError, match="feature map at 'a'"):
        require_finite(moments(torch.tensor([1.0, torch.inf])), tap="a")
