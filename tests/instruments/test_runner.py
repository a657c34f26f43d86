"""The runner: what is stored is taken up, passes are shared, and one failure costs nobody else's numbers."""

import errno
import json
import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest
import torch
from torch import nn

from alternet.data.batches import Batches
from alternet.instruments.base import Itemised, Streaming
from alternet.instruments.calibration.measure import Calibration
from alternet.instruments.fourier.measure import Fourier
from alternet.instruments.runner import NotStoredError, measure_each, run
from alternet.instruments.variance.measure import Variance
from alternet.measurement import Measurement
from alternet.probe.predictions import Predictions
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject


class Counted(nn.Module):
    """A small residual classifier that counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        x = self.stem(x)
        return self.head((x + self.branch(x)).mean((2, 3)))


@pytest.fixture
def subject():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = Subject(Counted(), name="tiny/net", input_size=(3, 8, 8))
    _ = subject.taps
    subject.model.calls = 0  # pyright: ignore[reportArgumentType]
    return subject


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor([0, 1, 2, 0, 1])
    return Batches.of(torch.rand(5, 3, 8, 8, generator=generator), targets, batch_size=2)


@dataclass(frozen=True, kw_only=True)
class Failing(Streaming):
    """Shares the pass of Fourier and Variance and fails in it."""

    name = "failing"
    question = "?"
    columns: ClassVar = {"table": ("tap",)}
    view = Probe

    def read(self, tap, feature):
        raise RuntimeError("no such feature")

    def tables(self, taps, sums):
        raise AssertionError


@dataclass(frozen=True, kw_only=True)
class Squares(Itemised[None]):
    """Items without a model; `stop` simulates an error at one of them."""

    count: int = 4
    stop: int = -1

    name = "squares"
    question = "What are the squares?"
    columns: ClassVar = {"table": ("number", "square")}
    measured: ClassVar = []

    def view(self, subject, batches):
        return nullcontext()

    def items(self, view):
        return [(number,) for number in range(self.count)]

    def rows(self, view, item):
        if item[0] == self.stop:
            raise RuntimeError("stopped")
        self.measured.append(item[0])
        return [(item[0], torch.tensor(item[0] ** 2.0))]


@dataclass(frozen=True, kw_only=True)
class Odd(Streaming):
    """Does what the test gives it to do."""

    name = "odd"
    question = "?"
    columns: ClassVar = {"table": ("value",)}
    view = Predictions
    sum_of = staticmethod(lambda logits: torch.ones(1))
    rows_of = staticmethod(lambda sums: {"table": [(1.0,)]})

    def sums(self, readings, logits, targets):
        return {"x": self.sum_of(logits)}

    def tables(self, taps, sums):
        return self.rows_of(sums)


def test_a_stored_result_is_taken_up_without_touching_the_model(subject, batches, tmp_path):
    first = Fourier().measure(subject, batches, out=tmp_path)
    assert (tmp_path / "tiny_net" / "fourier" / "table.csv").is_file()
    calls = subject.model.calls
    subject.model.forward = None
    second = Fourier().measure(subject, batches, out=tmp_path)
    pd.testing.assert_frame_equal(first.table, second.table)
    assert subject.model.calls == calls
    assert second.provenance["seconds"] == first.provenance["seconds"]


@pytest.mark.parametrize(
    ("fact", "change"),
    [
        ("settings", lambda s, b: (Fourier(axis="paper"), s, b)),
        ("data", lambda s, b: (Fourier(), s, Batches.of(torch.zeros(2, 3, 8, 8)))),
        ("model", lambda s, b: (Fourier(), Subject(Counted(), name=s.name, input_size=s.input_size), b)),
        ("input", lambda s, b: (Fourier(), Subject(s.model, name=s.name, input_size=s.input_size,
                                                   mean=(0.1,) * 3, std=(1.0,) * 3), b)),
        ("dtype", lambda s, b: (Fourier(), Subject(s.model.double(), name=s.name, input_size=s.input_size), b)),
    ],
)  # fmt: skip
def test_another_measurement_of_that_name_is_refused(subject, batches, tmp_path, fact, change):
    before = Fourier().measure(subject, batches, out=tmp_path)
    instrument, other, data = change(subject, batches)
    expected = "another model" if fact == "dtype" else f"another {fact}"  # weights of another type are other weights
    with pytest.raises(ValueError, match=f"{expected}.*Give another --out"):
        instrument.measure(other, data, out=tmp_path)
    pd.testing.assert_frame_equal(Measurement.load(tmp_path / "tiny_net" / "fourier").table, before.table)


def test_another_batch_size_is_the_same_measurement(subject, batches, tmp_path):
    Fourier().measure(subject, batches, out=tmp_path)
    images, targets = (torch.cat(part) for part in zip(*batches, strict=True))
    Fourier().measure(subject, Batches.of(images, targets, batch_size=5), out=tmp_path)


def test_equal_views_share_one_pass(subject, batches):
    results = dict(measure_each([Fourier(), Calibration(), Variance()], subject, batches))
    assert subject.model.calls == 2 * len(batches)
    assert [result.provenance["same_pass"] for result in results.values()] == [["variance"], ["fourier"], []]  # pyright: ignore
    for instrument, result in results.items():
        alone = instrument.measure(subject, batches)
        pd.testing.assert_frame_equal(result.table, alone.table, check_exact=True)  # pyright: ignore


@dataclass(frozen=True, kw_only=True)
class Halved(Streaming):
    """Looks at every second batch only, of its own making."""

    name = "halved"
    question = "?"
    columns: ClassVar = {"table": ("images",)}
    view = Probe

    def prepare(self, batches):
        return batches.shard(0, 2)

    def sums(self, readings, logits, targets):
        return {"images": torch.tensor(float(len(targets)))}

    def tables(self, taps, sums):
        return {"table": [(int(sums["images"]),)]}


def test_an_instrument_prepares_its_data_and_shares_no_pass_with_those_that_look_at_other_data(subject, batches):
    results = dict(measure_each([Variance(), Halved()], subject, batches))
    halved = results[Halved()]
    assert halved.table["images"].tolist() == [3]
    assert halved.provenance["data"]["fingerprint"] == batches.shard(0, 2).fingerprint != batches.fingerprint
    assert halved.provenance["same_pass"] == [] and results[Variance()].provenance["images"] == 5


def test_a_failure_costs_the_others_nothing(subject, batches, tmp_path):
    results = {i.name: r for i, r in measure_each([Fourier(), Failing(), Variance()], subject, batches, out=tmp_path)}
    assert str(results["failing"]) == "no such feature"
    for name in ("fourier", "variance"):
        assert isinstance(results[name], Measurement)
        assert (tmp_path / "tiny_net" / name / "provenance.json").is_file()
    with pytest.raises(RuntimeError, match="no such feature"):
        run(Failing(), subject, batches, out=None)


def test_labels_are_missed_by_one_instrument_alone(subject):
    unlabelled = Batches.of(torch.rand(3, 3, 8, 8))
    results = {i.name: r for i, r in measure_each([Calibration(), Variance()], subject, unlabelled)}
    assert "needs labels" in str(results["calibration"])
    assert isinstance(results["variance"], Measurement)


def test_finished_items_are_kept(subject, batches, tmp_path):
    Squares.measured.clear()
    with pytest.raises(RuntimeError, match="stopped"):
        Squares(stop=2).measure(subject, batches, out=tmp_path)
    journal = tmp_path / "tiny_net" / "squares" / "items.0.jsonl"
    assert len(journal.read_text().splitlines()) == 3
    with pytest.raises(ValueError, match="half-finished measurement with other settings"):
        Squares().measure(subject, batches, out=tmp_path)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:2]) + lines[2][:-4])  # as a kill in the middle of a line leaves it
    with pytest.raises(RuntimeError, match="stopped"):
        Squares(stop=2).measure(subject, batches, out=tmp_path)
    assert Squares.measured == [0, 1, 1]


def test_a_finished_measurement_leaves_no_journal(subject, batches, tmp_path):
    m = Squares().measure(subject, batches, out=tmp_path)
    assert m.table["square"].tolist() == [0.0, 1.0, 4.0, 9.0]
    assert sorted(path.name for path in (tmp_path / "tiny_net" / "squares").iterdir()) == [
        "provenance.json",
        "table.csv",
    ]
    pd.testing.assert_frame_equal(Squares().measure(subject, batches).table, m.table)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_loses_no_number(subject, batches, tmp_path, monkeypatch):
    kept = Variance().measure(subject, batches, out=tmp_path)
    expected = Fourier().measure(subject, batches)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotStoredError, match=r"complete but could not be written .*No space left on device") as failure:
        Fourier().measure(subject, batches, out=tmp_path)
    pd.testing.assert_frame_equal(failure.value.measurement.table, expected.table)
    assert "\n" not in str(failure.value)
    monkeypatch.undo()
    pd.testing.assert_frame_equal(Variance().measure(subject, batches, out=tmp_path).table, kept.table)
    assert not list(tmp_path.rglob(".*"))


def test_a_full_disk_keeps_finished_items(subject, batches, tmp_path, monkeypatch):
    left = iter("abc")  # the head of the journal and two items
    monkeypatch.setattr(os, "fsync", lambda *_: None if next(left, None) else full())
    with pytest.raises(OSError, match=r"rows of \[2\] could not be written.*No space left.*start again"):
        Squares().measure(subject, batches, out=tmp_path)
    monkeypatch.undo()
    Squares.measured.clear()
    assert Squares().measure(subject, batches, out=tmp_path).table["square"].tolist() == [0.0, 1.0, 4.0, 9.0]
    assert set(Squares.measured) <= {2, 3}


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(subject, batches, tmp_path, monkeypatch):
    (tmp_path / "tiny_net").write_text("a file in the way")
    with pytest.raises(OSError, match=r"Cannot write to .*tiny_net.*Give another --out"):
        Fourier().measure(subject, batches, out=tmp_path)
    assert subject.model.calls == 0
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="Cannot write to .*No space left"):
        Fourier().measure(subject, batches, out=tmp_path / "other")
    assert subject.model.calls == 0


def test_pictures_that_cannot_be_read_are_counted(subject, tmp_path):
    from PIL import Image

    from alternet.data import batches as open_batches

    for number in range(3):
        Image.new("RGB", (8, 8), (90 * number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    m = Variance().measure(subject, open_batches(str(tmp_path), img_size=8))
    assert m.provenance["images"] == 3
    assert len(m.provenance["skipped"]) == 1
    assert "broken.png" in m.provenance["skipped"][0]


def test_features_of_low_precision_are_read_in_single(subject, batches):
    subject = Subject(subject.model.bfloat16(), name="low", input_size=(3, 8, 8))
    seen = []

    class Watching(Variance):
        def read(self, tap, feature):
            seen.append(feature.dtype)
            return super().read(tap, feature)

    m = Watching().measure(subject, batches)
    assert set(seen) == {torch.float32}
    assert m.provenance["dtype"] == "bfloat16"


def test_what_an_instrument_got_wrong_is_said(subject, batches, monkeypatch):
    monkeypatch.setattr(Odd, "sum_of", staticmethod(lambda logits: torch.ones(len(logits))))
    with pytest.raises(ValueError, match=r"sums of 'x' have the shape \(2,\) in one batch and \(1,\) in another"):
        Odd().measure(subject, batches)
    monkeypatch.undo()
    monkeypatch.setattr(Odd, "rows_of", staticmethod(lambda sums: {"tabel": []}))
    with pytest.raises(TypeError, match=r"filled the tables \['tabel'\], declared \['table'\]"):
        Odd().measure(subject, batches)
    monkeypatch.setattr(Odd, "rows_of", staticmethod(lambda sums: {"table": [(1, 2)]}))
    with pytest.raises(ValueError, match="columns"):
        Odd().measure(subject, batches)


def test_sums_are_added_in_double_precision(subject, monkeypatch):
    """1e8 + 1 + 1 + ... keeps every 1, which float32 would lose."""
    parts = iter([1e8] + [1.0] * 63)
    monkeypatch.setattr(Odd, "sum_of", staticmethod(lambda logits: torch.tensor([next(parts)])))
    monkeypatch.setattr(Odd, "rows_of", staticmethod(lambda sums: {"table": [(sums["x"],)]}))
    data = Batches.of(torch.rand(64, 3, 8, 8), batch_size=1)
    assert Odd().measure(subject, data).table["value"].item() == 1e8 + 63


def test_the_provenance_is_json_that_holds_no_machine(subject, batches, tmp_path):
    Fourier().measure(subject, batches, out=tmp_path)
    text = (tmp_path / "tiny_net" / "fourier" / "provenance.json").read_text()
    assert json.loads(text)["device"] == "cpu"
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text


class Careless(Predictions):
    """A view that switches modes and draws random numbers without a thought."""

    def __enter__(self):
        self.subject.model.eval()
        torch.manual_seed(3)
        return self

    def __exit__(self, *error):
        pass


def test_the_model_is_safe_from_a_careless_view(subject, batches, monkeypatch):
    monkeypatch.setattr(Odd, "view", Careless)
    subject.model.train()
    state = torch.get_rng_state()
    Odd().measure(subject, batches)
    assert subject.model.training
    assert torch.equal(torch.get_rng_state(), state)


class Caching(Counted):
    """Makes a table on its first pass and keeps it, as models with relative positions do."""

    table = None

    def forward(self, x):
        if self.table is None:
            self.table = torch.ones(3)
        return super().forward(x) * self.table


def test_a_model_measured_in_inference_mode_can_still_be_trained(batches):
    model = Caching()
    with torch.inference_mode():
        Calibration().measure(Subject(model, name="caching", input_size=(3, 8, 8)), batches)
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    assert model.stem.weight.grad is not None
