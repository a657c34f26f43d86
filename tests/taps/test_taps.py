"""Which units are found in networks written by hand, one rule at a time, and in the paper's networks."""

import json
from dataclasses import asdict

import pytest
import timm
import torch
from tests.taps.tap_networks import CHANNELS, Attention, Function, Net, Tokens, conv, mlp, residual, subject
from torch import Tensor, nn

from alternet.kinds import KINDS
from alternet.subject.subject import Subject
from alternet.taps.find import find_tap


def units(model: nn.Module, height: int = 6, width: int = 10) -> list[tuple[str, str]]:
    return [(tap.name, tap.kind) for tap in subject(model, height, width).taps]


def kinds(model: nn.Module, height: int = 6, width: int = 10) -> str:
    return " ".join(kind for _, kind in units(model, height, width))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "count", "expected"),
    [
        ("resnet50", 64, 17, {"stem": 1, "conv": 16}),
        ("vit_tiny_patch16_224", 64, 25, {"stem": 1, "msa": 12, "mlp": 12}),
        ("pit_ti_224", 64, 27, {"stem": 1, "msa": 12, "mlp": 12, "pool": 2}),
        ("swin_tiny_patch4_window7_224", 64, 28, {"stem": 1, "msa": 12, "mlp": 12, "pool": 3}),
    ],
)
def test_the_papers_networks_have_as_many_units_as_its_figures(
    name: str, size: int, count: int, expected: dict[str, int]
) -> None:
    settings = {} if name == "resnet50" else {"img_size": size}
    model = timm.create_model(name, num_classes=5, **settings)
    taps = Subject(model, name=name, input_size=(3, size, size)).taps
    assert len(taps) == count
    assert {kind: sum(tap.kind == kind for tap in taps) for kind in expected} == expected


def test_names_stages_and_depths_of_a_resnet() -> None:
    taps = Subject(timm.create_model("resnet18", num_classes=5), name="r", input_size=(3, 64, 64)).taps
    assert [tap.name for tap in taps] == ["conv1", *(f"layer{i}.{j}" for i in range(1, 5) for j in range(2))]
    assert [tap.stage for tap in taps] == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert [tap.shape for tap in taps][-1] == (512, 2, 2)
    assert [tap.depth for tap in taps] == [i / 8 for i in range(9)]
    assert [tap.unit for tap in taps] == list(range(9))
    assert [tap.skip for tap in taps[:4]] == [None, "identity", "identity", "projected"]


@pytest.mark.parametrize(
    ("name", "layers", "each"), [("resnet50", (3, 4, 6, 3), ["conv2"]), ("resnet18", (2,) * 4, ["conv1", "conv2"])]
)
def test_the_convolutions_of_all_but_the_strided_blocks_can_be_left_out(
    name: str, layers: tuple[int, ...], each: list[str]
) -> None:
    """Of a ResNet-50, 13 of the 16 blocks, as in the paper's lesion study."""
    taps = Subject(timm.create_model(name, num_classes=5), name="r", input_size=(3, 64, 64)).taps
    found = {tap.name: [address.module for address in tap.convolutions] for tap in taps}
    blocks = [f"layer{stage}.{i}" for stage, count in enumerate(layers, 1) for i in range(count)]
    strided = {f"layer{stage}.0" for stage in (2, 3, 4)}
    expected = {block: [] if block in strided else [f"{block}.{conv}" for conv in each] for block in blocks}
    assert found == {"conv1": [], **expected}


@pytest.mark.parametrize(
    ("branch", "count"),
    [
        (conv(5), 1),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2, groups=CHANNELS), 1),
        (nn.Sequential(nn.ZeroPad2d(2), nn.Conv2d(CHANNELS, CHANNELS, 5)), 1),
        (nn.Sequential(conv(1), conv(), conv(1)), 1),
        (nn.Sequential(conv(3, 4), nn.Conv2d(4, CHANNELS, 3, padding=1)), 0),
        (nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1), nn.Upsample((6, 10)), conv()), 0),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(CHANNELS, CHANNELS, 2, 2)), 0),
        (nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 2, 2), nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2)), 0),
        (conv(1), 0),
        (nn.Sequential(residual(conv()), conv()), 1),
    ],
)
def test_convolutions_that_their_input_could_stand_in_for(branch: nn.Module, count: int) -> None:
    assert len(subject(Net(residual(branch))).taps[-1].convolutions) == count


