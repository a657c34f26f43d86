"""Fourier heat map: where the energy of a wave is, sums by the definition, the symmetry of the map, whom it spares."""

import cmath
import math

import numpy as np
import pytest
import torch
from tests.instruments.perturbed_networks import Constant, Detail, Seen, subject
from torch import nn

import alternet
from alternet.data.image_batches import Batches
from alternet.instruments.catalogue import instrument
from alternet.instruments.fourier_heatmap import FourierHeatmap
from alternet.instruments.fourier_heatmap.measure import aliases, directions, signs, wave
from alternet.probe.probe import Probe

SIZES = [(8, 8), (7, 7), (6, 9), (9, 6), (5, 4), (1, 6), (5, 1), (2, 2)]


def data(height=6, width=6, n=6, channels=3, batch_size=6, classes=2):
    images = torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(3))
    return Batches.of(images, torch.arange(n) % classes, batch_size=batch_size)


def added(batches, **settings):
    """What a model is shown beside the images, [waves, n, c, h, w], in the order of the items."""
    model = Seen()
    FourierHeatmap(**settings).measure(subject(model), batches)
    seen = torch.cat(tuple(model.images)[:-1])  # the last pass is that which tells the architecture
    seen = seen.unflatten(0, (-1, batches.images))
    return seen[1:] - seen[:1]


def slow_power(image):
    """|F|² of one image [h, w], every wave by its sums."""
    h, w = image.shape
    return {
        (a, b): abs(
            sum(
                float(image[y, x]) * cmath.exp(-2j * math.pi * (a * y / h + b * x / w))
                for y in range(h)
                for x in range(w)
            )
        )
        ** 2
        for a in range(h)
        for b in range(w)
    }


@pytest.mark.parametrize("size", SIZES)
def test_a_wave_has_the_energy_1_at_its_direction_and_its_mirror_image_alone(size):
    h, w = size
    for ky in range(-(h // 2), h // 2 + 1):
        for kx in range(-(w // 2), w // 2 + 1):
            if (ky % h, kx % w) == (0, 0):
                continue
            one = wave(h, w, (ky, kx)).double()
            assert one.square().mean().item() == pytest.approx(1, abs=1e-6)
            power = torch.fft.fft2(one).abs().square() / (h * w) ** 2
            at = {(ky % h, kx % w), (-ky % h, -kx % w)}
            for place in at:
                assert power[place].item() == pytest.approx(1 / len(at), abs=1e-6)
                power[place] = 0
            assert power.max() < 1e-12


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (4, 3)])
def test_what_is_added_by_the_definition(size):
    waves, (h, w) = directions(*size, side=0), size
    noise = added(data(*size, n=2), strength=0.1)
    assert len(noise) == len(waves)
    for part, (ky, kx) in zip(noise, waves, strict=True):
        power = slow_power(part[1, 2])
        at = {(ky % h, kx % w), (-ky % h, -kx % w)}
        assert {place for place, value in power.items() if value > 1e-8} == at
        rms = part.square().mean((2, 3)).sqrt()
        torch.testing.assert_close(rms, torch.full_like(rms, 0.1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", [0, 1, 2, 50])
@pytest.mark.parametrize("size", SIZES)
def test_every_direction_is_measured_once_and_stands_wherever_it_is_the_same_wave(size, side):
    tall, wide = (min(side or 99, length // 2) for length in size)
    whole = {(y, x) for y in range(-tall, tall + 1) for x in range(-wide, wide + 1)} - {(0, 0)}
    rows = [place for one in directions(*size, side=side) for place in aliases(*size, one, side=side)]
    assert len(rows) == len(set(rows))
    assert set(rows) == whole
    for one in directions(*size, side=side):
        for place in aliases(*size, one, side=side):
            mine, other = wave(*size, one), wave(*size, place)
            spectra = [torch.fft.fft2(each.double()).abs() for each in (mine, other)]
            torch.testing.assert_close(*spectra, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("size", "waves"), [((32, 32), 513), ((7, 7), 24), ((6, 9), 27)])
def test_how_many_waves_there_are(size, waves):
    """Half of all frequencies, but all of those that are their own mirror image, less the zero frequency."""
    assert len(directions(*size, side=0)) == waves
    h, w = size
    own = (2 - h % 2) * (2 - w % 2)
    assert waves == (h * w - own) // 2 + own - 1


def test_mirrored_rows_are_equal_and_the_table_is_a_map_row_by_row():
    torch.manual_seed(0)
    net = subject(nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 2)))
    table = FourierHeatmap(strength=0.3).measure(net, data(6, 5, n=40)).table
    expected = [(x / 2.5, y / 3) for y in range(-3, 4) for x in range(-2, 3) if (x, y) != (0, 0)]
    np.testing.assert_allclose(table[["fx", "fy"]], expected)
    rows = {
        (round(r.fx, 6), round(r.fy, 6)): (r.accuracy, r.delta_accuracy, r.standard_error) for r in table.itertuples()
    }
    assert all(rows[-fx, -fy] == rows[fx, fy] for fx, fy in rows)
    assert all(rows[fx, -fy] == rows[fx, fy] for fx, fy in rows if abs(fy) == 1)
    assert len(set(rows.values())) > 3


def test_side_keeps_the_middle_of_the_map():
    torch.manual_seed(0)
    net, images = subject(nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 2))), data(n=30)
    whole, middle = (FourierHeatmap(strength=0.3, side=side).measure(net, images).table for side in (0, 2))
    kept = whole[(whole["fx"].abs() < 0.9) & (whole["fy"].abs() < 0.9)].reset_index(drop=True)
    assert len(middle) == 24
    assert kept.equals(middle)


def test_scores_and_errors_by_a_loop():
    torch.manual_seed(0)
    net = subject(nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 4, 4)), mean=(0.5,) * 3, std=(0.3,) * 3)
    ((images, targets),) = whole = data(5, 4, n=23, classes=4, batch_size=23)
    noise = added(whole, strength=0.2)
    table = FourierHeatmap(strength=0.2).measure(net, data(5, 4, n=23, classes=4, batch_size=10)).table
    with Probe(net, taps=[]) as probe:
        clean = (probe.logits(images).argmax(1) == targets).double().numpy()
        for (ky, kx), part in zip(directions(5, 4, side=0), noise, strict=True):
            right = (probe.logits(images + part).argmax(1) == targets).double().numpy()
            row = table[np.isclose(table["fx"], kx / 2) & np.isclose(table["fy"], ky / 2.5)]
            difference = right - clean
            expected = [right.mean(), difference.mean(), difference.std(ddof=1) / math.sqrt(23)]
            np.testing.assert_allclose(row.iloc[0, 3:6].astype(float), expected, rtol=1e-5, atol=1e-12)
    assert (table["standard_error"] > 0).any()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_signs_belong_to_the_seed_the_wave_the_place_and_the_channel(channels):
    one = added(data(channels=channels, n=8, batch_size=8), side=1)
    ratio = one / (0.05 * torch.stack([wave(6, 6, each) for each in directions(6, 6, side=1)]))[:, None, None]
    drawn = ratio.nanmedian(-1).values.nanmedian(-1).values
    torch.testing.assert_close(drawn.abs(), torch.ones_like(drawn), rtol=0, atol=1e-3)
    assert len(torch.unique(drawn.round().transpose(0, 1).flatten(1), dim=0)) > 6 - (channels == 1) * 3
    if channels > 1:
        assert (drawn.round().std(2) > 0).any()
    torch.testing.assert_close(added(data(channels=channels, n=3), side=1), one[:, :3], rtol=0, atol=1e-6)
    assert not torch.allclose(added(data(channels=channels, n=8, batch_size=8), side=1, seed=1), one, atol=1e-3)


