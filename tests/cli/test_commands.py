"""The commands do what their help says, and go on where they stopped."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

from alternet import Measurement
from alternet.cli import run
from alternet.cli.measure import choose
from alternet.data.folder import Folder

pytestmark = pytest.mark.slow

DIGITS = ["--data", "digits", "--limit", "6", "--img-size", "32"]


def test_measure_writes_the_tables_and_takes_them_up_again(tmp_path: Path, capsys):
    arguments = [
        "measure",
        "fourier",
        "variance",
        "-m",
        "test_resnet",
        "-m",
        "tv:resnet18",
        *DIGITS,
        "--out",
        f"{tmp_path}",
    ]
    assert run(arguments) == 0
    columns = "model,unit,tap,kind,depth,frequency,delta_log_amplitude"
    header = (tmp_path / "test_resnet/fourier/table.csv").read_text().splitlines()[0]
    assert header.startswith(columns)
    assert (tmp_path / "tv_resnet18/variance/provenance.json").is_file()
    assert "random weights" in capsys.readouterr().err
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")}
    assert run(arguments) == 0
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")}


def test_another_model_is_named_like_the_first(tmp_path: Path, capsys):
    arguments = ["measure", "similarity", "-m", "test_resnet", *DIGITS, "--out", f"{tmp_path}"]
    assert run([*arguments, "--set", "other=test_vit"]) == 0
    table = pd.read_csv(tmp_path / "test_resnet/similarity/table.csv")
    assert set(table["model_b"]) == {"test_vit"}
    said = capsys.readouterr()
    assert "test_resnet (random weights) beside test_vit (random weights): most alike are" in said.out
    assert "test_vit has random weights" in said.err


def test_other_settings_do_not_overwrite(tmp_path: Path, capsys):
    arguments = ["measure", "fourier", "-m", "test_resnet", *DIGITS, "--out", f"{tmp_path}"]
    assert run(arguments) == 0
    before = (tmp_path / "test_resnet/fourier/table.csv").read_bytes()
    assert run([*arguments, "--set", "axis=paper"]) != 0
    assert "another settings" in capsys.readouterr().err
    assert (tmp_path / "test_resnet/fourier/table.csv").read_bytes() == before


def test_one_failure_leaves_the_others(tmp_path: Path, monkeypatch, capsys):
    from alternet.instruments.fourier.measure import FourierWork

    def broken(*_: object) -> None:
        raise RuntimeError("the sensor fell off")

    monkeypatch.setattr(FourierWork, "tables", broken)
    arguments = ["measure", "fourier", "variance", "-m", "test_resnet", *DIGITS, "--out", f"{tmp_path}"]
    assert run(arguments) == 1
    assert "the sensor fell off" in capsys.readouterr().err
    assert (tmp_path / "test_resnet/variance/table.csv").is_file()
    assert not (tmp_path / "test_resnet/fourier/provenance.json").exists()


def test_a_model_that_cannot_be_loaded_leaves_the_others(tmp_path: Path, capsys):
    (tmp_path / "w.pth").write_bytes(b"damaged")
    models = ["-m", "test_vit", "-m", f"test_resnet@{tmp_path / 'w.pth'}", "-m", "test_resnet"]
    arguments = ["measure", "variance", *models, *DIGITS, "--out", f"{tmp_path / 'out'}"]
    assert run(arguments) == 1
    assert "w.pth failed: " in capsys.readouterr().err
    assert len(list(tmp_path.glob("out/*/variance/provenance.json"))) == 2


def test_data_without_the_split_that_one_instrument_wants_leaves_the_others(tmp_path: Path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    arguments = ["measure", "hessian", "variance", "-m", "test_resnet", "--data", f"{tmp_path}", "--img-size", "32"]
    assert run([*arguments, "--out", f"{tmp_path / 'out'}"]) == 1
    assert re.search("hessian of test_resnet failed: .* no train/ subfolder", capsys.readouterr().err)
    assert (tmp_path / "out/test_resnet/variance/table.csv").is_file()


def test_a_folder_is_listed_once_for_all_models(tmp_path: Path, monkeypatch, capsys):
    for split in ("train", "test"):
        for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
            (tmp_path / "images" / split / name).parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(len(name)).integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / split / name)
    listed: list[str] = []
    listing = Folder.__init__

    def counted(folder: Folder, root: Path, split: str = "test") -> None:
        listed.append(split)
        listing(folder, root, split)

    monkeypatch.setattr(Folder, "__init__", counted)
    models = ["-m", "test_resnet", "-m", "vit_mini"]  # they take images of side 160 and of side 32
    arguments = ["measure", "variance", "hessian", *models, "--data", f"{tmp_path / 'images'}", "--limit", "2"]
    arguments += ["--set", "hessian.k=1", "--set", "hessian.max_products=2"]
    assert run([*arguments, "--out", f"{tmp_path / 'out'}"]) == 0, capsys.readouterr().err
    assert sorted(listed) == ["test", "train"]


def test_a_full_disk_costs_no_measurement(tmp_path: Path, monkeypatch, capsys):
    store = Measurement.store

    def full(measurement: Measurement, folder: Path) -> None:
        if folder.is_relative_to(tmp_path / "out"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store(measurement, folder)

    monkeypatch.setattr(Measurement, "store", full)
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}")
    arguments = ["measure", "variance", "-m", "test_resnet", *DIGITS, "--out", f"{tmp_path / 'out'}"]
    assert run(arguments) == 1
    line = capsys.readouterr().err
    (kept,) = tmp_path.glob("alternet-*")
    assert "No space left" in line and f"It is kept in {kept}" in line
    monkeypatch.undo()
    shutil.copytree(kept, tmp_path / "out", dirs_exist_ok=True)
    written = (tmp_path / "out/test_resnet/variance/table.csv").stat().st_mtime_ns
    assert run(arguments) == 0
    assert (tmp_path / "out/test_resnet/variance/table.csv").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("model", "says"),
    [("test_resnet", "test_resnet@pretrained"), ("tv:resnet18", "tv:resnet18@pretrained"), ("vit_mini", "train it")],
)
def test_random_weights_are_told_with_a_way_that_leads_somewhere(model: str, says: str, tmp_path: Path, capsys):
    assert run(["measure", "variance", "-m", model, *DIGITS, "--out", f"{tmp_path}"]) == 0
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "random weights" in line]
    assert says in note


@pytest.mark.parametrize(("classes", "told"), [(10, False), (7, False), (12, True)])
def test_other_classes_are_told(classes: int, told: bool, tmp_path: Path, capsys):
    model = timm.create_model("test_resnet", num_classes=classes)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    instruments = ["variance"] if classes == 7 else ["calibration", "variance"]
    arguments = ["measure", *instruments, "-m", f"test_resnet@{tmp_path / 'w.pth'}", *DIGITS, "--out", f"{tmp_path}"]
    assert run(arguments) == 0
    assert ("note: digits has 10 classes and" in capsys.readouterr().err) == told


def test_a_model_without_normalisation_is_told(tmp_path: Path, capsys):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    size = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ViTConfig(**size, intermediate_size=32)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    assert run(["measure", "variance", "-m", f"hf:{tmp_path / 'vit'}", *DIGITS, "--out", f"{tmp_path}"]) == 0
    assert capsys.readouterr().err.count("note: The normalisation of") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_file_names_that_are_no_text(tmp_path: Path, capsys):
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(strange)
    Path(strange, os.fsdecode(b"\xfe.png")).write_bytes(b"no image")
    Image.new("RGB", (32, 32), "red").save(f"{strange}/a.png")
    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), f"{strange}/w.pth")
    arguments = ["measure", "variance", "-m", f"test_resnet@{strange}/w.pth", "--data", strange, "--img-size", "32"]
    for _ in range(2):
        assert run([*arguments, "--out", f"{tmp_path}/out"]) == 0, capsys.readouterr().err
    assert run(["report", f"{tmp_path}/out", "--out", f"{tmp_path}/report.html"]) == 0, capsys.readouterr().err


def test_provenance_states_what_was_measured(tmp_path: Path):
    run(["measure", "variance", "-m", "test_resnet", *DIGITS, "--seed", "3", "--out", f"{tmp_path}"])
    provenance = json.loads((tmp_path / "test_resnet/variance/provenance.json").read_text())
    assert provenance["model"]["name"] == "test_resnet" and len(provenance["model"]["weights_sha256"]) == 64
    assert provenance["images"] == 6 and provenance["data"]["name"].startswith("digits")
    assert str(tmp_path) in provenance.pop("command")
    assert str(tmp_path) not in json.dumps(provenance)


@pytest.mark.parametrize("kind", ["models", "instruments", "datasets", "recipes", "figures"])
def test_lists_name_and_explain(kind: str, capsys):
    assert run(["list", kind]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("and ")]
    assert len(lines) >= 2 and all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_a_list_can_be_searched(capsys):
    assert run(["list", "models", "--like", "*resnet50"]) == 0
    assert {"resnet50", "tv:resnet50"} <= set(capsys.readouterr().out.split())


def test_taps_shows_every_unit(capsys):
    assert run(["taps", "-m", "alternet_mini"]) == 0
    assert "msa" in capsys.readouterr().out


def test_taps_takes_arguments_of_the_model(capsys):
    assert run(["taps", "-m", "alternet_mini", "--set", "model.num_msa=[0,0,0,1]"]) == 0
    assert capsys.readouterr().out.count(" msa ") == 1
    assert run(["taps", "-m", "alternet_mini", "--set", "bins=3"]) == 2
    assert "those of the model begin with model." in capsys.readouterr().err


def test_taps_reads_no_name_as_a_style(tmp_path: Path, capsys):
    (tmp_path / ":dog:[red]").mkdir()
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / ":dog:[red]" / "[b]w.pth")
    assert run(["taps", "-m", f"test_resnet@{tmp_path}/:dog:[red]/[b]w.pth"]) == 0
    assert "/:dog:[red]/[b]w.pth" in capsys.readouterr().out.replace("\n", "")


def test_workers_decode_the_same_images(tmp_path: Path):
    for i in range(5):
        noise = np.random.default_rng(i).integers(0, 255, (40, 50, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    arguments = ["measure", "variance", "-m", "test_resnet", "--data", f"{tmp_path}", "--img-size", "32"]
    for workers in ("0", "2", "auto"):
        more = ["--batch-size", "2", "--workers", workers, "--out", f"{tmp_path}/out{workers}"]
        assert run([*arguments, *more]) == 0
    tables = [tmp_path / f"out{workers}/test_resnet/variance/table.csv" for workers in ("0", "2", "auto")]
    assert len({table.read_bytes() for table in tables}) == 1


def test_a_setting_finds_its_instrument():
    fourier, variance = choose(["fourier", "variance"], {"fourier.axis": "paper"}, seed=0)
    assert fourier.settings["axis"] == "paper" and "axis" not in variance.settings
    with pytest.raises(ValueError, match="no setting 'axiss'"):
        choose(["variance", "fourier"], {"axiss": "paper"}, seed=0)


@pytest.mark.parametrize("scope", ["frequency-noise", "frequency_noise"])
@pytest.mark.parametrize("name", ["frequency-noise", "frequency_noise"])
def test_a_setting_finds_its_instrument_by_dashes_and_by_underscores(name: str, scope: str):
    (noise,) = choose([name, name], {f"{scope}.repeats": 3}, seed=0)
    assert noise.settings["repeats"] == 3


def test_a_setting_that_nobody_has_is_refused_by_whoever_has_the_nearest():
    with pytest.raises(ValueError, match="hessian has no setting 'max_product'. Did you mean max_products"):
        choose(["fourier", "trajectory", "hessian"], {"max_product": 9}, seed=0)
    with pytest.raises(ValueError, match="trajectory has no setting 'colour'. It has no settings: leave this out."):
        choose(["trajectory"], {"colour": 9}, seed=0)


@pytest.mark.parametrize("scope", ["calibration", "forrier"])
def test_a_setting_of_an_instrument_that_is_not_measured_goes_to_no_other(scope: str):
    with pytest.raises(ValueError, match=f"addresses '{scope}', but what is measured is variance, fourier"):
        choose(["variance", "fourier"], {f"{scope}.axis": "paper"}, seed=0)


def test_train_measure_report(tmp_path: Path, capsys):
    train = ["train", "-m", "preresnet_mini", "--data", "digits", "--recipe", "quick", "--set", "epochs=2"]
    assert run([*train, "--set", "warmup_epochs=0", "--seed", "1", "--out", f"{tmp_path / 'run'}"]) == 0
    assert "epoch" in capsys.readouterr().out
    model = f"run:{tmp_path / 'run'}"
    measure = [
        "measure",
        "calibration",
        "-m",
        model,
        "--data",
        "digits",
        "--out",
        f"{tmp_path / 'out'}",
    ]
    assert run(measure) == 0
    (table,) = (tmp_path / "out").rglob("calibration/table.csv")
    accuracy = pd.read_csv(table).set_index("metric").value["accuracy"]
    assert accuracy == pytest.approx(pd.read_csv(tmp_path / "run/log.csv").test_accuracy.iloc[-1], abs=1e-6)
    assert run(["report", f"{tmp_path}", "--out", f"{tmp_path / 'report.html'}"]) == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_a_reader_that_goes_away_is_no_failure():
    """As `alternet list models --like a | head -1` does: far more lines than a pipe holds, and one is read."""
    call = [sys.executable, "-m", "alternet.cli", "list", "models", "--like", "a"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        assert listing.stdout.readline().startswith("alternet_18")
        listing.stdout.close()
        errors = listing.stderr.read()
    assert (listing.returncode, errors) == (0, "")
