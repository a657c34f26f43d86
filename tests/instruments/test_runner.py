"""The runner: passes are shared, one failure costs nobody else's numbers, and models come out as they went in."""

import json
import os
from typing import ClassVar

import pandas as pd
import pytest
import torch
from tests.instruments.squares import Counted, Squares, SquaresWork, counted, five_images, spec

from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.calibration import Calibration
from alternet.instruments.fourier import Fourier
from alternet.instruments.runner import measure_each, run
from alternet.instruments.variance import Variance
from alternet.instruments.variance.measure import VarianceWork
from alternet.instruments.work import OnePass
from alternet.measurement import Measurement
from alternet.settings import settings
from alternet.subject.subject import Subject


@pytest.fixture
def subject():
    return counted()


@pytest.fixture
def batches():
    return five_images()


class FailingWork(OnePass):
    def read(self, tap, feature):
        raise RuntimeError("no such feature")

    def tables(self, sums):
        raise AssertionError


@settings
class Failing(Instrument):
    """Shares the pass of Fourier and Variance and fails in it."""

    spec: ClassVar = spec("failing", "tap")

    def open(self, subject, batches):
        return FailingWork(self, subject, batches)


class OddWork(OnePass):
    reads_features = False
    sum_of = staticmethod(lambda logits: torch.ones(1))
    rows_of = staticmethod(lambda sums: {"table": [(1.0,)]})

    def part(self, batch, readings):
        return {"x": self.sum_of(batch.logits)}

    def tables(self, sums):
        return self.rows_of(sums)


@settings
class Odd(Instrument):
    """Does what the test gives it to do."""

    spec: ClassVar = spec("odd", "value")

    def open(self, subject, batches):
        return OddWork(self, subject, batches)


def test_works_that_stream_share_one_pass(subject, batches):
    results = dict(measure_each([Fourier(), Calibration(), Variance()], subject, batches))
    assert subject.model.calls == len(batches)
    together = [result.provenance["same_pass"] for result in results.values()]  # pyright: ignore
    assert together == [["calibration", "variance"], ["fourier", "variance"], ["fourier", "calibration"]]
    for instrument, result in results.items():
        alone = instrument.measure(subject, batches)
        pd.testing.assert_frame_equal(result.table, alone.table, check_exact=True)  # pyright: ignore


class HalvedWork(OnePass):
    def part(self, batch, readings):
        return {"images": torch.tensor(float(len(batch.targets)))}

    def tables(self, sums):
        return {"table": [(int(sums["images"]),)]}


@settings
class Halved(Instrument):
    """Looks at every second batch only, of its own making."""

    spec: ClassVar = spec("halved", "images")

    def open(self, subject, batches):
        return HalvedWork(self, subject, batches.shard(0, 2))


def test_an_instrument_prepares_its_data_and_shares_no_pass_with_those_that_look_at_other_data(subject, batches):
    results = dict(measure_each([Variance(), Halved()], subject, batches))
    halved = results[Halved()]
    assert halved.table["images"].tolist() == [3]
    assert halved.provenance["data"]["fingerprint"] == batches.shard(0, 2).fingerprint != batches.fingerprint
    assert halved.provenance["same_pass"] == [] and results[Variance()].provenance["images"] == 5


def test_a_failure_costs_the_others_nothing(subject, batches, tmp_path):
    results = {
        i.spec.name: r for i, r in measure_each([Fourier(), Failing(), Variance()], subject, batches, out=tmp_path)
    }
    assert str(results["failing"]) == "no such feature"
    for name in ("fourier", "variance"):
        assert isinstance(results[name], Measurement)
        assert (tmp_path / "tiny_net" / name / "provenance.json").is_file()
    with pytest.raises(RuntimeError, match="no such feature"):
        run(Failing(), subject, batches, out=None)


def test_labels_are_missed_by_one_instrument_alone(subject):
    unlabelled = Batches.of(torch.rand(3, 3, 8, 8))
    results = {i.spec.name: r for i, r in measure_each([Calibration(), Variance()], subject, unlabelled)}
    assert "needs labels" in str(results["calibration"])
    assert isinstance(results["variance"], Measurement)


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

    class WatchingWork(VarianceWork):
        def read(self, tap, feature):
            seen.append(feature.dtype)
            return super().read(tap, feature)

    class Watching(Variance):
        def open(self, subject, batches):
            return WatchingWork(self, subject, batches)

    m = Watching().measure(subject, batches)
    assert set(seen) == {torch.float32}
    assert m.provenance["dtype"] == "bfloat16"


def test_what_an_instrument_got_wrong_is_said(subject, batches, monkeypatch):
    monkeypatch.setattr(OddWork, "sum_of", staticmethod(lambda logits: torch.ones(len(logits))))
    with pytest.raises(ValueError, match=r"sums of 'x' have the shape \(2,\) in one batch and \(1,\) in another"):
        Odd().measure(subject, batches)
    monkeypatch.undo()
    monkeypatch.setattr(OddWork, "rows_of", staticmethod(lambda sums: {"tabel": []}))
    with pytest.raises(TypeError, match=r"filled the tables \['tabel'\], declared \['table'\]"):
        Odd().measure(subject, batches)
    monkeypatch.setattr(OddWork, "rows_of", staticmethod(lambda sums: {"table": [(1, 2)]}))
    with pytest.raises(ValueError, match="columns"):
        Odd().measure(subject, batches)


def test_sums_are_added_in_double_precision(subject, monkeypatch):
    """1e8 + 1 + 1 + ... keeps every 1, which float32 would lose."""
    parts = iter([1e8] + [1.0] * 63)
    monkeypatch.setattr(OddWork, "sum_of", staticmethod(lambda logits: torch.tensor([next(parts)])))
    monkeypatch.setattr(OddWork, "rows_of", staticmethod(lambda sums: {"table": [(sums["x"],)]}))
    data = Batches.of(torch.rand(64, 3, 8, 8), batch_size=1)
    assert Odd().measure(subject, data).table["value"].item() == 1e8 + 63


def test_the_provenance_is_json_that_holds_no_machine(subject, batches, tmp_path):
    Fourier().measure(subject, batches, out=tmp_path)
    text = (tmp_path / "tiny_net" / "fourier" / "provenance.json").read_text()
    assert json.loads(text)["device"] == "cpu"
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text


@pytest.mark.parametrize(("kind", "work"), [(Odd, OddWork), (Squares, SquaresWork)])
def test_the_model_is_safe_from_careless_work(subject, batches, monkeypatch, kind, work):
    class Careless(work):
        def begin(self):
            self.subject.model.eval()
            torch.manual_seed(3)

    monkeypatch.setattr(kind, "open", lambda *given: Careless(*given))
    subject.model.train()
    state = torch.get_rng_state()
    kind().measure(subject, batches)
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
