"""The architecture of a network as a checksum: what it computes, apart from the values of its weights."""

import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import chain
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from alternet.taps.trace import Onlooker, name_of, nothing_hidden, tensors_in
from alternet.untouched import no_inference, untouched

Architecture = dict[str, str]
"""`sha256`, and what it is `of`: the `graph` of a pass, or the `modules` alone where none could be made."""

_PLACE = re.compile(r"(cpu|cuda|mps|xpu|hpu|meta)(:\d+)?")


def architecture_of(model: nn.Module, forward: Callable[[], Any]) -> Architecture:
    """The checksum of a network's architecture: its calls in order with their constants, and its modules' settings.

    It is the same in every process, on every device, for any batch, and whatever the weights are; settings that act in
    training alone, as those of dropout, belong to it. Under other versions of torch or timm it may be another one.

    Args:
        model: The network; it is left as it was.
        forward: Makes a pass, with as many images every time.

    Examples:
        >>> def of(*layers):
        ...     net = nn.Sequential(*layers)
        ...     return architecture_of(net, lambda: net(torch.zeros(2, 3)))["sha256"]
        >>> of(nn.Linear(3, 2), nn.ReLU()) == of(nn.Linear(3, 2), nn.ReLU())
        True
        >>> of(nn.Linear(3, 2), nn.ReLU()) == of(nn.Linear(3, 2), nn.GELU())
        False
    """
    modules = [f"{path} {type(m).__name__}({_plain(m.extra_repr())})" for path, m in model.named_modules()]
    try:
        of, rest = "graph", _calls(model, forward)
    except Exception:  # whatever keeps it from a pass is told by whoever measures it
        of = "modules"
        rest = [f"{path}.{name}={_plain(value)}" for path, m in model.named_modules() for name, value in settings_of(m)]
    return {"sha256": hashlib.sha256("\n".join([*modules, *rest]).encode("utf-8", "replace")).hexdigest(), "of": of}


def settings_of(module: nn.Module) -> Iterator[tuple[str, object]]:
    """The attributes of a module that are numbers or text, or tuples of such."""
    for name, value in sorted(vars(module).items()):
        if name != "training" and (_scalar(value) or (isinstance(value, tuple) and all(map(_scalar, value)))):
            yield name, value


def device_caches(model: nn.Module) -> list[dict[str, Tensor]]:
    """Dictionaries in which modules keep tensors by device, made of the weights in a former pass."""
    held = [value for module in model.modules() for value in vars(module).values() if isinstance(value, dict) and value]
    return [d for d in held if all(isinstance(k, str) and _PLACE.fullmatch(k) and isinstance(d[k], Tensor) for k in d)]


def _scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _plain(text: object) -> str:
    """Text without the addresses that Python writes into it."""
    return re.sub(r"0x[0-9a-fA-F]+", "", str(text))


def _calls(model: nn.Module, forward: Callable[[], Any]) -> list[str]:
    own = [(vars(module), dict(settings_of(module))) for module in model.modules()]
    try:
        with untouched(model), no_inference(), nothing_hidden(), _Signature(model) as signature:
            for cache in device_caches(model):
                cache.clear()
            output = forward()
    finally:
        for attributes, settings in own:  # a network may count its passes, and this one is none of a measurement
            attributes.update(settings)
    return [*signature.lines, f"gives {signature.told(list(tensors_in(output)))}"]


class _Signature(Onlooker):
    """Writes down every call that gives or changes a tensor, in words that are the same in every process."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.lines: list[str] = []
        # by the tensors that are alive: an address is used again
        self.names, self.constants = WeakIdKeyDictionary(), WeakIdKeyDictionary()
        for module in model.modules():
            for name, value in vars(module).items():
                for tensor in tensors_in(value):
                    self.constants[tensor] = name
        for name, tensor in chain(model.named_parameters(), _persistent(model)):
            self.names[tensor] = name
        self.unnamed = 0

    def seen(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        given = [tensor for tensor in tensors_in((args, kwargs)) if not tensor.is_inference()]
        versions = [tensor._version for tensor in given]
        line = f"{name_of(func)} {self.told(args)} {self.told(kwargs)}"
        result = func(*args, **kwargs)
        out = list(tensors_in(result))
        written = [t for t, version in zip(given, versions, strict=True) if t._version != version]
        if out or written:
            self.lines.append(f"{line} {self.told(out)}")
        return result

    def told(self, thing: Any) -> str:
        """A nest of arguments in words."""
        if isinstance(thing, Tensor):
            if thing not in self.names:
                self.names[thing] = self._named(thing)
            return self.names[thing]
        if isinstance(thing, dict):
            return f"{{{', '.join(f'{key}={self.told(part)}' for key, part in thing.items())}}}"
        if isinstance(thing, list | tuple):
            return f"[{', '.join(map(self.told, thing))}]"
        if isinstance(thing, slice):
            return self.told([thing.start, thing.stop, thing.step])
        return _constant(thing)

    def _named(self, tensor: Tensor) -> str:
        if tensor in self.constants:
            return f"{self.constants[tensor]} {_checksum(tensor)}"
        self.unnamed += 1
        return f"#{self.unnamed} {list(tensor.shape)}"


def _constant(thing: object) -> str:
    if isinstance(thing, torch.device) or (isinstance(thing, str) and _PLACE.fullmatch(thing)):
        return "device"
    if isinstance(thing, np.ndarray | np.generic):
        return f"{thing.dtype} {hashlib.sha256(np.ascontiguousarray(thing).data).hexdigest()}"
    if isinstance(thing, float):
        return f"{thing:.9g}"
    if _scalar(thing) or isinstance(thing, torch.dtype | torch.layout | torch.memory_format | EllipsisType):
        return repr(thing)
    return getattr(thing, "__qualname__", type(thing).__qualname__)


def _persistent(model: nn.Module) -> list[tuple[str, Tensor]]:
    """The buffers whose values stand in the checksum of the weights."""
    kept = model.state_dict(keep_vars=True).keys()
    return [(name, buffer) for name, buffer in model.named_buffers() if name in kept]


def _checksum(tensor: Tensor) -> str:
    """Of the values of a tensor that is no weight."""
    if tensor.is_sparse or tensor.is_quantized or tensor.is_meta:
        return f"{tensor.dtype} {list(tensor.shape)}"
    values = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return f"{tensor.dtype} {list(tensor.shape)} {hashlib.sha256(values.numpy().data).hexdigest()}"
