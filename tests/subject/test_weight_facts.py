"""What is known of a weight file travels with it, and nothing that it says is executed or fetched."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from safetensors import safe_open

from alternet import Recipe, load, train
from alternet.cli import run
from alternet.runs import HEADER, RUN
from alternet.subject.loading import check
from alternet.training.checkpoint import write_checkpoint, write_weights

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
MODEL = "vit_tiny_patch16_224"
ARGUMENTS = {"patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2, "img_size": 8, "in_chans": 3}
FACTS = {
    "model": MODEL,
    "model_args": ARGUMENTS,
    "num_classes": 5,
    "input_size": [3, 8, 8],
    "mean": list(MEAN),
    "std": list(STD),
}


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(1)
    return timm.create_model(MODEL, num_classes=5, **ARGUMENTS).eval()


def written(folder: Path, net: torch.nn.Module, facts: dict | None, name: str = "w.safetensors") -> Path:
    """A weight file with a header of ours, or with none."""
    path = folder / name
    if facts is None:
        safetensors.torch.save_file(net.state_dict(), path)
    else:
        write_weights(path, net.state_dict(), facts)
    return path


def config(**more: object) -> dict:
    """What timm writes beside weights."""
    return {"architecture": "test_resnet", "num_classes": 5, "pretrained_cfg": {"mean": MEAN, "std": STD}, **more}


def test_the_header_builds_the_model_and_says_its_normalisation(tmp_path: Path, net: torch.nn.Module):
    subject = load(f"{MODEL}@{written(tmp_path, net, FACTS)}", device="cpu")
    assert (subject.mean, subject.std, subject.input_size) == (MEAN, STD, (3, 8, 8))
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(subject.logits(images), net(subject.normalise(images)))
    assert subject.origin["normalisation"] == "its header" and subject.doubt == ""
    assert subject.origin["model_args"] == ARGUMENTS
    assert load(f"{MODEL}@{tmp_path}/w.safetensors", img_size=16).logits(torch.rand(1, 3, 16, 16)).shape == (1, 5)


@pytest.mark.slow
def test_a_file_of_a_run_is_the_run_whatever_its_place_and_after_it_was_moved(tmp_path: Path):
    recipe = Recipe(epochs=1, lr=1e-3, snapshot_every=1)
    trained = train("vit_mini", "digits", recipe, tmp_path / "run", img_size=16, device="cpu")
    whole = load(trained.name)
    shutil.copy(trained.weights, tmp_path / "moved.safetensors")
    snapshot = tmp_path / "run/snapshots/init.safetensors"
    for path in (trained.weights, tmp_path / "moved.safetensors", snapshot):
        alone = load(f"vit_mini@{path}")
        assert alone.facts["input"] == whole.facts["input"] and alone.doubt == ""
        assert (alone.weights_sha256 == whole.weights_sha256) == (path != snapshot)
    with safe_open(trained.weights, framework="pt") as file:
        header = file.metadata()
    assert json.loads(header[HEADER])["data"]["name"] == "digits" and header["format"] == "pt"


def test_a_run_of_an_earlier_version_is_read_from_its_run_json(tmp_path: Path, net: torch.nn.Module):
    for place in ("weights.safetensors", "ema.safetensors", "snapshots/init.safetensors"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        written(tmp_path, net, None, place)
    (tmp_path / RUN).write_text(json.dumps(FACTS))
    for place in ("weights.safetensors", "ema.safetensors", "snapshots/init.safetensors"):
        subject = load(f"{MODEL}@{tmp_path / place}")
        assert (subject.mean, subject.input_size) == (MEAN, (3, 8, 8))
        assert subject.origin["normalisation"] == str(tmp_path / RUN)


def test_a_file_that_only_lies_beside_a_run_is_not_taken_for_its_weights(tmp_path: Path):
    net = timm.create_model("test_resnet", num_classes=5)
    (tmp_path / RUN).write_text(json.dumps(FACTS))
    assert load(f"test_resnet@{written(tmp_path, net, None)}").mean == (0.5, 0.5, 0.5)


def test_a_config_of_timm_beside_the_file_is_read(tmp_path: Path):
    path = written(tmp_path, timm.create_model("test_resnet", num_classes=5), None)
    (tmp_path / "config.json").write_text(json.dumps(config()))
    subject = load(f"test_resnet@{path}")
    assert (subject.mean, subject.std, subject.doubt) == (MEAN, STD, "")
    assert subject.origin["normalisation"] == str(tmp_path / "config.json")


def test_a_config_of_somebody_else_is_passed_over(tmp_path: Path):
    path = written(tmp_path, timm.create_model("test_resnet", num_classes=5), None)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["ViT"], "model_args": "x"}))
    assert "normalisation of" in load(f"test_resnet@{path}").doubt


def test_a_file_that_says_nothing_is_loaded_and_the_doubt_is_told(tmp_path: Path):
    net = timm.create_model("test_resnet", num_classes=5)
    subject = load(f"test_resnet@{written(tmp_path, net, None)}")
    assert subject.doubt.startswith(f"The normalisation of {subject.name} is not known: its weights do not say it")
    assert load(f"test_resnet@{tmp_path}/w.safetensors", mean=MEAN, std=STD).doubt == ""
    assert load("test_resnet").doubt == ""


def test_the_caller_has_the_last_word(tmp_path: Path, net: torch.nn.Module):
    subject = load(
        f"{MODEL}@{written(tmp_path, net, FACTS)}", mean=[0.5] * 3, std=[0.25] * 3, model_args={"drop_rate": 0.1}
    )
    assert (subject.mean, subject.std) == ((0.5,) * 3, (0.25,) * 3)
    assert subject.origin["normalisation"] == "given" and subject.origin["model_args"]["drop_rate"] == 0.1


HOSTILE = [
    {"pretrained": True},
    {"checkpoint_path": "other.pth"},
    {"pretrained_cfg": {"url": "http://localhost/w.pth"}},
    {"pretrained_cfg_overlay": {"file": "/etc/passwd"}},
    {"cache_dir": "somewhere"},
    {"features_only": True},
    {"stem": "../outside"},
    {"stem": "hf-hub:evil/model"},
    {"stem": "/abs"},
    {"stem": {"nested": 1}},
    {"a b": 1},
]


@pytest.mark.parametrize("arguments", HOSTILE, ids=[str(one) for one in HOSTILE])
@pytest.mark.parametrize("place", ["header", "run.json", "config.json", "run:"])
def test_what_a_file_says_is_never_loaded_from(tmp_path: Path, net, arguments: dict, place: str, monkeypatch):
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("something is built or fetched because a file says so")

    facts = {**FACTS, "model_args": arguments}
    path = written(tmp_path, net, facts if place == "header" else None, "weights.safetensors")
    if place in ("run.json", "run:"):
        (tmp_path / RUN).write_text(json.dumps(facts))
    if place == "config.json":
        (tmp_path / "config.json").write_text(json.dumps(config(architecture=MODEL, model_args=arguments)))
    monkeypatch.setattr(timm, "create_model", fetched)
    with pytest.raises(ValueError, match=r"no argument of a model's own|expected a name or numbers"):
        load(f"run:{tmp_path}" if place == "run:" else f"{MODEL}@{path}")


def test_a_run_that_names_a_model_of_the_hub_is_refused(tmp_path: Path, net: torch.nn.Module):
    written(tmp_path, net, None, "weights.safetensors")
    (tmp_path / RUN).write_text(json.dumps({**FACTS, "model": "hf-hub:evil/model"}))
    check(f"run:{tmp_path}")
    with pytest.raises(ValueError, match="no timm model 'hf-hub:evil/model'"):
        load(f"run:{tmp_path}")


@pytest.mark.parametrize("header", ["{", "[]", '{"mean": [0.1, 0.2, 0.3]}', '{"input_size": [3, 8]}', '{"mean": "x"}'])
def test_a_damaged_header_says_so(tmp_path: Path, header: str):
    net = timm.create_model("test_resnet", num_classes=5)
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(net.state_dict(), path, metadata={HEADER: header})
    with pytest.raises(ValueError, match="Take it away to load the weights without it"):
        load(f"test_resnet@{path}")


def test_the_same_weights_make_the_same_bytes(tmp_path: Path, net: torch.nn.Module):
    for number in range(8):
        written(tmp_path, net, FACTS, f"{number}.safetensors")
        write_checkpoint(tmp_path / f"{number}.ckpt", {"epoch": 1, "state": net.state_dict()})
    for kind in ("safetensors", "ckpt"):
        assert len({path.read_bytes() for path in tmp_path.glob(f"*.{kind}")}) == 1


@pytest.mark.parametrize("model", ["test_vit", "tv:resnet18"])
def test_settings_of_the_model(model: str):
    settings = {"num_classes": 7} if model == "test_vit" else {"norm_layer": torch.nn.Identity}
    assert load(model, model_args=settings).origin["model_args"] == settings
    with pytest.raises(ValueError, match="cannot be built with nonsense"):
        load(model, model_args={"nonsense": 1})
    with pytest.raises(ValueError, match="no argument of a model's own"):
        load(model, model_args={"checkpoint_path": "w.pth"})


@pytest.mark.slow
def test_the_command_sets_the_model_and_its_normalisation(tmp_path: Path, capsys):
    common = ["--data", "digits", "--limit", "4", "--img-size", "32", "--out", f"{tmp_path}"]
    settings = ["--set", "model.mean=[0.1,0.2,0.3]", "--set", "model.std=0.5", "--set", "model.drop_path_rate=0.1"]
    assert run(["measure", "variance", "-m", "test_vit", *common, *settings]) == 2
    settings[3] = "model.std=[0.5,0.5,0.5]"
    assert run(["measure", "variance", "-m", "test_vit", *common, *settings]) == 0, capsys.readouterr().err
    provenance = json.loads((tmp_path / "test_vit/variance/provenance.json").read_text())
    assert provenance["input"]["mean"] == [0.1, 0.2, 0.3] and provenance["origin"]["normalisation"] == "given"
    assert provenance["origin"]["model_args"] == {"drop_path_rate": 0.1}
    assert "model.mean=[0.1,0.2,0.3]" in provenance["command"]
