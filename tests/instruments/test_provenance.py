"""The provenance says what was really done; what only tells how a result came about decides nothing."""

import hashlib
import json
import platform
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from torch import nn

import alternet as an
from alternet import circumstances
from alternet.circumstances import command
from alternet.cli import run
from alternet.errors import Doubt
from alternet.subject import timm_models

TELLING = ("date", "call", "git", "python", "device_name", "origin", "preparation")


def subject(size: int = 16, **facts) -> an.Subject:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    given = {"mean": (0.5,) * 3, "std": (0.25,) * 3, **facts}
    return an.Subject(nn.Sequential(*layers), name="net", input_size=(3, size, size), **given)


def data(size: int = 8) -> an.Batches:
    images = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    return an.Batches.of(images, torch.tensor([0, 1, 2, 0]))


def test_the_size_is_the_one_that_was_measured():
    facts = an.Variance().measure(subject(224), data(64)).provenance
    assert facts["input"]["size"] == [3, 64, 64] and facts["preparation"] == {"size": [3, 64, 64]}


def test_the_preparation_is_the_one_that_was_used(tmp_path: Path):
    Image.new("RGB", (50, 40), "red").save(tmp_path / "a.png")
    images = an.batches(tmp_path, img_size=24, crop_pct=0.8, interpolation="bilinear")
    facts = an.Variance().measure(subject(), images).provenance
    assert facts["preparation"] == {"size": [3, 24, 24], "crop_pct": 0.8, "interpolation": "bilinear"}
    assert facts["split"] == "test"


