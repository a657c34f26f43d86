"""Networks with the same weights that compute something else are told apart, and nothing else is."""

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alternet.data.image_batches import Batches
from alternet.instruments.calibration import Calibration
from alternet.instruments.fourier_heatmap import FourierHeatmap
from alternet.subject.subject import Subject


class Attention(nn.Module):
    """Attention written by hand, its settings in plain attributes that no weight shows."""

    def __init__(self, *, heads: int = 2, window: int = 4, dropout: float = 0.1, scale: float = 1.0) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 5)
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.heads, self.window, self.dropout = heads, window, dropout
        self.scale = torch.tensor(scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        n, tokens, c = x.shape
        x = x.reshape(n * tokens // self.window, self.window, c)
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = (q @ k.mT * self.scale).softmax(-1) @ v
        x = F.dropout(x.transpose(1, 2).reshape(n, tokens, c), self.dropout, self.training)
        return self.head(x.mean(1))


class Convolutions(nn.Module):
    """A residual unit with settings of its modules."""

    def __init__(
        self, act: Callable[[], nn.Module] = nn.ReLU, *, eps: float = 1e-5, swapped: bool = False, **conv: Any
    ) -> None:
        super().__init__()
        options: Any = {"stride": 2, "padding": 1, **conv}
        self.stem, self.act = nn.Conv2d(3, 8, 3, **options), act()
        self.norm, self.one, self.two = nn.BatchNorm2d(8, eps=eps), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.drop, self.head, self.swapped = nn.Dropout(0.1), nn.Linear(8, 5), swapped

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        first, second = (self.two, self.one) if self.swapped else (self.one, self.two)
        x = x + second(self.act(first(x)))
        return self.head(self.drop(x.mean((2, 3))))


def dropped(rate: float) -> nn.Module:
    net = Convolutions()
    net.drop.p = rate
    return net


def encoder(**settings) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, **{"nhead": 2, "dim_feedforward": 16, "batch_first": True} | settings)
    parts = [nn.Conv2d(3, 16, 4, stride=4), nn.Flatten(2), Turned(), nn.TransformerEncoder(layer, 1, **OPEN), Mean()]
    return nn.Sequential(*parts, nn.Linear(16, 5))


OPEN: Any = {"enable_nested_tensor": False}


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mT


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def vit(**settings) -> Any:
    small: Any = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}
    return timm.create_model("vit_tiny_patch16_224", **small | settings)


def swin(**settings) -> Any:
    small: Any = {"img_size": 32, "patch_size": 2, "embed_dim": 8, "depths": (2,), "num_heads": (2,), "num_classes": 5}
    return timm.create_model("swin_tiny_patch4_window7_224", **small | {"window_size": 4} | settings)


def resnet(**settings) -> Any:
    return timm.create_model("test_resnet", num_classes=5, **settings)


PAIRS = {
    "relu or gelu": (Convolutions, lambda: Convolutions(nn.GELU)),
    "gelu by erf or tanh": (lambda: Convolutions(nn.GELU), lambda: Convolutions(lambda: nn.GELU("tanh"))),
    "slope": (lambda: Convolutions(nn.LeakyReLU), lambda: Convolutions(lambda: nn.LeakyReLU(0.2))),
    "eps": (Convolutions, lambda: Convolutions(eps=1e-3)),
    "stride": (Convolutions, lambda: Convolutions(stride=1)),
    "dilation": (Convolutions, lambda: Convolutions(dilation=2, padding=2)),
    "padding": (Convolutions, lambda: Convolutions(padding_mode="circular")),
    "the order of layers": (Convolutions, lambda: Convolutions(swapped=True)),
    "dropout of a module": (Convolutions, lambda: dropped(0.5)),
    "heads by hand": (Attention, lambda: Attention(heads=4)),
    "window by hand": (Attention, lambda: Attention(window=2)),
    "dropout by hand": (Attention, lambda: Attention(dropout=0.5)),
    "a tensor that is no weight": (Attention, lambda: Attention(scale=0.5)),
    "heads of torch": (encoder, lambda: encoder(nhead=4)),
    "activation of torch": (encoder, lambda: encoder(activation="gelu")),
    "norm first": (encoder, lambda: encoder(norm_first=True)),
    "dropout of torch": (encoder, lambda: encoder(dropout=0.3)),
    "heads of timm": (vit, lambda: vit(num_heads=4)),
    "activation of timm": (vit, lambda: vit(act_layer="relu")),
    "dropout of timm": (vit, lambda: vit(drop_rate=0.3)),
    "stochastic depth": (vit, lambda: vit(drop_path_rate=0.3)),
    "pooling of tokens": (lambda: vit(global_pool="avg", fc_norm=False), lambda: vit(fc_norm=False)),
    "the output stride": (resnet, lambda: resnet(output_stride=8)),
}


def subject(model: nn.Module, like: nn.Module | None = None) -> Subject:
    if like is not None:
        model.load_state_dict(like.state_dict())
    return Subject(model, name="net", input_size=(3, 16, 16))


