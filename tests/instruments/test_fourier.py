"""Fourier: closed forms, invariances, NumPy's full transform, and the numbers of the paper's code."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.instruments.one_tap import of_units, rows

from alternet.instruments.fourier import Fourier
from alternet.instruments.fourier.measure import (
    FLOOR,
    diagonal_log_amplitude,
    diagonal_sums,
    frequencies,
    paper_frequencies,
    radial_log_amplitude,
)

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "instruments.npz")
GRIDS = [(8, 8), (7, 7), (1, 1), (2, 2), (8, 16), (16, 8), (6, 10), (10, 6), (7, 12), (5, 3), (1, 6), (6, 1), (14, 15)]


def maps(height, width, n=2, c=3, seed=0):
    return torch.randn(n, c, height, width, generator=torch.Generator().manual_seed(seed))


def column(x, which, **settings):
    return np.array([row[which] for row in rows(Fourier(**settings), x)])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["even", "odd", "large"])
def test_the_papers_code(name, memory_format):
    x = torch.from_numpy(GOLDEN[f"fourier_{name}_input_seeded"]).contiguous(memory_format=memory_format)
    golden = GOLDEN[f"fourier_{name}_delta_log_amplitude"]
    np.testing.assert_allclose(column(x, 1, axis="paper"), golden, rtol=0, atol=1e-5)
    labels = column(x, 0, axis="paper")
    assert labels[0] == 0
    assert labels[-1] == 1
    assert len(labels) == len(golden)


def slow_diagonal(x):
    """|F(f, f)| by the definition of the transform, both axes at the frequencies of the shorter side."""
    n, _, h, w = x.shape
    side = min(h, w)
    down, across = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    out = np.empty((n, side // 2 + 1))
    for k in range(side // 2 + 1):
        wave = np.exp(-1j * np.pi * (2 * k / side) * (down + across))
        out[:, k] = np.log(np.abs((x.double().numpy() * wave).sum((2, 3))) + FLOOR).mean(1)
    return out


@pytest.mark.parametrize("grid", GRIDS)
def test_the_definition_on_any_grid(grid):
    x = maps(*grid).double()
    np.testing.assert_allclose(diagonal_log_amplitude(x).numpy(), slow_diagonal(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("grid", "steps"), [((8, 8), (1, 1)), ((7, 7), (1, 1)), ((8, 16), (1, 2)), ((12, 4), (3, 1))])
def test_numpys_two_dimensional_spectrum(grid, steps):
    x = maps(*grid).double()
    k = np.arange(min(grid) // 2 + 1)
    spectrum = np.abs(np.fft.fft2(x.numpy()))[:, :, k * steps[0], k * steps[1]]
    expected = np.log(spectrum + FLOOR).mean(1)
    np.testing.assert_allclose(diagonal_log_amplitude(x).numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("grid", GRIDS)
def test_anti_diagonals_by_a_loop_in_either_memory_layout(grid):
    x = maps(*grid)
    side = min(grid)
    expected = torch.zeros(2, 3, side)
    for row in range(grid[0]):
        for col in range(grid[1]):
            expected[:, :, (row + col) % side] += x[:, :, row, col]
    torch.testing.assert_close(diagonal_sums(x), expected)
    torch.testing.assert_close(diagonal_sums(x.contiguous(memory_format=torch.channels_last)), expected)
    tokens = x.flatten(2).transpose(1, 2).contiguous()  # as a model of tokens holds it
    torch.testing.assert_close(diagonal_sums(tokens.transpose(1, 2).unflatten(2, grid)), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("chunk", [1, 120, 250, 10**6])
def test_how_many_maps_are_laid_out_at_once_does_not_matter(chunk, memory_format, monkeypatch):
    x = maps(6, 9, n=5, c=2).contiguous(memory_format=memory_format)
    each = torch.cat([diagonal_sums(image) for image in x.split(1)])
    monkeypatch.setattr("alternet.instruments.chunks.VALUES", chunk)
    assert torch.equal(diagonal_sums(x), each)


@pytest.mark.parametrize(("side", "k"), [(8, 1), (8, 3), (8, 4), (9, 1), (9, 4)])
def test_a_grating_stands_at_its_own_frequency_alone(side, k):
    positions = torch.arange(side)[:, None] + torch.arange(side)
    grating = torch.cos(2 * torch.pi * k / side * positions) + 0.25
    delta = column(grating[None, None], 1)
    assert delta[k] == pytest.approx(math.log(4 if 2 * k == side else 2), abs=1e-4)
    assert (np.delete(delta, [0, k]) < -10).all()
    assert column(grating[None, None], 0)[k] == pytest.approx(2 * k / side)


def test_white_noise_has_half_log_two_between_complex_and_real_frequencies():
    """E log|z| of a complex Gaussian exceeds that of a real one of the same power by ½ ln 2; f = 0 and 1 are real."""
    delta, error = (column(maps(16, 16, n=64, c=64), which) for which in (1, 2))
    expected = np.full(9, math.log(2) / 2)
    expected[[0, 8]] = 0
    assert (np.abs(delta - expected) <= 4 * error).all()
    assert 0 < error[1:].max() < 0.03


def test_blur_lowers_the_high_end():
    x = maps(16, 16, n=8, c=8)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular"), 3, stride=1)
    before, after = column(x, 1), column(blurred, 1)
    transfer = np.log(np.abs((1 + 2 * np.cos(np.pi * np.array(frequencies(16)))) / 3) ** 2)  # one factor an axis
    np.testing.assert_allclose(after - before, transfer, atol=1e-3)
    assert (after[5:] < before[5:] - 1).all()


def test_scale_shift_and_constants():
    x = maps(8, 8).double() + 1
    delta = column(x, 1)
    np.testing.assert_allclose(column(1000 * x, 1), delta, atol=1e-4)
    np.testing.assert_allclose(column(x.roll((3, 5), (2, 3)), 1), delta, atol=1e-9)
    assert not np.allclose(column(x + 5, 1)[1:], delta[1:], atol=0.1)
    constant = column(torch.ones(1, 1, 8, 8), 1)
    np.testing.assert_allclose(constant[1:], math.log(FLOOR) - math.log(64), atol=1e-3)


def test_standard_error_is_that_of_the_mean_over_images():
    x = maps(8, 8, n=7)
    each = np.stack([column(x[i : i + 1], 1) for i in range(7)])
    np.testing.assert_allclose(column(x, 1), each.mean(0), atol=1e-9)
    np.testing.assert_allclose(column(x, 2), each.std(0, ddof=1) / math.sqrt(7), atol=1e-9)
    assert np.isnan(column(x[:1], 2)).all()


def test_axes():
    assert frequencies(6) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert frequencies(7) == pytest.approx([0, 2 / 7, 4 / 7, 6 / 7])
    assert paper_frequencies(56) == pytest.approx(np.linspace(0, 1, 28))
    assert paper_frequencies(7) == pytest.approx(np.linspace(0, 1, 4))
    x = maps(6, 6)
    np.testing.assert_array_equal(column(x, 1, axis="paper"), column(x, 1)[:3])
    assert column(x, 0).tolist() == frequencies(6)


def test_a_map_of_one_position_has_only_its_mean():
    assert rows(Fourier(), maps(1, 1)) == [(0.0, 0.0, 0.0)]
    assert rows(Fourier(axis="paper"), maps(1, 1)) == [(0.0, 0.0, 0.0)]


@pytest.mark.parametrize("grid", [(8, 8), (7, 7), (6, 10), (3, 2), (1, 1), (1, 5)])
def test_radial_profile_by_a_loop(grid):
    x = maps(*grid).double()
    side = min(grid)
    log_amplitude = np.log(np.abs(np.fft.fft2(x.numpy())) + FLOOR).mean(1)
    rings: dict[int, list] = {}
    for a in range(grid[0]):
        for b in range(grid[1]):
            fa, fb = min(a, grid[0] - a) / grid[0], min(b, grid[1] - b) / grid[1]
            rings.setdefault(round(math.hypot(fa, fb) * side), []).append(log_amplitude[:, a, b])
    expected = np.stack([np.mean(rings[k], axis=0) for k in range(side // 2 + 1)], axis=1)
    np.testing.assert_allclose(radial_log_amplitude(x).numpy(), expected, rtol=0, atol=1e-10)


def test_radial_profile_sees_what_the_diagonal_does_not():
    stripes = torch.cos(2 * torch.pi * 3 / 8 * torch.arange(8)).expand(8, 8)[None, None] + 1
    assert column(stripes, 1, direction="radial")[1:].argmax() == 2
    assert (column(stripes, 1)[1:] < -10).all()


def test_settings_are_checked():
    with pytest.raises(ValueError, match="axis='Paper'.*'textbook', 'paper'"):
        Fourier(axis="Paper")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="paper has only the diagonal"):
        Fourier(axis="paper", direction="radial")
    with pytest.raises(ValueError, match="no setting 'axes'. Did you mean axis"):
        Fourier.with_settings({"axes": "paper"})


def test_a_value_that_is_not_finite_is_named():
    x = maps(4, 4)
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="feature map at 't0'"):
        rows(Fourier(), x)


def test_steps_are_paired_at_every_frequency_and_between_sizes_at_the_highest_alone():
    x, y, z, point, again = (maps(side, side, n=40, seed=seed) for seed, side in enumerate((8, 8, 4, 1, 8)))
    table = of_units(Fourier(), [x, y, z, point, again])
    a, b, c = (diagonal_log_amplitude(m).double().numpy() for m in (x, y, z))
    a, b, c = (m - m[:, :1] for m in (a, b, c))
    first, second, third, *behind = np.split(np.array(table), [5, 10, 13, 14])
    assert all(np.isnan(rows[:, 3:]).all() for rows in (first, *behind))
    np.testing.assert_allclose(second[1:, 3], (b - a).mean(0)[1:], rtol=1e-4)
    np.testing.assert_allclose(second[1:, 4], (b - a).std(0, ddof=1)[1:] / math.sqrt(40), rtol=1e-4)
    ends = c[:, -1] - b[:, -1]
    assert third[2, 3:5] == pytest.approx([ends.mean(), ends.std(ddof=1) / math.sqrt(40)], rel=1e-4)
    assert np.isnan(third[:2, 3:]).all() and np.isnan(second[0, 3:]).all()
    assert (second[1:, 5] < second[1:, 3]).all() and (second[1:, 3] < second[1:, 6]).all()


@pytest.mark.parametrize("axis", ["textbook", "paper"])
def test_maps_of_as_many_but_other_frequencies_are_compared_at_the_highest_alone(axis):
    sides = (15, 14) if axis == "textbook" else (15, 16)
    first, second = (of_units(Fourier(axis=axis), [maps(sides[0], sides[0], n=40), maps(side, side, n=40, seed=1)])
                     for side in (sides[0], sides[1]))  # fmt: skip
    count = len(first) // 2
    assert len(second) == len(first) and np.isfinite([row[3] for row in first[count + 1 :]]).all()
    assert np.isnan([row[3] for row in second[count:-1]]).all() and np.isfinite(second[-1][3])


def test_the_highest_frequency_of_the_papers_axis_is_the_one_that_steps():
    x, y = maps(8, 8, n=40), maps(6, 6, n=40, seed=1)
    *_, last = of_units(Fourier(axis="paper"), [x, y])
    a, b = (diagonal_log_amplitude(m).double().numpy() for m in (x, y))
    assert last[3] == pytest.approx(((b[:, 2] - b[:, 0]) - (a[:, 3] - a[:, 0])).mean(), rel=1e-4)
