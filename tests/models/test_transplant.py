"""Transplants: what changes, what stays, in which families; and what is refused."""

import json
import re
import subprocess
import sys
from copy import deepcopy
from itertools import product
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from alternet.models.attention import StaticWindowAttention, WindowAttention, from_windows, to_windows
from alternet.models.preresnet import PreResNet
from alternet.models.transplanted import Graft, as_data, grafted
from alternet.subject.recalibration import recalibrate
from alternet.subject.subject import Subject
from alternet.subject.transplant import plan_transplant, transplant

FAMILIES = (
    "resnet18",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "resnetv2_50",
    "resnetv2_50x1_bit",
    "seresnet50",
    "ecaresnet26t",
    "regnety_002",
    "efficientnet_b0",
    "tf_efficientnet_b0",
    "mobilenetv3_small_100",
    "convnext_atto",
    "tv:resnet18",
    "tv:regnet_y_400mf",
    "preresnet_mini",
    "paper_resnet_18",
)
DAILY = ("resnet18", "preresnet_mini", "handwritten")


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "handwritten":
        return Handwritten().eval()
    if name.startswith("tv:"):
        return torchvision.models.get_model(name[3:], weights=None).eval()
    return timm.create_model(name).eval()


class Handwritten(nn.Module):
    """A small CNN as somebody writes it, with a functional skip and a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.inner, self.norm, self.fc = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.down(F.relu(self.first(x))))
        x = x + F.relu(self.norm(self.inner(x)))
        return self.fc(x.mean((2, 3)))


def subject(model: nn.Module, size: int = 64) -> Subject:
    return Subject(model, name="net", input_size=(3, size, size))


def convolutional(one: Subject) -> list[str]:
    """The last two units with convolutions."""
    return [tap.name for tap in one.taps if tap.kind == "conv" and tap.spatial][-2:]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in DAILY else pytest.mark.slow) for n in (*FAMILIES, "handwritten")]
)
@pytest.mark.parametrize("size", [64, pytest.param(73, marks=pytest.mark.thorough)])
def test_the_chosen_units_attend_and_all_others_are_as_before(name, size):
    before = subject(network(name), size)
    chosen = convolutional(before)
    after = subject(transplant(before, chosen), size)
    assert type(after.model) is type(before.model)
    for old, new in zip(before.taps, after.taps, strict=True):
        assert (new.name, new.shape, new.skip, new.stage) == (old.name, old.shape, old.skip, old.stage)
        assert new.kind == ("msa" if old.name in chosen else old.kind)
    kept, state = before.model.state_dict(), after.model.state_dict()
    gone = {key for key in kept if key not in state}
    assert all(torch.equal(kept[key], state[key]) for key in kept if key in state)
    assert 0 < len(gone) <= 4
    if name != "handwritten":  # its first stage is a pixel grid of 64 x 64: the images may have any size that it takes
        assert (
            after.logits(torch.rand(1, 3, size + 32, size)).shape == before.logits(torch.rand(1, 3, size, size)).shape
        )


@pytest.mark.parametrize(
    "name",
    [
        "preresnet_mini",
        "paper_resnet_18",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("resnetv2_50", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", marks=pytest.mark.slow),
    ],
)
def test_a_whole_unit_becomes_one_that_attends(name):
    before = subject(network(name))
    chosen = [tap.name for tap in before.taps if tap.sum and tap.spatial and tap.stage == before.taps[-1].stage]
    after = subject(transplant(before, chosen, form="unit"))
    for old, new in zip(before.taps, after.taps, strict=True):
        assert (new.shape, new.skip) == (old.shape, old.skip)
        assert new.name.removesuffix(".branch") == old.name.removesuffix(
            ".branch"
        )  # not all units have a module for it
        assert new.kind == ("msa" if old.name in chosen else old.kind)


def test_units_of_a_preresnet_are_those_of_alternet():
    """The paper's construction: attention units at the ends of the last three stages of its CNN."""
    chosen = ["stages.1.1.branch", "stages.2.1.branch", "stages.3.1.branch"]
    made = transplant(
        network("preresnet_mini"),
        {name: {"heads": h} for name, h in zip(chosen, (2, 4, 8), strict=True)},
        form="unit",
        head_dim=16,
        window_size=4,
    )
    born = timm.create_model("alternet_mini").eval()
    ours, theirs = ({k: v.shape for k, v in net.state_dict().items()} for net in (made, born))
    assert ours == theirs
    born.load_state_dict(made.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(made(images), born(images))


@pytest.mark.parametrize(
    ("stride", "padding", "kernel"), [(1, 1, 3), (2, 1, 3), (2, 3, 7), (2, 0, 2), (2, 1, 4), (4, 0, 4)]
)
def test_a_stride_averages_to_the_size_that_the_convolution_gave(stride, padding, kernel):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, kernel, stride, padding), nn.ReLU())
    net = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    one = subject(net, 33)
    name = next(t.name for t in one.taps if t.spatial)
    changed = transplant(one, [name], heads=1)
    for size in (33, 34, 35, 40):
        images = torch.rand(1, 3, size, size + 1)
        assert changed[0](images).shape == net[0](images).shape


