"""The released networks' outputs, and what the loader says to weights that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import alternet.models
from alternet.models import load_released

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = {
    "alternet_18_cifar_window4": ("alternet_18", {}),
    "alternet_50_cifar_window4": ("alternet_50", {"num_msa": (0, 1, 3, 2)}),  # the released code's default
    "alternet_50_imagenet_window7": ("alternet_50", {"stem": "imagenet"}),
    "conv_vit_tiny_cifar_kernel5": ("conv_vit_tiny", {"kernel_size": 5}),
    "preresnet_18_imagenet": ("preresnet_18", {"stem": "imagenet"}),
    "preresnet_50_cifar": ("preresnet_50", {}),
    "resnet_50_cifar": ("paper_resnet_50", {}),
}


def seeded(seed: int, key: str, shape: list[int]) -> Tensor:
    """The weight that tests/golden/README.md prescribes."""
    z = np.random.RandomState(seed).standard_normal(shape)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        value = np.exp(0.1 * z)
    elif key.endswith("running_mean") or (len(shape) == 1 and key.endswith("bias")):
        value = 0.1 * z
    elif len(shape) == 1:
        value = 1 + 0.1 * z
    elif len(shape) == 2 and "pos" in key:
        value = 0.2 * z
    else:
        value = z / np.sqrt(np.prod(shape[1:]))
    return torch.tensor(value, dtype=torch.float32)


def read(file: str) -> dict:
    return json.loads((GOLDEN / f"{file}.json").read_text())


def released(file: str) -> dict[str, Tensor]:
    return {key: seeded(i, key, shape) for i, (key, shape) in enumerate(read(file)["keys"])}


def test_every_golden_model_is_checked() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == MODELS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("file", MODELS)
def test_golden_logits_and_parameter_count(file: str) -> None:
    golden = read(file)
    name, settings = MODELS[file]
    net = timm.create_model(name, num_classes=10, **settings).eval()
    load_released(net, released(file))
    images = np.random.RandomState(1234).standard_normal(golden["input_shape"])
    with torch.no_grad():
        logits = net(torch.tensor(images, dtype=torch.float32))
    torch.testing.assert_close(logits, torch.tensor(golden["logits"]), rtol=1e-3, atol=1e-3)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == golden["params"]


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return released("alternet_18_cifar_window4")


def small() -> nn.Module:
    return timm.create_model("alternet_18", num_classes=10)


def test_weights_saved_from_data_parallel_load(weights: dict[str, Tensor]) -> None:
    net, same = small(), small()
    load_released(net, weights)
    load_released(same, {f"module.{key}": value for key, value in weights.items()})
    torch.testing.assert_close(net.state_dict(), same.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer4.1.norm1.weight": None}, r"1 missing \(stages\.3\.1\.norm1\.weight\)"),
        ({"layer2.1.attn.attn.to_q.weight": None}, r"1 missing \(stages\.1\.1\.branch\.attn\.q\.weight\)"),
        ({"layer5.0.bn.weight": torch.ones(3)}, r"1 unknown or doubled \(layer5\.0\.bn\.weight\)"),
        ({"layer0.0.weight": torch.ones(64, 3, 3, 3)}, r"1 unknown or doubled \(layer0\.0\.weight\)"),
        ({"classifier.0.dense.bias": torch.ones(100)}, r"head\.fc\.bias \[100\] instead of \[10\]"),
        ({"layer2.1.attn.attn.to_kv.weight": torch.ones(769, 128, 1, 1)}, r"to_kv.*expected every weight.*so check"),
        ({"layer2.1.attn.pos_embedding": torch.ones(13, 13)}, r"relative_position_bias \[13, 13\] instead of \[7, 7\]"),
    ],
)
def test_unfit_weights_are_refused_and_change_nothing(weights: dict, change: dict, message: str) -> None:
    net = small()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    changed = {key: value for key, value in (weights | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        load_released(net, changed)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


def test_weights_of_another_network_are_named_a_few_only(weights: dict[str, Tensor]) -> None:
    net = timm.create_model("paper_resnet_18", num_classes=10)
    with pytest.raises(
        ValueError, match=r"not those of this PaperResNet: \d+ missing \(\S+, \S+, \S+, \.\.\.\)"
    ) as error:
        load_released(net, weights)
    assert len(str(error.value)) < 700


def test_only_tensors_and_only_our_models(weights: dict[str, Tensor]) -> None:
    with pytest.raises(TypeError, match="holds dict under 'state_dict': expected tensors only; .* pass the state dict"):
        load_released(small(), {"state_dict": weights})  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        TypeError, match="do not fit a Linear: expected one of AlterNet, PreResNet, PaperResNet, ConvViT"
    ):
        load_released(nn.Linear(2, 2), weights)


def test_registered_names_are_listed() -> None:
    assert set(alternet.models.NAMES) <= set(timm.list_models())
