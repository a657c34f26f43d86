"""A batch replayed under several edits: bit for bit what whole passes give, with the work of half of them."""

import copy
from collections import namedtuple
from collections.abc import Callable

import pytest
import timm
import torch
from tests.contract.networks import NETWORKS, network
from tests.taps.tap_networks import CHANNELS, CLASSES, Function, Net, Tokens, conv, mlp, residual, subject
from torch import Tensor, nn

from alternet import memory
from alternet.probe.edits import Edits, bypassed, changed, silenced
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject
from alternet.taps.find import Address


def images(net: Subject, n: int = 3) -> Tensor:
    assert net.input_size is not None
    return torch.rand(n, *net.input_size, generator=torch.Generator().manual_seed(1))


def ignore(tap: object, feature: object) -> None:
    """A visit that looks at nothing."""


def stirred(net: Subject) -> Subject:
    """With random numbers where an initialisation leaves branches at zero, so that every lesion matters."""
    generator = torch.Generator().manual_seed(2)
    for parameter in net.model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return net


def lesions(net: Subject) -> list[Edits]:
    """One of every kind at every unit."""
    branches = [silenced(tap) for tap in net.taps if tap.silenceable]
    return branches + [bypassed(tap) for tap in net.taps if tap.convolutions]


def assert_as_whole_passes(net: Subject, edits: list[Edits], *, effective: bool = True, n: int = 3) -> None:
    batch = images(net, n)
    with Probe(net) as probe:
        whole = probe.observe(batch, ignore)
        expected = []
        for one in edits:
            with probe.edit(one):
                expected.append(probe.observe(batch, ignore))
        found = list(probe.variants(batch, [{}, *edits]))
    assert edits
    for one, other in zip([whole, *expected], found, strict=True):
        assert torch.equal(one, other)
    assert not effective or not any(torch.equal(whole, logits) for logits in expected)


@pytest.mark.slow
@pytest.mark.parametrize("layout", sorted(set(NETWORKS) - {"plain-convolutions"}))
def test_every_layout(layout: str) -> None:
    net = stirred(network(layout))
    net.model.eval()
    assert_as_whole_passes(net, lesions(net))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18", "efficientnet_b0", "mobilevit_xxs", "alternet_mini", "preresnet_mini", "vit_mini"],
)
def test_families(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES).eval()
    net = stirred(Subject(model, name=name, input_size=None if name.endswith("mini") else (3, 32, 32)))
    assert_as_whole_passes(net, lesions(net)[::4])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_any_number_of_images(n: int) -> None:
    net = subject(Tokens(residual(mlp()), residual(mlp()), first=False))
    assert_as_whole_passes(net, lesions(net), n=n)


class Counting(nn.Module):
    """A branch that counts how often it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.runs = conv(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.conv(x)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("nested", [False, True])
def test_l_lesions_cost_half_of_l_passes(nested: bool, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    units = [residual(Counting()) for _ in range(8)]
    body = nn.Sequential(nn.Sequential(*units[:4]), nn.Sequential(*units[4:])) if nested else nn.Sequential(*units)
    net = subject(Net(body))
    edits, counters = lesions(net)[:8], [module for module in body.modules() if isinstance(module, Counting)]
    batch = images(net, 2 * parts)
    monkeypatch.setattr(memory, "PIXELS", 2 * batch[0, 0].numel())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with Probe(net) as probe:
        list(probe.variants(batch, edits))  # surveys the network once
        for counter in counters:
            counter.runs = 0
        list(probe.variants(batch, edits))
    first_pass_and_those_behind = [parts * (1 + behind) for behind in range(8)]
    assert [counter.runs for counter in counters] == first_pass_and_those_behind


def in_place(self: Function, x: Tensor) -> Tensor:
    """An activation in place on the branch's output, then the skip added into it."""
    return self.act(self.branch(x)).add_(x)


def into_the_input(self: Function, x: Tensor) -> Tensor:
    x += self.branch(x)
    return x.relu_()


def of_a_view(self: Function, x: Tensor) -> Tensor:
    """What the branch gives is written into through a view of it, after it was handed out."""
    y = self.branch(x)
    y.view(-1)[::2].mul_(0.5)
    return x + y


def after_identity(self: Function, x: Tensor) -> Tensor:
    """The dropout hands on its input, which is then written into."""
    y = self.drop(x)
    y.mul_(0.5)
    return x + self.branch(y)


def twice(self: Function, x: Tensor) -> Tensor:
    """Shared weights: one branch and one addition, each called two times."""
    for _ in range(2):
        x = self.join(x, self.branch(x))
    return x


