"""Every network of the paper: tokens, units, windows and heads as the paper says, at 32 pixels."""

from collections import Counter
from functools import lru_cache
from itertools import groupby
from typing import Any

import pytest
import timm
from torch import nn

from alternet import Subject
from alternet.studies.evidence import published
from alternet.studies.networks import BUILDUP, NETWORKS, SERIES, SIDE, Network, Scale, network
from alternet.subject.starting import start

Maps = list[tuple[int, int, dict[str, int]]]


@lru_cache(maxsize=4)
def built(arm: str, scale: Scale) -> nn.Module:
    return made(NETWORKS[arm][scale])


def made(net: Network) -> nn.Module:
    return start(net.model, (3, 32, 32), 10, net.settings, seed=0).model


def maps(model: nn.Module) -> Maps:
    """Channels and side of each size of map in order, with the kinds of units that make them."""
    found = Subject(model, name="net", input_size=(3, 32, 32)).taps
    sizes = groupby(found, key=lambda tap: tap.shape)
    return [(c, h, dict(Counter(tap.kind for tap in group))) for (c, h, _), group in sizes]


def stages(channels: list[int], side: int, depths: list[int], *, between: bool = False, **extra: int) -> Maps:
    """Stages of attention and MLPs, the first behind the embedding; `between`: each further one begins by pooling."""
    blocks = [{"msa": depth, "mlp": depth, **extra} for depth in depths]
    first = [{"stem": 1}, *([{"pool": 1}] if between else [{}]) * (len(depths) - 1)]
    sides = [side] if len(depths) == 1 else [side, *(-(-side // 2**k) for k in range(1, len(depths)))]
    return [(c, s, a | b) for c, s, a, b in zip(channels, sides, first, blocks, strict=True)]


def resnet(depths: list[int], attending: tuple[int, ...] = (0, 0, 0, 0), kind: str = "msa") -> Maps:
    units = [{"conv": depth - msa} | ({kind: msa} if msa else {}) for depth, msa in zip(depths, attending, strict=True)]
    return [(64, 32, {"stem": 1}), *((256 * 2**k, 32 // 2**k, unit) for k, unit in enumerate(units))]


BASIC = [(64 * 2**k, 32 // 2**k, ({"stem": 1} if k == 0 else {}) | {"conv": 2}) for k in range(4)]
VIT = stages([192], 16, [12])
CIFAR = {
    "ResNet": resnet([3, 4, 6, 3]),
    "ResNet-18": BASIC,
    "ResNet-101": resnet([3, 4, 23, 3]),
    "ResNet (kernel 5)": resnet([3, 4, 6, 3]),
    "ResNet-18 (smoothing)": [(c, side, kinds | {"mixer": 1}) for c, side, kinds in BASIC],
    "ResNeXt": resnet([3, 4, 6, 3]),
    "ViT": VIT,
    "ViT (GAP)": VIT,
    "ViT (depth 6)": stages([192], 16, [6]),
    "ViT-S": stages([384], 16, [12]),
    "PiT": stages([64, 128, 256], 31, [2, 6, 4], between=True),
    "Swin": stages([96, 192, 384, 768], 32, [2, 2, 6, 2], between=True),
    "Twins": stages([64, 128, 256, 512], 32, [2, 2, 10, 4], between=True, conv=1),
    "Mixer": [(192, 16, {"stem": 1, "mixer": 12, "mlp": 12})],
    "ConViT": VIT,
    "LeViT": [
        (128, 4, {"stem": 1, "msa": 2, "mlp": 2}),
        (256, 2, {"msa": 4, "mlp": 4}),
        (384, 1, {"msa": 5, "mlp": 5}),
    ],
    **{f"Conv ViT {side} × {side}": stages([192], 8, [12]) for side in (3, 5, 8)},
    "ResNet (pre-activation)": resnet([3, 4, 6, 4]),
    "AlterNet": resnet([3, 4, 6, 4], (0, 1, 1, 2)),
    "ResNet + MSA": resnet([3, 4, 6, 4], (0, 1, 1, 2)),
    "ResNet + static MSA": resnet([3, 4, 6, 4], (0, 1, 1, 2), "mixer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("arm", NETWORKS)
def test_the_papers_size_has_the_papers_units_and_tokens(arm: str):
    assert maps(built(arm, "cifar")) == CIFAR[arm]


def each(model: nn.Module, path: str) -> list[Any]:
    """An attribute of every module that has it, say `attn.num_heads`."""
    owner, _, name = path.rpartition(".")
    chosen = [m for where, m in model.named_modules() if where.rpartition(".")[2] == owner and hasattr(m, name)]
    return [getattr(module, name) for module in chosen]


@pytest.mark.slow
def test_the_papers_size_has_the_papers_heads_and_windows():
    vit = built("ViT", "cifar")
    assert (vit.num_prefix_tokens, vit.global_pool, vit.blocks[0].attn.qkv.bias) == (1, "token", None)
    assert set(each(vit, "attn.num_heads")) == {3} and built("ViT (GAP)", "cifar").global_pool == "avg"
    assert set(each(built("ViT-S", "cifar"), "attn.num_heads")) == {6}
    assert each(built("PiT", "cifar"), "attn.num_heads") == [2] * 2 + [4] * 6 + [8] * 4
    assert [qkv.bias for arm in ("PiT", "Swin") for qkv in each(built(arm, "cifar"), "attn.qkv")] == [None] * 24
    swin = built("Swin", "cifar")
    assert each(swin, "attn.num_heads") == [3] * 2 + [6] * 2 + [12] * 6 + [24] * 2
    assert set(each(swin, "attn.window_size")) == {(4, 4)}
    twins = built("Twins", "cifar")
    assert set(each(twins, "attn.ws")) == {4} and each(twins, "attn.num_heads")[::2] == [2, 4] + [8] * 5 + [16] * 2
    assert set(each(built("ConViT", "cifar"), "attn.num_heads")) == {4}
    assert [type(block.attn).__name__ for block in built("ConViT", "cifar").blocks] == ["GPSA"] * 10 + ["MHSA"] * 2
    assert {m.num_heads for m in built("LeViT", "cifar").stages.modules() if hasattr(m, "num_heads")} == {4, 6, 8, 16}
    for side in (3, 5, 8):
        assert built(f"Conv ViT {side} × {side}", "cifar").settings.kernel_size == side
    alternet = built("AlterNet", "cifar").settings
    assert (alternet.msa, alternet.window, alternet.heads) == (("1.3", "2.5", "3.1", "3.3"), 4, (3, 6, 12, 24))


@pytest.mark.slow
def test_a_transplant_of_data_specific_attention_is_alternet():
    """So that the static one differs from AlterNet in nothing but what its weights depend on."""
    counts = [sum(p.numel() for p in built(arm, "cifar").parameters()) for arm in ("AlterNet", "ResNet + MSA")]
    assert counts[0] == counts[1]
    static = built("ResNet + static MSA", "cifar")
    assert sum(p.numel() for p in static.parameters()) < counts[0]


@pytest.mark.parametrize("arm", NETWORKS)
def test_the_small_network_is_one_of_the_same_class_with_the_same_kinds_of_units(arm: str):
    small = built(arm, "smoke")
    found = maps(small)
    assert {kind for *_, kinds in found for kind in kinds} == {kind for *_, kinds in CIFAR[arm] for kind in kinds}
    several = len({side for _, side, _ in CIFAR[arm]}) > 1
    assert (len({side for _, side, _ in found}) > 1) == several
    assert found[0][1] >= 4 and sum(p.numel() for p in small.parameters()) < 2.5e6


@pytest.mark.thorough
@pytest.mark.parametrize("arm", NETWORKS)
def test_the_small_network_is_of_the_class_of_the_large_one(arm: str):
    assert isinstance(built(arm, "cifar"), type(built(arm, "smoke")))  # the paper's PiT is timm's without some biases


@pytest.mark.parametrize(
    ("figure", "scale", "attribute"),
    [
        ("C.3", "smoke", "patch"),
        ("C.5", "smoke", "heads"),
        ("C.6", "smoke", "width"),
        pytest.param("C.3", "cifar", "patch", marks=pytest.mark.slow),
        pytest.param("C.5", "cifar", "heads", marks=pytest.mark.thorough),
        pytest.param("C.6", "cifar", "width", marks=pytest.mark.thorough),
    ],
)
def test_a_series_varies_what_its_axis_says_alone(figure: str, scale: Scale, attribute: str):
    rest = set()
    for x, net in SERIES[figure][scale].items():
        model = made(net)
        heads = model.blocks[0].attn.num_heads
        facts = {"patch": 32 // model.patch_embed.grid_size[0], "heads": heads, "width": model.embed_dim // heads}
        assert facts.pop(attribute) == x
        rest.add((*facts.values(), len(model.blocks)))
    assert len(rest) == 1
    if scale == "cifar":
        assert rest.pop()[-1] == {"C.3": 12, "C.5": 6, "C.6": 6}[figure]


def test_series_and_placements_stand_beside_the_published_ones():
    table = published()
    for figure, scales in SERIES.items():
        assert sorted(scales["cifar"]) == sorted(table[table["figure"] == figure]["x"].unique())
    placements = set(table[table["figure"] == "12a"]["arm"])
    assert placements == {"ResNet", "AlterNet", *BUILDUP["cifar"]}


def test_every_published_arm_has_its_network():
    elsewhere = {"ViT (6 %)", "ViT (weak)", "ResNet (weak)"}  # other data and recipes, of the same network
    differences = {"ViT (GAP) − ViT"}
    without = {"ResNet-18 (MLP head)"}  # of Park and Kim (2021), not of this paper
    arms = set(published()["arm"]) - set(BUILDUP["cifar"])
    assert arms - elsewhere - differences - without <= set(NETWORKS)


def test_every_network_is_known_to_timm_at_every_scale():
    for scales in NETWORKS.values():
        assert set(scales) == set(SIDE)
        for net in scales.values():
            assert timm.is_model(net.model.partition("+")[0].partition("@")[0]), net.model


def test_an_unknown_arm_is_refused_with_near_ones():
    with pytest.raises(ValueError, match="No network is called 'Swim'. Did you mean Swin"):
        network("Swim", "cifar")
