"""Hand a model back exactly as it was: the one place that saves and restores a model's state."""

import sys
from collections.abc import Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode

from alternet.arithmetic import SWITCHES, Switch
from alternet.seeding import random_state, set_random_state

_SWITCHES: tuple[Switch, ...] = (
    *SWITCHES,
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    (torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
    (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
    (torch.backends.cuda.cudnn_sdp_enabled, torch.backends.cuda.enable_cudnn_sdp),
)
"""What is set for a whole process while a model is measured: how it is asked, and how it is set."""


def _dynamo() -> Any:
    """The part of torch that runs what is compiled; None where nothing is, since to import it takes seconds."""
    return sys.modules.get("torch._dynamo.eval_frame")


_COPIES: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
"""A copy of each buffer that is kept at the moment, by its identity: one for all blocks within one another."""


class untouched(AbstractContextManager):
    """Evaluation mode without gradients inside; everything as before outside, also after an error or an interrupt.

    Parameter values are the business of views that change them. What is compiled runs uncompiled inside. Such blocks
    may stand within one another.

    Examples:
        >>> net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
        >>> with untouched(net):
        ...     net.training
        False
        >>> net.training
        True
    """

    # no generator: one that an interrupt leaves open is closed when it is forgotten, after the blocks around it

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __enter__(self) -> nn.Module:
        self._found = AsFound(self.model)
        try:
            self.model.eval()
            torch.set_grad_enabled(False)
            if _dynamo() is not None:
                # A compiled part would be compiled anew for every view of it, and hides its layers from a trace.
                torch.compiler.set_stance("force_eager")
        except BaseException:
            self._found.put_back()
            raise
        return self.model

    def __exit__(self, *error: object) -> None:
        try:
            self._found.put_back()
        except BaseException:  # Ctrl-C may come at this moment as well
            self._found.put_back()
            raise


def no_inference() -> AbstractContextManager:
    """No trace inside of an inference mode that the caller's code runs in, nor of what leaving it late would set."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


class AsFound:
    """A model, and what is set for the whole process around it, as they were found.

    Kept are what the modules hold (training flags, parameters, buffers with their values, hooks, a `forward` of their
    own, other tensors, lists and dictionaries), `requires_grad` and `.grad` of the parameters, the random state of
    Python, NumPy and torch, and the modes of torch.

    An interrupt at the very moment at which a `with` block begins to close leaves it unclosed. So where a model must
    come back whatever happens, `put_back` follows in a `finally` around the block; calling it twice loses nothing.

    Examples:
        >>> net = nn.Linear(2, 1)
        >>> found, weight = AsFound(net), net.weight
        >>> net.weight = nn.Parameter(torch.zeros(1, 2))
        >>> found.put_back()
        >>> net.weight is weight
        True
    """

    def __init__(self, model: nn.Module) -> None:
        self._modes = _living_modes()
        self._switches = [get() for get, _ in _SWITCHES]
        self._stance = dynamo._stance if (dynamo := _dynamo()) else None
        self._random = random_state()
        self._held = [(vars(module), _held_by(module), set(vars(module))) for module in model.modules()]
        self._parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
        self._buffers = [(buffer, _copy_of(buffer)) for buffer in model.buffers()]

    def put_back(self) -> None:
        """Put back whatever is otherwise than it was; at no moment is anything worse than before."""
        self._put_modes_back()
        for attributes, held, names in self._held:
            _restore(attributes, held, names)
        for parameter, requires_grad, grad in self._parameters:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad
        for buffer, value in self._buffers:
            if not torch.equal(buffer, value):
                with torch.no_grad():
                    buffer.copy_(value)
        set_random_state(self._random)

    def _put_modes_back(self) -> None:
        if _get_current_function_mode_stack() != self._modes:
            while _get_current_function_mode_stack():
                _pop_mode()
            for mode in self._modes:
                _push_mode(mode)
        for (get, put), value in zip(_SWITCHES, self._switches, strict=True):
            if get() != value:
                put(value)
        if self._stance is not None and (dynamo := _dynamo())._stance != self._stance:
            dynamo._set_stance(self._stance)


def _living_modes() -> list[Any]:
    """The modes of torch that are entered.

    An interrupt inside a call of torch can leave torch's own block around it open until it is forgotten. Then a mode of
    ours comes back that was left already: it sees nothing any more, but costs every call and keeps what it saw.
    """
    return [mode for mode in _get_current_function_mode_stack() if getattr(mode, "entered", True)]


def _held_by(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """What a module holds that a pass can change, by name: the object, and of a list or dictionary what is in it."""
    kept = {name: value for name, value in vars(module).items() if _changes(name, value)}
    return {name: (value, _content(value)) for name, value in kept.items()}


def _content(value: object) -> Any:
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list) else None


def _changes(name: str, value: object) -> bool:
    return name in ("training", "forward") or isinstance(value, Tensor | dict | list)


def _restore(attributes: dict[str, Any], held: Mapping[str, tuple[Any, Any]], names: Set[str]) -> None:
    # What is new goes, whatever it is: transformers marks at the first pass that its hooks are there.
    new = [
        name for name, value in attributes.items() if name not in names or (name not in held and _changes(name, value))
    ]
    for name in new:
        del attributes[name]
    for name, (value, content) in held.items():
        if attributes.get(name) is not value:
            attributes[name] = value
        if isinstance(value, list) and not _same(value, content):
            value[:] = content
        elif isinstance(value, dict):
            _refill(value, content)


def _refill(found: dict[Any, Any], content: Mapping[Any, Any]) -> None:
    """Into the same dictionary, which handles of hooks refer to."""
    for key in [key for key in found if key not in content]:
        del found[key]
    for key, part in content.items():
        if found.get(key, found) is not part:
            found[key] = part
    if list(found) != list(content):
        for key in content:
            found[key] = found.pop(key)


def _same(now: Any, before: Any) -> bool:
    return len(now) == len(before) and all(one is other for one, other in zip(now, before, strict=True))


def _copy_of(buffer: Tensor) -> Tensor:
    """A copy of a buffer; that of an outer block serves as long as it is one.

    A runner, a probe and a trace each keep the model as it was, one within the other, and masks can be large. Versions
    of tensors would be cheaper to compare, but batch normalisation writes into its statistics without a new one.
    """
    copy = _COPIES.get(id(buffer))
    if copy is None or not torch.equal(buffer, copy):
        copy = _COPIES[id(buffer)] = buffer.clone()
    return copy
