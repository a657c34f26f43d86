"""Exported folders: what timm loads from them, what the card says, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from safetensors.torch import save_file

from alternet import Calibration
from alternet.cli import run as command
from alternet.data.image_batches import Batches
from alternet.models.attention import WindowAttention
from alternet.runs import TrainingRun
from alternet.sharing import export as module
from alternet.sharing.export import export
from alternet.sharing.results import of_run
from alternet.shown import as_markdown, as_text
from alternet.storage import sole_writer
from alternet.subject.loading import load
from alternet.training import Recipe, train
from alternet.training.train_data import TrainData

HOSTILE = "<script>alert(1)</script>\n---\nlicense: mit\n| [x](http://evil) \u202e`"
UNIT = "stages.3.1.branch"
OLD = Path(__file__).parents[1] / "fixtures" / "0.1.0" / "run-finished"


def images(n: int = 40) -> Batches:
    made = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Batches.of(made, torch.arange(n) % 3, name=HOSTILE, classes=["a", HOSTILE, "c|d"], batch_size=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> TrainingRun:
    """A network with attention, an epoch of training, and names that are not nice."""
    recipe = Recipe(epochs=3, lr=1e-3, warmup_epochs=1, batch_size=8, snapshot_every=1)
    small = {"widths": (8, 8, 8, 8), "heads": (1, 1, 1, 1), "head_dim": 4, "window_size": 3}
    data = TrainData.of(images(), images(), recipe)
    return train("alternet_mini", data, recipe, tmp_path_factory.mktemp("run"), model_args=small, device="cpu")


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    """The run as exported, with a measurement of it."""
    place = tmp_path_factory.mktemp("shared")
    subject = load(run.name, device="cpu")
    Calibration(bins=5).measure(subject, images()).save(place / "out")
    Calibration(bins=5).measure(load("preresnet_mini", num_classes=3, device="cpu"), images()).save(place / "out")
    (note,) = export(subject, place / "hub", measured=[place / "out"])
    assert note == "Left out, as of other weights: preresnet_mini/calibration."
    return place / "hub"


def weights(tmp_path: Path, name: str, **settings) -> str:
    """A MODEL with weights of a file."""
    torch.manual_seed(0)
    save_file(timm.create_model(name, **settings).state_dict(), tmp_path / "weights.safetensors")
    return f"{name}@{tmp_path}/weights.safetensors"


def test_timm_builds_the_same_network_and_knows_its_input(run, folder):
    model, subject = timm.create_model(f"local-dir:{folder}", pretrained=True).eval(), load(run.name, device="cpu")
    pictures = torch.rand(2, 3, 16, 16)
    assert torch.equal(model(subject.normalise(pictures)), subject.logits(pictures))
    assert list(model.pretrained_cfg["label_names"]) == ["a", HOSTILE, "c|d"]  # as they are: JSON has no markup
    known = timm.data.resolve_model_data_config(model)
    assert tuple(known["input_size"]) == (3, 16, 16)
    assert (tuple(known["mean"]), tuple(known["std"])) == (subject.mean, subject.std)
    assert (known["crop_pct"], known["interpolation"]) == (1.0, "bicubic")
    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=5)
    assert other.num_classes == 5 and torch.equal(other.stem.conv.weight, model.stem.conv.weight)


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_logits(run, folder, tmp_path):
    pictures = torch.rand(2, 3, 16, 16)
    torch.save(pictures, tmp_path / "in.pt")
    code = f"""
import alternet, timm, torch
model = timm.create_model("local-dir:{folder}", pretrained=True).eval()
torch.save(model(torch.load("{tmp_path}/in.pt")).detach(), "{tmp_path}/out.pt")"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with torch.no_grad():
        expected = load(run.name, device="cpu").model(pictures)
    torch.testing.assert_close(torch.load(tmp_path / "out.pt"), expected, rtol=0, atol=1e-6)


def test_the_folder_is_a_model_here_too(run, folder, tmp_path):
    subject = load(f"local-dir:{folder}", device="cpu")
    assert subject.weights_sha256 == load(run.name, device="cpu").weights_sha256
    assert subject.input_size == (3, 16, 16) and subject.origin["weights"]["from"] == "folder" and not subject.doubt
    export(subject, tmp_path / "again")
    before, after = (json.loads((place / "config.json").read_text()) for place in (folder, tmp_path / "again"))
    assert {**before, "alternet": 0} == {**after, "alternet": 0}
    (tmp_path / "again" / "config.json").unlink()
    with pytest.raises(ValueError, match="says no architecture: expected timm's config.json"):
        load(f"local-dir:{tmp_path}/again")


