"""Lesion: units that do nothing and everything, whole passes unit by unit, NumPy's paired errors, a kill."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
import torch
from tests.contract.networks import network
from tests.taps.tap_networks import CHANNELS, Function, Net, conv, mlp, residual
from torch import Tensor, nn

from alternet.data.augment import Augmentation
from alternet.data.image_batches import Batches
from alternet.instruments.lesion import Lesion
from alternet.instruments.lesion.measure import Sums
from alternet.measurement import Measurement
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject

ROOT = Path(__file__).parents[2]
CLASSES = 4

OTHER_CLASSES = pytest.mark.filterwarnings("ignore:.* class k of the one for class k of the other")


@pytest.fixture(autouse=True)
def seeded():
    """The same random weights every time."""
    torch.manual_seed(0)


def small(*parts: nn.Module) -> Subject:
    """A network of these parts that answers differently from image to image."""
    model = Net(nn.Sequential(*parts))
    with torch.no_grad():
        model.head.weight *= 20
        model.head.bias -= model(torch.cat([x for x, _ in data()])).mean(0)
    return Subject(model, name="net", input_size=(3, 6, 10))


def data(n: int = 23, *, batch_size: int = 8, classes: int = 5) -> Batches:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, 6, 10, generator=generator)
    targets = torch.randint(classes, (n,), generator=generator)
    return Batches.of(images, targets, classes=[str(k) for k in range(classes)], batch_size=batch_size)


def told(subject: Subject, batches: Batches) -> Batches:
    """The same images with what the model answers for labels, all but every fourth."""
    images = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        targets = subject.logits(images).argmax(1)
    targets[::4] = (targets[::4] + 1) % 5
    return Batches.of(images, targets, classes=batches.classes, batch_size=batches.batch_size)


def test_a_branch_that_is_zero_changes_nothing():
    silent = conv()
    nn.init.zeros_(silent.weight)
    nn.init.zeros_(silent.bias)
    subject = small(residual(conv()), residual(silent), residual(conv()))
    table = Lesion().measure(subject, data()).table.set_index("tap")
    zero = table.loc["body.1.branch"]
    assert (zero[["delta_accuracy", "delta_nll", "standard_error", "nll_error"]] == 0).all()
    assert (table.drop("body.1.branch")[["delta_nll", "nll_error"]] != 0).all(axis=None)


class Deciding(nn.Module):
    """The stem writes the image into the first channels; the last unit copies them to where the head reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(CLASSES, 2 * CLASSES, 1, bias=False)
        self.idle, self.deciding = nn.Conv2d(2 * CLASSES, 2 * CLASSES, 1), nn.Conv2d(2 * CLASSES, 2 * CLASSES, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        eye = torch.eye(CLASSES)[..., None, None]
        self.stem.weight.data[:CLASSES] = eye
        self.deciding.weight.data[CLASSES:, :CLASSES] = 3 * eye

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.idle(x)
        x = x + self.deciding(x)
        return x.mean((2, 3))[:, CLASSES:]


def test_without_the_unit_that_decides_accuracy_is_that_of_a_guess():
    targets = torch.tensor([0, 1, 2, 3, 0, 3, 3, 3])
    images = torch.eye(CLASSES)[targets][..., None, None].expand(-1, -1, 4, 4).clone()
    subject = Subject(Deciding(), name="deciding", input_size=(CLASSES, 4, 4))
    batches = Batches.of(images, targets, classes=list("abcd"), batch_size=3)
    idle, deciding = Lesion().measure(subject, batches).table.to_dict("records")
    right = math.log(math.exp(3) + 3) - 3
    assert (idle["accuracy"], idle["delta_accuracy"], idle["standard_error"]) == (1, 0, 0)
    assert idle["nll"] == pytest.approx(right)
    assert (deciding["accuracy"], deciding["delta_accuracy"]) == (2 / 8, -6 / 8)  # zeros: the first class, always
    assert deciding["nll"] == pytest.approx(math.log(CLASSES))
    assert deciding["delta_nll"] == pytest.approx(math.log(CLASSES) - right)
    assert deciding["standard_error"] == pytest.approx(math.sqrt(6 / 8 * 2 / 8 / 7))


def slowly(subject: Subject, batches: Batches, unit: str) -> pd.DataFrame:
    """Every unit by itself: whole passes of single images, all differences kept, NumPy's mean and deviation."""
    images, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))

    def answers(probe: Probe) -> np.ndarray:
        logits = torch.cat([probe.observe(image[None], lambda *_: None) for image in images]).double().numpy()
        shifted = logits - logits.max(1, keepdims=True)
        nll = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(shifted)), targets]
        return np.stack([logits.argmax(1) == targets.numpy(), nll])

    rows = []
    with Probe(subject, taps=[]) as probe:
        whole = answers(probe)
        for tap in (tap for tap in subject.taps if tap.silenceable):
            removal = probe.silence if unit == "branch" or tap.kind != "conv" else probe.bypass
            with removal(tap):
                without = answers(probe)
            change = without - whole
            error = change.std(1, ddof=1) / math.sqrt(len(images))
            values = (without[0].mean(), change[0].mean(), without[1].mean(), change[1].mean(), *error)
            more = np.append(change[0], [-1, 1])  # Bonett and Price: one more image lost and one won
            ends = more.mean() + np.array([-1, 1]) * 1.959964 * more.std() / math.sqrt(len(more))
            rows.append((subject.name, tap.unit, tap.name, tap.kind, tap.depth, *values, tap.stage, *ends))
    return pd.DataFrame(rows, columns=list(Lesion.spec.columns("table")))


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["branch", "paper"])
@pytest.mark.parametrize("batch_size", [1, 7, 23])
def test_whole_passes_unit_by_unit(unit, batch_size):
    block = nn.Sequential(conv(), nn.ReLU(inplace=True), conv())
    tokens = Function(
        lambda self, x: self.unit(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (6, 10)),
        unit=residual(mlp()),
    )
    subject = small(residual(conv()), tokens, residual(block), residual(conv(5)))
    batches = told(subject, data(batch_size=batch_size))
    table = Lesion(unit=unit).measure(subject, batches).table
    pd.testing.assert_frame_equal(table, slowly(subject, batches, unit), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(table["accuracy"] - table["delta_accuracy"], 17 / 23)
    assert table["standard_error"].gt(0).all()


def test_the_error_is_that_of_the_difference_not_of_either_accuracy():
    """Most images keep their answer when a unit does little, so little is left to chance."""
    branches = [conv(), conv()]
    for parameter in nn.ModuleList(branches).parameters():
        parameter.data *= 0.05
    subject = small(*map(residual, branches))
    batches = told(subject, data(200, batch_size=50))
    table = Lesion().measure(subject, batches).table
    assert table["delta_accuracy"].ne(0).all()
    unpaired = np.sqrt(2 * table["accuracy"] * (1 - table["accuracy"]) / 199)
    assert (table["standard_error"] < 0.7 * unpaired).all()
    assert Lesion().measure(subject, data(1)).table[["standard_error", "nll_error"]].isna().all(axis=None)


def test_a_unit_whose_convolution_changes_the_map_is_left_alone_and_listed():
    down = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1), nn.Upsample((6, 10)), conv())
    subject = small(residual(conv()), residual(down))
    table = Lesion(unit="paper").measure(subject, data()).table
    assert table["tap"].tolist() == ["body.0.branch", "body.1.branch"]
    numbers = ["accuracy", "delta_accuracy", "nll", "delta_nll", "standard_error", "nll_error"]
    assert table[numbers].isna().all(axis=1).tolist() == [False, True]
    assert not Lesion().measure(subject, data()).table[numbers].isna().any(axis=None)


