"""Directions: norms by hand for every kind of layer, the numbers of the paper's code, what is left out."""

from itertools import product
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from alternet.loss.directions import fitted, gaussian, ignored, normalised
from alternet.loss.parameters import ParameterVector

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "instruments.npz")
SHAPES = {
    "Linear": (5, 6),
    "Conv2d": (4, 3, 3, 3),
    "depthwise": (6, 1, 3, 3),
    "embedding": (1, 7, 4),
    "vector": (9,),
}


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.1, 3, shape[0]).view(-1, *[1] * (len(shape) - 1))
    return torch.randn(shape, generator=generator), scale * torch.randn(shape, generator=generator)


def norm(values: Tensor) -> float:
    return sqrt(sum(float(value) ** 2 for value in values.flatten()))


@pytest.mark.parametrize("name", ["conv.weight", "fc.weight"])
def test_the_papers_code(name: str) -> None:
    w, b, official = (torch.from_numpy(GOLDEN[f"filternorm_{part}_{name}"]) for part in ("w", "b", "official"))
    torch.testing.assert_close(normalised(b, w, "paper"), official, rtol=0, atol=1e-5)
    assert not torch.allclose(normalised(b, w, "filter"), official, atol=0.1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_each_output_filter_gets_the_norm_of_its_weights(shape: tuple[int, ...]) -> None:
    d, w = pair(shape)
    scaled = normalised(d, w, "filter")
    filters = [...] if len(shape) == 1 else range(shape[0])
    for k in filters:
        torch.testing.assert_close(scaled[k], d[k] * norm(w[k]) / norm(d[k]))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_by_layer_the_whole_gets_the_norm_and_paper_goes_across_filters(shape: tuple[int, ...]) -> None:
    d, w = pair(shape)
    torch.testing.assert_close(normalised(d, w, "layer"), d * norm(w) / norm(d))
    assert torch.equal(normalised(d, w, "none"), d)
    across = normalised(d, w, "paper")
    for place in product(*(range(n) for n in shape[1:])):
        column = (slice(None), *place)
        torch.testing.assert_close(across[column], d[column] * norm(w[column]) / norm(d[column]))


@pytest.mark.parametrize("how", ["filter", "layer", "paper"])
def test_a_filter_without_a_direction_or_without_weights_stays(how: str) -> None:
    zero = torch.zeros(3, 2)
    assert torch.equal(normalised(zero, torch.ones(3, 2), how), zero)
    assert torch.equal(normalised(torch.ones(3, 2), zero, how), zero)


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("vit_tiny_patch16_224", {"cls_token", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "head.weight"}),
        ("swin_tiny_patch4_window7_224", {"patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight"}),
        ("levit_128s", {"stem.conv1.linear.weight", "stages.0.blocks.0.attn.qkv.linear.weight"}),
        ("alternet_18", {"stem.conv.weight", "stages.0.0.branch.conv1.weight"}),
    ],
)
def test_norms_biases_and_positions_are_left_out(model: str, kept: set[str]) -> None:
    shapes = {name: p.shape for name, p in timm.create_model(model, num_classes=3).named_parameters()}
    moving = {name for name, shape in shapes.items() if not ignored(name, shape)}
    assert kept <= moving
    assert all(len(shapes[name]) > 1 for name in moving)
    assert not [name for name in moving if "pos" in name or "bias" in name]


def test_a_whole_direction_is_fitted_parameter_by_parameter() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    space = ParameterVector({name: p.shape for name, p in net.named_parameters()})
    theta = torch.arange(1.0, space.size + 1)
    direction = gaussian(theta, seed=0, number=1)
    parts, weights = (space.split(part) for part in (direction, theta))
    moved = space.split(fitted(direction, theta, space, how="filter", ignore=True))
    assert torch.equal(moved["0.weight"], normalised(parts["0.weight"], weights["0.weight"], "filter"))
    assert not any(moved[name].any() for name in ("0.bias", "1.weight", "1.bias"))
    assert space.split(fitted(direction, theta, space, how="layer", ignore=False))["0.bias"].any()


def test_random_directions_have_numbers_of_their_own() -> None:
    theta = torch.zeros(20_000)
    one, again, other, seeded = (gaussian(theta, seed, k) for seed, k in ((0, 1), (0, 1), (0, 2), (1, 1)))
    assert torch.equal(one, again)
    for different in (other, seeded):
        assert abs(float(torch.cosine_similarity(one, different, dim=0))) < 0.05
    assert float(one.std()) == pytest.approx(1, abs=0.02)
    assert gaussian(theta.double(), 0, 1).dtype == torch.float64
