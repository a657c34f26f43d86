"""Spatial smoothing and kernel size of the residual networks."""

import math
from itertools import product
from typing import Any

import pytest
import timm
import torch
from torch import nn

import alternet.models  # noqa: F401 - registers our models in timm
from alternet import Subject
from alternet.models.residual import SpatialSmoothing


def test_smoothing_is_a_bounded_relu_and_the_mean_with_the_neighbours_above_and_left() -> None:
    maps = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20
    smooth = SpatialSmoothing(10.0)(maps)
    assert smooth.shape == maps.shape
    for n, c, i, j in product(range(2), range(3), range(5), range(4)):
        near = [(y, x) for y in (i - 1, i) for x in (j - 1, j) if y >= 0 and x >= 0]
        wanted = sum(max(0.0, 10 * math.tanh(maps[n, c, y, x].item() / 10)) for y, x in near) / 4
        assert smooth[n, c, i, j].item() == pytest.approx(wanted, abs=1e-12)


def made(name: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, depths=(1, 2, 1), widths=(8, 8, 16), num_classes=5, **settings).eval()


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("paper_resnet_50", {}),
        ("preresnet_50", {}),
        ("alternet_50", {"num_msa": (0, 1, 0), "heads": (1, 1, 1), "head_dim": 4}),
    ],
)
def test_every_stage_is_smoothed_before_it_is_subsampled_or_pooled(name: str, more: dict[str, Any]) -> None:
    plain, smooth = made(name, **more), made(name, **more, spatial_smoothing=10.0)
    assert plain.state_dict().keys() == smooth.state_dict().keys()
    assert [path for path, module in smooth.named_modules() if isinstance(module, SpatialSmoothing)] == [
        f"stages.{i}.smoothing" for i in range(3)
    ]
    images = torch.randn(2, 3, 16, 12, generator=torch.Generator().manual_seed(1))
    x = plain.stem(images)
    for stage in plain.stages:
        x = SpatialSmoothing(10.0)(stage(x))
    torch.testing.assert_close(smooth(images), plain.head(plain.norm(x)))
    assert not torch.allclose(smooth(images), plain(images))


@pytest.mark.parametrize("name", ["paper_resnet_50", "preresnet_50"])
def test_smoothing_is_a_unit_of_its_own_and_leaves_the_others_as_they_are(name: str) -> None:
    plain, smooth = (
        [(tap.name, tap.kind) for tap in Subject(made(name, **more), name="net", input_size=(3, 16, 16)).taps]
        for more in ({}, {"spatial_smoothing": 10.0})
    )
    own = [(f"stages.{i}.smoothing", "mixer") for i in range(3)]
    assert [unit for unit in smooth if unit not in own] == plain and len(plain) == 5
    assert [unit for unit in smooth if unit in own] == own


@pytest.mark.parametrize("name", ["paper_resnet_50", "preresnet_18"])
def test_the_kernel_size_is_that_of_the_blocks_spatial_convolutions_alone(name: str) -> None:
    net = made(name, kernel_size=5)
    sizes = {path: layer.kernel_size for path, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
    spatial = {path for path, size in sizes.items() if size == (5, 5)}
    assert sizes.pop("stem.conv") == (3, 3)
    assert set(sizes.values()) <= {(1, 1), (5, 5)}
    before = {path for path, layer in made(name).named_modules() if getattr(layer, "kernel_size", 0) == (3, 3)}
    assert spatial == before - {"stem.conv"}
    assert net(torch.randn(1, 3, 17, 9)).shape == (1, 5)
    with pytest.raises(ValueError, match="kernel_size=4, expected an odd number"):
        made(name, kernel_size=4)


def test_groups_of_a_bottleneck_make_timms_resnext() -> None:
    ours = timm.create_model("paper_resnet_50", stem="imagenet", cardinality=32, base_width=4, num_classes=7).eval()
    theirs = timm.create_model("resnext50_32x4d", num_classes=7).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 64, 64, generator=generator)
    torch.testing.assert_close(ours(images), theirs(images))


def test_groups_are_refused_where_they_do_not_fit() -> None:
    with pytest.raises(ValueError, match='block=.basic., expected "bottleneck" with groups'):
        timm.create_model("preresnet_18", cardinality=4)
    with pytest.raises(ValueError, match="base_width=4, expected whole channels a group"):
        made("preresnet_50", cardinality=4, base_width=4)