def test_the_card_holds_what_was_measured(run, folder):
    card = ModelCard.load(folder / "README.md")
    table = Calibration(bins=5).measure(load(run.name, device="cpu"), images()).table.set_index("metric")
    found = {result.metric_type: result for result in card.data.eval_results}
    assert set(found) == {"accuracy", "top5", "nll", "brier", "ece"}
    for metric, result in found.items():
        assert result.metric_value == pytest.approx(table["value"][metric], rel=1e-12)
        assert result.dataset_args["images"] == 40 and result.metric_args["bins"] == 5
    assert found["nll"].metric_args["standard_error"] == pytest.approx(table["standard_error"]["nll"], rel=1e-12)
    assert "standard_error" not in found["ece"].metric_args
    assert f"| Accuracy | {table['value']['accuracy']:.4f} | {table['standard_error']['accuracy']:.2g} |" in card.text


def test_names_of_others_are_text_in_the_card(folder):
    card = ModelCard.load(folder / "README.md")
    assert card.data.license is None and card.data.library_name == "timm"
    assert "<script" not in card.text and "](http://evil" not in card.text and "\u202e" not in card.content
    (result, *_) = card.data.eval_results
    assert result.dataset_name == as_text(HOSTILE) and "\n" not in result.dataset_name
    (row,) = [line for line in card.text.splitlines() if line.startswith("| Accuracy")]
    assert len(row.replace("\\|", "").split("|")) == 8


def test_text_is_no_markup():
    assert as_markdown("a<b>&*_x_* [y](z) | `c` http://h @me") == (
        "a&lt;b&gt;&amp;\\*\\_x\\_\\* \\[y\\](z) \\| \\`c\\` http&#58;//h &#64;me"
    )


def test_what_a_run_noted_belongs_to_the_snapshot(run):
    for snapshot, row in (("warmup", 0), ("epoch-0002", 1), ("last", -1)):
        (result,) = of_run(run, snapshot)
        p = run.log["test_accuracy"].iloc[row]
        assert result.value == p and result.images == 40
        assert result.error == pytest.approx((p * (1 - p) / 39) ** 0.5)
    assert list(of_run(run, "init")) == []
    assert run.facts["classes"][2] == "c|d" and run.facts["test"]["preparation"] == {"size": [3, 16, 16]}


def test_a_run_of_an_earlier_version_says_less_and_is_exported(tmp_path):
    export(load(f"run:{OLD}", device="cpu"), tmp_path / "hub")
    (result,) = ModelCard.load(tmp_path / "hub" / "README.md").data.eval_results
    assert result.metric_value == TrainingRun(OLD).log["ema_test_accuracy"].iloc[-1]
    assert "images" not in result.dataset_args and result.metric_args is None


def test_transplants_are_exported_as_their_plan(tmp_path):
    base = weights(tmp_path, "preresnet_mini", num_classes=3)
    subject = load(f"{base}+msa({UNIT}:heads=2,window_size=3)", device="cpu")
    export(subject, tmp_path / "one")
    model = timm.create_model(f"local-dir:{tmp_path}/one", pretrained=True).eval()
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(subject.normalise(pictures)), subject.logits(pictures))
    assert "Not trained: the weights of stages.3.1.branch.conv2" in (tmp_path / "one" / "README.md").read_text()
    head = timm.create_model(f"local-dir:{tmp_path}/one", pretrained=True, num_classes=7)
    assert head.num_classes == 7 and torch.equal(head.stem.conv.weight, model.stem.conv.weight)
    maps = timm.create_model(f"local-dir:{tmp_path}/one", pretrained=True, features_only=True)
    assert [tuple(m.shape[1:]) for m in maps(pictures)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8), (128, 4, 4)]
    assert maps.feature_info.channels() == [16, 32, 64, 128]
    assert load(f"local-dir:{tmp_path}/one", seed=3).origin["weights"]["drawn"] == ["stages.3.1.branch.conv2"]
    twice = load(f"local-dir:{tmp_path}/one+msa(stages.2.1.branch)", device="cpu")
    export(twice, tmp_path / "two")
    again = timm.create_model(f"local-dir:{tmp_path}/two", pretrained=True)
    assert sum(isinstance(m, WindowAttention) for m in again.modules()) == 2
    said = (tmp_path / "two" / "README.md").read_text()
    assert "That folder says: Not trained: the weights of stages.3.1.branch.conv2 are random, from seed 0." in said
    assert "Not trained: the weights of stages.3.1.branch.conv2, stages.2.1.branch.conv2 are random" in said
    save_file(model.state_dict(), tmp_path / "one" / "model.safetensors")  # trained on, let us say
    assert "drawn" not in load(f"local-dir:{tmp_path}/one", device="cpu").origin["weights"]


