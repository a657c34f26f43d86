"""Where in the image every element of a traced tensor lies, found by replaying the moves of the traced pass.

Each value of the trace gets an integer tensor of its shape: 0 where the element belongs to no position (class tokens,
padding, pooled vectors), else one plus the number of a pixel of the traced image batch. The image starts with its own
pixels; views, permutations, windows, rolls and concatenations are replayed on these numbers; a convolution or pool
keeps the pixel in the middle of what it strides over; a product keeps the positions of the operand whose channels it
contracts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alternet.taps.operations import CONVOLUTIONS, MOVES, POOLS, PRODUCTS, REDUCTIONS, SEQUENCES
from alternet.taps.trace import Call, Ref, Trace, Value, map_tensors, tensors_in

TOKENS, NCHW = 3, 4
"""Numbers of axes of a map made of tokens (samples, tokens, channels), and of one that is not."""


class Sites:
    """Positions of the values of one trace, computed when asked for and remembered."""

    def __init__(self, trace: Trace, *, prefix: int = 0, grid: tuple[int, int] | None = None) -> None:
        """Number the pixels of the traced images; `prefix` and `grid` help where the trace cannot tell."""
        self.trace, self.prefix, self.grid = trace, prefix, grid
        self.found: dict[int, Tensor | None] = {}
        self.layouts: dict[int, Any] = {}
        n, c, h, w = trace.values[trace.image].shape
        pixels = torch.arange(1, n * h * w + 1).view(n, 1, h, w)
        self.size = (n, h, w)
        self.found[trace.image] = pixels.expand(n, c, h, w)

    def of(self, index: int) -> Tensor | None:
        """Positions of a value, None where they cannot be followed."""
        waiting = [index]
        while waiting:
            value = self.trace.values[waiting[-1]]
            needed = [] if value.index in self.found else [i for i in self._needs(value) if i not in self.found]
            if needed:
                waiting += needed
            else:
                waiting.pop()
                if value.index not in self.found:
                    self.found[value.index] = self._locate(value)
        return self.found[index]

    def decode(self, sites: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sample, row and column of the pixels that positions name; -1 where there is none."""
        _, h, w = self.size
        pixel, none = sites - 1, sites == 0
        parts = (pixel // (h * w), pixel // w % h, pixel % w)
        return tuple(part.masked_fill(none, -1) for part in parts)  # type: ignore[return-value]

    def _needs(self, value: Value) -> list[int]:
        """What a rule looks at first; it asks for the rest itself, where that does not decide."""
        call = value.call
        if call is None or not value.from_images:
            return []
        given = [i for i in call.inputs if self.trace.values[i].from_images]
        if call.name in MOVES:
            return given
        alike = [i for i in given if self.trace.values[i].shape == value.shape]
        return given[:1] if call.name in RULES else sorted(alike or given)[:1]

    def _locate(self, value: Value) -> Tensor | None:
        if value.call is None or not value.from_images:
            return torch.zeros((), dtype=torch.long).expand(value.shape)
        try:
            sites = RULES.get(value.call.name, _pointwise)(self, value.call, value)
        except (RuntimeError, ValueError, IndexError, TypeError):
            return None
        return sites if sites is not None and sites.shape == value.shape else self._declared(value)

    def _declared(self, value: Value) -> Tensor | None:
        """Positions of tokens as the subject states them, where they cannot be followed."""
        n, height, width = self.size
        if self.grid is None or value.tensor.ndim != TOKENS or len(value.tensor) != n:
            return None
        (h, w), prefix = self.grid, self.prefix
        if value.shape[1] != prefix + h * w:
            return None
        rows, columns = torch.arange(h) * height // h, torch.arange(w) * width // w
        places = (rows[:, None] * width + columns).flatten() + torch.arange(n)[:, None] * height * width + 1
        return torch.nn.functional.pad(places, (prefix, 0))[..., None].expand(value.shape)


def _value(sites: Sites, argument: Any) -> Tensor | None:
    return sites.of(argument.value) if isinstance(argument, Ref) else None


def _argument(call: Call, position: int, name: str) -> Any:
    return call.args[position] if len(call.args) > position else call.kwargs.get(name)


def _pointwise(sites: Sites, call: Call, value: Value) -> Tensor | None:
    """Elementwise functions, normalisation, sums: the positions of the operands, where they have any."""
    given = sorted(i for i in call.inputs if sites.trace.values[i].from_images)
    alike = [i for i in given if sites.trace.values[i].shape == value.shape]
    first = None
    for index in alike or given:
        where = sites.of(index)
        if where is not None and _broadcasts(where, value.shape):
            if thin(where).any():
                return where.expand(value.shape)
            first = where.expand(value.shape) if first is None else first
    return first


def _broadcasts(sites: Tensor, shape: torch.Size) -> bool:
    if sites.ndim > len(shape):
        return False
    return all(a in (1, b) for a, b in zip(reversed(sites.shape), reversed(shape), strict=False))


def _move(sites: Sites, call: Call, value: Value) -> Tensor | None:
    """Replay the function on the positions instead of the values."""

    def position(ref: Ref) -> Tensor:
        given = sites.trace.values[ref.value]
        if not given.tensor.is_floating_point():
            return given.tensor.cpu()
        found = sites.of(ref.value)
        if found is None:
            raise ValueError("an operand lies nowhere known")
        return found

    args, kwargs = map_tensors((call.args, call.kwargs), position, Ref)
    if call.func is None:
        return None
    if call.name == "__setitem__":
        moved: Any = args[0].clone()
        moved[args[1]] = args[2]
    elif call.name == "copy_":
        moved = args[1].expand(value.shape)
    else:
        moved = _replayed(call.func, args, kwargs)
    return spread(list(tensors_in(moved))[value.place])


def spread(where: Tensor) -> Tensor:
    """The same positions, with every axis along which they do not change held once in memory."""
    for axis, size in enumerate(where.shape):
        if size > 1 and where.stride(axis) != 0 and not varies(where, axis):
            where = where.narrow(axis, 0, 1).expand(where.shape)
    return where


def thin(where: Tensor) -> Tensor:
    """The same positions with size 1 along every axis that is held once in memory."""
    for axis, step in enumerate(where.stride()):
        where = where.narrow(axis, 0, 1) if step == 0 and where.shape[axis] > 1 else where
    return where


def varies(where: Tensor, axis: int) -> bool:
    """Whether positions change along an axis."""
    if where.shape[axis] == 1 or where.stride(axis) == 0:
        return False
    where = thin(where)
    first = where.narrow(axis, 0, 1)
    return not torch.equal(first, where.narrow(axis, 1, 1)) or not torch.equal(first.expand_as(where), where)


def _replayed(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Some functions want floating-point numbers, which hold our integers exactly, or other strides."""
    try:
        return func(*args, **kwargs)
    except RuntimeError:
        moved = func(*map_tensors(args, lambda t: t.contiguous().double()), **kwargs)
        return map_tensors(moved, lambda t: t.long())


def _grid(sites: Sites, call: Call, value: Value) -> Tensor | None:
    """Convolutions, pools and resizing: the real rows and columns, evenly spread over those that come out."""
    source = sites.of(call.inputs[0])
    if source is None:
        return None
    axes, source = range(2, value.tensor.ndim), source.narrow(1, 0, 1)
    whole = 0 if call.name.startswith("adaptive") else 2
    if all(value.shape[a] == 1 for a in axes) and any(source.shape[a] > whole for a in axes):
        return torch.zeros(value.shape, dtype=torch.long)
    for axis in axes:
        real = (source > 0).any(dim=tuple(a for a in range(source.ndim) if a != axis)).nonzero().flatten()
        if len(real) < value.shape[axis]:
            return _finer(sites, source, value)
        steps = (torch.arange(value.shape[axis]) + 0.5) * len(real) / value.shape[axis]
        source = source.index_select(axis, real[steps.long()])
    return source.expand(value.shape)


def _finer(sites: Sites, source: Tensor, value: Value) -> Tensor | None:
    """Positions of a map with more rows or columns than what it was made from, of the same samples."""
    if value.tensor.ndim != NCHW or not thin(source).any():
        return torch.zeros(value.shape, dtype=torch.long)
    (_, height, width), (n, _, h, w) = sites.size, value.shape
    sample = sites.decode(source)[0].amax((1, 2, 3))
    rows, columns = ((torch.arange(k) + 0.5) * size / k for k, size in ((h, height), (w, width)))
    places = rows.long()[:, None] * width + columns.long()
    return (sample.view(n, 1, 1, 1) * height * width + places + 1).expand(value.shape)


def _contracted(operand: Tensor, axis: int) -> Tensor:
    """Positions after an axis is summed: gone where positions were summed up, kept where only channels were."""
    if not varies(operand, axis):
        return operand.narrow(axis, 0, 1)
    low = operand.amin(axis, keepdim=True)
    rows = [axis for axis in range(1, low.ndim) if low.shape[axis] > 1]
    mixed = bool(rows) and not any(varies(low, row) for row in rows)
    return torch.zeros_like(low) if mixed else low


def _reduced(sites: Sites, call: Call, value: Value) -> Tensor | None:
    source = sites.of(call.inputs[0])
    axes = _argument(call, 1, "dim")
    if source is None or isinstance(axes, Ref) or len(call.inputs) > 1:
        return _pointwise(sites, call, value)
    if axes is None:
        return torch.zeros(value.shape, dtype=torch.long)
    for axis in [axes] if isinstance(axes, int) else axes:
        source = _contracted(source, axis)
    return source.reshape(value.shape)


def _linear(sites: Sites, call: Call, value: Value) -> Tensor | None:
    source = sites.of(call.inputs[0])
    return None if source is None else _contracted(source, -1).expand(value.shape)


def _product(sites: Sites, call: Call, value: Value) -> Tensor | None:
    operands = call.args[1:3] if call.name in ("addmm", "baddbmm") else call.args[:2]
    return _rows_or_columns(sites, operands[0], operands[1], value.shape)


def _rows_or_columns(sites: Sites, left: Any, right: Any, shape: torch.Size) -> Tensor | None:
    """A product keeps the positions of the rows of its left operand, or else of the columns of the right one."""
    rows = _value(sites, left)
    rows = rows if rows is None else _contracted(rows, -1)
    if rows is None or thin(rows).any():
        return rows if rows is None else rows.expand(shape)
    columns = _value(sites, right)
    return columns if columns is None else _contracted(columns, -2).expand(shape)


def _einsum(sites: Sites, call: Call, value: Value) -> Tensor | None:
    equation = call.args[0].replace(" ", "")
    operands, out = equation.split("->")
    given = call.args[1] if isinstance(call.args[1], list | tuple) else call.args[1:]
    for letters, argument in zip(operands.split(","), given, strict=True):
        source = _value(sites, argument)
        if source is None:
            return None
        for letter in set(letters) - set(out):
            source = _contracted(source, letters.index(letter))
        kept = [letter for letter in out if letter in letters]
        order = [letters.index(k) for k in kept] + [letters.index(k) for k in letters if k not in kept]
        source = source.permute(order).flatten(len(kept) - 1) if len(order) > len(kept) else source.permute(order)
        sized = [source.shape[kept.index(k)] if k in kept else 1 for k in out]
        if thin(source).any():
            return source.reshape(sized).expand(value.shape)
    return torch.zeros(value.shape, dtype=torch.long)


def _attention(sites: Sites, call: Call, value: Value) -> Tensor | None:
    """Queries keep their positions; where channels attend to channels, the values keep theirs."""
    return _rows_or_columns(sites, _argument(call, 0, "query"), _argument(call, 2, "value"), value.shape)


def _sequence(sites: Sites, call: Call, value: Value) -> Tensor | None:
    source = sites.of(call.inputs[0])
    if source is None or value.shape[:2] != source.shape[:2]:
        return None
    return source[..., :1].expand(value.shape)


RULES: dict[str, Callable[[Sites, Call, Value], Tensor | None]] = {
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(CONVOLUTIONS | POOLS, _grid),
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys(PRODUCTS, _product),
    **dict.fromkeys(SEQUENCES, _sequence),
    "linear": _linear,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "unflatten": _move,
}
