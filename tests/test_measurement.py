"""Measurement: floats that round-trip, names that stay apart, and files that are whole or refused."""

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from alternet.measurement import PROVENANCE, Measurement, find_measurements, folder_of, keep_order

FLOATS = [0.1, 1 / 3, math.pi * 1e-300, 5e-324, 1.7976931348623157e308, -0.0]


def measurement(*models, instrument="fourier", values=FLOATS):
    table = pd.DataFrame(
        [(model, unit, f"layer.{unit}", value) for model in models for unit, value in enumerate(values)],
        columns=["model", "unit", "tap", "value"],
    )
    provenances = tuple({"instrument": instrument, "model": {"name": model}, "seed": 0} for model in models)
    return Measurement(instrument=instrument, tables={"table": table}, provenances=provenances)


def test_what_is_saved_is_loaded(tmp_path):
    m = measurement("a")
    m.save(tmp_path)
    back = Measurement.load(tmp_path / "a" / "fourier")
    pd.testing.assert_frame_equal(back.table, m.table, check_exact=True)
    assert back.provenances == m.provenances
    assert back.instrument == "fourier"


def test_a_layer_called_0_keeps_its_name(tmp_path):
    table = pd.DataFrame({"model": ["a", "a"], "tap": ["0", "1"], "kind": ["stem", "conv"], "value": [1, 2]})
    m = Measurement(instrument="x", tables={"table": table}, provenances=measurement("a", instrument="x").provenances)
    m.save(tmp_path)
    pd.testing.assert_frame_equal(Measurement.load(tmp_path / "a" / "x").table, table)


@pytest.mark.parametrize("name", ["tv:vit@a/b.pth", "NA", "null", "007", "1e5", "True", 'quote"comma,', "ünï", "=1+1"])
def test_any_name_comes_back(tmp_path, name):
    m = measurement(name)
    m.save(tmp_path)
    back = Measurement.load(folder_of(tmp_path, name, "fourier"))
    assert back.models == (name,)
    assert set(back.table["model"]) == {name}


def test_missing_values_come_back(tmp_path):
    m = measurement("a", values=[0.5, math.nan, None])
    m.save(tmp_path)
    assert Measurement.load(tmp_path / "a" / "fourier").table["value"].isna().tolist() == [False, True, True]


def test_several_models(tmp_path):
    both = Measurement.concat([measurement("a"), measurement("b")])
    assert both.models == ("a", "b")
    pd.testing.assert_frame_equal(both.of("b").table, measurement("b").table)
    assert both.of("b").provenance["model"] == {"name": "b"}
    with pytest.raises(ValueError, match="holds 2 models"):
        _ = both.provenance
    with pytest.raises(ValueError, match="No model 'c'"):
        both.of("c")
    both.save(tmp_path)
    assert [m.models for m in find_measurements(tmp_path)] == [("a",), ("b",)]


def test_two_models_never_share_a_folder(tmp_path):
    both = Measurement.concat([measurement("tv:a"), measurement("tv_a")])
    with pytest.raises(ValueError, match="would share .*tv_a.* one by one"):
        both.save(tmp_path)


def test_what_cannot_be_joined():
    with pytest.raises(ValueError, match="more than once"):
        Measurement.concat([measurement("a"), measurement("a")])
    with pytest.raises(ValueError, match=r"one instrument, got \['fourier', 'variance'\]"):
        Measurement.concat([measurement("a"), measurement("b", instrument="variance")])
    with pytest.raises(ValueError, match="got none"):
        Measurement.concat([])


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / PROVENANCE).write_text("{"),
        lambda folder: (folder / PROVENANCE).write_text("[]"),
        lambda folder: (folder / PROVENANCE).write_text("{}"),
        lambda folder: (folder / PROVENANCE).write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "table.csv").unlink(),
        lambda folder: (folder / "table.csv").write_text(""),
        lambda folder: ((folder / "table.csv").unlink(), (folder / "table.csv").mkdir()),
        lambda folder: cut(folder / "table.csv", -1),
        lambda folder: cut(folder / "table.csv", (folder / "table.csv").read_bytes().index(b"\n") + 1),
        lambda folder: cut(folder / "table.csv", (folder / "table.csv").read_bytes()[:-1].rindex(b"\n") + 1),
        lambda folder: (folder / "table.csv").write_bytes(b"model,unit\n\xff,1\n"),
        lambda folder: (folder / "table.csv").write_text('a,b\n1,2\n1,"2'),
    ],
)
def test_a_damaged_measurement_is_refused(tmp_path, damage):
    measurement("a").save(tmp_path)
    damage(tmp_path / "a" / "fourier")
    with pytest.raises(ValueError, match="damaged measurement"):
        Measurement.load(tmp_path / "a" / "fourier")


