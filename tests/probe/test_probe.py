"""What a Probe reads and changes: against hooks, against networks built without the branch, and leaving no trace."""

import copy
import gc
import weakref

import pytest
import timm
import torch
from tests.taps.tap_networks import CHANNELS, Attention, Function, Net, Tokens, conv, mlp, residual, subject
from torch import Tensor, nn

from alternet.probe.edits import silenced
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject
from alternet.taps.find import Address
from alternet.taps.trace import nothing_hidden
from alternet.untouched import untouched


def images(n: int = 3, height: int = 6, width: int = 10) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1))


def ignore(tap: object, feature: object) -> None:
    """A visit that looks at nothing."""


def plain_logits(net: Subject, batch: Tensor) -> Tensor:
    with torch.no_grad():
        return net.logits(batch)


class Zero(nn.Module):
    """A branch that gives nothing."""

    def forward(self, x: Tensor, **settings: object) -> Tensor:
        return torch.zeros_like(x)


def vit(**settings: object) -> Subject:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=(32, 48), depth=2, **settings).eval()
    return Subject(model, name="vit", input_size=(3, 32, 48))


def test_features_are_those_a_hook_sees() -> None:
    net = subject(Net(nn.Sequential(residual(conv()), residual(conv(1)))))
    seen: list[Tensor] = []
    assert net.taps
    for block in net.model.body:
        block.register_forward_hook(lambda module, args, output: seen.append(output))
    with Probe(net) as probe:
        features, _ = probe.features(images())
    for name, expected in zip(("body.0.branch", "body.1.branch"), seen, strict=True):
        assert torch.equal(features[name], expected)


def test_tokens_come_as_a_map_without_their_prefix() -> None:
    net = subject(Tokens(residual(mlp()), prefix=2))
    seen: list[Tensor] = []
    assert net.taps
    net.model.layers.register_forward_hook(lambda module, args, output: seen.append(output))
    with Probe(net) as probe:
        features, _ = probe.features(images())
    feature = features["layers.0.branch"]
    assert feature.shape == (3, CHANNELS, 3, 5)
    for row in range(3):
        for column in range(5):
            assert torch.equal(feature[:, :, row, column], seen[0][:, 2 + 5 * row + column])


def test_tokens_before_samples() -> None:
    net = subject(Tokens(residual(mlp()), first=False))
    with Probe(net) as probe:
        features, _ = probe.features(images(4))
    assert features["layers.0.branch"].shape == (4, CHANNELS, 3, 5)