def test_signs_are_fair():
    mean = signs(3, range(4000)).mean((0, 2, 3))
    assert mean.abs().max() < 4 / math.sqrt(4000)


def test_batches_do_not_matter():
    torch.manual_seed(0)
    net = subject(nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 2)))
    tables = [FourierHeatmap(strength=0.2, side=2).measure(net, data(n=11, batch_size=b)).table for b in (1, 4, 11)]
    assert tables[0].equals(tables[2])
    assert tables[1].equals(tables[2])


def test_a_model_that_does_not_look_is_unmoved():
    table = FourierHeatmap(strength=1.0).measure(subject(Constant()), data()).table
    assert len(table) == 48
    assert set(table["accuracy"]) == {0.5}
    assert set(table["delta_accuracy"]) == set(table["standard_error"]) == {0.0}


def test_a_model_that_sees_one_wave_is_moved_by_that_alone():
    flat = Batches.of(torch.full((8, 1, 6, 6), 0.5), torch.zeros(8, dtype=torch.int64), classes=("flat", "detail"))
    table = FourierHeatmap(strength=0.05).measure(subject(Detail()), flat).table
    corner = (table["fx"].abs() == 1) & (table["fy"].abs() == 1)
    assert corner.sum() == 4
    assert set(table["delta_accuracy"][corner]) == {-1.0}
    assert set(table["delta_accuracy"][~corner]) == {0.0}


def test_strength_nothing_changes_nothing_bit_for_bit():
    assert torch.equal(added(data(), strength=0), torch.zeros(19, 6, 3, 6, 6))


def test_the_sum_is_not_clipped():
    white = Batches.of(torch.ones(4, 1, 6, 6), torch.tensor([0, 1, 0, 1]))
    assert added(white, strength=0.3, side=1).amax((2, 3, 4)).min() > 0.25


def test_one_image_has_no_standard_error():
    table = FourierHeatmap(side=1).measure(subject(Constant()), data(n=1, classes=1)).table
    assert table["standard_error"].isna().all()


def test_images_of_one_pixel_are_refused_before_anything_is_measured():
    model = Seen()
    with pytest.raises(ValueError, match="fourier_heatmap got images of one pixel, which hold no wave"):
        FourierHeatmap().measure(subject(model), data(1, 1))
    assert not model.images


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": -0.1}, "strength=-0.1, expected a number of at least 0"),
        ({"side": -1}, "side=-1, expected a number of at least 0"),
        ({"side": 1.5}, "side=1.5, expected an integer"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        FourierHeatmap(**settings)


def test_it_is_found_by_its_name():
    assert instrument("fourier-heatmap") is FourierHeatmap is alternet.FourierHeatmap
