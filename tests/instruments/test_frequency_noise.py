"""Frequency noise: where its energy is, the numbers of the paper's code, sums by the definition, and whom it spares."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from tests.instruments.perturbed_networks import Constant, Detail, Seen, subject
from torch import nn

from alternet.data.image_batches import Batches
from alternet.instruments.catalogue import instrument
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.frequency_noise.measure import band, of_band, white_noise
from alternet.probe.probe import Probe

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "instruments.npz")
SIZES = [(32, 32), (16, 16), (15, 15), (12, 21), (21, 12), (11, 10)]


def data(height=16, width=16, n=6, channels=3, batch_size=4, classes=2):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(n, channels, height, width, generator=generator)
    return Batches.of(images, torch.arange(n) % classes, batch_size=batch_size)


def added(batches, *, facts=None, bands=9, repeats=1, **settings):
    """The noise that a model is shown, [bands · repeats, n, c, h, w], the repeats of a band beside one another."""
    model = Seen()
    FrequencyNoise(bands=bands, repeats=repeats, **settings).measure(subject(model, **(facts or {})), batches)
    seen = torch.cat(tuple(model.images)[:-1])  # the last pass is that which tells the architecture
    noise = []
    for batch in seen.split([(1 + repeats * bands) * len(targets) for _, targets in batches]):
        clean, *noisy = batch.unflatten(0, (1 + repeats * bands, -1))
        noise.append(torch.stack(noisy) - clean)
    whole = torch.cat(noise, dim=1)
    return whole.unflatten(0, (repeats, bands)).transpose(0, 1).flatten(0, 1)


def in_band(noise, mask):
    return of_band(torch.fft.rfft2(noise), mask, noise.shape[2:])


@pytest.mark.parametrize("frequency", [0.1, 0.5, 0.9])
def test_the_papers_code(frequency):
    noise = torch.from_numpy(GOLDEN["noise_input"])
    ours = in_band(noise, band(32, 32, frequency, half_width=0.1, ring="paper")).numpy()
    np.testing.assert_allclose(ours, GOLDEN[f"noise_band_{frequency}pi"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [20, 28, 30, 32, 44, 60, 220])
def test_the_papers_ring_is_cut_off_in_radians_as_released(side):
    """2.9999999999999996 waves are 2: the code's edges, rounding included, by their number of waves."""
    for number in range(1, 10):
        f, s = number / 10 * math.pi, 0.1 * math.pi
        outer, inner = (2 * min(max(int((edge * side) / (2 * math.pi)), 0), side // 2) for edge in (f + s, f - s))
        mask = band(side, side, number / 10, half_width=0.1, ring="paper")
        assert mask.sum() == pytest.approx(outer**2 - inner**2), (side, number)


def test_the_papers_noise_has_random_signs_and_its_size_in_the_normalised_input():
    facts = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.25, 0.5)}
    whole = {"energy": "paper", "bands": 1, "half_width": 0.5, "strength": 0.7}
    noise = added(data(), facts=facts, **whole)[0]  # one band holds every wave, so it is δ itself
    torch.testing.assert_close(noise.abs(), torch.full_like(noise, 0.7), rtol=0, atol=1e-5)
    assert 0.4 < (noise > 0).float().mean() < 0.6


def slow_band(noise, frequency, half_width, ring):
    """F⁻¹(F(δ) ⊙ M) of one image [h, w], every wave by its sums."""
    h, w = noise.shape
    rows, columns = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    out = np.zeros((h, w), complex)
    for a in range(h):
        for b in range(w):
            fy, fx = 2 * min(a, h - a) / h, 2 * min(b, w - b) / w
            radius = max(fy, fx) if ring == "square" else math.sqrt(fy**2 + fx**2)
            if (a, b) != (0, 0) and frequency - half_width - 1e-9 <= radius <= frequency + half_width + 1e-9:
                wave = np.exp(2j * np.pi * (a * rows / h + b * columns / w))
                out += (noise * wave.conj()).sum() * wave / (h * w)
    return out


@pytest.mark.parametrize("ring", ["square", "round"])
@pytest.mark.parametrize("size", [(8, 8), (7, 7), (6, 9), (9, 6), (1, 5)])
def test_the_definition_on_any_grid(size, ring):
    noise = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for frequency in (0.25, 0.6, 1.0):
        ours = in_band(noise, band(*size, frequency, half_width=0.2, ring=ring).double())
        expected = slow_band(noise[1, 2].numpy(), frequency, 0.2, ring)
        assert np.abs(expected.imag).max() < 1e-12
        np.testing.assert_allclose(ours[1, 2].numpy(), expected.real, atol=1e-12)


