"""What the runner stores: results and finished items are taken up, whatever a full disk or a second writer does."""

import errno
import json
import os

import pandas as pd
import pytest
import torch
from tests.instruments.squares import Counted, Squares, SquaresWork, counted, five_images

from alternet.data.image_batches import Batches
from alternet.instruments.fourier import Fourier
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.frequency_noise.measure import FrequencyNoiseWork
from alternet.instruments.landscape import Landscape
from alternet.instruments.runner import NotStoredError
from alternet.instruments.variance import Variance
from alternet.measurement import Measurement
from alternet.storage import sole_writer
from alternet.subject.subject import Subject


@pytest.fixture
def subject():
    return counted()


@pytest.fixture
def batches():
    return five_images()


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


def test_finished_items_are_kept(subject, batches, tmp_path):
    SquaresWork.measured.clear()
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
    assert SquaresWork.measured == [0, 1, 1]


def test_interrupted_in_one_order_and_gone_on_in_another_every_image_counts_once(
    subject, batches, tmp_path, monkeypatch
):
    """Items are named by places in the order."""
    whole, rows, seen = FrequencyNoise(bands=3).measure(subject, batches), FrequencyNoiseWork.rows, []

    def stopping(work, item):
        seen.append(item)
        if len(seen) == 2:
            raise RuntimeError("stopped")
        return rows(work, item)

    monkeypatch.setattr(FrequencyNoiseWork, "rows", stopping)
    with pytest.raises(RuntimeError, match="stopped"):
        FrequencyNoise(bands=3).measure(subject, batches.shuffled(seed=0), out=tmp_path)
    resumed = FrequencyNoise(bands=3).measure(subject, batches.shuffled(seed=1), out=tmp_path)
    assert len(seen) == len(set(seen)) + 1 == 4
    pd.testing.assert_frame_equal(resumed.table, whole.table)


