"""Batch statistics estimated again, behind layers that were replaced."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from alternet.models.attention import StaticWindowAttention, WindowAttention
from alternet.subject.subject import Subject

ATTENTION = (WindowAttention, StaticWindowAttention)


def recalibrate(subject: Subject, batches: Iterable[tuple[Tensor, Tensor]]) -> int:
    """Estimate the running statistics of batch normalisation again, in place, behind the first attention.

    A transplanted network keeps the statistics of the network that it came from, which are those of other maps. Mean
    and variance become averages over the batches, each batch with the same weight, as `torch.optim.swa_utils.update_bn`
    has it; layers ahead of all attention, dropout and the weights stay as they are. A network without attention of
    ours gets all its statistics anew.

    Args:
        subject: The network.
        batches: Images in [0, 1] of the data that it was or will be trained on, with targets, which are not looked at.

    Returns:
        How many layers of normalisation were estimated again.

    Raises:
        ValueError: There is no batch.

    Examples:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).eval()
        >>> recalibrate(Subject(net, name="net"), [(torch.rand(8, 3, 2, 2), torch.zeros(8))])
        1
    """
    model, seen = subject.model, []
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    hooks = [m.register_forward_pre_hook(lambda m, _: seen.append(m)) for m in model.modules()]
    try:
        model.eval()
        batches = iter(batches)
        first = next(batches, None)
        if first is None:
            raise ValueError("recalibrate got no batch, expected at least one. Give it training images.")
        with torch.no_grad():
            subject.logits(first[0][:1])
            for hook in hooks:
                hook.remove()
            start = next((place for place, module in enumerate(seen) if isinstance(module, ATTENTION)), 0)
            later = set(seen[start:])
            behind = [norm for norm in norms if norm in later]
            for norm in behind:
                norm.reset_running_stats()
                norm.momentum = None  # the mean of all batches, not a moving one
                norm.train()
            subject.logits(first[0])
            for images, _ in batches:
                subject.logits(images)
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in momenta.items():
            norm.momentum = momentum  # pyright: ignore[reportAttributeAccessIssue] - None is a momentum
        for module, training in modes.items():
            module.training = training
    return len(behind)
