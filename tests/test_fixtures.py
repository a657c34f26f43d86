"""What earlier versions left on the disk is read, drawn, taken up and finished as if this version had written it."""

import json
import os
from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tests.fixtures import tiny

import alternet as an

VERSIONS = sorted(path.name for path in (Path(__file__).parent / "fixtures").iterdir() if path.name[0].isdigit())
CALL = {"img_size": tiny.SIDE, "device": "cpu", "model_args": tiny.MODEL_ARGS}


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def stored(version, tmp_path, monkeypatch):
    """A copy of a version's folder, as the working folder: its results name no other place."""
    copytree(Path(__file__).parent / "fixtures" / version, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Path()
    torch.set_num_threads(threads)


def folder_of(name: str) -> Path:
    return Path(tiny.RESULTS, "trained" if name in tiny.OF_RUN else "tiny", name)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def measured_on(name: str, stored: Path) -> tuple[an.Subject, an.Batches]:
    if name in tiny.OF_RUN:
        return tiny.trained(stored), tiny.lessons(stored)
    return tiny.subject(stored), tiny.data()


ALL = tiny.INSTRUMENTS | tiny.OF_RUN


def test_every_instrument_left_a_result(stored):
    found = {measurement.instrument for measurement in an.find_measurements(tiny.RESULTS)}
    assert found == set(ALL) and len(found) == 14


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_result_is_loaded_and_drawn(stored, name):
    measurement = an.Measurement.load(folder_of(name))
    assert measurement.instrument == name and len(measurement.table)
    assert {f"{key}.csv" for key in measurement.tables} == {path.name for path in folder_of(name).glob("*.csv")}
    assert measurement.draw().axes


def test_a_result_of_several_models_is_joined(stored):
    one = an.Measurement.load(folder_of("variance"))
    assert an.Measurement.concat([one]).models == ("tiny",)


REDEFINED = {
    ("0.1.0", "calibration"): "measurement with another batch_size",  # the NLL was over images and is over batches
    ("0.1.0", "similarity"): "measurement with another version",  # errors of CKA were over batches and are over images
    ("0.1.0", "frequency_noise"): "measurement with another version",  # noise was drawn for each band
}


@pytest.mark.parametrize(("version", "name"), REDEFINED)
def test_a_result_that_is_defined_otherwise_today_is_refused(stored, version, name):
    subject, data = measured_on(name, stored)
    with pytest.raises(ValueError, match=REDEFINED[version, name]):
        ALL[name].measure(subject, data, out=tiny.RESULTS)


@pytest.mark.parametrize(
    ("version", "name"), [(version, name) for version in VERSIONS for name in ALL if (version, name) not in REDEFINED]
)
def test_a_finished_result_is_taken_up(stored, version, name):
    before = files_in(folder_of(name))
    subject, data = measured_on(name, stored)
    if name == "corruption":
        require_the_same_makers(subject, data)
    subject.model.register_forward_pre_hook(refuse)
    taken_up = ALL[name].measure(subject, data, out=tiny.RESULTS)
    for key, table in an.Measurement.load(folder_of(name)).tables.items():
        pd.testing.assert_frame_equal(taken_up.tables[key], table, check_exact=True)
    assert files_in(folder_of(name)) == before


def refuse(*_: object) -> None:
    raise AssertionError("it is measured again")


def require_the_same_makers(subject: an.Subject, data: an.Batches) -> None:
    """The pixels of a corruption come from libraries, whose versions are a part of what was measured."""
    then = an.Measurement.load(folder_of("corruption")).provenance["corruptions_by"]
    now = tiny.INSTRUMENTS["corruption"].measure(subject, data).provenance["corruptions_by"]
    if then != now:
        pytest.skip(f"corruptions were made by {then}, now by {now}")


def test_a_result_of_other_settings_is_refused(stored):
    subject, data = measured_on("calibration", stored)
    with pytest.raises(ValueError, match="another settings"):
        an.Calibration(bins=6, convention="paper").measure(subject, data, out=tiny.RESULTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.KILLED)
def test_an_unfinished_measurement_goes_on(stored, name):
    journal = Path(tiny.UNFINISHED, "tiny", name, "items.0.jsonl")
    assert len(journal.read_text().splitlines()) == 1 + 2
    fresh, resumed = tiny.subject(stored), tiny.subject(stored)
    whole = tiny.KILLED[name].measure(fresh, tiny.data())
    rest = tiny.KILLED[name].measure(resumed, tiny.data(), out=tiny.UNFINISHED)
    assert 0 < resumed.model.passes < fresh.model.passes
    assert not journal.exists() and an.Measurement.load(journal.parent).table.equals(rest.table)
    for key, table in whole.tables.items():
        measured = rest.tables[key].columns.drop("overlap", errors="ignore")  # which 0.1.0 did not measure
        table = table[measured]
        pd.testing.assert_frame_equal(
            rest.tables[key][measured], table, check_exact=same_bits(name, whole), rtol=1e-3, atol=1e-6
        )


def same_bits(name: str, fresh: an.Measurement) -> bool:
    """Whether this machine gives the very bits of the one that made the fixtures."""
    then = an.Measurement.load(folder_of(name)).table
    return then.equals(fresh.table[then.columns])


@pytest.mark.parametrize("name", tiny.KILLED)
def test_finished_items_are_not_measured_again(stored, name):
    """A journal whose rows were changed by hand shows in the result."""
    journal = Path(tiny.UNFINISHED, "tiny", name, "items.0.jsonl")
    identity, first, second = map(json.loads, journal.read_text().splitlines())
    first["rows"] = [[doubled(value) for value in row] for row in first["rows"]]
    journal.write_text("".join(json.dumps(line) + "\n" for line in (identity, first, second)))
    rest = tiny.KILLED[name].measure(tiny.subject(stored), tiny.data(), out=tiny.UNFINISHED)
    assert not rest.table.equals(an.Measurement.load(folder_of(name)).table)


def doubled(value: object) -> object:
    return 2 * value if isinstance(value, float) else value


def test_an_unfinished_measurement_of_other_settings_is_refused(stored):
    with pytest.raises(ValueError, match="half-finished measurement with other settings"):
        an.Lesion(unit="paper").measure(tiny.subject(stored), tiny.data(), out=tiny.UNFINISHED)


def test_a_finished_run_is_loaded(stored):
    subject = an.load(f"run:{tiny.FINISHED}")
    weights = load_file(stored / tiny.FINISHED / "ema.safetensors")  # where there is an average, it is what counts
    assert subject.input_size == (3, tiny.SIDE, tiny.SIDE) and subject.history == Path(tiny.FINISHED)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in subject.model.state_dict().items())
    assert subject.logits(subject.example()).shape == (2, 3)