def by_its_forward(self: Function, x: Tensor) -> Tensor:
    return x + self.branch.forward(x)


def unseen(self: Function, x: Tensor) -> Tensor:
    """Work outside of any module."""
    return x + nn.functional.conv2d(x, self.weight, padding=1)


def listed(self: Function, x: Tensor) -> Tensor:
    """A list that goes through modules and grows."""
    features = [x]
    self.grow(features)
    return features[0] + self.branch(features[-1])


class Join(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Grow(nn.Module):
    def forward(self, features: list[Tensor]) -> None:
        features.append(features[-1] * 2)


Pair = namedtuple("Pair", "first second")


def outputs(kind: Callable[[Tensor, Tensor], object]) -> Function:
    """A module with several outputs, which share memory, and a model that writes into one of them."""

    def forward(self: Function, x: Tensor) -> Tensor:
        a, b = self.both(x)
        a.mul_(0.5)
        return x + a + b if self.flat else x + self.branch(a + b)

    both = Function(lambda self, x: kind(*self.inner(x).chunk(2, 1)), inner=conv(channels=2 * CHANNELS))
    function = Function(forward, both=both, branch=conv())
    function.flat = False
    return function


ODD = {
    "in place": lambda: Function(in_place, branch=conv(), act=nn.ReLU(inplace=True)),
    "into the input": lambda: Function(into_the_input, branch=conv()),
    "a branch that activates its input": lambda: residual(nn.Sequential(nn.ReLU(inplace=True), conv())),
    "through a view": lambda: Function(of_a_view, branch=conv()),
    "identity, then in place": lambda: Function(after_identity, branch=conv(), drop=nn.Dropout()),
    "shared weights": lambda: Function(twice, branch=conv(), join=Join()),
    "forward called directly": lambda: Function(by_its_forward, branch=conv()),
    "outside of modules": lambda: _with_weight(Function(unseen)),
    "a list that grows": lambda: Function(listed, grow=Grow(), branch=conv()),
    "a tuple": lambda: outputs(lambda a, b: (a, b)),
    "a named tuple": lambda: outputs(Pair),
    "a list": lambda: outputs(lambda a, b: [a, b]),
    "a generator": lambda: outputs(lambda a, b: (t for t in (a, b))),
}


def _with_weight(function: Function) -> Function:
    function.weight = nn.Parameter(torch.randn(CHANNELS, CHANNELS, 3, 3) / 9)
    return function


def calls_known(net: Subject, edits: list[Edits]) -> int:
    """How many calls of modules memory can answer."""
    with Probe(net) as probe:
        list(probe.variants(images(net), edits))
        (timeline,) = probe._timelines.values()
    return sum(call.closed for call in timeline.calls)


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_networks_that_could_be_replayed_wrongly(odd: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = subject(Net(nn.Sequential(residual(conv()), odd(), residual(conv()), odd())))
    edits = lesions(net)
    assert len(edits) >= 4
    assert_as_whole_passes(net, edits)
    assert_as_whole_passes(net, edits[::-1])
    assert calls_known(net, edits) >= 5  # the stem, two residual blocks, their branches


@pytest.mark.parametrize("strict", [False, True])
def test_a_network_that_remembers_within_a_pass_is_run_whole(strict: bool) -> None:
    """What a module writes elsewhere is lost if it is not called: the trial notices and memory stays out of it."""

    def starts(self: Function, x: Tensor) -> Tensor:
        self.store.clear()
        return x * 1

    def adds(self: Function, x: Tensor) -> Tensor:
        self.store.append(x.mean())
        return self.inner(x)

    def recalls(self: Function, x: Tensor) -> Tensor:
        return x + self.branch(x) * (self.store[1] if strict else sum(self.store))

    store: list[Tensor] = []
    parts = [
        Function(starts),
        residual(Function(adds, inner=conv())),
        residual(Function(adds, inner=conv())),
        Function(recalls, branch=conv()),
    ]
    for function in (parts[0], parts[1].branch, parts[2].branch, parts[3]):
        function.store = store
    net = subject(Net(nn.Sequential(*parts)))
    assert_as_whole_passes(net, lesions(net))
    assert calls_known(net, lesions(net)) == 0


def test_a_path_that_depends_on_the_images_is_run_whole() -> None:
    def maybe(self: Function, x: Tensor) -> Tensor:
        return x + self.branch(self.extra(x) if x.shape[0] > 2 else x)

    net = subject(Net(nn.Sequential(residual(conv()), Function(maybe, branch=conv(), extra=conv()), residual(conv()))))
    edits = [silenced(tap) for tap in net.taps if tap.silenceable]
    assert_as_whole_passes(net, edits)
    with Probe(net) as probe:
        probe_found = list(probe.variants(images(net), edits))
    assert len(probe_found) == 3


def test_hooks_of_the_models_owner_act_once_a_pass() -> None:
    net = subject(Net(nn.Sequential(residual(conv()), residual(conv()))))
    edits = lesions(net)
    net.model.body[0].branch.register_forward_hook(lambda module, args, output: output * 2)
    net.model.body[0].register_forward_pre_hook(lambda module, args: (args[0] * 3,))
    assert_as_whole_passes(net, edits)


def test_changes_that_are_on_already_stay_on() -> None:
    net = subject(Net(nn.Sequential(*(residual(conv()) for _ in range(4)))))
    batch, names = images(net), [tap.name for tap in net.taps if tap.silenceable]
    edits = [silenced(tap) for tap in net.taps if tap.silenceable]
    with Probe(net) as probe, probe.silence(names[1]):
        found = list(probe.variants(batch, [{}, *edits]))
        assert torch.equal(found[0], probe.observe(batch, ignore))
        assert torch.equal(found[2], found[0])
        for name, logits in zip(names, found[1:], strict=True):
            with probe.silence(name):
                assert torch.equal(probe.observe(batch, ignore), logits)


def test_any_change_and_several_edits_at_once() -> None:
    net = subject(Net(nn.Sequential(*(residual(conv()) for _ in range(4)))))
    taps = [tap for tap in net.taps if tap.silenceable]
    halved = changed(taps[2], lambda branch: branch / 2)
    assert_as_whole_passes(net, [halved, {**silenced(taps[0]), **halved}, {**halved, **bypassed(taps[3])}])


def test_images_of_another_size_and_no_images_that_are_written_into() -> None:
    net = subject(Net(residual(conv()), stem=nn.Sequential(nn.ReLU(inplace=True), conv_of_images())))
    edits = lesions(net)
    for size in ((6, 10), (8, 12)):
        batch = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))
        before = batch.clone()
        with Probe(net) as probe:
            found = list(probe.variants(batch, [{}, *edits]))
        assert torch.equal(batch, before)
        with Probe(net) as probe, probe.edit(edits[0]):
            assert torch.equal(probe.observe(batch, ignore), found[1])