@OTHER_CLASSES
def test_what_has_nothing_to_remove_is_refused():
    with pytest.raises(ValueError, match="'plain' has no unit that lesion could remove.*Measure a residual network"):
        Lesion().measure(network("plain-convolutions"), data())
    strided = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1), nn.Upsample((6, 10)))
    with pytest.raises(ValueError, match="'net' has no unit that lesion could remove"):
        Lesion(unit="paper").measure(small(residual(strided)), data())


@OTHER_CLASSES
def test_labels_that_accuracy_is_not_defined_for_are_refused():
    subject = small(residual(conv()))
    with pytest.raises(ValueError, match="lesion got soft labels"):
        Lesion().measure(subject, data().frozen(Augmentation(mixup=1.0)))
    with pytest.raises(ValueError, match="the label 8, but the model knows 5 classes"):
        Lesion().measure(subject, data(classes=9))
    with pytest.raises(ValueError, match="unit='block', expected one of 'branch', 'paper'"):
        Lesion(unit="block")  # pyright: ignore[reportArgumentType]


def test_without_any_readable_image_it_says_so():
    with pytest.raises(ValueError, match="gave no image to measure"):
        Lesion().open(*study()).tables([])


def test_an_answer_that_is_no_number_is_wrong_and_has_no_likelihood(tmp_path):
    """The second unit cancels what would overflow behind it."""
    cancelling = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
    cancelling.weight.data = -torch.eye(CHANNELS)[..., None, None]
    overflowing = Function(lambda self, x: (x + self.branch(x)) * 1e38 * 1e38, branch=cancelling)
    subject = small(residual(conv()), overflowing)
    batches = told(subject, data())
    first, second = Lesion().measure(subject, batches, out=tmp_path).table.to_dict("records")
    assert (second["accuracy"], second["delta_accuracy"]) == (0, pytest.approx(-17 / 23))
    assert math.isnan(second["nll"]) and math.isnan(second["nll_error"])
    assert (first["delta_accuracy"], first["delta_nll"]) == (0, 0)
    assert Measurement.load(tmp_path / "net" / "lesion").table["nll"].isna().tolist() == [False, True]


