"""Names become Subjects; what cannot become one says why."""

import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from alternet.errors import Doubt
from alternet.subject import loading
from alternet.subject.loading import check, load
from alternet.subject.timm_models import classifier_of
from alternet.subject.weights import number_of_classes


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(timm.create_model("test_vit", num_classes=5).state_dict(), path)
    return path


def test_timm_states_its_facts():
    net = load("test_vit")
    assert net.input_size == (3, 160, 160) and net.prefix_tokens == 1
    assert net.mean == (0.5, 0.5, 0.5) and not net.model.training


def test_a_model_goes_where_training_and_the_command_put_theirs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loading, "local_device", lambda name: torch.device(name or "meta"))
    assert load("test_vit").device.type == "meta" and load("test_vit", device="cpu").device.type == "cpu"


def test_random_weights_follow_the_seed_and_leave_the_random_state():
    state = torch.get_rng_state()
    checksums = [load("test_vit", seed=seed).weights_sha256 for seed in (0, 0, 1)]
    assert checksums[0] == checksums[1] != checksums[2]
    assert torch.equal(state, torch.get_rng_state())


def test_weights_bring_their_number_of_classes(weights: Path):
    net = load(f"test_vit@{weights}")
    expected = safetensors.torch.load_file(weights)
    assert net.model.get_classifier().out_features == 5
    assert all(torch.equal(value, expected[key]) for key, value in net.model.state_dict().items())


def test_position_embeddings_are_resampled(weights: Path):
    net = load(f"test_vit@{weights}", img_size=96)
    assert net.input_size == (3, 96, 96)
    assert net.model.pos_embed.shape[1] == 1 + (96 // 16) ** 2
    assert net.logits(torch.rand(1, 3, 96, 96)).shape == (1, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_mini", "conv_vit_tiny"])
def test_position_embeddings_of_our_models_are_resampled(tmp_path: Path, name: str):
    model = timm.create_model(name, num_classes=5)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "w.safetensors")
    net = load(f"{name}@{tmp_path / 'w.safetensors'}", img_size=48)
    assert net.input_size == (3, 48, 48) and net.model.pos_embed.shape[1] in (12**2, 1 + 12**2)
    assert net.logits(torch.rand(1, 3, 48, 48)).shape == (1, 5)


@pytest.mark.slow
def test_position_embeddings_of_torchvision_are_resampled(tmp_path: Path):
    model = torchvision.models.vit_b_32(num_classes=5)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    net = load(f"tv:vit_b_32@{tmp_path / 'w.pth'}", img_size=64)
    assert net.input_size == (3, 64, 64) and net.model.encoder.pos_embedding.shape[1] == 1 + 2**2
    assert net.logits(torch.rand(1, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize(("name", "side"), [("tv:vit_b_32", 50), ("levit_128s", 50), ("test_vit", 8), ("tv:swin_t", 1)])
def test_a_size_that_a_model_cannot_take(name: str, side: int):
    with pytest.raises(ValueError, match=f"{name} cannot take images of side {side} .*Give another --img-size"):
        load(name, img_size=side)


def test_a_convolutional_network_takes_any_size():
    net = load("test_resnet", img_size=64)
    assert net.input_size == (3, 64, 64) and net.logits(torch.rand(1, 3, 64, 64)).shape == (1, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_checkpoints_are_unwrapped(tmp_path: Path, wrap, prefix: str):
    model = timm.create_model("test_resnet", num_classes=4)
    torch.save(wrap({prefix + key: value for key, value in model.state_dict().items()}), tmp_path / "w.pth")
    net = load(f"test_resnet@{tmp_path / 'w.pth'}")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in net.model.state_dict().items())


def test_our_own_checkpoint(tmp_path: Path):
    model = timm.create_model("preresnet_mini", num_classes=3)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "w.safetensors")
    net = load(f"preresnet_mini@{tmp_path / 'w.safetensors'}")
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(net.logits(x), model.eval()(net.normalise(x)))


def test_torchvision_with_weights(tmp_path: Path):
    model = torchvision.models.squeezenet1_1(num_classes=6).eval()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    net = load(f"tv:squeezenet1_1@{tmp_path / 'w.pth'}")
    assert net.input_size == (3, 224, 224) and net.mean == (0.485, 0.456, 0.406)
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(net.logits(x), model(net.normalise(x)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet", "vit_b_32"])
def test_torchvision_with_weights_that_a_file_sorts_by_name(tmp_path: Path, name: str):
    quietly = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, num_classes=6, **quietly)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "w.safetensors")
    assert load(f"tv:{name}@{tmp_path / 'w.safetensors'}").logits(torch.rand(1, 3, 224, 224)).shape == (1, 6)


@pytest.mark.parametrize(
    ("name", "classifier", "width"),
    [("preresnet_mini", "classifier.0.dense", 128), ("conv_vit_tiny", "classifier.3", 192)],
)
def test_released_weights_bring_their_number_of_classes(name: str, classifier: str, width: int):
    state = {f"{classifier}.weight": torch.zeros(7, width), "zz.weight": torch.zeros(3, 3)}
    assert number_of_classes(state, classifier_of(name)) == 7


def test_transformers_from_a_folder(tmp_path: Path):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    tmp_path /= "with@sign"
    config = transformers.ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(image_mean=[0.1] * 3, image_std=[0.9] * 3).save_pretrained(tmp_path)
    net = load(f"hf:{tmp_path}")
    assert net.input_size == (3, 32, 32) and net.mean == (0.1, 0.1, 0.1)
    assert net.logits(torch.rand(2, 3, 32, 32)).shape == (2, 2)


@pytest.mark.parametrize("bars", [True, False])
def test_transformers_says_nothing_of_its_own_and_is_left_as_it_was(bars: bool, tmp_path: Path, capfd):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    logging = transformers.utils.logging
    small = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.ViTForImageClassification(transformers.ViTConfig(intermediate_size=32, **small))
    model.save_pretrained(tmp_path, state_dict=model.state_dict() | {"further.weight": torch.zeros(3)})
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
    try:
        capfd.readouterr()
        with pytest.warns(Doubt, match=r"has no place for 1 tensor \(further.weight\) of its weights: left out"):
            load(f"hf:{tmp_path}")
        assert capfd.readouterr() == ("", "")
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (before[0], bars)
    finally:
        (logging.enable_progress_bar if before[1] else logging.disable_progress_bar)()


def test_layers_that_a_folder_of_transformers_lacks_are_said(tmp_path: Path):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    small = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.ViTForImageClassification(transformers.ViTConfig(intermediate_size=32, **small))
    state = {key: value for key, value in model.state_dict().items() if "classifier" not in key}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.warns(Doubt, match=r"brings no weights for 2 tensors \(classifier.bias, classifier.weight\): random"):
        assert load(f"hf:{tmp_path}").origin["weights"]["drawn"] == ["classifier.bias", "classifier.weight"]
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForImageClassification": "code.Net"}
    config["model_type"] = "nobodys"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="cannot be fetched"):
        load(f"hf:{tmp_path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["ViT", "ResNet"])
def test_transformers_that_take_other_channels_at_a_size_of_ones_own(tmp_path: Path, kind: str):
    """The second states how many channels it takes, but no size."""
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    small = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "ResNet":
        small = {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic"}
    config = getattr(transformers, f"{kind}Config")(num_channels=1, **small)
    getattr(transformers, f"{kind}ForImageClassification")(config).save_pretrained(tmp_path)
    assert load(f"hf:{tmp_path}", img_size=32).input_size == (1, 32, 32)


class Code:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.save({"state_dict": Code()}, tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Code()))
    for name, says in {"w.pth": "could run code", "plain.pth": "objects other than tensors"}.items():
        with pytest.raises(ValueError, match=says):
            load(f"test_resnet@{tmp_path / name}")
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "suffix"), [(b"", "pth"), (b"\x80garbage", "pth"), (b"PK\x03\x04cut", "pth"), (b"{", "safetensors")]
)
def test_damaged_files(tmp_path: Path, content: bytes, suffix: str):
    (tmp_path / f"w.{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.\w+ (cannot be read|holds)"):
        load(f"test_resnet@{tmp_path / 'w'}.{suffix}")


