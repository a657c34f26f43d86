"""Stamps: a sign of tensors that costs one read of their memory and tells whether they have changed since."""

from collections.abc import Iterable

import torch
from torch import Tensor

_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers by their size in bytes, as which values of that size are added up."""

Stamp = tuple[tuple[object, ...], ...]


def versions_of(tensors: Iterable[Tensor]) -> Stamp:
    """Where each tensor lies, and how often it was written to; what is written through `.data` is not counted.

    Examples:
        >>> tensor = torch.zeros(3)
        >>> before = versions_of([tensor])
        >>> versions_of([tensor.add_(1)]) == before
        False
    """
    return tuple((t.data_ptr(), t.shape, t.dtype, 0 if t.is_inference() else t._version) for t in tensors)


def stamp_of(tensors: Iterable[Tensor]) -> Stamp:
    """The same with the sum of each tensor's bits, so that a write which nobody counts is noticed as well.

    Examples:
        >>> tensor = torch.zeros(3)
        >>> before = stamp_of([tensor])
        >>> tensor.data[1] = 5
        >>> stamp_of([tensor]) == before, versions_of([tensor]) == versions_of([tensor])
        (False, True)
    """
    tensors = list(tensors)
    sums: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        bits = tensor.detach().resolve_conj().resolve_neg()
        bits = bits.int_repr() if bits.is_quantized else bits
        bits = torch.view_as_real(bits) if bits.is_complex() else bits
        sums.setdefault(bits.device, []).append(bits.view(_WHOLE[bits.element_size()]).sum(dtype=torch.int64))
    totals = tuple(tuple(torch.stack(of_device).tolist()) for of_device in sums.values())  # one wait a device
    return (*versions_of(tensors), *totals)
