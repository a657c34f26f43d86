"""What is measured of a classifier's answers, against loops and NumPy in double precision."""

from collections import Counter
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.independent.networks import (
    CLASSES,
    MEAN,
    NETWORKS,
    STD,
    answers,
    data,
    double,
    images,
    labels,
    network,
    subject,
)

from alternet.data import ArrayImages, Batches
from alternet.data.corruption_names import SEVERITIES, STANDARD
from alternet.data.eval_transform import EvalTransform
from alternet.instruments.calibration import Calibration
from alternet.instruments.corruption import Corruption
from alternet.instruments.fourier_heatmap import FourierHeatmap
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.shape_bias import ShapeBias
from alternet.seeding import derived_seed
from alternet.subject.subject import Subject

N = 33
everywhere = pytest.mark.parametrize("name", NETWORKS)
some = pytest.mark.parametrize("name", ["ViT", "padded Swin", "ResNet"])


def probabilities(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def scores(logits, targets):
    """Right or not, and −log p of the label, image by image."""
    own = probabilities(logits)[np.arange(len(targets)), targets]
    return (logits.argmax(1) == targets).astype(float), -np.log(own)


def expected_error(p, targets, bins):
    """The expected calibration error, picture by picture; its sign too."""
    count, right, sure = Counter(), Counter(), Counter()
    for each, target in zip(p, targets, strict=True):
        k = next(k for k in range(bins) if each.max() <= (k + 1) / bins + 1e-15)
        count[k] += 1
        right[k] += int(each.argmax() == target)
        sure[k] += each.max()
    gaps = {k: (sure[k] - right[k]) / len(targets) for k in count}
    return sum(map(abs, gaps.values())), gaps


@everywhere
def test_calibration(name, compare):
    m = Calibration(bins=10).measure(subject(name), data(NETWORKS[name].size, N, batch_size=8))
    found = dict(zip(m.table["metric"], m.table["value"], strict=True))
    targets = labels(N).numpy()
    logits = answers(double(network(name)), images(NETWORKS[name].size, N))
    p = probabilities(logits)
    right, nll = scores(logits, targets)
    top5 = np.mean([t in np.argsort(row)[-5:] for row, t in zip(logits, targets, strict=True)])
    brier = np.mean([((row - np.eye(CLASSES)[t]) ** 2).sum() for row, t in zip(p, targets, strict=True)])
    ece, gaps = expected_error(p, targets, 10)
    shown = sorted({*targets, *logits.argmax(1)})
    guess = logits.argmax(1)
    iou = np.mean([np.sum((guess == k) & (targets == k)) / np.sum((guess == k) | (targets == k)) for k in shown])
    said = {"instrument": "calibration", "reference": "loops over images", "on": f"{name} {NETWORKS[name]}"}
    expected = {"accuracy": right.mean(), "top5": top5, "nll": nll.mean(), "brier": brier, "ece": ece, "iou": iou}
    for metric, value in expected.items():
        compare(metric, [found[metric]], [value], most=2e-5, **said)
    assert abs(found["signed_ece"]) == pytest.approx(abs(sum(gaps.values())), abs=1e-6)


def noisy(x, number, *, bands, half_width, strength):
    """x + F⁻¹(F(δ) ⊙ M), by the complex transform of all channels in double precision."""
    n, _, h, w = x.shape
    frequency = number / (bands + 1)
    down, across = (2 * np.abs(np.fft.fftfreq(side)) for side in (h, w))
    radius = np.maximum(down[:, None], across)
    mask = np.abs(radius - frequency) <= half_width + 1e-9
    mask[0, 0] = False
    out = []
    for place in range(n):
        seed = derived_seed(0, "frequency_noise", 0, place)
        white = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed)).double().numpy()
        noise = np.fft.ifft2(np.fft.fft2(white) * mask).real
        out.append(x[place].double().numpy() + strength * noise / np.sqrt((noise**2).mean()))
    return torch.from_numpy(np.stack(out))


def of_changes(name, changed):
    """Accuracy, its change with the standard error of that, and NLL, for several changed versions of the images."""
    model, targets = double(network(name)), labels(N).numpy()
    before, _ = scores(answers(model, images(NETWORKS[name].size, N)), targets)
    columns = []
    for x in changed:
        right, nll = scores(answers(model, x), targets)
        change = right - before
        columns.append((right.mean(), change.mean(), np.std(change, ddof=1) / sqrt(N), nll.mean()))
    return np.array(columns).T


@some
def test_frequency_noise(name, compare):
    asked = {"bands": 3, "half_width": 0.15, "strength": 0.2}
    m = FrequencyNoise(**asked).measure(subject(name), data(NETWORKS[name].size, N, batch_size=8))
    x = images(NETWORKS[name].size, N)
    expected = of_changes(name, [noisy(x, number, **asked) for number in (1, 2, 3)])
    said = {"instrument": "frequency_noise", "reference": "numpy.fft, the same δ", "on": f"{name} {NETWORKS[name]}"}
    for quantity, values in zip(("accuracy", "delta_accuracy", "standard_error", "nll"), expected, strict=True):
        compare(quantity, m.table[quantity], values, most=2e-5 if quantity == "nll" else 1e-9, **said)