def test_batch_statistics_are_estimated_again_in_a_copy(tmp_path):
    subject = load(f"{weights(tmp_path, 'preresnet_mini', num_classes=3)}+msa({UNIT})", device="cpu")
    before = {key: value.clone() for key, value in subject.model.state_dict().items()}
    export(subject, tmp_path / "hub", on=images())
    assert all(torch.equal(value, before[key]) for key, value in subject.model.state_dict().items())
    after = load(f"local-dir:{tmp_path}/hub", device="cpu").model.state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed == {f"norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert (
        "Batch statistics were estimated again (normalisations: 1) on 40"
        in (tmp_path / "hub" / "README.md").read_text()
    )
    with pytest.raises(ValueError, match="no batch statistics"):
        export(load(weights(tmp_path, "test_vit"), device="cpu"), tmp_path / "vit", on=images())


def test_these_weights_are_written_anew_and_nothing_else_is_touched(run, folder, tmp_path):
    subject = load(run.name, device="cpu")
    export(subject, tmp_path / "hub")
    export(subject, tmp_path / "hub", measured=[folder.parent / "out"])
    (tmp_path / "hub" / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="holds a README.md that was edited"):
        export(subject, tmp_path / "hub")
    with pytest.raises(ValueError, match="holds an export of other weights"):
        export(load(f"{run.name}@init", device="cpu"), folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds thesis.tex. Give another folder for --to"):
        export(subject, tmp_path / "full")
    with pytest.raises(ValueError, match="is a file"):
        export(subject, tmp_path / "full" / "thesis.tex")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "hub"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError("full")])
def test_nothing_half_is_left(run, folder, tmp_path, monkeypatch, failure):
    def fails(*_):
        raise failure

    subject = load(run.name, device="cpu")
    export(subject, tmp_path / "hub")
    before = (tmp_path / "hub" / "README.md").read_bytes()
    monkeypatch.setattr(module, "write_json", fails)
    for name in ("hub", "new"):
        with pytest.raises(type(failure)):
            export(subject, tmp_path / name, measured=[folder.parent / "out"])
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
    assert (tmp_path / "hub" / "README.md").read_bytes() == before


def test_what_a_killed_export_left_is_put_back_or_removed_and_two_at_once_are_refused(run, tmp_path):
    subject = load(run.name, device="cpu")
    export(subject, tmp_path / "hub")
    before = {file.name: file.read_bytes() for file in (tmp_path / "hub").iterdir()}
    spare = tmp_path / ".hub.export"
    spare.mkdir()
    (tmp_path / "hub").rename(spare / "old")  # killed where the new folder was to take its place
    (spare / "new").mkdir()
    (spare / "new" / "half").touch()
    with sole_writer(spare):
        with pytest.raises(ValueError, match=r"\.hub\.export is being written by process"):
            export(subject, tmp_path / "hub")
        assert (spare / "old").exists()
    export(subject, tmp_path / "hub")
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
    assert {file.name for file in (tmp_path / "hub").iterdir()} == set(before)


def test_a_network_that_timm_would_build_otherwise_is_not_exported(run, tmp_path):
    subject = load(run.name, device="cpu")
    subject.model.head.fc = torch.nn.Sequential(subject.model.head.fc, torch.nn.ReLU())
    with pytest.raises(ValueError, match="timm does not load .* again"):
        export(subject, tmp_path / "hub")
    other = load(run.name, device="cpu")
    other.model.norm.act = torch.nn.Sigmoid()
    with pytest.raises(ValueError, match="gives other logits, so it was not exported"):
        export(other, tmp_path / "hub")
    assert list(tmp_path.iterdir()) == []


def test_the_command(run, folder, tmp_path, capsys, monkeypatch):
    to, out = str(tmp_path / "hub"), str(folder.parent / "out")
    assert command(["export", run.name, "--to", to, "--measured", out, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.out == f"Exported: {to}. Load it: timm.create_model('local-dir:{to}', pretrained=True)\n"
    assert said.err == "note: Left out, as of other weights: preresnet_mini/calibration.\n"
    for arguments, why in {
        ("resnet18",): "resnet18 has random weights. Name a file",
        ("tv:resnet18",): "tv:resnet18 has random weights",
        (f"{run.name}@init", "--measured", out): "None of the measurements in .* is of these weights",
        (run.name, "--set", "bins=3"): "is no setting of the model",
        (
            run.name,
            "--onnx",
        ): r"--onnx needs onnx, onnxscript, onnxruntime. Install it with: pip install 'alternet\[onnx\]'",
    }.items():
        monkeypatch.setattr("alternet.sharing.onnx_file.find_spec", lambda _: None)
        assert command(["export", *arguments, "--to", str(tmp_path / "no"), "--device", "cpu"]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert re.search(why, line)
    assert not (tmp_path / "no").exists()
