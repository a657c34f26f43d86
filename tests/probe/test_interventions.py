"""Interventions: a branch silenced or bypassed is the network without it, whatever was changed is put back."""

import copy

import pytest
import timm
import torch
from tests.probe.test_probe import Zero, ignore, images, plain_logits, vit
from tests.taps.tap_networks import CHANNELS, Function, Net, conv, residual, subject
from torch import nn

from alternet.probe.probe import Probe
from alternet.subject.subject import Subject


@pytest.mark.parametrize("branch", ["attn", "mlp"])
def test_silencing_a_branch_of_a_vit_equals_the_network_without_it(branch: str) -> None:
    net, batch = vit(), images(2, 32, 48)
    without = copy.deepcopy(net.model)
    setattr(without.blocks[1], branch, Zero())
    with Probe(net) as probe, probe.silence(f"blocks.1.{branch}"):
        silenced = probe.observe(batch, ignore)
    with torch.no_grad():
        assert torch.equal(silenced, without(net.normalise(batch)))
    assert not torch.equal(silenced, plain_logits(net, batch))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tap", "module"),
    [
        ("resnet18", "layer2.1", "layer2.1.bn2"),
        ("resnet18", "layer2.0", "layer2.0.bn2"),
        ("efficientnet_b0", "blocks.1.1", "blocks.1.1.bn3"),
        ("convnext_atto", "stages.1.blocks.0", "stages.1.blocks.0.mlp.fc2"),
        ("poolformer_s12", "stages.0.blocks.0.token_mixer", "stages.0.blocks.0.token_mixer"),
        ("mobilevit_xxs", "stages.2.1.transformer.0.attn", "stages.2.1.transformer.0.attn.proj"),
        ("hiera_tiny_224", "blocks.1.mlp", "blocks.1.mlp"),
    ],
)
def test_silencing_equals_a_branch_that_gives_nothing(name: str, tap: str, module: str) -> None:
    torch.manual_seed(0)
    settings = {"img_size": 64} if name.startswith("hiera") else {}
    net = Subject(timm.create_model(name, num_classes=5, **settings).eval(), name=name, input_size=(3, 64, 64))
    for parameter in net.model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    batch = images(2, 64, 64)
    with Probe(net) as probe, probe.silence(tap):
        silenced = probe.observe(batch, ignore)
    net.model.get_submodule(module).register_forward_hook(lambda layer, args, output: torch.zeros_like(output))
    assert torch.equal(silenced, plain_logits(net, batch))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tap", "modules"),
    [
        ("resnet18", "layer2.1", ["layer2.1.conv1", "layer2.1.conv2"]),
        ("resnet50", "layer1.0", ["layer1.0.conv2"]),
        ("resnext50_32x4d", "layer2.1", ["layer2.1.conv2"]),
        ("efficientnet_b0", "blocks.1.1", ["blocks.1.1.conv_dw"]),
        ("tf_efficientnet_b0", "blocks.1.1", ["blocks.1.1.conv_dw"]),
        ("convnext_atto", "stages.1.blocks.0", ["stages.1.blocks.0.conv_dw"]),
    ],
)
def test_bypassing_equals_an_identity_in_place_of_the_convolutions(name: str, tap: str, modules: list[str]) -> None:
    torch.manual_seed(0)
    net = Subject(timm.create_model(name, num_classes=5).eval(), name=name, input_size=(3, 64, 64))
    for parameter in net.model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    batch = images(2, 64, 64)
    with Probe(net) as probe, probe.bypass(tap):
        bypassed = probe.observe(batch, ignore)
    assert not torch.equal(bypassed, plain_logits(net, batch))
    for module in modules:
        net.model.set_submodule(module, nn.Identity())
    assert torch.equal(bypassed, plain_logits(net, batch))


def test_a_bypass_gives_a_copy_that_may_be_written_into() -> None:
    """Without a norm in between, an activation in place would reach the skip through the identity."""
    branch = nn.Sequential(conv(), nn.ReLU(inplace=True), conv())
    net = subject(Net(residual(branch)))
    with Probe(net) as probe, probe.bypass(net.taps[1]):
        features, _ = probe.features(images())
    with torch.no_grad():
        stem = net.model.stem(images())
    assert torch.equal(features[net.taps[1].name], stem + stem.relu())


def test_a_unit_whose_convolutions_change_the_map_cannot_be_bypassed() -> None:
    net = vit()
    with Probe(net) as probe, pytest.raises(ValueError, match=r"'blocks.0.mlp' has no convolution.*tap.convolutions"):
        probe.bypass("blocks.0.mlp")


ADDITIONS = {
    "x + y": lambda x, y: x + y,
    "y + x": lambda x, y: y + x,
    "add": torch.add,
    "add, other": lambda x, y: torch.add(x, other=y),
    "add, alpha": lambda x, y: x.add(y, alpha=0.5),
    "add_ to the branch": lambda x, y: y.add_(x),
    "add_ to the skip": lambda x, y: x.clone().add_(y),
    "addcmul": lambda x, y: torch.addcmul(x, y, torch.full((1, CHANNELS, 1, 1), 0.5)),
    "addcmul, value": lambda x, y: torch.addcmul(x, torch.full_like(x, 0.5), y, value=2),
}


@pytest.mark.parametrize("add", ADDITIONS.values(), ids=ADDITIONS)
def test_a_branch_changed_before_the_addition(add) -> None:
    body = Function(lambda self, x: add(x, self.scale * self.branch(x)), branch=conv())
    body.scale = 1.0
    net = subject(Net(body))
    name = net.taps[1].name
    for factor in (0.0, -2.0):
        with Probe(net) as probe, probe.intervene(name, lambda branch, factor=factor: factor * branch):
            changed = probe.observe(images(), ignore)
        body.scale = factor
        torch.testing.assert_close(changed, plain_logits(net, images()))
        body.scale = 1.0
    assert not torch.allclose(changed, plain_logits(net, images()))


def test_silence_leaves_the_skip_alone_at_the_tap() -> None:
    net = vit()
    with Probe(net) as probe, probe.silence("blocks.0.mlp"):
        features, _ = probe.features(images(2, 32, 48))
    assert torch.equal(features["blocks.0.mlp"], features["blocks.0.attn"])


def test_changes_nest_and_end() -> None:
    net, batch = vit(), images(2, 32, 48)
    plain = plain_logits(net, batch)
    with Probe(net) as probe:
        with probe.silence("blocks.0.mlp"):
            once = probe.observe(batch, ignore)
            with probe.silence("blocks.1.attn"):
                twice = probe.observe(batch, ignore)
            with probe.intervene("blocks.0.mlp", lambda branch: branch):
                assert torch.equal(probe.observe(batch, ignore), plain)
            assert torch.equal(probe.observe(batch, ignore), once)
        assert torch.equal(probe.observe(batch, ignore), plain)
    assert not torch.equal(once, twice)


def test_a_unit_without_a_skip_cannot_be_silenced() -> None:
    net = vit()
    with Probe(net) as probe, pytest.raises(ValueError, match=r"'patch_embed' cannot be.*silenceable"):
        probe.silence("patch_embed")