def test_a_truncated_file(tmp_path: Path, weights: Path):
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="Is the file complete"):
        load(f"test_vit@{weights}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "tv:alexnet", "preresnet_mini"])
def test_weights_for_another_model(name: str, weights: Path):
    with pytest.raises(ValueError, match=r"missing|unexpected|do not fit|does not fit"):
        load(f"{name}@{weights}")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet5O", "no timm model 'resnet5O'. Did you mean .*resnet50"),
        ("alternet50", "Did you mean .*alternet_50"),
        ("tv:resnet5O", "no torchvision classifier 'resnet5O'. Did you mean .*resnet50"),
        ("zzz", "See: alternet list models"),
        ("resnet18@nowhere.pth", "no weight file nowhere.pth"),
        ("resnet18@pyproject.toml", "no weight file|expected one of"),
        (f"resnet18@{'n' * 300}.pth", "no weight file n+.pth"),
        ("run:nowhere", "no run.json"),
        (f"run:{'n' * 300}", "no run.json"),
        ("", "no timm model ''"),
    ],
)
def test_wrong_names(name: str, says: str):
    with pytest.raises(ValueError, match=says):
        check(name)
    with pytest.raises(ValueError, match=says):
        load(name)


def test_a_tilde_is_the_home_of_the_user(weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", f"{weights.parent}")
    assert load("test_vit@~/w.safetensors").name == "test_vit@~/w.safetensors"
    with pytest.raises(ValueError, match="~nobody-at-all/run is no training run"):
        load("run:~nobody-at-all/run")


def test_transformers_take_no_weight_file(tmp_path: Path):
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    with pytest.raises(ValueError, match="or give the folder of a saved model: hf:PATH"):
        load(f"hf:{tmp_path}")
    with pytest.raises(ValueError, match="brings its own weights; write hf:google/vit"):
        load("hf:google/vit@w.pth")


def test_a_model_nobody_trained():
    with pytest.raises(ValueError, match="Nobody published pretrained weights of alternet_mini"):
        load("alternet_mini@pretrained")


def test_wrong_sizes_and_classes(tmp_path: Path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        load("test_vit", img_size=0)


def test_published_weights_of_torchvision_keep_their_classes() -> None:
    with pytest.raises(ValueError, match="weights of tv:resnet18 tell 1000 classes apart, got num_classes=5"):
        load("tv:resnet18@pretrained", num_classes=5)
