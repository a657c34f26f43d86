"""What timm and training expect of every model that we register; settings and their errors."""

from typing import Any

import pytest
import timm
import timm.models
import torch
import torch.nn.functional as F
from timm.data.config import resolve_data_config
from timm.layers.drop import DropPath
from timm.models import group_parameters
from timm.optim._param_groups import param_groups_weight_decay
from torch import Tensor, nn

from alternet.models import NAMES, AlterNet, ConvViT, PreResNet
from alternet.models.attention import WindowAttention

MINIS = ["alternet_mini", "preresnet_mini", "vit_mini"]
TIMMS = ("vit_mini", "mixer_tiny", "paper_vit_ti", "paper_pit_ti", "paper_swin_ti")
"""Networks of timm in our sizes, whose interface is timm's."""
OURS = [name for name in NAMES if name not in TIMMS]
#: One of each architecture, small, with what is special to it switched on.
SMALL = {
    "alternet": (
        "alternet_50",
        {"depths": (1, 2, 3, 2), "widths": (8, 8, 8, 8), "num_msa": (1, 1, 2, 1), "head_dim": 4},
    ),
    "alternet_imagenet": ("alternet_mini", {"stem": "imagenet", "window_size": 3}),
    "preresnet": ("preresnet_50", {"depths": (1, 1, 2, 1), "widths": (8, 8, 8, 8)}),
    "paper_resnet": ("paper_resnet_18", {"widths": (8, 8, 8, 8)}),
    "smoothed": ("paper_resnet_50", {"depths": (1, 1, 2, 1), "widths": (8, 8, 8, 8), "spatial_smoothing": 10.0}),
    "wide_kernel": ("alternet_mini", {"kernel_size": 5, "widths": (8, 8, 8, 8)}),
    "conv_vit": ("conv_vit_tiny", {"depth": 3, "embed_dim": 16, "heads": 2, "head_dim": 4, "kernel_size": 4}),
    "vit": ("vit_mini", {"depth": 3}),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def small(kind: str, **settings: object) -> Any:
    name, own = SMALL[kind]
    return timm.create_model(name, **(own | settings)).eval()


def images(n: int = 2, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=NAMES)
def registered(request: pytest.FixtureRequest) -> Any:
    return timm.create_model(request.param)


@pytest.mark.slow
def test_every_parameter_of_every_model_gets_a_gradient(registered: Any) -> None:
    registered.train()
    classifier = registered.get_classifier().weight
    if not classifier.any():  # timm's Mixer begins with zeros there, which let no gradient through
        nn.init.normal_(classifier)
    size = 32 if registered.default_cfg["architecture"] in (*MINIS, "conv_vit_tiny", *TIMMS) else 16
    logits = registered(images(2, size, size))
    logits.square().sum().backward()
    without = [name for name, p in registered.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    registered.zero_grad()
    assert logits.shape == (2, registered.num_classes)
    assert without == []


@pytest.mark.slow
def test_every_model_names_real_parameters_and_layers(registered: Any) -> None:
    names = dict(registered.named_parameters())
    stated = registered.no_weight_decay() if hasattr(registered, "no_weight_decay") else set()  # timm's Mixer is silent
    spared = {name for name in stated if name in names}
    positions = {name for name in names if "relative_position_bias" in name or "pos_embed" in name}
    assert positions <= spared
    groups = param_groups_weight_decay(registered, weight_decay=1.0, no_weight_decay_list=stated)
    assert not {id(names[name]) for name in positions} & {id(p) for p in groups[1]["params"]}
    for key in ("first_conv", "classifier"):
        assert f"{registered.default_cfg[key]}.weight" in names
    if not hasattr(registered, "group_matcher"):  # timm's PiT has none
        return
    layers = group_parameters(registered, registered.group_matcher())
    assert sorted(name for group in layers.values() for name in group) == sorted(names)
    assert len(layers) > 6


@pytest.mark.slow
def test_every_model_has_an_honest_docstring_and_configuration(registered: Any) -> None:
    name = registered.default_cfg["architecture"]
    text = timm.models.model_entrypoint(name).__doc__ or ""
    assert "paper" in text.lower() or "released code" in text
    assert resolve_data_config(model=registered)["input_size"] == (3, 32, 32)
    assert registered.num_classes == (10 if name in MINIS else 100)


@pytest.mark.parametrize("name", MINIS)
def test_minis_are_small(name: str) -> None:
    net = timm.create_model(name)
    assert sum(p.numel() for p in net.parameters()) < 1_000_000
    if name == "alternet_mini":
        assert sum(isinstance(module, WindowAttention) for module in net.modules()) >= 3


@pytest.mark.parametrize("kind", SMALL)
def test_forward_is_features_then_head(kind: str) -> None:
    net, x = small(kind, num_classes=7), images()
    features = net.forward_features(x)
    pooled = net.forward_head(features, pre_logits=True)
    torch.testing.assert_close(net(x), net.forward_head(features))
    torch.testing.assert_close(net(x), net.get_classifier()(pooled))
    assert pooled.shape == (2, net.head_hidden_size)
    assert net.num_features == net.head_hidden_size


@pytest.mark.parametrize("kind", SMALL)
def test_classifier_can_be_replaced_and_removed(kind: str) -> None:
    net, x = small(kind, num_classes=7), images()
    pooled = net.forward_head(net.forward_features(x), pre_logits=True)
    net.reset_classifier(5)
    assert net(x).shape == (2, 5)
    assert net.num_classes == 5
    net.reset_classifier(0)
    torch.testing.assert_close(net(x), pooled)
    torch.testing.assert_close(small(kind, num_classes=0)(x).shape, pooled.shape)


@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "vit"])
def test_global_pool_can_be_changed(kind: str) -> None:
    net, x = small(kind, num_classes=0, global_pool="max"), images()
    if kind != "conv_vit":  # which normalises after it pools
        torch.testing.assert_close(net(x), net.forward_features(x).amax((2, 3)))
    net.reset_classifier(0, "")
    assert net(x).shape == net.forward_features(x).shape