@pytest.mark.parametrize("ring", ["square", "round"])
@pytest.mark.parametrize("size", SIZES)
def test_all_energy_is_in_the_band_and_as_much_as_asked(size, ring):
    noise = added(data(*size), ring=ring, strength=0.02)
    down, across = np.abs(np.fft.fftfreq(size[0]))[:, None] * 2, np.abs(np.fft.fftfreq(size[1])) * 2
    radius = np.maximum(down, across) if ring == "square" else np.hypot(down, across)
    power = np.abs(np.fft.fft2(noise.double().numpy())) ** 2
    for number in range(9):
        outside = np.abs(radius - (number + 1) / 10) > 0.1 + 1e-9
        assert power[number][..., outside].max() < 1e-4 * power[number].mean()
        assert power[number][..., 0, 0].max() < 1e-4 * power[number].mean()
    rms = noise.square().mean((2, 3, 4)).sqrt()
    torch.testing.assert_close(rms, torch.full_like(rms, 0.02), rtol=1e-4, atol=0)
    assert (noise.square().mean((3, 4)).std(2) > 0).all()  # scaled as a whole, not channel by channel


def test_bands_of_the_paper_have_unequal_energy():
    energy = added(data(32, 32), energy="paper").square().mean((1, 2, 3, 4))
    assert energy[8] / energy[0] > 8
    waves = [band(32, 32, k / 10, half_width=0.1, ring="paper").square().mean().item() for k in range(1, 10)]
    np.testing.assert_allclose(energy / 0.05**2, waves, rtol=0.15)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_number_of_channels_each_with_noise_of_its_own(channels):
    noise = added(data(channels=channels), bands=1)
    assert noise.shape == (1, 6, channels, 16, 16)
    flat = noise[0].transpose(0, 1).flatten(1)
    assert len(torch.unique(flat, dim=0)) == channels


def test_the_noise_of_an_image_depends_on_its_number_band_repeat_and_seed_alone():
    settings = {"bands": 2, "repeats": 2, "half_width": 0.15}  # the bands have no wave in common
    one = added(data(batch_size=6), **settings)
    torch.testing.assert_close(added(data(n=3, batch_size=3), **settings), one[:, :3], rtol=0, atol=1e-6)
    torch.testing.assert_close(added(data(n=6, batch_size=1), bands=2, half_width=0.15), one[::2], rtol=0, atol=1e-6)
    drawn = one.flatten(0, 1).flatten(1)
    likeness = torch.corrcoef(drawn) - torch.eye(len(drawn))
    assert likeness.abs().max() < 0.3
    assert not torch.allclose(added(data(batch_size=6), seed=1, **settings), one, atol=1e-3)


def test_the_noise_of_an_image_does_not_depend_on_its_company():
    whole = data(height=32, width=32, n=6, batch_size=4)
    of_all = added(whole)
    order = np.array([1, 4, 5])
    some = added(dataclasses.replace(whole, order=order))
    torch.testing.assert_close(some, of_all[:, order], rtol=0, atol=1e-6)


def test_bands_are_cut_out_of_one_draw():
    """Two halves of all waves add up to the whole, before they are scaled to one energy."""
    energy = {"energy": "paper", "strength": 1.0}
    whole = added(data(), bands=1, half_width=0.5, **energy)
    disjoint = added(data(), bands=4, half_width=0.1, **energy)  # 0.1 to 0.9
    power = np.abs(np.fft.fft2(disjoint.sum(0).double().numpy())), np.abs(np.fft.fft2(whole[0].double().numpy()))
    inside = power[0] > 0.4 * power[1]
    assert 0.5 < inside.mean() < 0.95


def test_a_model_that_does_not_look_is_unmoved():
    table = FrequencyNoise(strength=1.0).measure(subject(Constant()), data()).table
    assert table["accuracy"].tolist() == [0.5] * 9
    assert table["delta_accuracy"].tolist() == [0.0] * 9
    assert table["standard_error"].tolist() == [0.0] * 9
    most = scipy.stats.binomtest(0, 6).proportion_ci(method="exact").high  # no answer of six flipped
    np.testing.assert_allclose(table[["low", "high"]], [[-most, most]] * 9)
    expected = (math.log(1 + math.e) + math.log(1 + 1 / math.e)) / 2
    assert table["nll"].tolist() == pytest.approx([expected] * 9)


def test_a_model_that_sees_one_wave_is_moved_by_its_band_alone():
    flat = Batches.of(torch.full((8, 1, 20, 20), 0.5), torch.zeros(8, dtype=torch.int64), classes=("flat", "detail"))
    table = FrequencyNoise(strength=0.5, half_width=0.04, bands=9).measure(subject(Detail()), flat).table
    assert table["delta_accuracy"].tolist() == [0] * 9  # the wave at 1 is in none of these bands
    wide = FrequencyNoise(strength=0.5, bands=9).measure(subject(Detail()), flat).table
    assert wide["delta_accuracy"].tolist()[:8] == [0] * 8
    assert wide["delta_accuracy"].tolist()[8] < -0.3