@some
def test_fourier_heatmap(name, compare):
    """The waves as cosines, √2·cos(a − π/4), with the signs that the instrument draws."""
    h, w = NETWORKS[name].size
    m = FourierHeatmap(side=1, strength=0.3).measure(subject(name), data((h, w), N, batch_size=8))
    x = images((h, w), N)
    rows, columns = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    changed = {}
    for ky, kx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        wave = sqrt(2) * np.cos(2 * np.pi * (ky * rows / h + kx * columns / w) - np.pi / 4)
        seeds = [derived_seed(0, "fourier_heatmap", ky, kx, place) for place in range(N)]
        signs = [torch.randint(2, (3, 1, 1), generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in seeds]
        changed[ky, kx] = x.double() + 0.3 * torch.stack(signs).double() * torch.from_numpy(wave)
    expected = dict(zip(changed, of_changes(name, changed.values()).T, strict=True))
    cells = [(round(row.fy * h / 2), round(row.fx * w / 2)) for row in m.table.itertuples()]
    of_cells = np.array([expected[k if k in expected else (-k[0], -k[1])] for k in cells if any(k)]).T
    table = m.table[[any(k) for k in cells]]
    said = {"instrument": "fourier_heatmap", "reference": "waves as cosines", "on": f"{name} {NETWORKS[name]}"}
    for quantity, values in zip(("accuracy", "delta_accuracy", "standard_error"), of_cells, strict=False):
        compare(quantity, table[quantity], values, most=1e-9, **said)


@pytest.mark.parametrize("name", ["ResNet", "ConvNeXt"])
def test_corruption(name, compare, tmp_path: Path):
    """A published folder made here: every corruption takes another part of the contrast and adds another level."""
    n, side = 24, 40
    x = (255 * images((side, side), n)).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    targets = labels(n).numpy()
    np.save(tmp_path / "labels.npy", np.tile(targets, 5))
    made = {}
    for number, corruption in enumerate(STANDARD):
        shown = [(x * (1 - 0.15 * s) + 7 * number * s / 5).clip(0, 255).astype(np.uint8) for s in SEVERITIES]
        np.save(tmp_path / f"{corruption}.npy", np.concatenate(shown))
        made |= {(corruption, s): shown[s - 1] for s in SEVERITIES}
    pictures = ArrayImages(x, targets, name="made", classes=[str(k) for k in range(CLASSES)])
    clean = Batches(dataset=pictures, transform=EvalTransform(img_size=(side, side)), order=np.arange(n), batch_size=16)
    net = Subject(network(name), name="net", input_size=(3, side, side), mean=MEAN, std=STD)
    m = Corruption(published=str(tmp_path), bins=10).measure(net, clean)

    model = double(network(name))
    values = {}
    for key, pixels in {("clean", 0): x, **made}.items():
        logits = answers(model, torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255)
        right, nll = scores(logits, targets)
        values[key] = (right.mean(), nll.mean(), expected_error(probabilities(logits), targets, 10)[0], right)
    keys = list(zip(m.table["corruption"], m.table["severity"], strict=True))
    said = {"instrument": "corruption", "reference": "NumPy on each set's arrays", "on": f"{name} {side} × {side}"}
    for place, quantity in enumerate(("accuracy", "nll", "ece")):
        compare(quantity, m.table[quantity], [values[key][place] for key in keys], most=2e-5, **said)
    summary = m.tables["summary"].set_index("metric")
    over_sets = np.mean([values[key][3] for key in made], axis=0)
    error = np.std(over_sets, ddof=1) / sqrt(n)
    row = summary.loc["mean_accuracy"]
    compare("mean_accuracy", [row["value"], row["standard_error"]], [over_sets.mean(), error], most=1e-9, **said)


@pytest.mark.parametrize("name", ["ViT", "ResNet", "Mixer"])
def test_shape_bias(name, compare):
    cues, n = ["bear", "boat", "cat"], 45
    pairs = [f"{shape}-{texture}" for shape in cues for texture in cues]
    size, targets = NETWORKS[name].size, torch.arange(n) % len(pairs)
    groups = ["bear", "boat", "cat", "oven", "knife", "car", "clock"]
    shown = Batches.of(images(size, n), targets, batch_size=8, classes=pairs)
    m = ShapeBias(classes=",".join(groups)).measure(subject(name), shown)
    logits = answers(double(network(name)), images(size, n))
    decided = Counter()
    for row, target in zip(logits, targets.tolist(), strict=True):
        shape, texture = pairs[target].split("-")
        choice = groups[int(row.argmax())]
        decided[shape, texture, "shape"] += choice == shape
        decided[shape, texture, "texture"] += choice == texture
    expected = [[decided[row.shape, row.texture, cue] for row in m.table.itertuples()] for cue in ("shape", "texture")]
    said = {"instrument": "shape_bias", "reference": "loop over images", "on": f"{name} {NETWORKS[name]}", "most": 0.0}
    compare("chose_shape", m.table["chose_shape"], expected[0], **said)
    compare("chose_texture", m.table["chose_texture"], expected[1], **said)
    different = [row for row in m.table.itertuples() if row.shape != row.texture]
    assert len(different) == len(m.table) == 6