def test_names_of_a_vit() -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, depth=2)
    taps = Subject(model, name="v").taps
    assert [t.name for t in taps] == ["patch_embed", "blocks.0.attn", "blocks.0.mlp", "blocks.1.attn", "blocks.1.mlp"]
    assert all(tap.shape == (192, 2, 2) and tap.layout.prefix == 1 for tap in taps)


def test_taps_are_plain_values() -> None:
    taps = subject(Tokens(residual(Attention()), residual(mlp()))).taps
    assert json.loads(json.dumps([asdict(tap) for tap in taps]))[1]["kind"] == "msa"
    assert {tap.kind for tap in taps} <= set(KINDS)


def test_a_subject_finds_its_taps_once() -> None:
    net = subject(Net(residual(conv())))
    assert net.taps is net.taps


@pytest.mark.parametrize("how", ["fused", "by hand", "linear", "channels", "module"])
def test_attention_is_seen_however_it_is_written(how: str) -> None:
    found = units(Tokens(residual(Attention(how)), residual(mlp())))
    assert [kind for _, kind in found] == ["stem", "msa", "mlp"]


def test_a_sum_inside_an_attention_layer_is_no_unit() -> None:
    assert kinds(Tokens(residual(Attention("by hand", inner=True)), residual(mlp()))) == "stem msa mlp"


def test_position_embedding_belongs_to_the_stem() -> None:
    net = subject(Tokens(residual(mlp())))
    stem = net.taps[0]
    assert (stem.kind, stem.read.function, stem.skip) == ("stem", "add", None)


def test_operands_that_do_not_come_from_the_images_make_no_unit() -> None:
    body = Function(lambda self, x: residual_constant(self.conv(x)), conv=conv())
    assert kinds(Net(body)) == "stem conv"


def residual_constant(x: Tensor) -> Tensor:
    return x + torch.linspace(0, 1, x.numel()).view_as(x)


def test_adding_a_map_to_itself_or_scaled_is_no_unit() -> None:
    assert kinds(Net(Function(lambda self, x: x + x.relu() * 2 + x))) == "stem"


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (conv(3), "conv"),
        (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS), "conv"),
        (conv(1), "mlp"),
        (nn.AvgPool2d(3, 1, 1), "mixer"),
        (Function(lambda self, x: x.roll(1, 3) * self.conv(x), conv=conv(1)), "mixer"),
        (Function(lambda self, x: torch.fft.ifft2(torch.fft.fft2(x)).real), "mixer"),
        (Function(lambda self, x: self.mix(x.flatten(2)).view_as(x), mix=nn.Linear(60, 60)), "mixer"),
        (Function(lambda self, x: self.mix(x.flatten(2).mT).mT.view_as(x), mix=nn.Conv1d(60, 60, 1)), "mixer"),
    ],
)
def test_what_runs_in_the_branch_decides_the_kind(layer: nn.Module, kind: str) -> None:
    assert kinds(Net(residual(layer))) == f"stem {kind}"


def test_a_gate_does_not_change_the_kind_and_its_layers_are_no_units() -> None:
    def gated(self: Function, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)
        excited = self.up(self.down(squeezed).relu()) + squeezed
        return x + self.main(x) * excited.sigmoid()

    body = Function(gated, down=conv(1, 4), up=nn.Conv2d(4, CHANNELS, 1), main=conv(1))
    assert kinds(Net(body)) == "stem mlp"


def test_parallel_branches_are_units_of_their_own() -> None:
    def parallel(self: Function, x: Tensor) -> Tensor:
        return x + self.attention(x) + self.mlp(x)

    taps = subject(Tokens(Function(parallel, attention=Attention(), mlp=mlp()))).taps
    assert [(t.name, t.kind, t.skip) for t in taps[1:]] == [
        ("layers.0.attention", "msa", "identity"),
        ("layers.0.mlp", "mlp", "identity"),
    ]


def test_branches_summed_before_they_meet_the_skip_are_one_unit() -> None:
    def parallel(self: Function, x: Tensor) -> Tensor:
        return x + (self.attention(x) + self.mlp(x))

    assert kinds(Tokens(Function(parallel, attention=Attention(), mlp=mlp()))) == "stem msa"


def test_a_convolutional_position_encoding_is_a_unit() -> None:
    def encoding(self: Function, x: Tensor) -> Tensor:
        cls, patches = x[:, :1], x[:, 1:]
        grid = patches.transpose(1, 2).unflatten(2, (3, 5))
        return torch.cat((cls, patches + self.conv(grid).flatten(2).transpose(1, 2)), 1)

    found = units(Tokens(Function(encoding, conv=conv()), residual(mlp())))
    assert [kind for _, kind in found] == ["stem", "conv", "mlp"]