def test_strength_nothing_changes_nothing_bit_for_bit():
    for energy in ("equal", "paper"):
        assert torch.equal(added(data(), strength=0, energy=energy), torch.zeros(9, 6, 3, 16, 16))


def test_the_sum_is_not_clipped():
    white = Batches.of(torch.ones(2, 1, 16, 16), torch.tensor([0, 1]))
    assert added(white, strength=0.3).abs().amax((1, 2, 3, 4)).min() > 0.3
    assert added(white, strength=0.3).amax((2, 3, 4)).min() > 0


def test_scores_and_errors_by_a_loop():
    torch.manual_seed(0)
    net = subject(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)), mean=(0.5,) * 3, std=(0.3,) * 3)
    ((images, targets),) = whole = data(n=23, classes=4, batch_size=23)
    noise = added(whole, bands=2, repeats=3, strength=0.2)
    table = FrequencyNoise(bands=2, repeats=3, strength=0.2).measure(net, data(n=23, classes=4, batch_size=10)).table
    with Probe(net, taps=[]) as probe:
        clean = (probe.logits(images).argmax(1) == targets).double().numpy()
        for number in range(2):
            answers = [probe.logits(images + part).double() for part in noise[3 * number : 3 * number + 3]]
            right = np.mean([(each.argmax(1) == targets).double().numpy() for each in answers], axis=0)
            nll = np.mean([nn.functional.cross_entropy(each, targets).item() for each in answers])
            difference = right - clean
            expected = [(number + 1) / 3, right.mean(), difference.mean(), nll, difference.std(ddof=1) / math.sqrt(23)]
            np.testing.assert_allclose(table.iloc[number, 1:6].astype(float), expected, rtol=1e-5)
            lost = difference.sum() / 25  # as if two more images were seen, one lost and one won
            reach = 1.959964 * math.sqrt((((difference**2).sum() + 2) / 25 - lost**2) / 25)
            np.testing.assert_allclose(table.loc[number, ["low", "high"]].astype(float), [lost - reach, lost + reach])
    assert (table["standard_error"] > 0).all()


def test_repeats_lower_the_error_of_the_draw():
    """Equal images differ in their noise alone, so k repeats divide the variance by k."""
    same = Batches.of(torch.full((400, 1, 12, 12), 0.5), torch.zeros(400, dtype=torch.int64), classes=("a", "b"))
    errors = []
    for repeats in (1, 9):
        table = FrequencyNoise(bands=1, half_width=0.5, strength=0.13, repeats=repeats).measure(subject(Detail()), same)
        errors.append(table.table["standard_error"][0])
    assert errors[0] / errors[1] == pytest.approx(3, rel=0.15)


def test_one_image_has_no_standard_error():
    table = FrequencyNoise(bands=1).measure(subject(Constant()), data(n=1, classes=1)).table
    assert np.isnan(table["standard_error"][0])


def test_a_band_without_a_wave_is_refused_before_anything_is_measured():
    model = Seen()
    with pytest.raises(ValueError, match=r"No wave on 8x8 pixels .* within 0.1π of 0.1π.*half_width=0.25 or more"):
        FrequencyNoise().measure(subject(model), data(8, 8))
    assert not model.images
    FrequencyNoise(half_width=0.25).measure(subject(model), data(8, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 0}, "bands=0, expected a number of at least 1"),
        ({"repeats": 0}, "repeats=0, expected a number of at least 1"),
        ({"strength": -0.1}, "strength=-0.1, expected a number of at least 0"),
        ({"half_width": 0.0}, "half_width=0.0, expected a number above 0"),
        ({"energy": "paper", "ring": "round"}, "the paper's ring is square"),
        ({"energy": "same"}, "one of 'equal', 'paper'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        FrequencyNoise(**settings)


def test_labels_that_the_model_does_not_know_are_refused():
    with pytest.raises(ValueError, match="label 3, but the model knows 2 classes"):
        FrequencyNoise().measure(subject(Constant()), data(classes=5))


def test_white_noise_is_gaussian():
    noise = white_noise((3, 40, 40), range(10))
    assert abs(noise.mean().item()) < 4 / math.sqrt(noise.numel())
    assert noise.var().item() == pytest.approx(1, abs=0.03)
    assert (noise.abs() < 1).float().mean().item() == pytest.approx(0.6827, abs=0.01)


def test_a_name_with_dashes_is_the_same_instrument():
    assert instrument("frequency-noise") is FrequencyNoise
