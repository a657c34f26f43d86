"""Edits: what stands in for one call of a pass, so that a branch is changed or a convolution hands on its input."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from alternet.taps.find import Address, Tap
from alternet.taps.trace import map_tensors

Edit = Callable[[Callable, tuple, dict], Any]
"""Takes the function of a call with its arguments and keywords, and gives what the model goes on with."""

Edits = Mapping[Address, Edit]
"""Edits by the calls that they stand in for."""

Change = Callable[[Tensor], Tensor]
"""Takes a branch as the model lays it out and returns what is added instead, of the same shape."""


def changed(tap: Tap, change: Change) -> Edits:
    """Let the branch of a unit go through `change` before it is added to the skip.

    Raises:
        ValueError: The unit is no "skip + branch".
    """
    if not tap.silenceable or tap.sum is None:
        raise ValueError(
            f"Unit {tap.name!r} cannot be changed or silenced: it is no sum of a skip and a branch, so nothing would "
            "be left of it. Choose taps with `tap.silenceable`."
        )

    function, place = tap.sum.function, 0 if tap.skip_last else 1

    def edit(func: Callable, args: tuple, kwargs: dict) -> Any:
        if function.startswith("addcmul"):  # the branch is the product that it adds
            kwargs = dict(kwargs)
            factors = [kwargs.pop(name) for name in ("tensor1", "tensor2") if name in kwargs]
            first, second = (*args[1:], *factors)[-2:]
            branch = change(first * second * kwargs.pop("value", 1))
            return func(args[0], branch, torch.ones_like(branch), **kwargs)
        if place == 1 and "other" in kwargs:
            return func(*args, **{**kwargs, "other": change(kwargs["other"])})
        branch = change(args[place])
        if place == 0 and function.endswith("_"):  # `branch.add_(skip)`: the model goes on with the branch's memory
            branch = args[0].copy_(branch)
        return func(*args[:place], branch, *args[place + 1 :], **kwargs)

    return {tap.sum: edit}


def silenced(tap: Tap) -> Edits:
    """Leave the branch of a unit out: the result of its addition is the skip alone.

    Raises:
        ValueError: The unit is no "skip + branch".
    """
    return changed(tap, torch.zeros_like)


def bypassed(tap: Tap) -> Edits:
    """Put the identity in the place of every spatial convolution in the branch of a unit, and keep what is around.

    Raises:
        ValueError: The unit has no such convolution, or one that changes channels or resolution.
    """
    if not tap.convolutions:
        raise ValueError(
            f"Unit {tap.name!r} has no convolution that its input could stand in for: either none mixes positions, or "
            "one of them changes channels or resolution. Choose taps with `tap.convolutions`."
        )
    return dict.fromkeys(tap.convolutions, input_kept)


def input_kept(func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """A copy of the input, since the model may write into it, without the margin that a padding outside has added."""
    given = args[0] if args else kwargs["input"]
    args, kwargs = map_tensors((args, kwargs), lambda tensor: tensor.to("meta"))
    like = func(*args, **kwargs)  # the shape that the convolution would give, without computing it
    for axis in range(2, given.ndim):
        given = given.narrow(axis, (given.shape[axis] - like.shape[axis]) // 2, like.shape[axis])
    return given.clone(memory_format=torch.preserve_format)