def test_a_finished_run_is_taken_up(stored):
    before = files_in(stored / tiny.FINISHED)
    run = an.train(tiny.MODEL, tiny.IMAGES, tiny.RECIPE, tiny.FINISHED, **CALL)
    assert len(run.log) == tiny.OPTIONS["epochs"]
    assert files_in(stored / tiny.FINISHED) == before


def test_a_run_of_another_recipe_is_refused(stored):
    with pytest.raises(ValueError, match="another recipe"):
        an.train(tiny.MODEL, tiny.IMAGES, an.Recipe(**tiny.OPTIONS | {"lr": 0.1}), tiny.HALF, **CALL)


@pytest.mark.slow
def test_a_half_trained_run_goes_on_to_the_same_end(stored):
    rows = []
    an.train(tiny.MODEL, tiny.IMAGES, tiny.RECIPE, tiny.HALF, report=rows.append, **CALL)
    an.train(tiny.MODEL, tiny.IMAGES, tiny.RECIPE, "straight", **CALL)
    assert [row["epoch"] for row in rows] == [3, 4]
    straight, resumed = weights_in(stored / "straight"), weights_in(stored / tiny.HALF)
    exact = {} if straight.equal(weights_in(stored / tiny.FINISHED)) else {"rtol": 1e-3, "atol": 1e-5}
    torch.testing.assert_close(resumed, straight, **exact or {"rtol": 0, "atol": 0})
    assert sorted(os.listdir(tiny.HALF)) == sorted(os.listdir("straight"))
    assert log_of(tiny.HALF) == pytest.approx(log_of("straight"), rel=1e-3 if exact else 0, abs=0, nan_ok=True)


def weights_in(folder: Path) -> torch.Tensor:
    """All that a run kept, as one vector: the final weights, their average, and the snapshots."""
    files = [
        folder / "weights.safetensors",
        folder / "ema.safetensors",
        *sorted((folder / "snapshots").glob("*.safe*")),
    ]
    return torch.cat([tensor.flatten() for file in files for _, tensor in sorted(load_file(file).items())])


def log_of(folder: str) -> list[float]:
    """The log without the columns that hold times."""
    log = pd.read_csv(Path(folder, "log.csv"))
    return log.drop(columns=["seconds", "data_seconds", "images_per_second"]).to_numpy().flatten().tolist()