def test_zero_init_gives_what_the_network_gives_without_the_convolution():
    net = network("handwritten")
    changed = transplant(
        subject(net),
        ["inner"] if any(t.name == "inner" for t in subject(net).taps) else convolutional(subject(net))[-1:],
        zero_init=True,
    )
    silent = deepcopy(net)
    nn.init.zeros_(silent.inner.weight)
    nn.init.zeros_(silent.inner.bias)
    images = torch.rand(3, 3, 64, 48)
    assert torch.equal(changed(images), silent(images))


def test_a_plan_is_plain_data_and_builds_the_same_network_again():
    before = subject(network("resnet18"))
    plan = plan_transplant(before, {"layer4.1": {"heads": 4}, "layer3.1": {}}, window_size=4)
    data = json.loads(json.dumps(as_data(plan)))
    again = timm.create_model("transplanted", base="resnet18", plan=data)
    first = transplant(before, {"layer4.1": {"heads": 4}, "layer3.1": {}}, window_size=4)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in first.state_dict().items()}
    assert type(again) is type(before.model)
    new = [key for key in first.state_dict() if ".attn." in key]
    assert new and all(torch.equal(first.state_dict()[key], again.state_dict()[key]) for key in new)
    assert timm.create_model("transplanted", base="resnet18", plan=data, num_classes=7).num_classes == 7


def test_weights_that_timm_is_given_are_those_of_the_whole():
    before = subject(network("preresnet_mini"))
    plan = as_data(plan_transplant(before, ["stages.3.1.branch"]))
    state = {key: value + 1 for key, value in transplant(before, ["stages.3.1.branch"]).state_dict().items()}
    options = {"base": "preresnet_mini", "plan": plan, "pretrained": True}
    again = timm.create_model("transplanted", pretrained_cfg_overlay={"state_dict": state}, **options)
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        timm.create_model("transplanted", **options)


def test_the_given_network_stays_as_it_is():
    net = network("preresnet_mini").train()
    state = deepcopy(net.state_dict())
    changed = transplant(net, ["stages.3.1.branch"])
    assert changed.training and all(m.training for m in changed.modules())
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert not any(isinstance(m, WindowAttention) for m in net.modules())


def test_weights_of_a_place_do_not_depend_on_the_other_places():
    net = network("preresnet_mini")
    alone = transplant(net, ["stages.3.1.branch"]).state_dict()
    both = transplant(net, ["stages.2.1.branch", "stages.3.1.branch"]).state_dict()
    ours = [key for key in alone if ".attn." in key]
    assert ours and all(torch.equal(alone[key], both[key]) for key in ours)
    other = transplant(net, ["stages.3.1.branch"], seed=1).state_dict()
    assert any(not torch.equal(alone[key], other[key]) for key in ours)


