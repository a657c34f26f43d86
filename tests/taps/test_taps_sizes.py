"""Units and their maps are the same at every size of images: odd grids, padding, cropping, and what is refused."""

import re
from collections.abc import Callable

import pytest
import timm
import torch
from tests.taps.tap_networks import CHANNELS, CLASSES, Attention, Function, Net, Tokens, conv, mlp, residual, subject
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.swin_transformer_v2_cr import SwinTransformerV2Cr
from torch import Tensor, nn
from torchvision.models import swin_transformer as torchvision_swin

from alternet.probe.probe import Probe
from alternet.subject.subject import Subject
from alternet.taps.layout import Layout

SMALL = {"embed_dim": 8, "depths": (1, 1, 2), "num_heads": (1, 1, 1), "num_classes": CLASSES}
THEIRS = {**SMALL, "patch_size": [4, 4], "window_size": [4, 4]}
SWINS: dict[str, Callable[[tuple[int, int]], nn.Module]] = {
    "timm": lambda size: SwinTransformer(img_size=size, window_size=4, **SMALL),
    "timm v2": lambda size: SwinTransformerV2(img_size=size, window_size=4, **SMALL),
    "timm v2 cr": lambda size: SwinTransformerV2Cr(img_size=size, window_size=4, **SMALL),
    "torchvision": lambda size: torchvision_swin.SwinTransformer(**THEIRS),
    "torchvision v2": lambda size: torchvision_swin.SwinTransformer(
        **THEIRS, block=torchvision_swin.SwinTransformerBlockV2, downsample_layer=torchvision_swin.PatchMergingV2
    ),
}
"""Networks that pad a grid of odd size ahead of every merging of patches."""


@pytest.mark.parametrize("name", SWINS)
def test_padded_patch_merging_loses_no_row_and_no_unit(name: str) -> None:
    torch.manual_seed(0)
    even, odd = (Subject(SWINS[name](size).eval(), name=name, input_size=(3, *size)) for size in ((64, 64), (60, 36)))
    assert [(t.name, t.kind, t.stage) for t in odd.taps] == [(t.name, t.kind, t.stage) for t in even.taps]
    assert len(odd.taps) == 1 + 2 * 4 + 2
    assert list(dict.fromkeys(tap.shape[1:] for tap in odd.taps)) == [(15, 9), (8, 5), (4, 3)]
    every_block_returned_the_features_of_its_last_unit(odd)


def every_block_returned_the_features_of_its_last_unit(net: Subject) -> None:
    returned: dict[str, Tensor] = {}
    blocks = {
        path: m for path, m in net.model.named_modules() if re.match(r"SwinTransformer\w*Block", type(m).__name__)
    }
    for path, block in blocks.items():
        if hasattr(block, "norm3"):
            block.norm3 = nn.Identity()  # the norm behind the last unit of a SwinV2-CR is no part of it
        block.register_forward_hook(lambda m, args, out, path=path: returned.update({path: out.detach().clone()}))
    with Probe(net) as probe:
        features, _ = probe.features(net.example())
    last = {path: [t for t in net.taps if t.name.startswith(path + ".")][-1] for path in blocks}
    assert len(last) == 4
    for path, tap in last.items():
        h, w = tap.shape[1:]
        assert torch.equal(features[tap.name], returned[path].reshape(len(returned[path]), h, w, -1).movedim(-1, 1))


def nhwc(*layers: nn.Module) -> nn.Sequential:
    to, back = Function(lambda self, x: x.movedim(1, -1)), Function(lambda self, x: x.movedim(-1, 1))
    return nn.Sequential(to, *layers, back)


def padded(x: Tensor, *pad: int) -> Tensor:
    return nn.functional.pad(x, (0, 0, *pad))


def test_patch_merging_is_a_pool_and_begins_a_stage() -> None:
    def merge(self: Function, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduce(x)

    channels_last = Function(lambda self, x: x.permute(0, 2, 3, 1))
    last = Function(lambda self, x: x.permute(0, 3, 1, 2))
    body = nn.Sequential(
        channels_last, residual(mlp()), Function(merge, reduce=nn.Linear(32, CHANNELS)), residual(mlp()), last
    )
    taps = subject(Net(body), 4, 8).taps
    assert [(t.kind, t.stage, t.shape) for t in taps] == [
        ("stem", 0, (8, 4, 8)),
        ("mlp", 0, (8, 4, 8)),
        ("pool", 1, (8, 2, 4)),
        ("mlp", 1, (8, 2, 4)),
    ]


@pytest.mark.parametrize("pad", [(0, 1, 0, 1), (1, 0, 1, 0)])
def test_windows_with_padding_lie_where_their_real_elements_lie(pad: tuple[int, ...]) -> None:
    def merge(self: Function, x: Tensor) -> Tensor:
        x = padded(x, *pad)
        return self.reduce(torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1))

    net = subject(Net(nhwc(Function(merge, reduce=nn.Linear(4 * CHANNELS, CHANNELS)), residual(mlp()))), 5, 9)
    assert [(tap.kind, tap.shape) for tap in net.taps] == [
        ("stem", (CHANNELS, 5, 9)),
        ("pool", (CHANNELS, 3, 5)),
        ("mlp", (CHANNELS, 3, 5)),
    ]