@pytest.mark.parametrize("kind", SMALL)
def test_feature_info_is_true(kind: str) -> None:
    net, x = small(kind), images(2, 64, 64) if kind == "alternet_imagenet" else images()
    final, maps = net.forward_intermediates(x)
    torch.testing.assert_close(final, net.forward_features(x))
    assert len(maps) == len(net.feature_info)
    for info, feature in zip(net.feature_info, maps, strict=True):
        assert feature.shape == (2, info["num_chs"], *[side // info["reduction"] for side in x.shape[2:]])
        assert info["module"] in dict(net.named_modules())
        seen = []
        with net.get_submodule(info["module"]).register_forward_hook(lambda *call, into=seen: into.append(call[-1])):
            net(x)
        torch.testing.assert_close(seen[0] if seen[0].ndim == 4 else seen[0][:, 1:].mT.reshape(feature.shape), feature)


@pytest.mark.parametrize("kind", SMALL)
def test_features_only(kind: str) -> None:
    chosen = (0, 2)
    whole, part = small(kind), small(kind, features_only=True, out_indices=chosen)
    state = {f"model.{key}": value for key, value in whole.state_dict().items()}
    part.load_state_dict({key: state[key] for key in part.state_dict()})
    expected = whole.forward_intermediates(images(), indices=list(chosen), intermediates_only=True)
    for feature, same in zip(part(images()), expected, strict=True):
        torch.testing.assert_close(feature, same)
    assert part.feature_info.channels() == [whole.feature_info[i]["num_chs"] for i in chosen]
    assert len(small(kind, features_only=True)(images())) == min(3 if "vit" in kind else 4, len(whole.feature_info))


@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "vit"])
def test_intermediates_can_be_normalised_shortened_and_pruned(kind: str) -> None:
    net, x = small(kind), images()
    last = len(net.feature_info) - 1
    _, plain = net.forward_intermediates(x)
    early, one = net.forward_intermediates(x, indices=[1], stop_early=True)
    torch.testing.assert_close(one[0], plain[1])
    torch.testing.assert_close(early, plain[1])
    normed = net.forward_intermediates(x, indices=[last], norm=True, intermediates_only=True)[0]
    norm = net.head.norm if kind == "conv_vit" else net.norm
    torch.testing.assert_close(normed, norm(plain[last]))
    with pytest.raises(ValueError, match="output_fmt='NLC' is not possible: expected 'NCHW'"):
        net.forward_intermediates(x, output_fmt="NLC")
    assert net.prune_intermediate_layers([1]) == [1]
    torch.testing.assert_close(net.forward_features(x), plain[1])
    assert isinstance(net.get_classifier(), nn.Identity)