def test_every_new_weight_learns():
    net = transplant(network("preresnet_mini"), ["stages.2.0.branch", "stages.3.1.branch"], window_size=3).train()
    net(torch.rand(4, 3, 40, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize("name", ["preresnet_mini", "handwritten"])
def test_memory_format_does_not_matter(name):
    net = transplant(subject(network(name)), convolutional(subject(network(name))))
    images = torch.rand(2, 3, 37, 32)
    last = deepcopy(net).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(images.to(memory_format=torch.channels_last)), net(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "units", "settings", "said"),
    [
        ("vit_mini", ["blocks.3.attn"], {}, "of kind msa and has no convolution over several positions"),
        ("mixnet_s", ["blocks.2.1"], {}, "holds 2 convolutions side by side"),
        ("preresnet_mini", ["stages.3.2.branch"], {}, "has no unit 'stages.3.2.branch'. Did you mean stages.3.1"),
        ("preresnet_mini", ["stages.3.1.branch"], {"head": 2}, "no setting 'head'. Did you mean heads, head_dim"),
        ("preresnet_mini", ["stages.3.1.branch"], {"channels": 2}, "cannot set 'channels'"),
        ("preresnet_mini", ["stages.3.1.branch"], {"heads": 0}, "heads=0, expected a number of at least 1"),
        ("preresnet_mini", ["stages.3.1.branch"], {"form": "block"}, "form='block', expected 'conv' or 'unit'"),
        ("preresnet_mini", [], {}, "no units, expected at least one name"),
        ("preresnet_mini", "stages.3.1.branch", {}, "expected a list of names"),
        ("preresnet_mini", ["stem.conv"], {"form": "unit"}, "no residual unit"),
    ],
)
def test_what_cannot_be_replaced_is_named_with_the_reason(name, units, settings, said):
    with pytest.raises(ValueError, match=said):
        transplant(network(name), units, **settings)


def test_convolutions_side_by_side_tied_or_functional_are_refused():
    class Odd(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.how, self.stem, self.fc = how, nn.Conv2d(3, 8, 1), nn.Linear(8, 2)
            self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 5, padding=2)
            self.c = nn.Conv2d(8, 8, 3, padding=1)
            if how == "tied":
                self.c.weight = self.a.weight

        def forward(self, x):
            x = self.stem(x).relu()
            if self.how == "parallel":
                x = x + (self.a(x) + self.b(x)).relu()
            elif self.how == "twice":
                x = x + self.a(self.a(x).relu()).relu()
            elif self.how == "tied":
                x = x + self.a(x).relu()
                x = x + self.c(x).relu()
            else:
                x = x + F.conv2d(x, self.a.weight, padding=1).relu()
            return self.fc(x.mean((2, 3)))

    reasons = {
        "parallel": "side by side",
        "twice": "called 2 times",
        "tied": "shares its weight",
        "functional": "no nn.Conv2d",
    }
    for how, reason in reasons.items():
        one = subject(Odd(how), 16)
        unit = next(tap.name for tap in one.taps if tap.sum)
        with pytest.raises(ValueError, match=f"cannot be replaced.*{reason}"):
            transplant(one, [unit])


def test_a_path_that_holds_one_place_serves_where_a_unit_holds_many():
    """A unit of DenseNet is a whole block."""
    net = timm.create_model("densenet121", block_config=(2, 2), growth_rate=8).eval()
    changed = transplant(net, ["features.denseblock2.denselayer2"])
    assert isinstance(changed.get_submodule("features.denseblock2.denselayer2.conv2.attn"), WindowAttention)
    with pytest.raises(ValueError, match="name one of these"):
        transplant(net, ["features.denseblock2"])


def test_static_attention_averages_with_the_same_weights_for_every_image():
    """Against a loop over windows, heads, queries and keys, in float64."""
    torch.manual_seed(0)
    net = StaticWindowAttention(3, 4, heads=2, head_dim=5, window_size=3).double()
    images = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    values = F.conv2d(images, net.v.weight)
    expected = torch.zeros(2, 10, 5, 7, dtype=torch.float64)
    for n, head, y, x in product(range(2), range(2), range(5), range(7)):
        top, left = y // 3 * 3, x // 3 * 3
        keys = [(i, j) for i in range(top, min(top + 3, 5)) for j in range(left, min(left + 3, 7))]
        query = (y - top) * 3 + (x - left)
        scores = torch.stack([net.scores[head, query, (i - top) * 3 + (j - left)] for i, j in keys])
        part = slice(5 * head, 5 * head + 5)
        expected[n, part, y, x] = sum(
            w * values[n, part, i, j] for w, (i, j) in zip(scores.softmax(0), keys, strict=True)
        )
    expected = F.conv2d(expected, net.proj.weight, net.proj.bias)
    torch.testing.assert_close(net(images), expected)
    small = torch.randn(1, 3, 2, 2, dtype=torch.float64)  # one window, smaller than 3 x 3
    assert net(small).shape == (1, 4, 2, 2)


def test_without_relative_bias_attention_ignores_order():
    torch.manual_seed(0)
    net = WindowAttention(3, 4, heads=1, head_dim=4, window_size=4, relative_bias=False)
    images = torch.randn(1, 3, 4, 4)
    order = torch.randperm(16)
    tokens = to_windows(images, (4, 4))
    shuffled = from_windows(tokens[:, order], (4, 4), (4, 4))
    torch.testing.assert_close(to_windows(net(shuffled), (4, 4)), to_windows(net(images), (4, 4))[:, order])
    assert net.relative_position_bias is None


def test_recalibration_gives_the_statistics_of_the_maps_behind_the_attention():
    """Against a copy whose norms of those places hold the statistics of the one batch that they saw last."""
    net, images = transplant(network("preresnet_mini"), ["stages.2.1.branch"]), torch.rand(16, 3, 32, 32)
    expected, untouched = deepcopy(net), deepcopy(net.state_dict())
    behind = [path for path, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]
    behind = [path for path in behind if path.startswith(("stages.3", "norm"))]
    for path in behind:
        norm = expected.get_submodule(path).train()
        norm.momentum = 1.0
    expected(subject(expected).normalise(images))
    assert recalibrate(subject(net, 32), [(images, torch.zeros(16))]) == len(behind)
    for key, value in net.state_dict().items():
        if key.rpartition(".")[0] in behind:
            torch.testing.assert_close(value, expected.state_dict()[key])
            assert key.endswith(("weight", "bias")) or not torch.equal(value, untouched[key])
        else:
            assert torch.equal(value, untouched[key])
    assert not any(m.training for m in net.modules())
    assert all(m.momentum == 0.1 for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_plan_for_another_network_is_refused():
    plan = plan_transplant(subject(network("preresnet_mini")), ["stages.3.1.branch"])
    with pytest.raises(ValueError, match="no module 'stages.3.1.branch.conv2'. Was the plan made for another network"):
        grafted(network("resnet18"), plan)
    wider = timm.create_model("preresnet_mini", widths=(16, 32, 64, 96))
    with pytest.raises(ValueError, match="has 96 and 96 channels, the plan says 128 and 128"):
        grafted(wider, plan)
    with pytest.raises(ValueError, match="no setting 'colour'"):
        Graft(**as_data(plan)[0], colour=1)


def small(attention: str = "dynamic") -> nn.Module:
    """A network of two blocks that attends in one, in windows of 3 x 3 on maps that they do not divide."""
    torch.manual_seed(0)
    net = PreResNet(depths=(1, 1), widths=(8, 8), block="basic", num_classes=5).eval()
    return transplant(subject(net, 16), ["stages.1.0.branch"], window_size=3, heads=1, attention=attention)


@pytest.mark.slow
def test_a_compiled_transplant_gives_the_same_logits():
    """In one graph; in a process where no shapes are checked, and without a compiler of C++."""
    code = """
import torch, timm, alternet
net = alternet.transplant(timm.create_model("preresnet_mini").eval(), ["stages.3.0.branch"], window_size=3)
images = torch.rand(2, 3, 32, 32)
with torch.no_grad():
    torch.testing.assert_close(torch.compile(net, fullgraph=True, backend="aot_eager")(images), net(images))"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["dynamic", "static"])
def test_an_exported_transplant_takes_other_numbers_and_sizes_of_images(attention):
    """Windows that fit the map and windows that hang over it, whichever were traced."""
    net, free = small(attention), torch.export.Dim.AUTO
    exported = torch.export.export(net, (torch.rand(2, 3, 16, 16),), dynamic_shapes=({0: free, 2: free, 3: free},))
    for shape in ((2, 3, 16, 16), (5, 3, 16, 16), (3, 3, 24, 18), (2, 3, 17, 40)):
        images = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(exported.module()(images), net(images))


@pytest.mark.slow
def test_the_page_runs():
    page = (Path(__file__).parents[2] / "docs" / "transplants.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "docs/transplants.md", "exec"), names)
    assert {key: v.shape for key, v in names["again"].state_dict().items()} == {
        key: v.shape for key, v in names["mine"].state_dict().items()
    }
