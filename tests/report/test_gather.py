"""What a report finds under its folders, and how it refuses what it cannot show."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tests.figures.crafted import calibration, fourier, variance

from alternet.instruments.training_log import EXHIBIT, panels, sentences
from alternet.measurement import Measurement, folder_of
from alternet.plotting import style
from alternet.report.gather import gather

LOG = "epoch,step,train_loss,test_accuracy\n1,84,2.5,0.3\n2,168,2.0,0.5\n"


def run(folder: Path, *, log: str = LOG, **facts: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"model": "vit_mini", "num_classes": 18, "finished": True} | facts))
    (folder / "log.csv").write_text(log)
    return folder


def test_measurements_are_grouped_by_instrument_with_all_their_models(tmp_path: Path):
    for name in ("ViT", "ResNet"):
        fourier(name).save(tmp_path)
        variance(name).save(tmp_path)
    found, notes = gather([tmp_path])
    assert {m.instrument: m.models for m in found} == {"fourier": ("ViT", "ResNet"), "variance": ("ViT", "ResNet")}
    assert notes == []
    pd.testing.assert_frame_equal(found[0].of("ViT").table, fourier("ViT").table)


def test_a_folder_given_twice_or_inside_another_counts_once(tmp_path: Path):
    fourier("ViT").save(tmp_path)
    found, notes = gather([tmp_path, tmp_path / "ViT", tmp_path / "." / "ViT" / "fourier"])
    assert [m.models for m in found] == [("ViT",)]
    assert notes == []


def test_the_same_model_measured_twice_is_kept_twice_and_said(tmp_path: Path):
    first, second = fourier("ViT").save(tmp_path / "a"), fourier("ViT").save(tmp_path / "b")
    variance("ViT").save(tmp_path / "a")
    fourier("ResNet").save(tmp_path / "a")
    found, (note,) = gather([first, second])
    names = "ViT [1]", "ViT [2]"
    assert found[0].models == (names[0], "ResNet", names[1])
    assert set(found[0].table["model"]) == set(found[0].models)
    assert found[1].models == names[:1]
    assert note == f"ViT was measured more than once: ViT [1] in {first}, ViT [2] in {second}."


def test_the_same_model_trained_twice_is_kept_twice_and_said(tmp_path: Path):
    run(tmp_path / "a")
    run(tmp_path / "b")
    variance("ViT", "vit_mini").save(tmp_path / "measured")
    found, (note,) = gather([tmp_path])
    assert {m.instrument: len(m.models) for m in found} == {"training": 2, "variance": 1}
    assert found[1].models == ("vit_mini",)
    assert note.startswith("vit_mini was trained more than once: vit_mini [1] in ")


def test_names_are_never_paths(tmp_path: Path):
    names = "run:some/runs/a", "run:other/runs/a", "resnet18@/far/away/w.pth", "my net", "hf:google/vit"
    for name in names:
        variance("ViT", name).save(tmp_path)
    facts = {**variance("ViT").provenance, "group": "run:some/seeds-*"}
    for seed in ("seeds-0", "seeds-1"):
        one = variance("ViT", f"some/seeds-* {seed}")
        model = {**facts["model"], "name": f"some/seeds-* {seed}"}
        replace(one, provenances=({**facts, "model": model},)).save(tmp_path)
    (found,), (note,) = gather([tmp_path])
    called = ("a [1]", "a [2]", "resnet18@w.pth", "my net", "hf:google/vit", "seeds-* seeds-0", "seeds-* seeds-1")
    assert found.models == called
    assert list(found.groups) == ["seeds-*"]
    assert note.startswith("a [1] is run:some/runs/a, a [2] is run:other/runs/a; alternet measure -m NAME=MODEL")


def test_a_training_log_bears_the_name_and_the_place_of_its_measured_network(tmp_path: Path):
    for name in ("a", "b", "c"):
        run(tmp_path / name)
    weights = {"first": "b/weights.safetensors", "second": "a/ema.safetensors", "early": "c/snapshots/init.safetensors"}
    for name, file in weights.items():
        one = variance("ViT", name)
        origin = {"weights": {"from": "run", "file": f"{tmp_path / file}"}}
        replace(one, provenances=({**one.provenance, "origin": origin},)).save(tmp_path / "measured")
    found, _ = gather([tmp_path])
    assert {m.instrument: m.models for m in found} == {
        "training": ("first", "second", "vit_mini"),
        "variance": ("first", "second", "early"),
    }


def test_a_run_that_tested_validation_images_is_never_given_a_test_accuracy(tmp_path: Path):
    run(tmp_path / "a")
    run(tmp_path / "b", model="vit", log=LOG.replace("test_accuracy", "validation_accuracy"))
    (found,), _ = gather([tmp_path])
    validated = found.of("vit").table
    assert validated["test_accuracy"].isna().all() and validated["validation_accuracy"].tolist() == [0.3, 0.5]
    assert [panel.title for panel in panels(found)] == ["Training loss", "Test accuracy", "Validation accuracy"]
    assert sentences(found) == [
        "vit_mini: test accuracy 50.0% after 2 epochs (chance: 5.6%).",
        "vit: validation accuracy 50.0% after 2 epochs (chance: 5.6%).",
    ]
    with style.context():
        drawn = EXHIBIT.figure(found)
    for axis in drawn.axes:
        if axis.get_title().endswith("accuracy"):
            assert sum(list(line.get_ydata()) == [0.3, 0.5] for line in axis.get_lines()) == 1


def test_training_runs_are_found_and_unfinished_ones_said(tmp_path: Path):
    run(tmp_path / "trained" / "vit")
    run(tmp_path / "trained" / "other", model="resnet_mini", finished=False)
    (found,), (note,) = gather([tmp_path])
    assert found.instrument == "training"
    assert found.models == ("resnet_mini", "vit_mini")
    assert found.of("vit_mini").table["test_accuracy"].tolist() == [0.3, 0.5]
    assert found.of("vit_mini").provenance["num_classes"] == 18
    assert note == f"The training of resnet_mini in {tmp_path / 'trained' / 'other'} is not finished."


def test_an_unknown_instrument_is_kept(tmp_path: Path):
    table = pd.DataFrame({"model": ["a"], "radius": [1.0]})
    facts = {"instrument": "radius", "model": {"name": "a"}}
    Measurement(instrument="radius", tables={"table": table}, provenances=(facts,)).save(tmp_path)
    (found,), _ = gather([tmp_path])
    assert found.instrument == "radius"


@pytest.mark.parametrize("paths", [[], ["empty"]], ids=["no folder", "an empty one"])
def test_nothing_to_report_says_what_to_do(paths: list[str], tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="Nothing to report under .*alternet measure"):
        gather([tmp_path / path for path in paths])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    fourier("ViT").save(tmp_path)
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        gather([tmp_path, tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("provenance.json", b'{"instrument": "four', "damaged measurement"),
        ("provenance.json", b'{"instrument": "fourier"}', "damaged measurement"),
        ("provenance.json", b'{"instrument": ["fourier"], "model": {"name": "ViT"}}', "names no instrument"),
        ("provenance.json", b'{"instrument": "fourier", "model": {"name": "other"}}', "has no row for other"),
        ("table.csv", b"", "damaged measurement"),
        ("table.csv", b"\xff\xfe\x00", "damaged measurement"),
        ("table.csv", b"model,unit\nViT,0\n", "cannot be shown.*lacks tap, kind, depth"),
        (
            "table.csv",
            b"model,unit,tap,kind,depth,frequency,delta_log_amplitude\nViT,0,a,stem,0.0,0.0,0.0\nViT,0,a,stem,0.0,0.5,-1.#\n",
            "holds '-1.#' in row 1, expected numbers",
        ),
    ],
)
def test_a_damaged_measurement_is_named(file: str, content: bytes, message: str, tmp_path: Path):
    folder = folder_of(fourier("ViT").save(tmp_path), "ViT", "fourier")
    facts = json.loads((folder / "provenance.json").read_text())
    del facts["rows"], facts["sha256"]  # as in a folder of an older version
    (folder / "provenance.json").write_text(json.dumps(facts))
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        gather([tmp_path])
    assert str(folder) in str(error.value)


def test_a_lost_table_is_named(tmp_path: Path):
    folder = folder_of(calibration("ViT").save(tmp_path), "ViT", "calibration")
    (folder / "reliability.csv").unlink()
    with pytest.raises(ValueError, match=r"ViT.calibration holds .* \(reliability\.csv is missing\)"):
        gather([tmp_path])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"log": ""}, "damaged training run"),
        ({"log": "epoch,step\n1,2\n"}, "cannot be shown.*lacks train_loss, test_accuracy"),
        ({"model": {"name": "x"}}, "damaged training run.*expected a name"),
        ({"model": None}, "damaged training run"),
    ],
)
def test_a_damaged_training_run_is_named(changed: dict, message: str, tmp_path: Path):
    folder = run(tmp_path / "vit", **changed)
    with pytest.raises(ValueError, match=message) as error:
        gather([tmp_path])
    assert str(folder) in str(error.value)


def test_tables_that_do_not_fit_together_are_named(tmp_path: Path):
    for name, tables in (("a", ("table", "more")), ("b", ("table",))):
        frames = {table: pd.DataFrame({"model": [name], "x": [1]}) for table in tables}
        facts = {"instrument": "mine", "model": {"name": name}}
        Measurement(instrument="mine", tables=frames, provenances=(facts,)).save(tmp_path)
    with pytest.raises(ValueError, match="do not all have a table 'more'"):
        gather([tmp_path])