@pytest.mark.parametrize("layout", ["windows", "unfolded"])
def test_windows_and_patches_are_put_back_on_the_grid(layout: str) -> None:
    """The residual sum happens on rearranged positions; the map must equal the one before rearranging."""

    def cut(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // 2, 2, w // 2, 2)
        order = (0, 2, 4, 3, 5, 1) if layout == "windows" else (0, 3, 5, 2, 4, 1)
        return x.permute(order).reshape(-1, 4 if layout == "windows" else h * w // 4, c)

    def paste(x: Tensor) -> Tensor:
        inner = x.reshape(-1, 3, 5, 2, 2, CHANNELS) if layout == "windows" else x.reshape(-1, 2, 2, 3, 5, CHANNELS)
        order = (0, 5, 1, 3, 2, 4) if layout == "windows" else (0, 5, 3, 1, 4, 2)
        return inner.permute(order).reshape(-1, CHANNELS, 6, 10)

    net = subject(Net(Function(lambda self, x: paste(self.block(cut(x))), block=residual(mlp()))))
    whole: list[Tensor] = []
    assert net.taps
    net.model.body.register_forward_hook(lambda module, args, output: whole.append(output))
    with Probe(net) as probe:
        features, _ = probe.features(images())
    assert torch.equal(features["body.block.branch"], whole[0])


def test_the_output_under_observation_is_bit_for_bit_the_plain_one() -> None:
    for net in (vit(), subject(Net(residual(conv()))), subject(Tokens(residual(Attention("module"))))):
        batch = images(3, *net.input_size[1:])
        with Probe(net) as probe, nothing_hidden():
            assert torch.equal(probe.observe(batch, ignore), plain_logits(net, batch))


def with_fast_path() -> Subject:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(CHANNELS, 2, 16, batch_first=True, norm_first=True)
    return subject(Tokens(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)))


def test_plain_logits_are_bit_for_bit_those_of_the_model_by_itself() -> None:
    for net in (vit(), subject(Net(residual(conv()))), with_fast_path()):
        batch = images(7, *net.input_size[1:])
        with untouched(net.model):
            expected = net.logits(batch)
        with Probe(net) as probe:
            assert torch.equal(probe.logits(batch), expected)
            observed = probe.observe(batch, ignore)
            assert torch.equal(probe.logits(batch), expected)
        torch.testing.assert_close(observed, expected)


def test_the_fast_path_is_off_only_while_something_is_observed() -> None:
    net, batch = with_fast_path(), images()
    seen: list[bool] = []
    assert net.taps
    net.model.head.register_forward_hook(lambda *_: seen.append(torch.backends.mha.get_fastpath_enabled()))
    with Probe(net) as probe:
        probe.logits(batch)
        probe.observe(batch, ignore)
        probe.features(batch)
        assert seen == [True, False, False]
        assert torch.backends.mha.get_fastpath_enabled()
        with probe.silence(net.taps[1]):
            probe.logits(batch)
        assert seen.pop() is False
        seen.clear()
        for _ in probe.variants(batch, [silenced(net.taps[1]), {}]):
            assert torch.backends.mha.get_fastpath_enabled()
        assert seen and not any(seen)


def test_plain_logits_under_edits_are_those_of_an_observed_pass() -> None:
    net, batch = vit(), images(2, 32, 48)
    with Probe(net) as probe:
        whole = probe.logits(batch)
        with probe.silence("blocks.0.mlp"):
            assert torch.equal(probe.logits(batch), probe.observe(batch, ignore))
            assert not torch.equal(probe.logits(batch), whole)
        assert torch.equal(probe.logits(batch), whole)
    nowhere = {Address(module="blocks", function="add", ordinal=7): lambda func, args, kwargs: func(*args, **kwargs)}
    with (
        Probe(net, taps=[]) as probe,
        probe.edit(nowhere),
        pytest.raises(ValueError, match="'vit' did not reach blocks"),
    ):
        probe.logits(batch)


def test_plain_logits_of_images_of_another_size_need_no_trace() -> None:
    net = subject(Net(nn.Sequential(residual(conv()), residual(conv()))))
    batch = images(3, 8, 12)
    with Probe(net) as probe, probe.silence("body.0.branch"):
        expected = probe.observe(batch, ignore)
        net.__dict__["_memory"].clear()
        assert torch.equal(probe.logits(batch), expected)
        assert not net.__dict__["_memory"]


def test_an_unknown_tap_is_refused_with_near_names() -> None:
    with pytest.raises(ValueError, match=r"No tap 'blocks\.0\.att'.*blocks\.0\.attn"):
        Probe(vit(), ["blocks.0.att"])


def test_chosen_taps_are_visited_in_forward_order_and_only_they() -> None:
    net, seen = vit(), []
    with Probe(net, ["blocks.1.mlp", net.taps[0], "blocks.0.attn"]) as probe:
        probe.observe(images(1, 32, 48), lambda tap, feature: seen.append(tap.name))
    assert seen == ["patch_embed", "blocks.0.attn", "blocks.1.mlp"] == [tap.name for tap in probe.taps]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_any_number_of_images(n: int) -> None:
    for net in (vit(), subject(Tokens(residual(mlp()), first=False))):
        batch = images(n, *net.input_size[1:])
        with Probe(net) as probe:
            features, logits = probe.features(batch)
        assert len(logits) == n
        assert all(feature.shape == (n, *tap.shape) for feature, tap in zip(features.values(), net.taps, strict=True))


def test_images_of_another_size_get_their_own_grids() -> None:
    net = subject(
        Net(
            nn.Sequential(
                residual(conv()),
                Function(lambda self, x: x.permute(0, 2, 3, 1)),
                residual(mlp()),
                Function(lambda self, x: x.permute(0, 3, 1, 2)),
            )
        )
    )
    with Probe(net) as probe:
        features, logits = probe.features(images(2, 8, 12))
        assert [feature.shape for feature in features.values()] == [(2, CHANNELS, 8, 12)] * 3
        assert torch.equal(logits, plain_logits(net, images(2, 8, 12)))
        with probe.silence("body.2.branch"):
            silenced, _ = probe.features(images(2, 8, 12))
    assert torch.equal(silenced["body.2.branch"], features["body.0.branch"])
    assert not torch.equal(features["body.2.branch"], features["body.0.branch"])


def test_a_vit_of_dynamic_size_is_laid_out_on_the_new_grid() -> None:
    net = vit(dynamic_img_size=True)
    with Probe(net) as probe:
        features, _ = probe.features(images(1, 48, 64))
    assert {feature.shape for feature in features.values()} == {(1, 192, 3, 4)}


def test_a_model_in_training_mode_with_dropout_is_observed_in_evaluation_mode_and_put_back() -> None:
    net = subject(Net(nn.Sequential(residual(nn.Sequential(nn.BatchNorm2d(CHANNELS), conv(), nn.Dropout(0.5))))))
    plain = plain_logits(net, images())
    net.model.train()
    net.model.body[0].branch[0].eval()
    flags = [module.training for module in net.model.modules()]
    before, state = copy.deepcopy(net.model.state_dict()), torch.get_rng_state()
    with Probe(net) as probe:
        assert torch.equal(probe.observe(images(), ignore), plain)
    assert [module.training for module in net.model.modules()] == flags
    assert all(torch.equal(before[name], value) for name, value in net.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_nothing_stays_behind_after_an_error_in_a_visit() -> None:
    net = subject(Net(residual(conv())))

    def fail(tap: object, feature: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Probe(net) as probe:
        probe.observe(images(), fail)
    assert hooks_of(net.model) == 0
    assert torch.backends.mha.get_fastpath_enabled()
    with Probe(net) as probe:
        probe.observe(images(), ignore)


def test_nothing_stays_behind_after_an_error_in_the_model() -> None:
    net = vit()
    with pytest.raises(AssertionError), Probe(net) as probe:
        probe.observe(images(1, 40, 40), ignore)
    assert hooks_of(net.model) == 0


def test_the_fast_path_of_torchs_encoder_hides_nothing() -> None:
    net = with_fast_path()
    assert [tap.kind for tap in net.taps] == ["stem", "msa", "mlp", "msa", "mlp"]
    with Probe(net) as probe:
        features, _ = probe.features(images())
    assert len(features) == 5
    assert torch.backends.mha.get_fastpath_enabled()


def test_no_feature_lives_on_after_its_visit() -> None:
    net = subject(Tokens(*[residual(mlp()) for _ in range(6)]))
    alive: list[weakref.ref] = []
    most = 0

    def visit(tap: object, feature: Tensor) -> None:
        nonlocal most
        base = feature if feature._base is None else feature._base
        alive.append(weakref.ref(base))
        most = max(most, sum(ref() is not None for ref in alive))

    with Probe(net) as probe:
        probe.observe(images(), visit)
    gc.collect()
    assert most <= 3  # the stem, which the model holds, the unit's input and its output
    assert not any(ref() is not None for ref in alive)


def test_features_are_copies_that_the_model_does_not_write_into() -> None:
    def block(self: Function, x: Tensor) -> Tensor:
        return (x + self.branch(x)).neg_()

    net = subject(Net(Function(block, branch=conv())))
    with Probe(net) as probe:
        features, _ = probe.features(images())
    with torch.no_grad():
        stem = net.model.stem(images())
        assert torch.equal(features["body.branch"], stem + net.model.body.branch(stem))


@pytest.mark.parametrize("case", ["channels_last", "bfloat16", "inference_mode", "autocast"])
def test_other_formats_types_and_modes(case: str) -> None:
    net = subject(Net(nn.Sequential(residual(conv()), residual(conv(1)))))
    if case == "bfloat16":
        net.model.to(torch.bfloat16)
    if case == "channels_last":
        net.model.to(memory_format=torch.channels_last)
    batch = images().contiguous(memory_format=torch.channels_last if case == "channels_last" else torch.preserve_format)
    around = {"inference_mode": torch.inference_mode(), "autocast": torch.autocast("cpu")}.get(case, torch.no_grad())
    with around:
        expected = net.logits(batch)
        with Probe(net) as probe:
            features, logits = probe.features(batch)
    assert torch.equal(logits, expected)
    assert [feature.shape for feature in features.values()] == [(3, CHANNELS, 6, 10)] * 3
    assert next(iter(features.values())).dtype == (
        torch.float32 if case in ("channels_last", "inference_mode") else torch.bfloat16
    )


def test_a_tuple_of_outputs() -> None:
    class Two(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            logits = super().forward(x)
            return logits, logits * 2

    net = subject(Two(residual(conv())))
    with Probe(net) as probe:
        assert probe.observe(images(), ignore).shape == (3, 5)
    assert len(net.taps) == 2


def test_a_path_that_depends_on_the_input_is_noticed() -> None:
    def maybe(self: Function, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.on else x

    body = Function(maybe, branch=conv())
    body.on = True
    net = subject(Net(body))
    assert len(net.taps) == 2
    body.on = False
    with Probe(net) as probe, pytest.raises(ValueError, match=r"did not reach body\.branch"):
        probe.observe(images(), ignore)
