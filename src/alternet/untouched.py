"""Hand a model back exactly as it was: the one place that saves and restores a model's state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from alternet.seeding import random_state_kept


@contextmanager
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode without gradients inside; everything as before outside, also after an error.

    Restores each module's own training flag and hooks, `requires_grad` and `.grad` of the parameters, the values of
    the buffers, and the random state of Python, NumPy and torch. Parameter values are the business of views that
    change them.

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
        _keep_modules(model, undo)
        _keep_tensors(model, undo)
        model.eval()
        with torch.no_grad():
            yield model


def _keep_modules(model: nn.Module, undo: ExitStack) -> None:
    for module in model.modules():
        undo.callback(setattr, module, "training", module.training)
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            undo.callback(_refill, hooks, dict(hooks))


def _refill(hooks: dict, before: dict) -> None:
    for key in [key for key in hooks if key not in before]:
        del hooks[key]
    hooks.update(before)


def _keep_tensors(model: nn.Module, undo: ExitStack) -> None:
    for parameter in model.parameters():
        undo.callback(setattr, parameter, "grad", parameter.grad)
        undo.callback(parameter.requires_grad_, parameter.requires_grad)
    for module in model.modules():
        for name, buffer in module._buffers.items():
            undo.callback(_put_back, module, name, buffer, None if buffer is None else buffer.clone())


def _put_back(module: nn.Module, name: str, buffer: torch.Tensor | None, value: torch.Tensor | None) -> None:
    if buffer is not None and value is not None and not torch.equal(buffer, value):
        with torch.no_grad():
            buffer.copy_(value)
    module._buffers[name] = buffer