def test_when_by_which_call_and_on_what():
    facts = an.Calibration(bins=5).measure(subject(), data()).provenance
    assert abs(datetime.fromisoformat(facts["date"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert facts["call"].startswith("Calibration(bins=5") and facts["call"].endswith(".measure('net', 'tensors')")
    assert facts["python"] == platform.python_version() and facts["device"] == "cpu" and facts["device_name"]
    assert facts["origin"] == {"weights": {"from": "given"}, "normalisation": "given"}
    with command(["measure", "variance", "-m", "a b"]):
        facts = an.Variance().measure(subject(), data()).provenance
    assert shlex.split(facts["command"]) == ["alternet", "measure", "variance", "-m", "a b"] and "call" not in facts


def test_what_only_tells_decides_nothing(tmp_path: Path):
    first = an.Variance().measure(subject(), data(), out=tmp_path)
    path = tmp_path / "net/variance/provenance.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | dict.fromkeys(TELLING, "another") | {"origin": {}}))
    elsewhere = subject(origin={"weights": {"from": "file", "file": "w.pth"}})
    with command(["measure", "again"]):
        again = an.Variance().measure(elsewhere, data(), out=tmp_path)
    assert again.provenance["date"] == "another" and again.table.equals(first.table)


def test_a_result_that_names_the_declared_size_is_of_an_earlier_version_and_taken_up(tmp_path: Path):
    an.Variance().measure(subject(), data(), out=tmp_path)
    path = tmp_path / "net/variance/provenance.json"
    stored = json.loads(path.read_text())
    older = {key: value for key, value in stored.items() if key not in TELLING}
    path.write_text(json.dumps(older | {"input": {**stored["input"], "size": [3, 16, 16]}}))
    assert "date" not in an.Variance().measure(subject(), data(), out=tmp_path).provenance
    with pytest.raises(ValueError, match="another input"):
        an.Variance().measure(subject(mean=(0.4,) * 3), data(), out=tmp_path)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A repository as the working folder; its configuration names a program that must not run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    circumstances._commit.cache_clear()

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    Path("a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "-qm", "first")
    hook = tmp_path / "hook.sh"
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    git("config", "core.fsmonitor", str(hook))
    yield git
    circumstances._commit.cache_clear()


def test_the_commit_of_the_working_folder(repository, monkeypatch: pytest.MonkeyPatch, tmp_path_factory):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert an.Variance().measure(subject(), data()).provenance["git"] == {"commit": commit, "changed": False}
    Path("a.txt").write_text("2")
    circumstances._commit.cache_clear()
    assert an.Variance().measure(subject(), data()).provenance["git"] == {"commit": commit, "changed": True}
    assert not Path("ran").exists()
    monkeypatch.chdir(tmp_path_factory.mktemp("bare"))
    assert an.Variance().measure(subject(), data()).provenance["git"] is None


def test_weights_are_random_from_a_seed_or_of_a_file_with_its_checksum(tmp_path: Path):
    drawn = an.load("test_resnet", seed=3, model_args={"drop_rate": 0.1}, device="cpu").origin
    assert drawn["weights"] == {"from": "random", "seed": 3}
    assert (drawn["model"], drawn["model_args"]) == ("test_resnet", {"drop_rate": 0.1})
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("test_resnet", num_classes=4).state_dict(), path)
    weights = an.load(f"test_resnet@{path}", device="cpu").origin["weights"]
    assert weights == {"from": "file", "file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_published_weights_name_their_place_and_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made, build = [], timm_models.create

    def without_network(name: str, *, pretrained: bool, **arguments):
        made.append(name)
        return build(name, **arguments)

    def cached(repository: str, file: str) -> str | None:
        path = tmp_path / "models--timm--x" / "snapshots" / "c0ffee" / file
        return str(path) if (repository, file) == ("timm/test_resnet.r160_in1k", "model.safetensors") else None

    monkeypatch.setattr(timm_models, "create", without_network)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    origin = an.load("test_resnet@pretrained", device="cpu").origin
    assert origin["weights"] == {"from": "hub", "id": "timm/test_resnet.r160_in1k", "revision": "c0ffee"} and made
    assert origin["normalisation"] == "declared by the model"
    again = an.load("test_resnet@pretrained", num_classes=5, seed=2, device="cpu").origin["weights"]
    assert again["drawn"] == ["fc"] and again["seed"] == 2


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """A network of transformers that was saved without a classifier."""
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    size = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.ViTModel(transformers.ViTConfig(**size, intermediate_size=32)).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_newly_drawn_head_is_said_and_marked(backbone: Path):
    without = an.load(f"hf:{backbone}", device="cpu", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert "drawn" not in without.origin["weights"]  # as it was saved, it has none
    with pytest.warns(Doubt, match="classifier.bias"):
        net = an.load(f"hf:{backbone}", num_classes=5, device="cpu", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert set(net.origin["weights"]["drawn"]) >= {"classifier.weight", "classifier.bias"}
    assert net.origin["weights"]["seed"] == 0
    measured = an.Variance().measure(net, data(32))
    assert measured.marked().models == (f"hf:{backbone} (random head)",)


def test_an_image_processor_that_does_not_normalise_is_taken_at_its_word(backbone: Path):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    transformers.ViTImageProcessor(image_mean=[0.1] * 3, image_std=[0.9] * 3, do_normalize=False).save_pretrained(
        backbone
    )
    net = an.load(f"hf:{backbone}", device="cpu")
    assert (net.mean, net.std, net.doubt) == ((0.0,) * 3, (1.0,) * 3, "")


@pytest.mark.slow
def test_a_command_says_how_it_was_called_and_takes_up_what_another_command_measured(tmp_path: Path, capsys):
    call = ["measure", "variance", "-m", "test_resnet", "--data", "digits", "--limit", "4", "--img-size", "32"]
    assert run([*call, "--out", f"{tmp_path}"]) == 0
    path = tmp_path / "test_resnet/variance/provenance.json"
    facts = json.loads(path.read_text())
    assert shlex.split(facts["command"])[:3] == ["alternet", "measure", "variance"]
    assert facts["origin"]["weights"] == {"from": "random", "seed": 0}
    assert "test_resnet (random weights)" in capsys.readouterr().out
    before = path.read_bytes()
    assert run([*call, "--out", f"{tmp_path}", "--batch-size", "2"]) == 0
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_run_says_how_it_was_trained(tmp_path: Path):
    an.train("test_vit", "digits", an.Recipe(epochs=1, lr=1e-3), tmp_path, device="cpu")
    facts = json.loads((tmp_path / "run.json").read_text())
    assert {"date", "call", "git", "python", "device", "device_name", "versions"} <= facts.keys()
    assert an.train("test_vit", "digits", an.Recipe(epochs=1, lr=1e-3), tmp_path, device="cpu").finished