def test_an_unfinished_measurement_is_none(tmp_path):
    measurement("a").save(tmp_path)
    (tmp_path / "a" / "fourier" / PROVENANCE).unlink()
    with pytest.raises(ValueError, match="not a finished measurement"):
        Measurement.load(tmp_path / "a" / "fourier")
    with pytest.raises(ValueError, match="No finished measurement"):
        find_measurements(tmp_path)


def test_a_full_disk_costs_no_earlier_result(tmp_path, monkeypatch):
    measurement("a").save(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        measurement("b").save(tmp_path)
    monkeypatch.undo()
    (only,) = find_measurements(tmp_path)
    pd.testing.assert_frame_equal(only.table, measurement("a").table)


def test_the_provenance_is_plain_json(tmp_path):
    measurement("naïve").save(tmp_path)
    text = next(tmp_path.rglob(PROVENANCE)).read_text(encoding="utf-8")
    facts = {"instrument": "fourier", "model": {"name": "naïve"}, "seed": 0}
    types = {"model": "text", "unit": "number", "tap": "text", "value": "number"}
    table = next(tmp_path.rglob("table.csv"))
    stored = {"rows": {"table": len(FLOATS)}, "columns": {"table": types}, "sha256": {"table": checksum(table)}}
    assert json.loads(text) == facts | stored
    assert "naïve" in text


def checksum(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_table_beside_the_provenance_of_another_is_refused(tmp_path):
    """Two commands at once once left the table of one beside the provenance of the other."""
    measurement("a").save(tmp_path / "one")
    measurement("a", values=[value + 1 for value in FLOATS]).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "a" / "fourier" / "table.csv", tmp_path / "one" / "a" / "fourier")
    with pytest.raises(ValueError, match=r"table\.csv is not the table that provenance\.json was written for"):
        Measurement.load(tmp_path / "one" / "a" / "fourier")


def test_save_overwrites_no_other_measurement(tmp_path):
    first = measurement("a")
    first.save(tmp_path)
    first.save(tmp_path)  # the same again is none
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match=r"other numbers in table\.csv"):
        measurement("a", values=[9.0] * len(FLOATS)).save(tmp_path)
    (facts,) = first.provenances
    with pytest.raises(ValueError, match="a measurement with another settings"):
        replace(first, provenances=({**facts, "settings": {"bins": 5}},)).save(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("name", ["a\rb", "a\r", "\r", 'a"\rb', "a\r\nb", "a\nb", "a,b", "a;b\r,c"], ids=repr)
def test_a_name_may_hold_whatever_a_file_system_allows(tmp_path, name):
    """A carriage return once made a stored result unreadable."""
    table = pd.DataFrame({"model": ["m", "m"], "tap": [name, "plain"], "value": [1.0, 2.0]})
    m = Measurement(
        instrument="mine", tables={"table": table}, provenances=({"instrument": "mine", "model": {"name": "m"}},)
    )
    m.save(tmp_path)
    back = Measurement.load(tmp_path / "m" / "mine").table
    assert back["tap"].tolist() == [name, "plain"]
    assert back["value"].tolist() == [1.0, 2.0]


def test_words_that_look_like_numbers_stay_words(tmp_path):
    """Labels of a user's own instrument once came back as int64; the types of columns are stored beside the numbers."""
    table = pd.DataFrame({"model": ["m", "m"], "label": ["007", "1e3"], "value": [1, 2]})
    m = Measurement(
        instrument="mine", tables={"table": table}, provenances=({"instrument": "mine", "model": {"name": "m"}},)
    )
    m.save(tmp_path)
    back = Measurement.load(tmp_path / "m" / "mine")
    pd.testing.assert_frame_equal(back.table, table)
    assert "columns" not in back.provenance


def test_what_a_killed_call_left_beside_the_order_goes_with_the_next_one(tmp_path):
    left, young = (Path(tempfile.mkstemp(dir=tmp_path, prefix=".models.json.")[1]) for _ in range(2))
    os.utime(left, (0, 0))
    keep_order(tmp_path, ["a"])
    assert sorted(file.name for file in tmp_path.iterdir()) == [young.name, "models.json"]
    os.utime(young, (0, 0))
    keep_order(tmp_path, ["a"])  # also where the order stays
    assert [file.name for file in tmp_path.iterdir()] == ["models.json"]
