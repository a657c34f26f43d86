"""Runs that differ by their seed alone are one model with an interval; their tables stay."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.figures.crafted import calibration, hessian, interpolation, variance

from alternet.instruments import figures
from alternet.instruments.calibration import Calibration
from alternet.instruments.calibration.figure import overconfidence
from alternet.instruments.catalogue import instruments
from alternet.instruments.pooled import ERROR, pooled
from alternet.instruments.variance import Variance
from alternet.measurement import Measurement
from alternet.report.contents import contents
from alternet.report.gather import gather

SHIFTS = (0.0, 0.01, 0.05)


def runs(make=variance, published: str = "ViT", *shifts: float) -> Measurement:
    """Three runs of a group, and a model beside them, whose values are shifted by known amounts."""
    found = []
    for number, shift in enumerate(shifts or SHIFTS, start=1):
        one = make(published, f"a a-{number}")
        table = one.table.assign(variance=one.table["variance"] + shift) if "variance" in one.table else one.table
        facts = ({**one.provenance, "group": "a"},)
        found.append(replace(one, tables={**one.tables, "table": table}, provenances=facts))
    return Measurement.concat([*found, make("ResNet")])


def line(published: str, name: str = "") -> Measurement:
    return interpolation(name or published)


def test_the_mean_over_runs_has_the_error_of_the_runs():
    measured = runs()
    shown = pooled(measured, Variance.spec)
    assert shown.models == ("a (3 runs)", "ResNet")
    table, one = shown.of("a (3 runs)").table, measured.of("a a-1").table
    np.testing.assert_allclose(table["variance"], one["variance"] + 0.02)
    np.testing.assert_allclose(table["standard_error"], np.std(SHIFTS, ddof=1) / np.sqrt(3))
    pd.testing.assert_series_equal(table["depth"], one["depth"])
    assert table["unit"].tolist() == one["unit"].tolist()
    # what does not differ between runs has no spread: the steps
    assert (table["step_error"].dropna() < 1e-12).all()
    pd.testing.assert_frame_equal(shown.of("ResNet").table, measured.of("ResNet").table)


def test_an_interval_is_that_of_students_t():
    base = {"frequency": [0.1, 0.9], "standard_error": 0.5, "low": 0.0, "high": 1.0}
    values = {"a": [1.0, 2.0], "b": [2.0, 4.0], "c": [6.0, 9.0]}
    table = pd.concat(
        pd.DataFrame({"model": name, "frequency": base["frequency"], "delta_accuracy": both, **base})
        for name, both in values.items()
    )
    facts = tuple({"model": {"name": name}, "group": "g"} for name in values)
    made = pooled(Measurement(instrument="frequency_noise", tables={"table": table}, provenances=facts)).table
    assert made["delta_accuracy"].tolist() == [3.0, 5.0]
    error = np.array([np.std([1, 2, 6], ddof=1), np.std([2, 4, 9], ddof=1)]) / np.sqrt(3)
    np.testing.assert_allclose(made["standard_error"], error)
    np.testing.assert_allclose(made["high"] - made["delta_accuracy"], 4.302652729749462 * error)
    np.testing.assert_allclose(made["delta_accuracy"] - made["low"], 4.302652729749462 * error)


STEPS = dict.fromkeys(("step_error", "step_low", "step_high"), "step")
OWNERS = {
    ("fourier", "table"): {"standard_error": "delta_log_amplitude", **STEPS},
    ("variance", "table"): {"standard_error": "variance", **STEPS},
    ("similarity", "table"): dict.fromkeys(("standard_error", "low", "high"), "cka"),
    ("lesion", "table"): {
        **dict.fromkeys(("standard_error", "low", "high"), "delta_accuracy"),
        "nll_error": "delta_nll",
    },
    ("frequency_noise", "table"): dict.fromkeys(("standard_error", "low", "high"), "delta_accuracy"),
    ("fourier_heatmap", "table"): dict.fromkeys(("standard_error", "low", "high"), "delta_accuracy"),
    ("shape_bias", "bias"): dict.fromkeys(("low", "high"), "shape_bias"),
    ("calibration", "table"): {"standard_error": "value"},
    ("corruption", "table"): {"standard_error": "accuracy", "nll_standard_error": "nll"},
    ("corruption", "summary"): {"standard_error": "value"},
}
"""Every column of errors of what pools, and the number that it is the error of."""


def test_no_table_has_errors_that_are_not_listed_here():
    tables = {(name, key): set(one.spec.tables[key]) for name, one in instruments().items() for key in one.spec.tables
              if one.spec.pools}  # fmt: skip
    errors = {where: {name for name in names if ERROR.fullmatch(name)} for where, names in tables.items()}
    errors.pop(("calibration", "reliability"))  # edges of bins
    assert {where: names for where, names in errors.items() if names} == {key: set(own) for key, own in OWNERS.items()}


@pytest.mark.parametrize(("name", "key"), OWNERS)
def test_every_error_is_that_of_its_own_number(name: str, key: str):
    spec, draw = instruments()[name].spec, np.random.default_rng(0)
    columns = spec.tables[key]
    drawn = {column: draw.normal(size=(2, 5)) for column, facts in columns.items() if facts.type == "number"}
    rest = {column: "word" if facts.type == "text" else 1 for column, facts in columns.items() if column not in drawn}
    runs = [pd.DataFrame({"model": run, **rest, **{c: drawn[c][i] for c in drawn}}) for i, run in enumerate("ab")]
    facts = tuple({"model": {"name": run}, "group": "g"} for run in "ab")
    tables = {"table": pd.concat(runs), key: pd.concat(runs)}
    made = pooled(Measurement(instrument=name, tables=tables, provenances=facts), spec).tables[key]
    for column, of in OWNERS[name, key].items():
        (a, b), mean = drawn[of], drawn[of].mean(axis=0)
        error = np.abs(a - b) / 2
        student = 12.706204736432095  # of one degree of freedom
        ends = {"low": mean - student * error, "high": mean + student * error}
        np.testing.assert_allclose(made[column], ends.get(column.rpartition("_")[2], error), err_msg=column)


def test_the_pooled_diagram_is_that_of_all_predictions_together():
    """Of 90 and 10 predictions in a bin the mean counts each prediction once, so over-confidence is the runs' mean."""
    bins = {"bin": [0, 1], "low": [0.0, 0.5], "high": [0.5, 1.0]}
    of_run = {
        "a": {"count": [90, 10], "accuracy": [0.2, 0.9], "confidence": [0.3, 0.8]},
        "b": {"count": [0, 100], "accuracy": [np.nan, 0.5], "confidence": [np.nan, 0.7]},
    }
    reliability = pd.concat(pd.DataFrame({"model": name, **bins, **own}) for name, own in of_run.items())
    facts = tuple({"model": {"name": name}, "group": "g"} for name in of_run)
    table = pd.DataFrame({"model": list(of_run), "metric": "ece", "value": 0.1, "standard_error": np.nan})
    measured = Measurement(
        instrument="calibration", tables={"table": table, "reliability": reliability}, provenances=facts
    )
    made = pooled(measured, Calibration.spec).tables["reliability"]
    assert made["count"].tolist() == [45, 55]
    np.testing.assert_allclose(made["accuracy"], [0.2, (9 + 50) / 110])
    np.testing.assert_allclose(made["confidence"], [0.3, (8 + 70) / 110])
    each = [overconfidence(measured.of(name).tables["reliability"]) for name in of_run]
    np.testing.assert_allclose(overconfidence(made), np.mean(each))


