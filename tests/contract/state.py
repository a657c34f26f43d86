"""Everything that a measurement must leave as it was."""

import random
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as global_hooks

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
GLOBAL = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


def lived_in(model: nn.Module) -> nn.Module:
    """A model in the middle of its life: mixed modes, frozen parts, gradients, a hook of its own."""
    model.train()
    modules = list(model.modules())
    modules[len(modules) // 2].eval()
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 3 != 0)
        if number % 2:
            parameter.grad = torch.full_like(parameter, 0.25)
    modules[1].register_forward_hook(lambda *_: None)
    return model


def of(model: nn.Module) -> dict[str, Any]:
    """All of it, as values that can be compared."""
    return {
        "modes": [module.training for module in model.modules()],
        "parameters": {name: (id(p), p.detach().clone()) for name, p in model.named_parameters()},
        "buffers": {name: (id(b), b.clone()) for name, b in model.named_buffers()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "hooks": [(kind, list(getattr(module, kind))) for module in model.modules() for kind in HOOKS],
        "global hooks": [list(getattr(global_hooks, kind)) for kind in GLOBAL],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "forwards": [module.forward for module in model.modules()],
        "random": (random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()),
        "modes of torch": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            torch.is_autocast_enabled("cpu"),
        ),
    }


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """The places in which two states differ."""
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        alike = before.shape == after.shape and ((before == after) | (before.isnan() & after.isnan())).all()
        return [] if alike else [where]
    if isinstance(before, np.ndarray):
        return [] if np.array_equal(np.asarray(before), np.asarray(after), equal_nan=True) else [where]
    if isinstance(before, dict):
        if before.keys() != after.keys():
            return [where]
        return [line for key in before for line in differences(before[key], after[key], f"{where}/{key}")]
    if isinstance(before, list | tuple):
        if len(before) != len(after):
            return [where]
        pairs = enumerate(zip(before, after, strict=True))
        return [line for number, (b, a) in pairs for line in differences(b, a, f"{where}/{number}")]
    return [] if before == after else [where]