def conv_of_images() -> nn.Conv2d:
    return nn.Conv2d(3, CHANNELS, 3, padding=1)


def state(model: nn.Module) -> list[tuple]:
    return [
        (sorted(vars(module)), module.forward, len(module._forward_hooks), len(module._forward_pre_hooks))
        for module in model.modules()
    ]


def test_nothing_stays_behind_in_between_nor_after_an_error() -> None:
    net = subject(Net(nn.Sequential(residual(conv()), residual(conv()))))
    own = net.model.body[0].branch
    own.forward = own.forward  # as wrappers of models leave it
    edits, before = lesions(net), state(net.model)

    def fail(branch: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with Probe(net) as probe:
        variants = probe.variants(images(net), [*edits[:2], changed(net.taps[1], fail)])
        assert next(variants).shape == (3, CLASSES)
        assert state(net.model) == before
        next(variants)
        with pytest.raises(KeyboardInterrupt):
            next(variants)
        assert state(net.model) == before
    assert torch.is_grad_enabled()


def test_a_call_that_is_not_reached_is_named() -> None:
    net = subject(Net(residual(conv())))
    nowhere = {Address(module="body", function="add", ordinal=7): lambda func, args, kwargs: func(*args, **kwargs)}
    with Probe(net) as probe, pytest.raises(ValueError, match="'net' did not reach body in this pass"):
        next(probe.variants(images(net), [nowhere]))
    with Probe(net) as probe, probe.edit(nowhere), pytest.raises(ValueError, match="'net' did not reach body"):
        probe.observe(images(net), ignore)


def test_modes_of_the_caller_do_not_matter() -> None:
    net = subject(Net(nn.Sequential(residual(conv()), residual(conv()))))
    with Probe(net) as probe:
        expected = list(probe.variants(images(net), lesions(net)))
    with torch.inference_mode(), Probe(net) as probe:
        inside = list(probe.variants(images(net), lesions(net)))
    assert all(torch.equal(a, b) for a, b in zip(expected, inside, strict=True))


def test_the_model_itself_can_be_copied_in_the_middle() -> None:
    net = subject(Net(nn.Sequential(residual(conv()), residual(conv()))))
    with Probe(net) as probe:
        variants = probe.variants(images(net), lesions(net))
        next(variants)
        assert "forward" not in vars(copy.deepcopy(net.model).body[0])