def half_finished(folder, identity, items):
    """A journal as a process leaves it that was killed; `identity` is what it begins with."""
    folder.mkdir(parents=True)
    lines = [{"identity": identity}, *({"item": json.dumps(item), "rows": rows} for item, rows in items.items())]
    (folder / "items.0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("row", [[0], [0, 0.0, 0.0]])
def test_rows_of_a_journal_that_are_no_records_are_refused_before_the_work(subject, batches, tmp_path, row):
    with pytest.raises(RuntimeError, match="stopped"):
        Squares(stop=2).measure(subject, batches, out=tmp_path / "now")
    (head, *_) = (tmp_path / "now" / "tiny_net" / "squares" / "items.0.jsonl").read_text().splitlines()
    half_finished(tmp_path / "tiny_net" / "squares", json.loads(head)["identity"], {(0,): [row]})
    SquaresWork.measured.clear()
    with pytest.raises(ValueError, match="squares holds rows of an older version. Give another --out") as refusal:
        Squares(stop=2).measure(subject, batches, out=tmp_path)
    assert "\n" not in str(refusal.value)
    assert SquaresWork.measured == []


@pytest.mark.parametrize("augment", ["strong", "paper"])
def test_a_journal_with_settings_in_an_older_spelling_is_taken_up(subject, batches, tmp_path, augment):
    """The identity is the one that was written when the augmentation `strong` was called `paper`."""
    with torch.no_grad():
        for parameter in subject.model.parameters():
            parameter.fill_(0.5)
    grey = Batches.of(torch.full((5, 3, 8, 8), 0.5), torch.tensor([0, 1, 2, 0, 1]), batch_size=2)
    written = "98fb326296cd482cc679c2783ad08aae2a0e9fb31e3694611ad00d2356bf1f89"
    row = ["grid", -1.0, -1.0, 7.0, 8.0, 9.0, 0.25]
    half_finished(tmp_path / "tiny_net" / "landscape", written, {("grid", 0, 0): [row]})
    m = Landscape(points=3, draws=1, augment=augment).measure(subject, grey, out=tmp_path)
    assert m.table.iloc[0, 1:].tolist() == row[1:]
    assert m.table["nll"].notna().all() and m.table["nll"].nunique() == 9
    assert m.provenance["settings"]["augment"] == "strong"


def test_a_stored_result_with_settings_in_an_older_spelling_is_taken_up(subject, batches, tmp_path):
    first = Landscape(points=3, draws=1).measure(subject, batches, out=tmp_path)
    path = tmp_path / "tiny_net" / "landscape" / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["settings"]["augment"] = "paper"
    path.write_text(json.dumps(provenance))
    calls = subject.model.calls
    for augment in ("strong", "paper"):
        again = Landscape(points=3, draws=1, augment=augment).measure(subject, batches, out=tmp_path)
        pd.testing.assert_frame_equal(again.table, first.table)
    assert subject.model.calls == calls
    with pytest.raises(ValueError, match=r"another settings \(augment: 'strong', now 'weak'\)"):
        Landscape(points=3, draws=1, augment="weak").measure(subject, batches, out=tmp_path)


def test_a_finished_measurement_leaves_no_journal(subject, batches, tmp_path):
    m = Squares().measure(subject, batches, out=tmp_path)
    assert m.table["square"].tolist() == [0.0, 1.0, 4.0, 9.0]
    assert sorted(path.name for path in (tmp_path / "tiny_net" / "squares").iterdir()) == [
        "provenance.json",
        "table.csv",
    ]
    pd.testing.assert_frame_equal(Squares().measure(subject, batches).table, m.table)


def test_what_a_kill_behind_the_last_table_left_goes_when_the_result_is_taken_up(subject, batches, tmp_path):
    first = Squares().measure(subject, batches, out=tmp_path)
    folder = tmp_path / "tiny_net" / "squares"
    whole = sorted(folder.iterdir())
    for name in (".lock", ".lock-holder", "items.0.jsonl", ".items.0.jsonl.abcdefgh"):
        (folder / name).touch()
    pd.testing.assert_frame_equal(Squares().measure(subject, batches, out=tmp_path).table, first.table)
    assert sorted(folder.iterdir()) == whole


def test_two_do_not_measure_into_one_folder_at_once(subject, batches, tmp_path):
    with sole_writer(tmp_path / "tiny_net" / "squares"):
        with pytest.raises(ValueError, match="squares is being written by process .* give another --out"):
            Squares().measure(subject, batches, out=tmp_path)
        kept = Variance().measure(subject, batches, out=tmp_path)
    Squares().measure(subject, batches, out=tmp_path)
    with sole_writer(tmp_path / "tiny_net" / "variance"):  # what is finished is not written
        pd.testing.assert_frame_equal(Variance().measure(subject, batches, out=tmp_path).table, kept.table)


def test_the_folder_is_free_again_after_a_failure(subject, batches, tmp_path, monkeypatch):
    monkeypatch.setattr(SquaresWork, "rows", full)
    with pytest.raises(OSError, match="No space left"):
        Squares().measure(subject, batches, out=tmp_path)
    with sole_writer(tmp_path / "tiny_net" / "squares"):
        pass


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
    left = iter("abcdef")  # the order of the models and the head of the journal, with their folders, and two items
    monkeypatch.setattr(os, "fsync", lambda *_: None if next(left, None) else full())
    with pytest.raises(OSError, match=r"rows of \[2\] could not be written.*No space left.*start again"):
        Squares().measure(subject, batches, out=tmp_path)
    monkeypatch.undo()
    SquaresWork.measured.clear()
    assert Squares().measure(subject, batches, out=tmp_path).table["square"].tolist() == [0.0, 1.0, 4.0, 9.0]
    assert set(SquaresWork.measured) <= {2, 3}


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(subject, batches, tmp_path, monkeypatch):
    (tmp_path / "tiny_net").write_text("a file in the way")
    with pytest.raises(OSError, match=r"The folder .*tiny_net.* cannot be written .*Give another --out"):
        Fourier().measure(subject, batches, out=tmp_path)
    assert subject.model.calls == 0
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="cannot be written .*No space left"):
        Fourier().measure(subject, batches, out=tmp_path / "other")
    assert subject.model.calls == 0