@pytest.mark.parametrize("pair", PAIRS)
def test_networks_of_the_same_weights_are_told_apart(pair):
    one, other = (make() for make in PAIRS[pair])
    first, second = subject(one), subject(other, one)
    assert first.weights_sha256 == second.weights_sha256
    assert first.architecture((3, 16, 16)) != second.architecture((3, 16, 16))
    assert first.architecture((3, 16, 16))["of"] == second.architecture((3, 16, 16))["of"] == "graph"


def test_a_window_of_timm_is_told_apart():
    one, other = swin(), swin()
    other.layers[0].blocks[1].shift_size = (0, 0)
    first, second = subject(one), subject(other, one)
    assert first.architecture((3, 32, 32)) != second.architecture((3, 32, 32))


@pytest.mark.parametrize("pair", PAIRS)
def test_the_same_network_made_again_is_the_same(pair):
    for make in PAIRS[pair]:
        torch.manual_seed(1)
        one, other = subject(make()), subject(make().train())
        before = one.architecture((3, 16, 16))
        one.logits(one.example())
        assert before == other.architecture((3, 16, 16)) == subject(copy.deepcopy(one.model)).architecture((3, 16, 16))
        assert Subject(one.model, name="net").architecture((3, 16, 16)) == before


@pytest.mark.slow
def test_another_process_says_the_same():
    call = "from tests.subject.test_architecture import everyone; print(everyone())"
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", call], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == str(everyone())


def everyone() -> list[str]:
    return [subject(make()).architecture((3, 16, 16))["sha256"] for pair in PAIRS.values() for make in pair]


def test_a_network_that_no_pass_can_be_made_with_is_told_by_its_modules():
    class Broken(Attention):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("not today")

    first, again, other = (subject(Broken(heads=heads)).architecture((3, 16, 16)) for heads in (2, 2, 4))
    assert first["of"] == "modules" and first == again != other


def test_what_is_changed_in_a_model_is_noticed():
    net: Any = subject(Convolutions())
    taps, before, weights = net.taps, net.architecture((3, 16, 16)), net.weights_sha256
    assert net.taps is taps
    net.model.act = nn.GELU()
    assert net.architecture((3, 16, 16)) != before
    with torch.no_grad():
        net.model.head.weight.add_(1)
    trained = net.weights_sha256
    assert trained != weights
    net.model.head.weight.data[0, 0] = 7.0  # which no version counts
    assert net.weights_sha256 != trained
    net.model.one = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
    assert net.taps != taps


def data() -> Batches:
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Batches.of(images, torch.arange(6) % 5)


def test_a_stored_result_of_another_network_is_refused(tmp_path):
    one, other = Convolutions(), Convolutions(nn.GELU)
    stored = Calibration().measure(subject(one), data(), out=tmp_path)
    again = Calibration().measure(subject(copy.deepcopy(one)), data(), out=tmp_path)
    assert again.table.equals(stored.table)
    with pytest.raises(ValueError, match="holds the result of another network than net is now"):
        Calibration().measure(subject(other, one), data(), out=tmp_path)


def test_a_model_that_was_trained_on_is_measured_anew(tmp_path):
    net: Any = subject(Convolutions())
    Calibration().measure(net, data(), out=tmp_path)
    net.model.head.bias.data.add_(1)
    with pytest.raises(ValueError, match="another model"):
        Calibration().measure(net, data(), out=tmp_path)


def test_under_other_versions_the_architecture_is_not_compared_and_that_is_said(tmp_path, caplog):
    one, other = Convolutions(), Convolutions(nn.GELU)
    Calibration().measure(subject(one), data(), out=tmp_path)
    path = tmp_path / "net" / "calibration" / "provenance.json"
    text = path.read_text()
    path.write_text(text.replace(f'"timm": "{timm.__version__}"', '"timm": "0.9.0"'))
    Calibration().measure(subject(other, one), data(), out=tmp_path)
    assert "was made with timm 0.9.0, now" in caplog.text and "not the architecture" in caplog.text


def test_a_half_finished_result_of_another_network_is_refused(tmp_path):
    one, other = Convolutions(), Convolutions(nn.GELU)
    net, calls = subject(one), []

    def stop(*_: object) -> None:
        calls.append(0)
        if len(calls) > 6:
            raise KeyboardInterrupt

    handle = one.norm.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        FourierHeatmap(side=3).measure(net, data(), out=tmp_path)
    handle.remove()
    assert list(tmp_path.rglob("items.0.jsonl"))
    with pytest.raises(ValueError, match=r"another network than net is now.*to start again"):
        FourierHeatmap(side=3).measure(subject(other, one), data(), out=tmp_path)
    whole = FourierHeatmap(side=3).measure(subject(copy.deepcopy(one)), data())
    assert FourierHeatmap(side=3).measure(net, data(), out=tmp_path).table.equals(whole.table)
