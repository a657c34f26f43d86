"""Which parameters learn, and each how fast: frozen parts, decay layer by layer, and the optimiser of the rest."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import chain

from timm.models import model_parameters
from timm.optim import (
    create_optimizer_v2,  # pyright: ignore[reportPrivateImportUsage] - public by its documentation
    param_groups_layer_decay,  # pyright: ignore[reportPrivateImportUsage]
)
from timm.utils.clip_grad import dispatch_clip_grad
from torch import nn
from torch.optim import Optimizer

from alternet.errors import unknown
from alternet.subject.declared import head_of
from alternet.training.recipe import Recipe

ALL_BUT_HEAD = "all-but-head"
"""In `freeze`: everything but the layers that make the class scores."""


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Let what the patterns name learn nothing.

    Args:
        model: The network; its parameters are told in place.
        patterns: As `Recipe.freeze` has them.

    Returns:
        The norms whose statistics are frozen: keep them in evaluation mode.

    Raises:
        ValueError: A pattern names nothing, or nothing is left that learns.

    Examples:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        >>> freeze(net, ["0", "1"])[0] is net[1]
        True
        >>> [name for name, parameter in net.named_parameters() if parameter.requires_grad]
        ['2.weight', '2.bias']
    """
    frozen: set[str] = set()
    for pattern in sorted(patterns, key=lambda pattern: pattern.startswith("!")):  # what learns all the same comes last
        named = _named(model, pattern.removeprefix("!"))
        frozen = frozen - named if pattern.startswith("!") else frozen | named
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in frozen)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"freeze={list(patterns)} leaves nothing to train. Name less, or keep a part with '!PATH'.")
    return [module for path, module in model.named_modules() if frozen and _rests(path, module, frozen)]


def _named(model: nn.Module, pattern: str) -> set[str]:
    """Names of the parameters and buffers that a pattern means."""
    names = [name for name, _ in chain(model.named_parameters(), model.named_buffers())]
    if pattern == ALL_BUT_HEAD:
        heads = head_of(model)
        if not heads:
            raise ValueError(
                f"freeze: {type(model).__name__} does not say which layer is its head. Name what to freeze."
            )
        return {name for name in names if not _within(name, heads)}
    found = {name for name in names if _within(name, (pattern,)) or fnmatchcase(name, pattern)}
    if not found:
        paths = [path for path, _ in model.named_modules() if path]
        raise unknown("freeze: the network has no module or parameter", pattern, [*paths, *names, ALL_BUT_HEAD])
    return found


def _within(name: str, paths: Iterable[str]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def _rests(path: str, module: nn.Module, frozen: set[str]) -> bool:
    """Whether a module keeps running statistics that are frozen: with its parameters, or by name where it has none."""
    prefix = f"{path}." if path else ""
    statistics = [f"{prefix}{key}" for key, _ in module.named_buffers(recurse=False) if key.startswith("running_")]
    own = [f"{prefix}{key}" for key, _ in module.named_parameters(recurse=False)] or statistics
    return bool(statistics) and all(name in frozen for name in own)


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser of all parameters that learn, by timm; it clips their gradients ahead of each step.

    Raises:
        ValueError: `layer_decay` is set, and timm sees one layer only.
    """
    if recipe.layer_decay is not None:
        # any factor tells the layers apart
        scales = {group["lr_scale"] for group in param_groups_layer_decay(model, layer_decay=0.5)}
        frozen = not all(parameter.requires_grad for parameter in model.parameters())
        if len(scales) == 1 and not frozen:
            raise ValueError(
                f"layer_decay has no effect: timm sees no layers in {type(model).__name__}, without a group_matcher. "
                "Leave it out, or train parts of it with freeze."
            )
    optimizer = create_optimizer_v2(
        model,
        opt=recipe.opt,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
        filter_bias_and_bn=recipe.filter_bias_and_bn,
        layer_decay=recipe.layer_decay,
    )
    if (bound := recipe.clip_grad) is not None:
        # adaptive clipping spares the classifier, as in timm's training script
        clipped = list(model_parameters(model, exclude_head=recipe.clip_mode == "agc"))
        optimizer.register_step_pre_hook(lambda *_: dispatch_clip_grad(clipped, bound, mode=recipe.clip_mode))
    return optimizer
