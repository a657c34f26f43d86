"""Wrappers are taken off with their facts, features are not scores, and quantised layers are told."""

import copy
import warnings

import pytest
import timm
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import alternet as an
from alternet.errors import Doubt
from alternet.subject.declared import classifies, quantised, unwrapped

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=5, img_size=32).eval()


class Calls(nn.Module):
    """As a LightningModule is made: a network, a loss and a forward that only calls it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.criterion = model, nn.CrossEntropyLoss()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class Normalises(Calls):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model((x - 0.5) / 0.5)


class NotCalled(Calls):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")  # pyright: ignore[reportReturnType]


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "average": AveragedModel,
    "ema": timm.utils.ModelEmaV3,
    "calls": Calls,
    "compiled": compiled,
    "calls a compiled one": lambda model: Calls(compiled(model)),
    "several": lambda model: compiled(nn.DataParallel(Calls(model))),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapper_is_taken_off_and_the_facts_inherited(net: nn.Module, wrap):
    wrapper = wrap(net).train()
    before = [module.training for module in wrapper.modules()]
    bare, subject = an.Subject(net, name="n"), an.Subject(wrapper, name="n")
    assert subject.facts == bare.facts and subject.mean == MEAN and subject.prefix_tokens == 1
    assert [tap.name for tap in subject.taps] == [tap.name for tap in bare.taps]
    assert [module.training for module in wrapper.modules()] == before
    net.eval()


def test_a_wrapper_of_ddp_is_taken_off(net: nn.Module):
    made = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(made)
    made.module = net
    assert unwrapped(made) is net


@pytest.mark.parametrize("kind", [Normalises, NotCalled])
def test_a_class_that_does_more_than_to_call_is_left_as_it_is(net: nn.Module, kind):
    wrapper = kind(net)
    subject = an.Subject(wrapper, name="n", input_size=(3, 32, 32))
    assert subject.model is wrapper and subject.mean is None and "is not known" in subject.doubt


def test_a_module_without_a_network_that_declares_its_input_is_left_as_it_is():
    plain = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))
    assert unwrapped(plain) is plain


def test_what_is_compiled_runs_uncompiled_and_is_compiled_afterwards(net: nn.Module):
    runs: list[object] = []

    def backend(graph, _):
        runs.append(graph)
        return graph.forward

    model = copy.deepcopy(net)
    model.compile(backend=backend)  # in place: the module stays what it is
    model.blocks[0] = torch.compile(model.blocks[0], backend=backend)
    subject, data = an.Subject(model, name="n"), an.Batches.of(torch.rand(4, 3, 32, 32))
    measured = an.Variance().measure(subject, data)
    assert not runs
    expected = an.Variance().measure(an.Subject(net, name="n"), data)
    assert measured.table["variance"].equals(expected.table["variance"])
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    assert runs


HEADLESS = {
    "timm": lambda: timm.create_model("test_vit", num_classes=0, img_size=32),
    "timm, taken off": lambda: without(timm.create_model("test_resnet", num_classes=5), "fc"),
    "torchvision": lambda: without(__import__("torchvision").models.resnet18(), "fc"),
    "wrapped": lambda: nn.DataParallel(timm.create_model("test_vit", num_classes=0, img_size=32)),
}


def without(model: nn.Module, head: str) -> nn.Module:
    setattr(model, head, nn.Identity())
    return model


@pytest.mark.parametrize("make", HEADLESS.values(), ids=HEADLESS)
def test_scores_are_not_asked_of_a_model_without_a_classifier(make):
    subject = an.Subject(make(), name="n", input_size=(3, 32, 32), mean=MEAN, std=STD)
    data = an.Batches.of(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]))
    for instrument in (an.Calibration(), an.Lesion(), an.Hessian(), an.FrequencyNoise()):
        with pytest.raises(ValueError, match="needs class scores, but n has no classifier and gives features"):
            instrument.measure(subject, data)
    assert len(an.Variance().measure(subject, data).table)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "vit_mini", "alternet_mini", "preresnet_mini"])
def test_models_with_a_classifier_have_one(name: str):
    assert classifies(timm.create_model(name))


def quantise(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own plans
        return torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore:TypedStorage", "ignore:.*quant")
def test_quantised_layers_are_named_and_their_weights_told_apart(net: nn.Module):
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed.blocks[0].mlp.fc1.weight.mul_(2)
    one, other = (an.Subject(quantise(model), name="n") for model in (net, changed))
    assert one.weights_sha256 != other.weights_sha256
    assert one.weights_sha256 == an.Subject(quantise(net), name="n").weights_sha256
    assert "blocks.0.mlp.fc1" in one.origin["not_seen"] and quantised(net) == []
    with pytest.warns(Doubt, match="n: 25 quantised layers are not seen .blocks.0.attn.qkv, .*Measure it before"):
        assert one.taps


@pytest.mark.parametrize(
    ("mean", "std"),
    [((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)), ((123.7, 116.3, 103.5), (1.0, 1.0, 1.0)), ((0,) * 3, (255,) * 3)],
)
def test_a_normalisation_in_bytes_is_read_so_and_said(mean, std):
    with pytest.warns(Doubt, match="'n' are read in units of 0 to 255"):
        subject = an.Subject(nn.Flatten(), name="n", input_size=(3, 2, 2), mean=mean, std=std)
    images = torch.rand(2, 3, 2, 2)
    expected = (255 * images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    torch.testing.assert_close(subject.normalise(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((-0.1, 0.5, 0.5), STD),
        ((0.5, 0.5, 300.0), STD),
        ((123.7, 116.3, 103.5), (0.229, 0.224, 0.225)),
        (MEAN, (58.4, 57.1, 57.4)),
        (MEAN, (0.0, 0.5, 0.5)),
        (MEAN, (-0.5, 0.5, 0.5)),
        ((float("nan"),) * 3, STD),
        (MEAN, (float("inf"),) * 3),
        (MEAN, (0.5, 0.5)),
        ((0.5, 0.5), (0.5, 0.5)),
    ],
)
def test_a_normalisation_in_no_units_is_refused(mean, std):
    with pytest.raises(ValueError, match=r"expected a mean in \[0, 1\] and a std in \(0, 1\]|one number a channel"):
        an.Subject(nn.Flatten(), name="n", input_size=(3, 2, 2), mean=mean, std=std)


def test_python_says_what_the_command_says_of_an_unknown_normalisation():
    layers = (nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    subject, data = (
        an.Subject(nn.Sequential(*layers), name="n", input_size=(3, 8, 8)),
        an.Batches.of(torch.rand(2, 3, 8, 8)),
    )
    with pytest.warns(Doubt, match="The normalisation of n is not known: it states none") as said:
        an.Variance().measure(subject, data)
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        an.Variance().measure(
            an.Subject(subject.model, name="n", input_size=(3, 8, 8), mean=(0,) * 3, std=(1,) * 3), data
        )