def test_edges_of_bins_are_no_interval():
    shown = pooled(runs(calibration))
    edges = calibration("ViT").tables["reliability"]
    pd.testing.assert_series_equal(shown.of("a (3 runs)").tables["reliability"]["low"], edges["low"])


def test_runs_of_other_places_and_what_no_mean_is_of_stay_apart():
    other = variance("ResNet", "a a-4")
    mixed = Measurement.concat([runs().of("a a-1"), replace(other, provenances=({**other.provenance, "group": "a"},))])
    assert pooled(mixed).models == ("a a-1", "a a-4")
    for make in (hessian, line):  # the mean of curves has another maximum than they have
        assert figures.as_shown(runs(make)).models == ("a a-1", "a a-2", "a a-3", "ResNet")
    alone = runs(variance, "ViT", 0.0)
    assert pooled(alone) is alone


def test_figures_and_sentences_say_how_many_and_tables_keep_every_run(tmp_path: Path):
    runs().save(tmp_path)
    measurements, notes = gather([tmp_path])
    shown = contents(measurements, notes)
    (section,) = shown.sections
    assert any(line.startswith("a (3 runs)") for line in section.sentences)
    assert not any("a-2" in line for line in section.sentences)
    (table,) = section.tables
    assert table.count == len(runs().table) and "a a-2" in table.link.replace("%20", " ")
    assert [row.name for row in shown.models] == ["a a-1", "a a-2", "a a-3", "ResNet"]
    assert shown.headline == "How a and ResNet work inside"


@pytest.mark.slow
def test_a_pattern_of_runs_is_one_model_on_the_command_line(tmp_path: Path, monkeypatch, capsys):
    from alternet.cli import run

    monkeypatch.chdir(tmp_path)
    train = ["train", "-m", "test_resnet", "--data", "digits", "--recipe", "quick", "--limit", "8"]
    train += ["--set", "epochs=2", "--set", "batch_size=4", "--device", "cpu"]
    for seed in "12":
        assert run([*train, "--seed", seed, "--out", f"runs/a-{seed}"]) == 0
    data = ["--data", "digits", "--limit", "4", "--device", "cpu"]
    models = ["-m", "mine=run:runs/a-*", "-m", "way=run:runs/a-1@*", "-m", "other=run:runs/a-1"]
    assert run(["measure", "variance", *models, *data, "--out", "out"]) == 0, capsys.readouterr().err
    assert {path.name for path in Path("out").iterdir()} >= {"mine_a-1", "mine_a-2", "way_init", "way_last", "other"}
    assert run(["report", "out", "--out", "report.html"]) == 0
    assert "mine (2 runs)" in Path("report.html").read_text()
    assert run(["measure", "variance", "-m", "run:runs/b-*", *data, "--out", "out"]) == 2
    assert "No training run matches 'runs/b-*'" in capsys.readouterr().err