def test_what_one_operand_was_padded_with_is_where_the_other_has_an_element() -> None:
    def shifted(self: Function, x: Tensor) -> Tensor:
        return padded(x[:, 1:], 0, 0, 0, 1) + self.branch(x)

    net = subject(Net(nhwc(Function(shifted, branch=mlp()), residual(mlp()))), 5, 9)
    assert [(tap.name, tap.shape) for tap in net.taps] == [
        (name, (CHANNELS, 5, 9)) for name in ("stem", "body.1", "body.2.branch")
    ]


def test_a_pooled_vector_joined_ahead_of_the_map_hides_no_position() -> None:
    def joined(self: Function, x: Tensor) -> Tensor:
        return self.conv(torch.cat((x.mean((2, 3), keepdim=True).expand_as(x), x), 1))

    net = subject(Net(Function(joined, conv=nn.Conv2d(2 * CHANNELS, CHANNELS, 3, padding=1))))
    assert [(tap.kind, tap.shape) for tap in net.taps] == [("stem", (CHANNELS, 6, 10)), ("conv", (CHANNELS, 6, 10))]


@pytest.mark.parametrize("unit", [residual(mlp()), mlp()])
def test_a_map_that_keeps_its_padding_is_refused_by_name(unit: nn.Module) -> None:
    pad = Function(lambda self, x: padded(x, 1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"unit in 'body.2.*of shape \(2, 8, 12, \d+\), are padding.*here it was 6x10"):
        _ = subject(Net(nhwc(pad, unit))).taps


def test_a_sum_of_heads_with_a_class_token_hides_no_unit() -> None:
    """As in the attention of MViTv2 with a class token, ahead of a shortcut that pools."""

    def pooled(self: Function, x: Tensor) -> Tensor:
        return torch.cat((x[:, :1], self.pool(x[:, 1:].mT.unflatten(2, (4, 8))).flatten(2).mT), 1)

    def attention(self: Function, x: Tensor) -> Tensor:
        q = self.q(pooled(self, x)).unflatten(2, (2, -1)).transpose(1, 2)
        k = self.k(x).unflatten(2, (2, -1)).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, k) + q
        return pooled(self, x) + self.proj(mixed.transpose(1, 2).flatten(2))

    layers = {name: nn.Linear(CHANNELS, CHANNELS) for name in ("q", "k", "proj")}
    layer = Function(attention, pool=nn.MaxPool2d(3, 2, 1), **layers)
    taps = subject(Tokens(residual(mlp()), layer, residual(mlp()), grid=(4, 8)), 8, 16).taps
    assert [(tap.kind, tap.skip, tap.shape[1:]) for tap in taps[1:]] == [
        ("mlp", "identity", (4, 8)),
        ("msa", "projected", (2, 4)),
        ("mlp", "identity", (2, 4)),
    ]


def test_padding_that_is_cropped_again_is_none() -> None:
    pad, crop = Function(lambda self, x: padded(x, 1, 1, 1, 1)), Function(lambda self, x: x[:, 1:-1, 1:-1])
    net = subject(Net(nhwc(pad, mlp(), crop, residual(nn.Sequential(pad, mlp(), crop)))))
    assert [(tap.kind, tap.shape) for tap in net.taps] == [(k, (CHANNELS, 6, 10)) for k in ("stem", "mlp", "mlp")]


@pytest.mark.parametrize("pad", [(0, 1, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0)])
def test_padding_among_tokens_is_no_token(pad: tuple[int, ...]) -> None:
    to_tokens = Function(lambda self, x: padded(x, *pad).flatten(1, 2))
    model = nn.Sequential(Net(nhwc()).stem, Function(lambda self, x: x.movedim(1, -1)), to_tokens, residual(mlp()))
    with pytest.raises(ValueError, match=r"unit in '3', of shape .* are padding"):
        _ = subject(model).taps


def test_tokens_behind_the_grid_are_left_out() -> None:
    class Behind(Tokens):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            tokens = self.layers(torch.cat((tokens, self.cls.expand(len(tokens), -1, -1)), 1))
            return self.head(tokens[:, -1])

    net = subject(Behind(residual(Attention()), residual(mlp())))
    assert [(tap.kind, tap.layout.prefix, tap.layout.suffix) for tap in net.taps[1:]] == [("msa", 0, 1), ("mlp", 0, 1)]
    assert all(tap.shape == (CHANNELS, 3, 5) for tap in net.taps)


@pytest.mark.parametrize("shape", [(2, 8, 4), (2, 6, 4), (2, 8, 3, 4)])
def test_a_feature_with_other_positions_than_the_layout_is_refused(shape: tuple[int, ...]) -> None:
    layout = Layout(batch_axis=0, channel_axis=len(shape) - 1, grid=(2, 3), prefix=1)
    with pytest.raises(ValueError, match=r"positions, expected 1 prefix tokens and a 2x3 grid"):
        layout.lay(torch.zeros(shape))