def test_units_that_come_back_in_any_order_add_up():
    row = (1, "t", "conv", 0.5, 0)
    sums = [[2, 2, 2, 2, 1, 3, -1, 1, 1, 5, 1, 1], [1, 1, 1, 1, 0, 2, -1, 1, 0, 4, 1, 1]]
    (found,) = Lesion().open(*study()).tables([Sums.of(*row, *part) for part in sums])["table"]
    without, change = np.array([1, 0, 0]), np.array([0, -1, -1])
    assert tuple(found[:4]) == row[:4] and found[10] == 0
    assert found[4:6] == (pytest.approx(without.mean()), pytest.approx(change.mean()))
    assert found[8] == pytest.approx(change.std(ddof=1) / math.sqrt(3))


def study() -> tuple[Subject, Batches]:
    """What is killed in the middle below."""
    torch.manual_seed(0)
    return small(residual(conv()), residual(conv())), data(12, batch_size=4)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A folder as a process leaves it that was killed in the third batch of three."""
    out = tmp_path_factory.mktemp("killed")
    call = [sys.executable, "-m", "tests.instruments.test_lesion", str(out)]
    assert subprocess.run(call, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    return out


def finished(out: Path) -> list[str]:
    journal = out / "net" / "lesion" / "items.0.jsonl"
    return [json.loads(line)["item"] for line in journal.read_text().splitlines()[1:]] if journal.exists() else []


@pytest.mark.slow
def test_a_killed_study_goes_on_at_the_batch_in_flight(killed, tmp_path):
    out = copytree(killed, tmp_path / "out")
    assert finished(out) == ["[0, 4]", "[4, 8]"]
    subject, batches = study()
    straight = Lesion().measure(subject, batches).table
    sizes: list[int] = []
    subject.model.get_submodule("head").register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    resumed = Lesion().measure(subject, batches, out=out).table
    pd.testing.assert_frame_equal(resumed, straight, check_exact=True)
    assert sizes.count(4) == 1 + 2  # the last batch as it is and without each unit
    assert not finished(out)


@pytest.mark.slow
def test_a_killed_study_starts_afresh_with_another_batch_size(killed, tmp_path):
    """Items are places of images, so batches of another size are not taken for those that are done."""
    subject, batches = study()
    straight = Lesion().measure(subject, batches).table
    parts = (torch.cat(part) for part in zip(*batches, strict=True))
    other = Batches.of(*parts, classes=batches.classes, batch_size=6)
    resumed = Lesion().measure(subject, other, out=copytree(killed, tmp_path / "out")).table
    pd.testing.assert_frame_equal(resumed, straight, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_killed_study_of_an_older_version_is_refused(killed, tmp_path):
    out = copytree(killed, tmp_path / "out")
    journal = out / "net" / "lesion" / "items.0.jsonl"
    head, *items = map(json.loads, journal.read_text().splitlines())
    shorter = [item | {"rows": [row[:-1] for row in item["rows"]]} for item in items]
    journal.write_text("".join(json.dumps(line) + "\n" for line in [head, *shorter]))
    with pytest.raises(ValueError, match="lesion holds rows of an older version. Give another --out"):
        Lesion().measure(*study(), out=out)


def kill_in_the_third_batch(out: Path) -> None:
    subject, batches = study()

    def kill(*_: object) -> None:
        if len(finished(out)) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    assert subject.taps
    subject.model.get_submodule("head").register_forward_hook(kill)
    Lesion().measure(subject, batches, out=out)


if __name__ == "__main__":
    kill_in_the_third_batch(Path(sys.argv[1]))
