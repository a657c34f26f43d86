"""Variance: closed forms, invariances, a NumPy loop, and the numbers of the paper's code."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from tests.instruments.one_tap import of_units, rows

from alternet.instruments.variance import Variance
from alternet.instruments.variance.measure import variances

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "instruments.npz")


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def row(x):
    """variance, sample_variance, standard_error of one batch at one tap."""
    (only,) = rows(Variance(), x)
    return np.array(only)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["even", "odd", "large"])
def test_the_papers_code(name, memory_format):
    x = torch.from_numpy(GOLDEN[f"fourier_{name}_input_seeded"]).contiguous(memory_format=memory_format)
    assert row(x)[0] == pytest.approx(GOLDEN[f"variance_{name}"].item(), abs=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 1, 1, 7), (4, 3, 2, 2), (1, 2, 3, 3)])
def test_a_numpy_loop(shape):
    x = maps(*shape) * 3 + 7
    images = x.double().numpy()
    spatial = [np.mean([np.var(channel, ddof=1) for channel in image]) for image in images]
    sample = [np.var(image, ddof=1) for image in images]
    np.testing.assert_allclose(variances(x.double()).numpy(), np.stack([spatial, sample], 1), rtol=1e-10)
    np.testing.assert_allclose(variances(x).numpy(), np.stack([spatial, sample], 1), rtol=1e-4)
    np.testing.assert_allclose(row(x)[:2], [np.mean(spatial), np.mean(sample)], rtol=1e-4)
    if len(x) > 1:
        assert row(x)[2] == pytest.approx(np.std(spatial, ddof=1) / math.sqrt(len(x)), rel=1e-4)
    else:
        assert np.isnan(row(x)[2])


@pytest.mark.parametrize("values", [1, 50, 10**6])
def test_how_many_images_are_taken_at_once_does_not_matter(values, monkeypatch):
    x = maps(5, 2, 4, 3)
    each = torch.cat([variances(image) for image in x.split(1)])
    monkeypatch.setattr("alternet.instruments.chunks.VALUES", values)
    torch.testing.assert_close(variances(x), each)


def test_constant_maps_vary_only_between_channels():
    x = torch.tensor([1.0, 5.0])[None, :, None, None].expand(1, 2, 4, 4)
    variance, sample, _ = row(x)
    assert variance == 0
    assert sample == pytest.approx(4 * 32 / 31)


def test_mean_of_k_by_k_noise_has_one_k_squareth_of_the_variance():
    x = maps(64, 8, 24, 24) * 2
    pooled = row(torch.nn.functional.avg_pool2d(x, 3))
    assert abs(pooled[0] - 4 / 9) <= 4 * pooled[2]
    assert pooled[2] < 0.01


def test_scale_and_shift():
    x = maps(2, 3, 6, 6)
    np.testing.assert_allclose(row(-3 * x), 9 * row(x), rtol=1e-5)
    np.testing.assert_allclose(row(x + 4), row(x), rtol=1e-4)


def test_a_large_mean_does_not_drown_a_small_variance():
    x = maps(2, 3, 16, 16)
    assert row(x + 1000)[0] == pytest.approx(row(x)[0], rel=1e-4)


def test_one_position_varies_nowhere():
    assert row(maps(2, 3, 1, 1))[0] == 0
    assert row(maps(2, 1, 1, 1)).tolist() == [0, 0, 0]


def test_a_map_is_not_changed():
    x = maps(2, 3, 4, 4)
    before = x.clone()
    row(x)
    assert torch.equal(x, before)


def test_a_value_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="feature map at 't0'"):
        row(torch.full((2, 1, 2, 2), torch.inf))


@pytest.mark.parametrize("batches", [1, 5])
def test_the_step_from_a_unit_to_the_next_is_paired_image_by_image(batches):
    """Images of very different contrast, of which a unit takes the same part: unpaired, the error would be large."""
    x = maps(40, 3, 6, 6) * torch.linspace(0.1, 3, 40).view(-1, 1, 1, 1)
    y = 0.9 * x + 0.01 * maps(40, 3, 6, 6, seed=1)
    first, second = (np.array(row) for row in of_units(Variance(), [x, y], batches))
    each = variances(y).double().numpy()[:, 0] - variances(x).double().numpy()[:, 0]
    error = each.std(ddof=1) / math.sqrt(40)
    reach = scipy.stats.t.ppf(0.975, 39) * error
    np.testing.assert_allclose(second[3:], [each.mean(), error, each.mean() - reach, each.mean() + reach], rtol=1e-4)
    assert second[0] - first[0] == pytest.approx(second[3], rel=1e-4)
    assert second[4] < math.hypot(first[2], second[2]) / 4
    assert np.isnan(first[3:]).all()


def test_a_step_over_too_few_images_has_no_interval():
    _, row = of_units(Variance(), [maps(29, 2, 4, 4), maps(29, 2, 4, 4, seed=1)])
    assert np.isfinite(row[3:5]).all() and np.isnan(row[5:]).all()