@pytest.mark.parametrize("kind", SMALL)
def test_state_dict_round_trip(kind: str) -> None:
    one, other = small(kind), small(kind)
    assert not torch.equal(one(images()), other(images()))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(images()), other(images()))


@pytest.mark.parametrize("kind", SMALL)
def test_bfloat16_forward_is_finite(kind: str) -> None:
    net = small(kind).bfloat16()
    assert net(images().bfloat16()).isfinite().all()


@pytest.mark.parametrize("kind", SMALL)
def test_checkpointed_gradients_are_the_same(kind: str) -> None:
    net, x = small(kind), images().requires_grad_()
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    branch = net.get_submodule(net.feature_info[1]["module"])
    gradients = []
    for enabled in (False, True):
        net.set_grad_checkpointing(enabled)
        with next(m for m in branch.modules() if not list(m.children())).register_forward_hook(count):
            gradients.append(torch.autograd.grad(net(x).square().sum(), x)[0])
    torch.testing.assert_close(*gradients)
    assert calls == 3, "recomputed once, when enabled"


@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "vit"])
def test_rectangular_images_of_any_size(kind: str) -> None:
    net = small(kind)
    height, width = (20, 48) if kind == "conv_vit" else (37, 50)
    assert net(images(2, height, width)).shape == (2, net.num_classes)


@pytest.mark.parametrize("kind", ["alternet", "preresnet", "paper_resnet", "conv_vit"])
def test_channels_last_gives_the_same(kind: str) -> None:
    net, x = small(kind), images()
    before = net(x)
    after = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["alternet", "preresnet", "paper_resnet", "conv_vit"])
def test_images_may_have_other_channels(kind: str) -> None:
    assert small(kind, in_chans=5)(torch.randn(2, 5, 32, 32)).shape == (2, 100)


def test_a_stage_may_begin_with_attention_and_its_stride_is_kept() -> None:
    net = small("alternet")
    first = net.stages[2][0]
    assert isinstance(first.branch.attn, WindowAttention)
    sizes = [tuple(m.shape[2:]) for m in net.forward_intermediates(images(1, 30, 36))[1]]
    assert sizes == [(30, 36), (15, 18), (8, 9), (4, 5)]
    y = torch.randn(1, first.norm1.num_features, 5, 6)
    pooled = F.avg_pool2d(F.pad(y, (0, 0, 0, 1)), 2) * torch.tensor([1.0, 1.0, 2.0])[:, None]
    torch.testing.assert_close(first.branch.pool(y), pooled)


@pytest.mark.parametrize(
    ("depths", "num_msa", "attends"),
    [
        ((3, 4, 6, 4), (0, 1, 1, 2), ["000", "0001", "000001", "0101"]),  # the paper's CIFAR-100 model, figure 11
        ((3, 4, 6, 4), (0, 1, 3, 2), ["000", "0001", "010101", "0101"]),  # its ImageNet model
        ((3, 1), (2, 1), ["101", "1"]),
    ],
)
def test_attention_stands_at_every_second_place_from_the_end(depths: tuple, num_msa: tuple, attends: list[str]) -> None:
    n = len(depths)
    net: Any = AlterNet(depths=depths, num_msa=num_msa, widths=(8,) * n, heads=(1,) * n, head_dim=4)
    found = [["0", "1"][hasattr(block.branch, "attn")] for stage in net.stages for block in stage]
    assert "".join(found) == "".join(attends)


