"""Which pixel of the images every element of a traced tensor stands for, found by replaying the moves of the pass.

Each value of the trace gets an integer tensor of its shape: one plus the number of a pixel of the traced image batch;
0 where the element belongs to no position (class tokens, pooled vectors), and -1 where it is padding, which widens a
map and so must have gone again where the map is read. The image starts with its own pixels; views, permutations,
windows, rolls and concatenations are replayed on these numbers; a convolution or pool keeps the pixel in the middle of
what it strides over; a product keeps the positions of the operand whose channels it contracts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alternet.taps.operations import CONVOLUTIONS, MOVES, POOLS, PRODUCTS, REDUCTIONS, SEQUENCES
from alternet.taps.trace import Call, Ref, Trace, Value, map_tensors, tensors_in

TOKENS, NCHW = 3, 4
"""Numbers of axes of a map made of tokens (samples, tokens, channels), and of one that is not."""

PADDING = -1
"""Stands in the place of a pixel where a map was widened."""


class PixelMap:
    """The pixels of the values of one trace, computed when asked for and remembered.

    Attributes:
        size: Samples, height and width of the traced images.
    """

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
        """The pixel of each element of a value, None where it cannot be followed."""
        waiting = [index]  # a stack of our own, since a deep network would exceed what Python allows for recursion
        while waiting:
            value = self.trace.values[waiting[-1]]
            needed = [] if value.index in self.found else [i for i in self._asked_first(value) if i not in self.found]
            waiting += needed
            if not needed:
                waiting.pop()
                if value.index not in self.found:
                    self.found[value.index] = self._follow(value)
        return self.found[index]

    def decode(self, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sample, row and column of each pixel; -1 where there is none."""
        _, h, w = self.size
        pixel, none = where - 1, where <= 0
        parts = (pixel // (h * w), pixel // w % h, pixel % w)
        return tuple(part.masked_fill(none, -1) for part in parts)  # type: ignore[return-value]

    def _asked_first(self, value: Value) -> list[int]:
        """The operands that a rule looks at first; it asks for the rest itself, where these do not decide."""
        call = value.call
        if call is None or not value.from_images:
            return []
        given = [i for i in call.inputs if self.trace.values[i].from_images]
        if call.name in MOVES:
            return given
        alike = [i for i in given if self.trace.values[i].shape == value.shape]
        return given[:1] if call.name in RULES else sorted(alike or given)[:1]

    def _follow(self, value: Value) -> Tensor | None:
        if value.call is None or not value.from_images:
            return torch.zeros((), dtype=torch.long).expand(value.shape)
        try:
            where = RULES.get(value.call.name, elementwise)(self, value.call, value)
        except (RuntimeError, ValueError, IndexError, TypeError):
            return None
        if where is not None and where.shape == value.shape:
            return where
        n, height, width = self.size
        if self.grid is None or value.tensor.ndim != TOKENS or len(value.tensor) != n:
            return None
        (h, w), prefix = self.grid, self.prefix
        if value.shape[1] != prefix + h * w:
            return None
        # Tokens that come from code that no rule follows lie as the user has stated.
        rows, columns = torch.arange(h) * height // h, torch.arange(w) * width // w
        places = (rows[:, None] * width + columns).flatten() + torch.arange(n)[:, None] * height * width + 1
        return torch.nn.functional.pad(places, (prefix, 0))[..., None].expand(value.shape)


def varies(where: Tensor, axis: int) -> bool:
    """Whether pixels change along an axis."""
    if where.shape[axis] == 1 or where.stride(axis) == 0:
        return False
    where = distinct(where)
    first = where.narrow(axis, 0, 1)
    # The second entry mostly settles it, which spares the comparison of all.
    return not torch.equal(first, where.narrow(axis, 1, 1)) or not torch.equal(first.expand_as(where), where)


def placed(where: Tensor) -> bool:
    """Whether any element stands for a pixel."""
    return bool((distinct(where) > 0).any())


def joined(where: Tensor, axis: int) -> Tensor:
    """The first pixel of what is joined along an axis; padding only where nothing but padding is joined.

    Example:
        >>> joined(torch.tensor([[4, 3, -1], [-1, 0, 0], [-1, -1, -1]]), 1).flatten()
        tensor([ 3,  0, -1])
    """
    beyond = torch.iinfo(where.dtype).max
    first = where.masked_fill(where <= 0, beyond).amin(axis, keepdim=True)
    return torch.where(first < beyond, first, where.amax(axis, keepdim=True))


def one_entry(where: Tensor, axis: int) -> Tensor:
    """One entry of an axis that stands for channels: the first with a pixel, as others may be joined ahead of it."""
    if not varies(where, axis):
        return where.narrow(axis, 0, 1)
    real = (where > 0).any(dim=tuple(a for a in range(where.ndim) if a != axis))
    return where.narrow(axis, int(real.byte().argmax()), 1)


def condensed(where: Tensor) -> Tensor:
    """The same pixels, with every axis along which they do not change held once in memory (stride 0)."""
    for axis, size in enumerate(where.shape):
        if size > 1 and where.stride(axis) != 0 and not varies(where, axis):
            where = where.narrow(axis, 0, 1).expand(where.shape)
    return where


def distinct(where: Tensor) -> Tensor:
    """The same pixels with size 1 along every axis that is held once in memory.

    Channels seldom change the pixel, so this is what makes following a network of thousands of channels cheap.
    """
    for axis, step in enumerate(where.stride()):
        where = where.narrow(axis, 0, 1) if step == 0 and where.shape[axis] > 1 else where
    return where


# The rules. Each gives the pixels of what one call made, from those of its operands; None where they cannot be told.


def elementwise(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """Elementwise functions, normalisation, sums: the pixels of the operand that has most, the first one of several."""
    given = sorted(i for i in call.inputs if pixels.trace.values[i].from_images)
    alike = [i for i in given if pixels.trace.values[i].shape == value.shape]
    found, share = None, -1.0
    for index in alike or given:
        where = pixels.of(index)
        if where is None or where.ndim > value.tensor.ndim:
            continue
        if any(a not in (1, b) for a, b in zip(reversed(where.shape), reversed(value.shape), strict=False)):
            continue
        real = (distinct(where) > 0).double().mean().item()
        if real > share:
            found, share = where, real
        if share == 1:
            break
    return None if found is None else found.expand(value.shape)


def moved(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """Views, permutations, windows, concatenations: the same call on the pixels instead of the values."""

    def pixels_of(ref: Ref) -> Tensor:
        given = pixels.trace.values[ref.value]
        if not given.tensor.is_floating_point():
            return given.tensor.cpu()  # an index or a mask, which says where values go
        found = pixels.of(ref.value)
        if found is None:
            raise ValueError("an operand lies nowhere known")
        return found

    args, kwargs = map_tensors((call.args, call.kwargs), pixels_of, Ref)
    if call.func is None:
        return None
    if call.name == "__setitem__":
        result: Any = args[0].clone()
        result[args[1]] = args[2]
    elif call.name == "copy_":
        result = args[1].expand(value.shape)
    else:
        try:
            result = call.func(*args, **kwargs)
        except RuntimeError:
            # Views of permuted windows need other strides (Swin, DaViT), and `unfold` takes floating-point numbers
            # alone (VOLO, TNT), which hold our integers exactly.
            result = call.func(*map_tensors(args, lambda t: t.contiguous().double()), **kwargs)
            result = map_tensors(result, lambda t: t.long())
    return condensed(list(tensors_in(result))[value.place])


def widened(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """Padding: a constant lies nowhere, what is reflected or repeated where it came from."""
    source = pixels.of(call.inputs[0])
    if source is None or call.argument(2, "mode", "constant") != "constant":
        return moved(pixels, call, value)
    return condensed(torch.nn.functional.pad(source, call.argument(1, "pad"), value=PADDING))


def resampled(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """Convolutions, pools and resizing: the real rows and columns, evenly spread over those that come out."""
    source = pixels.of(call.inputs[0])
    if source is None:
        return None
    axes, source = range(2, value.tensor.ndim), one_entry(source, 1)
    if all(value.shape[a] == 1 for a in axes) and _pooled_as_a_whole(pixels, call, source.shape[2:]):
        return torch.zeros(value.shape, dtype=torch.long)
    for axis in axes:
        real = (source > 0).any(dim=tuple(a for a in range(source.ndim) if a != axis)).nonzero().flatten()
        if len(real) < value.shape[axis]:
            return enlarged(pixels, source, value)
        steps = (torch.arange(value.shape[axis]) + 0.5) * len(real) / value.shape[axis]
        source = source.index_select(axis, real[steps.long()])
    return source.expand(value.shape)


def _pooled_as_a_whole(pixels: PixelMap, call: Call, size: torch.Size) -> bool:
    """Whether a map that shrinks to one entry has no position left, or the pool of every classifier would be a unit.

    A smaller window is a stride, and so is one of two: where images are small, the last stage of a ResNet makes 1 × 1
    of 2 × 2.
    """
    window = call.argument(1, "weight" if call.name in CONVOLUTIONS else "kernel_size")
    if call.name.startswith("adaptive") or window is None:
        return True
    if isinstance(window, Ref):
        window = pixels.trace.values[window.value].shape[2:]
    window = (window,) * len(size) if isinstance(window, int) else window
    return max(size) > 2 and all(w >= s for w, s in zip(window, size, strict=True))


def enlarged(pixels: PixelMap, source: Tensor, value: Value) -> Tensor:
    """A map with more rows or columns than what it was made from: evenly spread over the image of the same sample."""
    if value.tensor.ndim != NCHW or not placed(source):
        return torch.zeros(value.shape, dtype=torch.long)
    (_, height, width), (n, _, h, w) = pixels.size, value.shape
    sample = pixels.decode(source)[0].amax((1, 2, 3))
    rows, columns = ((torch.arange(k) + 0.5) * size / k for k, size in ((h, height), (w, width)))
    places = rows.long()[:, None] * width + columns.long()
    return (sample.view(n, 1, 1, 1) * height * width + places + 1).expand(value.shape)


def _contracted(operand: Tensor, axis: int) -> Tensor:
    """Pixels after an axis is summed: gone where positions were summed up, kept where only channels were."""
    if not varies(operand, axis):
        return operand.narrow(axis, 0, 1)
    low = joined(operand, axis)
    # The sum went over all positions if nothing but the sample still varies, as in the squeeze of a gate or in token
    # mixing. Where rows still do, it went over channels, each entry of which brought along the pixels of a window
    # (patch merging): the result goes by the first pixel of the window.
    rows = [axis for axis in range(1, low.ndim) if low.shape[axis] > 1]
    mixed = bool(rows) and not any(varies(low, row) for row in rows)
    return torch.zeros_like(low) if mixed else low


def reduced(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """Means, sums and maxima over some axes, or over all."""
    source = pixels.of(call.inputs[0])
    axes = call.argument(1, "dim")
    if source is None or isinstance(axes, Ref) or len(call.inputs) > 1:
        return elementwise(pixels, call, value)  # the maximum of two maps
    if axes is None:
        return torch.zeros(value.shape, dtype=torch.long)
    for axis in [axes] if isinstance(axes, int) else axes:
        source = _contracted(source, axis)
    return source.reshape(value.shape)


def linear(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """A product with a weight over the last axis."""
    source = pixels.of(call.inputs[0])
    return None if source is None else _contracted(source, -1).expand(value.shape)


def product(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """A product of two matrices, perhaps added to a third."""
    left, right = call.args[1:3] if call.name in ("addmm", "baddbmm") else call.args[:2]
    return _of_rows_or_columns(pixels, left, right, value.shape)


def attention(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """Queries keep their pixels; where channels attend to channels, the values keep theirs."""
    return _of_rows_or_columns(pixels, call.argument(0, "query"), call.argument(2, "value"), value.shape)


def _of_rows_or_columns(pixels: PixelMap, left: Any, right: Any, shape: torch.Size) -> Tensor | None:
    """A product keeps the pixels of the rows of its left operand, or else of the columns of the right one."""
    rows = pixels.of(left.value) if isinstance(left, Ref) else None
    if rows is None:
        return None
    rows = _contracted(rows, -1)
    if placed(rows):
        return rows.expand(shape)
    columns = pixels.of(right.value) if isinstance(right, Ref) else None
    return None if columns is None else _contracted(columns, -2).expand(shape)


def einsum(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """A product by letters: the pixels of the first operand that keeps some in the letters of the result."""
    operands, out = call.args[0].replace(" ", "").split("->")
    given = call.args[1] if isinstance(call.args[1], list | tuple) else call.args[1:]
    for letters, argument in zip(operands.split(","), given, strict=True):
        source = pixels.of(argument.value) if isinstance(argument, Ref) else None
        if source is None:
            return None
        for letter in set(letters) - set(out):
            source = _contracted(source, letters.index(letter))
        kept = [letter for letter in out if letter in letters]
        order = [letters.index(k) for k in kept] + [letters.index(k) for k in letters if k not in kept]
        source = source.permute(order)
        if len(order) > len(kept):
            source = source.flatten(len(kept) - 1)  # what is contracted is of size 1 by now
        if placed(source):
            return source.reshape([source.shape[kept.index(k)] if k in kept else 1 for k in out]).expand(value.shape)
    return torch.zeros(value.shape, dtype=torch.long)


def recurrent(pixels: PixelMap, call: Call, value: Value) -> Tensor | None:
    """A recurrent layer: every step stays where it was."""
    source = pixels.of(call.inputs[0])
    if source is None or value.shape[:2] != source.shape[:2]:
        return None
    return source[..., :1].expand(value.shape)


RULES: dict[str, Callable[[PixelMap, Call, Value], Tensor | None]] = {
    **dict.fromkeys(MOVES, moved),
    "pad": widened,
    **dict.fromkeys(CONVOLUTIONS | POOLS, resampled),
    **dict.fromkeys(REDUCTIONS, reduced),
    **dict.fromkeys(PRODUCTS, product),
    **dict.fromkeys(SEQUENCES, recurrent),
    "linear": linear,
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
}
"""The rule of each function by its name; every other function acts on each element."""