def test_sums_of_slices_inside_a_branch_are_no_units() -> None:
    def split(self: Function, x: Tensor) -> Tensor:
        first, second = self.inner(x).chunk(2, 1)
        first = self.left(first)
        return x + torch.cat((first, self.right(first + second)), 1)

    body = Function(split, inner=conv(1), left=nn.Conv2d(4, 4, 3, padding=1), right=nn.Conv2d(4, 4, 3, padding=1))
    assert kinds(Net(body)) == "stem conv"


def test_sums_of_kernels_are_no_units() -> None:
    body = residual(Function(lambda self, x: self.three(x) + self.five(x).relu(), three=conv(3), five=conv(5)))
    assert kinds(Net(body)) == "stem conv"


def test_a_reparameterised_block_is_one_unit_that_cannot_be_silenced() -> None:
    def block(self: Function, x: Tensor) -> Tensor:
        return (self.norm(x) + self.one(x) + self.three(x)).relu()

    body = Function(block, norm=nn.BatchNorm2d(CHANNELS), one=conv(1), three=conv(3))
    taps = subject(Net(body)).taps
    assert [(tap.kind, tap.silenceable) for tap in taps] == [("stem", False), ("conv", False)]
    assert taps[1].read.function == "relu"


def test_projected_shortcut_and_activation_after_the_sum() -> None:
    def block(self: Function, x: Tensor) -> Tensor:
        return self.act(self.second(self.first(x).relu()) + self.shortcut(x))

    layers = {
        "first": nn.Conv2d(CHANNELS, 4, 3, 2, 1),
        "second": nn.Conv2d(4, 16, 1),
        "shortcut": nn.Conv2d(CHANNELS, 16, 1, 2),
    }
    taps = subject(Net(Function(block, act=nn.ReLU(inplace=True), **layers), channels=16)).taps
    assert [(t.kind, t.stage, t.shape, t.skip, t.skip_last) for t in taps] == [
        ("stem", 0, (8, 6, 10), None, False),
        ("conv", 1, (16, 3, 5), "projected", True),
    ]
    assert taps[1].read.function == "relu"


def test_an_activation_in_the_next_block_is_not_part_of_the_unit() -> None:
    body = nn.Sequential(residual(conv()), Function(lambda self, x: self.conv(x.relu()), conv=conv()))
    assert subject(Net(body)).taps[1].read.function == "add"


def test_a_long_skip_over_residual_blocks_keeps_the_blocks() -> None:
    assert kinds(Net(residual(nn.Sequential(residual(conv()), conv(), residual(conv(1)), conv(1))))) == (
        "stem conv mlp conv"
    )


def test_streams_that_are_added_make_no_unit_of_the_sum() -> None:
    def streams(self: Function, x: Tensor) -> Tensor:
        fine, coarse = self.fine(x), self.coarse(x)
        fine, coarse = fine + self.one(fine), coarse + self.two(coarse)
        return fine + nn.functional.interpolate(coarse, size=fine.shape[2:])

    body = Function(streams, fine=conv(), coarse=nn.Conv2d(CHANNELS, CHANNELS, 2, 2), one=conv(), two=conv())
    taps = subject(Net(body)).taps
    assert [(t.name, t.kind, t.shape[1:]) for t in taps] == [
        ("stem", "stem", (6, 10)),
        ("body.fine", "conv", (6, 10)),
        ("body.coarse", "pool", (3, 5)),
        ("body.one", "conv", (6, 10)),
        ("body.two", "conv", (3, 5)),
    ]
    assert [t.stage for t in taps] == [0, 0, 1, 0, 1]


def test_attention_of_the_class_token_alone_is_no_unit() -> None:
    def class_attention(self: Function, x: Tensor) -> Tensor:
        q = self.q(x[:, :1])
        cls = x[:, :1] + nn.functional.scaled_dot_product_attention(q, self.k(x), self.k(x))
        return torch.cat((cls, x[:, 1:]), 1)

    layer = Function(class_attention, q=nn.Linear(CHANNELS, CHANNELS), k=nn.Linear(CHANNELS, CHANNELS))
    assert kinds(Tokens(residual(mlp()), layer)) == "stem mlp"