def test_a_small_window_that_leaves_one_position_is_a_stride() -> None:
    """The last stage of a network on small images keeps its units; the pool of the classifier is none."""
    strided = nn.Conv2d(CHANNELS, CHANNELS, 2, 2)
    net = subject(Net(nn.Sequential(strided, residual(conv()))), 3, 3)
    assert [(tap.kind, tap.shape[1:]) for tap in net.taps] == [("stem", (3, 3)), ("pool", (1, 1)), ("conv", (1, 1))]
    pooled = subject(Net(nn.Sequential(residual(conv()), nn.AvgPool2d(3))), 3, 3)
    assert [tap.kind for tap in pooled.taps] == ["stem", "conv"]


def test_an_adaptive_pool_that_finds_its_size_is_no_unit() -> None:
    net = Net(nn.Sequential(conv(), nn.ReLU(), nn.AdaptiveAvgPool2d(8)))
    assert [tap.kind for tap in subject(net, 8, 8).taps] == ["stem", "conv"]
    assert [tap.kind for tap in subject(net, 16, 16).taps] == ["stem", "conv", "pool"]


@pytest.mark.parametrize(("height", "width"), [(6, 10), (3, 5)])
def test_a_map_of_a_size_of_its_own_within_a_branch_holds_no_units(height: int, width: int) -> None:
    """As the spatial attention of CSATv2, whose map is as large as the network's at one size of images."""

    def gated(self: Function, x: Tensor) -> Tensor:
        small = self.inner(nn.functional.adaptive_avg_pool2d(self.main(x), (3, 5)))
        return x + self.main(x) * nn.functional.interpolate(small, size=x.shape[2:])

    net = subject(Net(Function(gated, main=conv(1), inner=residual(conv()))), height, width)
    assert [tap.name for tap in net.taps] == ["stem", "body"]


@pytest.mark.parametrize(("height", "width"), [(6, 10), (5, 9)])
def test_a_branch_that_is_cropped_behind_an_enlargement_is_a_branch(height: int, width: int) -> None:
    """As the attention of LowFormer, on half the rows and columns."""

    def branch(self: Function, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        return self.up(self.down(x))[..., :h, :w]

    layers = {"down": nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1), "up": nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2)}
    patches = nn.Conv2d(3, CHANNELS, 4, 4)
    net = subject(Net(residual(Function(branch, **layers)), patches), 4 * height, 4 * width)
    assert [(t.name, t.kind, t.skip) for t in net.taps] == [("stem", "stem", None), ("body.branch", "conv", "identity")]


@pytest.mark.parametrize("order", ["same one three", "same three one", "norm three one"])
def test_the_unit_of_linear_layers_added_up_is_of_the_kind_that_decides(order: str) -> None:
    def added(self: Function, x: Tensor) -> Tensor:
        first, *others = (getattr(self, name)(x) for name in order.split())
        return sum(others, start=first)

    layers = {"same": nn.Identity(), "norm": nn.BatchNorm2d(CHANNELS), "one": conv(1), "three": conv(3)}
    net = subject(Net(Function(added, **layers)))
    assert [(tap.name, tap.kind, tap.skip) for tap in net.taps] == [
        ("stem", "stem", None),
        ("body.three", "conv", None),
    ]


def test_the_layers_ahead_of_a_stream_beside_the_trunk_are_units() -> None:
    """As the 3 × 3 convolution of a block of MobileViT, whose input is joined to its output."""

    def block(self: Function, x: Tensor) -> Tensor:
        y = self.layers(self.one(self.three(x).relu()))
        return self.fusion(torch.cat((x, y), 1))

    fusion = nn.Conv2d(2 * CHANNELS, CHANNELS, 1)
    net = subject(Net(Function(block, three=conv(), one=conv(1), layers=residual(conv(1)), fusion=fusion)))
    assert [(tap.name, tap.kind) for tap in net.taps] == [
        ("stem", "stem"),
        ("body.three", "conv"),
        ("body.one", "mlp"),
        ("body.layers.branch", "mlp"),
        ("body.fusion", "mlp"),
    ]
    assert net.taps[1].read.function == "relu"


def test_resizing_that_makes_up_for_an_odd_grid_is_no_unit() -> None:
    """As ahead of the patches of MobileViTv2."""

    def evened(self: Function, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        return nn.functional.interpolate(x, size=(h + h % 2, w + w % 2))

    for height, width in ((6, 10), (5, 9)):
        patches = nn.Conv2d(3, CHANNELS, 4, 4)
        net = subject(Net(nn.Sequential(Function(evened), conv()), patches), 4 * height, 4 * width)
        assert [(tap.kind, tap.shape[1:]) for tap in net.taps] == [("stem", (height, width)), ("conv", (6, 10))]


def test_separable_self_attention_is_attention() -> None:
    net = Subject(timm.create_model("mobilevitv2_050", num_classes=CLASSES), name="m", input_size=(3, 64, 64))
    kinds = [tap.kind for tap in net.taps if ".transformer." in tap.name]
    assert kinds == ["msa", "mlp"] * 9
