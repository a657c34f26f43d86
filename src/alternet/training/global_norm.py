"""Batch normalisation over the images of all processes, where torch has none of its own: on anything but a GPU."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from alternet.distributed import world_size


class GlobalBatchNorm(TorchFunctionMode):
    """While it is entered, every `batch_norm` that trains takes the statistics of all processes' images together.

    Alone it changes nothing. All processes must call the same layers in the same order.

    Examples:
        >>> norm, images = nn.BatchNorm2d(3), torch.rand(2, 3, 4, 4)
        >>> with GlobalBatchNorm():
        ...     normalised = norm(images)
        >>> torch.allclose(normalised, nn.BatchNorm2d(3)(images), atol=1e-6)
        True
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call what is called, or batch normalisation of ours in its place."""
        if func is nn.functional.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(  # noqa: PLR0913, PLR0917 - the arguments of torch's own
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training or world_size() == 1:
        return nn.functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    axes, shape = [0, *range(2, input.ndim)], (1, -1, *[1] * (input.ndim - 2))
    x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    count = _summed(x.new_tensor(x.numel() // x.shape[1]))
    mean = _summed(x.sum(axes)) / count
    centred = x - mean.view(shape)
    var = _summed(centred.square().sum(axes)) / count
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
    normalised = centred * (var + eps).rsqrt().view(shape)
    if weight is not None:
        normalised = normalised * weight.view(shape)
    if bias is not None:
        normalised = normalised + bias.view(shape)
    return normalised.to(input.dtype)


class _Summed(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _summed(value: Tensor) -> Tensor:
    """The sum over all processes; so is its gradient, since every process's loss depends on it."""
    summed: Any = _Summed.apply(value)
    return summed