BUILD_UP = [(), ("3.3",), ("3.1", "3.3"), ("2.5", "3.1", "3.3"), ("1.3", "2.5", "3.1", "3.3"), ("0.0", "1.0")]


@pytest.mark.parametrize("msa", BUILD_UP)
def test_attention_stands_wherever_it_is_asked_for(msa: tuple[str, ...]) -> None:
    """The steps of figure 12a, and blocks that begin a stage, of which one strides."""
    small_50: dict[str, Any] = {"depths": (3, 4, 6, 4), "widths": (8,) * 4, "heads": (1,) * 4, "head_dim": 4}
    net: Any = AlterNet(msa=msa, **small_50)
    found = tuple(path[7:] for path, block in net.named_modules() if hasattr(getattr(block, "branch", None), "attn"))
    assert found == msa == net.settings.msa
    assert sum(net.settings.num_msa) == len(msa)
    assert net(images(1, 24, 20)).shape == (1, 100)
    if msa == BUILD_UP[4]:  # the one that was chosen
        assert net.settings.num_msa == (0, 1, 1, 2) and AlterNet(**small_50).settings.msa == msa


def test_the_stem_decides_the_papers_settings() -> None:
    cifar: Any = timm.create_model("alternet_50", num_classes=100)
    imagenet: Any = timm.create_model("alternet_50", stem="imagenet")
    assert cifar.settings.num_msa == (0, 1, 1, 2)
    assert imagenet.settings.num_msa == (0, 1, 3, 2)
    assert [cifar.settings.window, imagenet.settings.window] == [4, 7]
    assert [block.branch.attn.heads for block in cifar.stages[3] if hasattr(block.branch, "attn")] == [24, 24]
    assert imagenet.num_classes == 1000
    assert resolve_data_config(model=imagenet)["input_size"] == (3, 224, 224)
    assert imagenet.default_cfg["mean"] != cifar.default_cfg["mean"]
    assert [info["reduction"] for info in imagenet.feature_info] == [4, 8, 16, 32]


@pytest.mark.parametrize("kind", ["alternet", "preresnet", "paper_resnet", "conv_vit"])
def test_stochastic_depth_is_linear_in_depth(kind: str) -> None:
    net = small(kind, drop_path_rate=0.3)
    rates = [module.drop_prob for module in net.modules() if isinstance(module, DropPath)]
    blocks = len(net.blocks) if kind == "conv_vit" else sum(map(len, net.stages))
    expected = [0.3 * i / (blocks - 1) for i in range(1, blocks) for _ in range(2 if kind == "conv_vit" else 1)]
    assert rates == pytest.approx(expected)


def test_drop_rate_acts_before_the_classifier() -> None:
    net = small("preresnet", drop_rate=0.5).train()
    assert net.head.drop.p == 0.5
    assert small("conv_vit", drop_rate=0.5).head.drop.p == 0.5


def test_relative_biases_start_small() -> None:
    tables = torch.cat(
        [WindowAttention(2, 2, heads=1, window_size=7).relative_position_bias.detach().flatten() for _ in range(20)]
    )
    assert float(tables.std()) == pytest.approx(0.02, rel=0.05)


