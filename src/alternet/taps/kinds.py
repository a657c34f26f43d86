"""The kind of a branch, told from the functions that ran in it: attention, convolution, MLP or token mixing."""

from collections.abc import Iterable, Sequence
from operator import ge

import torch

from alternet.taps.graph import Graph, operand
from alternet.taps.operations import ATTENTION, CONVOLUTIONS, FOURIER, MOVES, POOLS, PRODUCTS, SEQUENCES, TO_A_SIZE
from alternet.taps.pixels import PixelMap, placed, varies
from alternet.taps.trace import Value

RANKS = ("msa", "conv", "mixer", "mlp")
"""Kinds by what decides: attention has linear layers as well, and so do most blocks with convolutions."""

ATTENTION_CLASSES = frozenset(
    {"EfficientAdditiveAttention", "SwiftFormerEfficientAdditiveAttention"}
    | {"LinearSelfAttention", "MobileViTV2LinearSelfAttention"}
)
"""SwiftFormer and MobileViTv2 (in timm and in transformers) sum tokens under learned weights and multiply by the sum:
attention by name, a gate to an observer."""

MIXER_CLASSES = frozenset({"HSMSSD"})
"""EfficientViM's state-space layer multiplies two maps, as attention does, but mixes tokens through hidden states."""


class BranchKinds:
    """Tells the kinds of layers and branches of one trace. A layer is a call that mixes channels or positions."""

    def __init__(self, graph: Graph, pixels: PixelMap) -> None:
        """Tell by the graph, and by which pixels the operands stand for."""
        self.graph, self.pixels = graph, pixels

    def kind(self, layers: Iterable[Value], moves: Iterable[str] = ()) -> str | None:
        """The kind of a unit made of these layers and of moves with these names; None if there are none."""
        kinds = {self.of_layer(value) for value in layers}
        if "roll" in moves:  # all that mixes positions in AS-MLP, whose layers mix channels alone
            kinds.add("mixer")
        return next((kind for kind in RANKS if kind in kinds), None)

    def layers_acting(self, span: Iterable[int], end: int) -> list[Value]:
        """The layers among these values that act on positions of the map that `end` is."""
        span = set(span)
        reached, waiting = set(), [end]
        while waiting:
            index = waiting.pop()
            if index in reached or index not in span:
                continue
            reached.add(index)
            parents, call = self.graph.parents(index), self.graph.values[index].call
            if call is not None and call.name in MOVES:
                # `cat` puts a class token and patches side by side. What made the class token is not followed, or the
                # class attention of CaiT would be a unit of the map.
                parents = [i for i in parents if self.placed(i)] or parents
            waiting += parents
        return [value for value in self.graph.mixing(sorted(reached)) if self.of_layer(value) is not None]

    def placed(self, index: int) -> bool:
        """Whether any element of a value stands for a pixel, or might."""
        where = self.pixels.of(index)
        return where is None or placed(where)

    def attends(self, value: Value) -> bool:
        """Whether a call is attention: a product of two maps, which are both made from the images."""
        call = value.call
        assert call is not None
        if call.name in ATTENTION or _classes(value) & ATTENTION_CLASSES:
            return True
        return call.name in PRODUCTS and len({i for i in call.inputs if self.graph.values[i].from_images}) > 1

    def of_layer(self, value: Value) -> str | None:
        """The kind of one layer; None where it acts on no position, or not at all.

        So neither the attention of a class token alone nor the layers of squeeze and excitation count.
        """
        mixes = self._mixes_positions(value)
        if not mixes and not self.placed(value.index):
            return None
        call = value.call
        assert call is not None
        if call.name.startswith(TO_A_SIZE):
            given, made = self.graph.values[call.inputs[0]].shape, value.shape
            # It changes nothing, as the last pool of a VGG at the size that it was made for, or it makes up for an odd
            # grid, as MobileViT does ahead of its patches.
            if given == made or (call.name == "interpolate" and alike(given[2:], made[2:])):
                return None
        if _classes(value) & MIXER_CLASSES:
            return "mixer"
        if self.attends(value):
            return "msa"
        if self.spatial(value):
            return "conv"
        return "mixer" if mixes or call.name in POOLS | SEQUENCES | FOURIER else "mlp"

    def _mixes_positions(self, value: Value) -> bool:
        """Whether a product with a weight sums over positions, as the token-mixing layers of an MLP-Mixer do."""
        call = value.call
        assert call is not None
        if call.name not in PRODUCTS | CONVOLUTIONS | {"linear"} or self.attends(value):
            return False
        source = next(i for i in call.inputs if self.graph.values[i].from_images)
        before, after = self.pixels.of(source), self.pixels.of(value.index)
        if before is None or after is None or not placed(before):
            return False
        if call.name in CONVOLUTIONS:  # over tokens in the place of channels
            return self.kernel(value) == 1 and before.ndim == 3 and varies(before, 1)
        return not placed(after) and varies(before, before.ndim - (1 if call.inputs[0] == source else 2))

    def spatial(self, value: Value) -> bool:
        """Whether a call is a convolution over several positions."""
        return value.call is not None and value.call.name in CONVOLUTIONS and self.kernel(value) > 1

    def kernel(self, value: Value) -> int:
        """Number of positions under a convolution's kernel."""
        assert value.call is not None
        weight = operand(value.call, 1, "weight")
        return 1 if weight is None else int(torch.Size(self.graph.values[weight].shape[2:]).numel())

    def keeps_map(self, value: Value) -> bool:
        """Whether a convolution leaves channels and resolution alone, so that its input could stand in for it."""
        call = value.call
        assert call is not None
        if call.name.startswith("conv_transpose"):
            return False
        steps = call.argument(3, "stride", 1)
        given = self.graph.values[call.inputs[0]].shape
        strided = set((steps,) if isinstance(steps, int) else steps) != {1}
        # It may take off a margin that was padded ahead of it, as TensorFlow's convolutions do.
        return not strided and given[1] == value.shape[1] and all(map(ge, given, value.shape))


def _classes(value: Value) -> set[str]:
    """Classes of the modules in which a call ran."""
    assert value.call is not None
    return {type(scope.module).__name__ for scope in value.call.scope.up()}


def alike(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two grids are of one resolution; a convolution without padding takes off a row and no more."""
    return all(max(x, y) < 1.5 * min(x, y) for x, y in zip(a, b, strict=True))