def test_networks_without_sums_are_read_at_their_blocks() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        Function(lambda self, x: torch.cat((self.a(x), self.b(x)), 1), a=conv(), b=conv(1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    taps = subject(model).taps
    assert [(t.name, t.kind, t.read.function, t.shape) for t in taps] == [
        ("0", "stem", "relu", (8, 6, 10)),
        ("3", "pool", "max_pool2d", (8, 3, 5)),
        ("4.0", "conv", "relu", (8, 3, 5)),
        ("5", "conv", "cat", (16, 3, 5)),
    ]


def test_the_layer_scale_fused_with_the_sum() -> None:
    def block(self: Function, x: Tensor) -> Tensor:
        return torch.addcmul(x, self.branch(x), self.scale.weight[:, :1, :1, :1].view(1, -1, 1, 1))

    taps = subject(Net(Function(block, branch=conv(), scale=conv()))).taps
    assert [(t.kind, t.skip) for t in taps] == [("stem", None), ("conv", "identity")]


@pytest.mark.parametrize(
    "add",
    [
        lambda x, y: x + y,
        lambda x, y: y + x,
        torch.add,
        lambda x, y: y.add_(x),
        lambda x, y: x.add(y, alpha=0.5),
        lambda x, y: torch.add(x, other=y),
    ],
)
def test_every_way_to_write_an_addition(add) -> None:
    body = Function(lambda self, x: add(x, self.branch(x)), branch=conv())
    assert [t.skip for t in subject(Net(body)).taps] == [None, "identity"]


def test_a_sum_that_begins_with_zero_scales_the_skip() -> None:
    body = Function(lambda self, x: sum([x, self.branch(x)]), branch=conv())
    assert [t.skip for t in subject(Net(body)).taps] == [None, "scaled"]


def test_a_change_in_place_reaches_the_views_of_a_tensor() -> None:
    def block(self: Function, x: Tensor) -> Tensor:
        x = x.clone()
        view = x.view(x.shape)
        x += self.branch(x)
        return view + self.second(view)

    taps = subject(Net(Function(block, branch=conv(), second=conv(1)))).taps
    assert [(t.name, t.kind) for t in taps[1:]] == [("body.branch", "conv"), ("body.second", "mlp")]


def test_a_module_with_several_units_names_them_apart() -> None:
    def twice(self: Function, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x + self.branch(x)
        return x

    assert units(Net(Function(twice, branch=conv())))[1:] == [("body.branch", "conv"), ("body.branch:2", "conv")]


def test_near_names_are_offered() -> None:
    taps = subject(Net(residual(conv()))).taps
    with pytest.raises(ValueError, match=r"No tap 'body.brunch' among the 2.*body\.branch"):
        find_tap(taps, "body.brunch")


class Patchify(nn.Module):
    """Tokens made outside torch, as compiled code would make them."""

    def forward(self, images: Tensor) -> Tensor:
        n, _, h, w = images.shape
        pixels = images.numpy().repeat(3, axis=1)[:, :CHANNELS].reshape(n, CHANNELS, h * w)
        return torch.from_numpy(pixels.transpose(0, 2, 1).copy())


def unseen() -> nn.Sequential:
    pooled = Function(lambda self, x: x.mean(1))
    return nn.Sequential(Patchify(), residual(mlp()), residual(Attention()), pooled, nn.Linear(CHANNELS, 5))


def test_what_cannot_be_followed_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"unit in '1', of shape \(2, 15, 8\).*prefix_tokens=1, grid="):
        _ = subject(unseen(), 3, 5).taps


def test_a_declared_grid_tells_what_the_trace_cannot() -> None:
    net = Subject(unseen(), name="net", input_size=(3, 3, 5), prefix_tokens=0, grid=(3, 5))
    assert [(tap.kind, tap.shape) for tap in net.taps] == [
        ("stem", (8, 3, 5)),
        ("mlp", (8, 3, 5)),
        ("msa", (8, 3, 5)),
    ]


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"No unit found in 'net'.*plain nn.Module"):
        _ = subject(nn.Sequential(nn.Flatten(), nn.Linear(180, 5))).taps


def test_families_named_by_hand() -> None:
    """The classes whose kind observation cannot tell; all other kinds come from what runs."""
    from alternet.taps.kinds import ATTENTION_CLASSES, MIXER_CLASSES

    in_timm, in_transformers = {"EfficientAdditiveAttention", "LinearSelfAttention"}, ("SwiftFormer", "MobileViTV2")
    assert in_timm | {a + b for a, b in zip(in_transformers, sorted(in_timm), strict=True)} == ATTENTION_CLASSES
    assert {"HSMSSD"} == MIXER_CLASSES
