"""Hand a model back exactly as it was: the one place that saves and restores a model's state."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from alternet.seeding import random_state_kept

_COPIES: dict[int, Tensor] = {}
"""A copy of each buffer that is inside of `untouched`, by its identity: one for all blocks within one another."""


@contextmanager
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode without gradients inside; everything as before outside, also after an error.

    Restores each module's own training flag and hooks, `requires_grad` and `.grad` of the parameters, the values of
    the buffers, and the random state of Python, NumPy and torch. Parameter values are the business of views that
    change them. What is compiled runs uncompiled inside. Such blocks may stand within one another.

    Examples:
        >>> net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
        >>> with untouched(net):
        ...     net.training
        False
        >>> net.training
        True
    """
    with ExitStack() as undo:
        undo.enter_context(random_state_kept())
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and to import it takes seconds
            # A compiled part would be compiled anew for every view of it, and hides its layers from a trace.
            undo.enter_context(torch.compiler.set_stance("force_eager"))
        for module in model.modules():
            undo.callback(setattr, module, "training", module.training)
            for hooks in (module._forward_hooks, module._forward_pre_hooks):
                undo.callback(hooks.update, dict(hooks))  # into the same dictionary, which handles of hooks refer to
                undo.callback(hooks.clear)
            for name, buffer in module._buffers.items():
                value = None if buffer is None else _copy_of(buffer, undo)
                undo.callback(_put_buffer_back, module, name, buffer, value)
        for parameter in model.parameters():
            undo.callback(setattr, parameter, "grad", parameter.grad)
            undo.callback(parameter.requires_grad_, parameter.requires_grad)
        model.eval()
        with torch.no_grad():
            yield model


def _copy_of(buffer: Tensor, undo: ExitStack) -> Tensor:
    """A copy of a buffer; that of an outer block serves as long as it is one.

    A runner, a probe and a trace each keep the model as it was, one within the other, and masks can be large. Versions
    of tensors would be cheaper to compare, but batch normalisation writes into its statistics without a new one.
    """
    outer = _COPIES.get(id(buffer))
    if outer is not None and torch.equal(buffer, outer):
        return outer
    copy = buffer.clone()
    if outer is None:
        _COPIES[id(buffer)] = copy
        undo.callback(_COPIES.pop, id(buffer))
    return copy


def _put_buffer_back(module: nn.Module, name: str, buffer: Tensor | None, value: Tensor | None) -> None:
    if buffer is not None and value is not None and not torch.equal(buffer, value):
        with torch.no_grad():
            buffer.copy_(value)
    module._buffers[name] = buffer