def test_positions_are_resampled_to_other_image_sizes() -> None:
    small_net = ConvViT(embed_dim=8, depth=1, heads=1, head_dim=8, kernel_size=3)
    nn.init.constant_(small_net.pos_embed, 0.5)
    x = images(1, 32, 64)
    torch.testing.assert_close(small_net.embed(x), small_net.stem(x) + 0.5)
    native = ConvViT(embed_dim=8, depth=1, heads=1, head_dim=8, kernel_size=3, img_size=(32, 64))
    assert native.pos_embed.shape == (1, 8 * 16, 8)
    assert native(x).shape == (1, 100)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("alternet_50", {"stem": "tiny"}, "stem='tiny', expected one of 'cifar', 'imagenet'"),
        ("alternet_50", {"window_size": 0}, "window_size=0, expected a number of at least 1"),
        ("alternet_50", {"window_size": 3.5}, "window_size=3.5, expected an integer"),
        ("alternet_50", {"num_msa": (0, 1, 1)}, r"num_msa=\(0, 1, 1\), expected 4 integers, one a stage"),
        ("alternet_50", {"num_msa": (0, 1, 4, 2)}, r"num_msa=\(0, 1, 4, 2\), .* every second block .* \(2, 2, 3, 2\)"),
        ("alternet_50", {"num_msa": (0, -1, 0, 0)}, r"num_msa\[1\]=-1, expected a number of at least 0"),
        ("alternet_50", {"msa": ("3.4",)}, r"msa=\('3.4',\), expected names of blocks, 0.0 to 3.3: STAGE.BLOCK from 0"),
        ("alternet_50", {"msa": (3.1,)}, r"msa\[0\]=3.1, expected text"),
        ("alternet_50", {"heads": (3, 6, 12)}, r"heads=\(3, 6, 12\), .* 4 integers"),
        ("alternet_50", {"heads": 3}, "heads=3, expected a list"),
        ("alternet_50", {"head_dim": 0}, "head_dim=0"),
        ("preresnet_18", {"block": "wide"}, "block='wide', .* 'basic', 'bottleneck'"),
        ("preresnet_18", {"depths": ()}, r"depths=\(\)"),
        ("preresnet_18", {"widths": (8, 8)}, r"widths=\(8, 8\), .* 4 integers"),
        ("preresnet_18", {"num_classes": -1}, "num_classes=-1, .* at least 0"),
        ("preresnet_18", {"in_chans": 0}, "in_chans=0"),
        ("preresnet_18", {"drop_path_rate": 1.0}, "drop_path_rate=1.0, .* below 1"),
        ("preresnet_18", {"drop_rate": -0.1}, "drop_rate=-0.1"),
        ("preresnet_18", {"global_pool": "median"}, "global_pool='median', .* 'avg'"),
        ("conv_vit_tiny", {"kernel_size": 0}, "kernel_size=0, .* at least 1"),
        ("conv_vit_tiny", {"img_size": 30}, "img_size=30, .* a multiple of the patch size 4"),
        ("conv_vit_tiny", {"img_size": "big"}, "img_size='big', expected an integer"),
        ("conv_vit_tiny", {"mlp_ratio": 0}, "mlp_ratio=0"),
        ("conv_vit_tiny", {"global_pool": "catavgmax"}, "global_pool='catavgmax', .* 'avgmax'"),
    ],
)
def test_impossible_settings_are_refused(name: str, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timm.create_model(name, **settings)


def test_unknown_settings_are_refused_with_near_matches() -> None:
    with pytest.raises(TypeError, match="'windw_size' is no setting .* did you mean window_size"):
        timm.create_model("alternet_50", windw_size=4)
    with pytest.raises(TypeError, match="'kernel' is no setting .* kernel_size"):
        ConvViT(kernel=3)
    with pytest.raises(TypeError, match="'num_msa' is no setting"):
        PreResNet(num_msa=(0, 0, 0, 1))


def test_images_that_do_not_divide_into_patches_are_refused() -> None:
    with pytest.raises(
        ValueError, match="Images of 30 x 32 pixels do not divide into patches: expected multiples of 4"
    ):
        small("conv_vit")(images(1, 30, 32))


@pytest.mark.slow
def test_one_step_learns() -> None:
    """All three small networks lower the loss of one batch."""
    x, targets = images(16), torch.arange(16) % 10
    for name in MINIS:
        net = timm.create_model(name)
        optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
        losses = []
        for _ in range(4):
            loss = F.cross_entropy(net(x), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.9 * losses[0], name
