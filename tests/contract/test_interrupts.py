"""Ctrl-C at any moment leaves the model as it was found, whatever the network and the instrument."""

import gc
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import _storage as jaxtyping_storage
from tests.contract.networks import CLASSES, data
from tests.contract.optional import cases
from tests.contract.runs import with_history
from tests.contract.state import differences, of
from tests.contract.test_instruments import KINDS, OF_A_RUN, SMALL, instrument
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode

from alternet.data.image_batches import Batches
from alternet.instruments.landscape import Landscape
from alternet.subject.subject import Subject
from alternet.taps.trace import Onlooker
from alternet.untouched import untouched


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """What interrupts leave in torch and in the checker of shapes, which users do not have, troubles no later test."""
    yield
    gc.collect()
    while _get_current_function_mode_stack():
        _pop_mode()
    vars(jaxtyping_storage._shape_storage).get("memo_stack", []).clear()


class Net(nn.Module):
    """Two residual branches around a normalisation, all that the networks below have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.branches = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)) for _ in "ab")
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x.mean((2, 3)))


def tied() -> Net:
    net: Any = Net()
    net.branches[1][1].weight = net.branches[0][1].weight
    return net


def shared() -> Net:
    net: Any = Net()
    net.branches[1] = net.branches[0]
    return net


def parametrised() -> Net:
    net: Any = Net()
    parametrizations.weight_norm(net.stem)
    parametrizations.orthogonal(net.branches[0][1])
    return net


def hooked() -> Net:
    net: Any = Net()
    with warnings.catch_warnings(action="ignore"):
        weight_norm(net.stem)
        weight_norm(net.head)
        spectral_norm(net.branches[0][1])
    net(torch.rand(2, 3, 16, 16))  # spectral norm has no weight before
    return net


def frozen() -> Net:
    net: Any = Net()
    net.stem.requires_grad_(False)
    net.branches[1][0].weight.requires_grad_(False)
    return net


NETWORKS = {
    "plain": Net,
    "tied": tied,
    "shared": shared,
    "parametrised": parametrised,
    "hooked": hooked,
    "half": lambda: Net().bfloat16(),
    "frozen": frozen,
}


def subject(network: str) -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = NETWORKS[network]()
    return Subject(model, name=network, input_size=(3, 16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3))


def weights(model: nn.Module) -> dict[str, tuple[int, Tensor]]:
    """Every tensor that a module holds, and whether it is still the same one."""
    return {
        f"{path}.{name}": (id(tensor), tensor.detach().clone())
        for path, module in model.named_modules()
        for held in (module._parameters, module._buffers, vars(module))
        for name, tensor in held.items()
        if isinstance(tensor, Tensor)
    }


def interrupted(work: Callable[[], object], after: float) -> bool:
    """Let work run until a KeyboardInterrupt so many seconds from now; tells whether it came."""

    came = []

    def interrupt(*_: object) -> None:
        came.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except (KeyboardInterrupt, Exception):  # what is written in C makes an error of its own of an interrupt
        if not came:
            raise
    finally:
        signal.signal(signal.SIGALRM, before)
    return bool(came)


def changes(
    name: str, network: str, moments: int, history: Path | None = None, **settings
) -> tuple[list[list[str]], int]:
    """What was otherwise than before after interrupts at so many random moments, and how many of them came."""
    net = subject(network)
    images: Batches = data(net)
    kind = instrument(name, **SMALL.get(name, {}) | settings)

    def measure() -> object:
        return kind.measure(net if history is None else replace(net, history=history), images)

    measure()
    begun = time.perf_counter()
    measure()
    seconds = time.perf_counter() - begun
    before, tensors, came, found = of(net.model), weights(net.model), 0, []
    generator = torch.Generator().manual_seed(0)
    for _ in range(moments):
        after = seconds * float(torch.rand((), generator=generator)) + 1e-6
        came += interrupted(measure, after)
        if now := differences(tensors, weights(net.model)) + differences(before, of(net.model)):
            found.append(now)
            net = subject(network)
            before, tensors = of(net.model), weights(net.model)
    return found, came


@pytest.mark.parametrize("network", NETWORKS)
def test_a_landscape_that_is_measured_leaves_the_very_tensors(network):
    net = subject(network)
    before = weights(net.model)
    Landscape(points=3, draws=3).measure(net, data(net))
    assert differences(before, weights(net.model)) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("network", ["plain", "hooked"])
def test_an_interrupt_at_any_moment_leaves_the_model_as_it_was(network):
    found, came = changes("landscape", network, 40)
    assert came > 10 and found == []


class Mode(Onlooker):
    """Counts the calls that it sees."""

    count = 0

    def seen(self, func, args, kwargs):
        self.count += 1
        return func(*args, **kwargs)


def come_back() -> Mode:
    with Mode() as mode:
        torch.zeros(1)
        _pop_mode()  # as torch does for the length of a call
    _push_mode(mode)
    return mode


def test_a_mode_that_comes_back_after_it_was_left_sees_nothing():
    mode = come_back()
    torch.zeros(1)
    assert mode.count == 1


def test_a_mode_that_comes_back_is_gone_with_the_next_measurement_and_those_of_the_caller_stay():
    with Mode() as own:
        come_back()
        with untouched(nn.Linear(1, 1)):
            pass
        assert _get_current_function_mode_stack() == [own]
    assert _get_current_function_mode_stack() == []


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", cases(KINDS))
def test_500_interrupts_leave_the_model_as_it_was(name, network, tmp_path):
    history = None
    if name in OF_A_RUN:
        if network in ("tied", "shared", "parametrised"):
            pytest.skip("its weights cannot be stored as those of a run are")
        history = with_history(subject(network), tmp_path / "run").history
    found, came = changes(name, network, 500, history)
    assert came and found == []
