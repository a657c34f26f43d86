"""What a branch does to a feature map, told from the functions that ran in it: its kind."""

from collections.abc import Iterable

import torch

from alternet.views.families import ATTENTION_CLASSES, MIXER_CLASSES
from alternet.views.graph import Graph
from alternet.views.operations import ATTENTION, CONVOLUTIONS, FOURIER, POOLS, PRODUCTS, SEQUENCES
from alternet.views.sites import Sites
from alternet.views.trace import Ref, Value

KINDS = ("stem", "conv", "msa", "mlp", "mixer", "pool")


class Judge:
    """Tells the kinds of calls of one trace."""

    def __init__(self, graph: Graph, sites: Sites) -> None:
        """Judge by the graph, and by where the operands lie."""
        self.graph = graph
        self.sites = sites

    def kind(self, indices: Iterable[int]) -> str | None:
        """The kind of a branch made of these values; None if nothing in it mixes anything at any position."""
        indices = list(indices)
        kinds = {self._of(value) for value in self.graph.mixing(indices)}
        if "roll" in {call.name for i in indices if (call := self.graph.values[i].call)} and "msa" not in kinds:
            kinds.add("mixer")
        return next((kind for kind in ("msa", "family mixer", "conv", "mixer", "mlp") if kind in kinds), None)

    def acting(self, indices: Iterable[int]) -> list[Value]:
        """The mixing calls among these values that act on positions of the map."""
        return [value for value in self.graph.mixing(list(indices)) if self._of(value) is not None]

    def attends(self, value: Value) -> bool:
        """Whether a call is attention: a product of two maps, which are both made from the images."""
        call = value.call
        assert call is not None
        if call.name in ATTENTION:
            return True
        return call.name in PRODUCTS and len({i for i in call.inputs if self.graph.values[i].from_images}) > 1

    def _of(self, value: Value) -> str | None:
        """The kind of one mixing call; None where it acts on no position, as on a class token or a pooled vector."""
        where = self.sites.of(value.index)
        mixes = self._mixes_positions(value)
        if where is not None and not mixes and not where.any():
            return None
        call = value.call
        assert call is not None
        classes = {type(scope.module).__name__ for scope in call.scope.up()}
        if classes & MIXER_CLASSES:
            return "mixer"
        if classes & ATTENTION_CLASSES or self.attends(value):
            return "msa"
        if call.name in CONVOLUTIONS and self.kernel(value) > 1:
            return "conv"
        return "mixer" if mixes or call.name in POOLS | SEQUENCES | FOURIER else "mlp"

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
        if before is None or after is None or not before.any():
            return False
        if call.name in CONVOLUTIONS:
            return self.kernel(value) == 1 and before.ndim == 3 and _differ(before, 1)
        return not after.any() and _differ(before, -1 if call.inputs[0] == source else -2)


def _differ(where: torch.Tensor, axis: int) -> bool:
    return not torch.equal(where.amin(axis), where.amax(axis))
