"""What a branch does to a feature map, told from the functions that ran in it: its kind."""

from collections.abc import Iterable
from operator import ge

import torch

from alternet.taps.families import ATTENTION_CLASSES, MIXER_CLASSES
from alternet.taps.graph import Graph
from alternet.taps.operations import ATTENTION, CONVOLUTIONS, FOURIER, MOVES, POOLS, PRODUCTS, SEQUENCES
from alternet.taps.pixels import Sites, thin, varies
from alternet.taps.trace import Ref, Value


class Judge:
    """Tells the kinds of calls of one trace."""

    def __init__(self, graph: Graph, sites: Sites) -> None:
        """Judge by the graph, and by where the operands lie."""
        self.graph = graph
        self.sites = sites

    def kind(self, layers: Iterable[Value], moves: Iterable[str] = ()) -> str | None:
        """The kind of a unit made of these mixing calls; None if there are none."""
        kinds = {self._of(value) for value in layers}
        if "roll" in moves:
            kinds.add("mixer")
        return next((kind for kind in ("msa", "conv", "mixer", "mlp") if kind in kinds), None)

    def acting(self, span: Iterable[int], end: int) -> list[Value]:
        """The mixing calls among these values that act on positions of the map that `end` is.

        Where values with positions and without are put side by side, as patches and a class token are, only those
        with positions are followed.
        """
        span = set(span)
        reached, waiting = set(), [end]
        while waiting:
            index = waiting.pop()
            if index in reached or index not in span:
                continue
            reached.add(index)
            waiting += self._sources(index)
        return [value for value in self.graph.mixing(sorted(reached)) if self._of(value) is not None]

    def _sources(self, index: int) -> list[int]:
        parents, call = self.graph.parents(index), self.graph.values[index].call
        if call is None or call.name not in MOVES:
            return parents
        return [i for i in parents if self.placed(i)] or parents

    def placed(self, index: int) -> bool:
        """Whether any element of a value lies at a position of the image."""
        where = self.sites.of(index)
        return where is None or bool(thin(where).any())

    def convolves(self, layers: Iterable[Value]) -> int:
        """How many of these calls are convolutions over several positions."""
        return sum(self._of(value) == "conv" for value in layers)

    def attends(self, value: Value) -> bool:
        """Whether a call is attention: a product of two maps, which are both made from the images."""
        call = value.call
        assert call is not None
        if call.name in ATTENTION:
            return True
        if {type(scope.module).__name__ for scope in call.scope.up()} & ATTENTION_CLASSES:
            return True
        return call.name in PRODUCTS and len({i for i in call.inputs if self.graph.values[i].from_images}) > 1

    def _of(self, value: Value) -> str | None:
        """The kind of one mixing call; None where it acts on no position, as on a class token, or not at all."""
        mixes = self._mixes_positions(value)
        if not mixes and not self.placed(value.index):
            return None
        call = value.call
        assert call is not None
        if call.name.startswith("adaptive") and value.shape == self.graph.values[call.inputs[0]].shape:
            return None  # it changes nothing, as the last pool of a VGG at the size that it was made for
        classes = {type(scope.module).__name__ for scope in call.scope.up()}
        if classes & MIXER_CLASSES:
            return "mixer"
        if self.attends(value):
            return "msa"
        if self.spatial(value):
            return "conv"
        return "mixer" if mixes or call.name in POOLS | SEQUENCES | FOURIER else "mlp"

    def spatial(self, value: Value) -> bool:
        """Whether a call is a convolution over several positions."""
        return value.call is not None and value.call.name in CONVOLUTIONS and self.kernel(value) > 1

    def keeps(self, value: Value) -> bool:
        """Whether a convolution leaves channels and resolution alone; a margin padded ahead of it may go."""
        call = value.call
        assert call is not None
        if call.name.startswith("conv_transpose"):
            return False
        steps = call.args[3] if len(call.args) > 3 else call.kwargs.get("stride", 1)
        given = self.graph.values[call.inputs[0]].shape
        strided = set((steps,) if isinstance(steps, int) else steps) != {1}
        return not strided and given[1] == value.shape[1] and all(map(ge, given, value.shape))

    def kernel(self, value: Value) -> int:
        """Number of positions under a convolution's kernel."""
        assert value.call is not None
        weight = next((a for a in (*value.call.args[1:2], value.call.kwargs.get("weight")) if isinstance(a, Ref)), None)
        return 1 if weight is None else int(torch.Size(self.graph.values[weight.value].shape[2:]).numel())

    def _mixes_positions(self, value: Value) -> bool:
        """Whether a product with a weight sums over positions, as token-mixing layers do."""
        call = value.call
        assert call is not None
        if call.name not in PRODUCTS | CONVOLUTIONS | {"linear"} or self.attends(value):
            return False
        source = next(i for i in call.inputs if self.graph.values[i].from_images)
        before, after = self.sites.of(source), self.sites.of(value.index)
        if before is None or after is None or not thin(before).any():
            return False
        if call.name in CONVOLUTIONS:
            return self.kernel(value) == 1 and before.ndim == 3 and varies(before, 1)
        return not thin(after).any() and varies(before, before.ndim - (1 if call.inputs[0] == source else 2))
