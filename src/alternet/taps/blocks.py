"""Blocks without a skip: stems, poolings and layers outside residual branches, which are read at their output."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from torch import nn

from alternet.taps.graph import MIXING, Graph
from alternet.taps.kinds import BranchKinds
from alternet.taps.layout import layout_of, leaves_out, unreadable
from alternet.taps.pixels import PixelMap
from alternet.taps.trace import Scope, Value, scopes_around
from alternet.taps.units import ResidualSum

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(eq=False)
class PlainBlock:
    """Layers between two units.

    Attributes:
        start: Index in the trace of the map that goes in.
        read: Index of the map that comes out.
        scope: The module.
        layers: What the calls that mix channels or positions gave.
    """

    start: int
    read: int
    scope: Scope
    layers: list[Value] = field(default_factory=list)


class PlainBlocks:
    """Finds the blocks without a skip of one trace, given its residual sums."""

    def __init__(self, graph: Graph, pixels: PixelMap, kinds: BranchKinds, sums: list[ResidualSum]) -> None:
        """Note which modules contain residual sums or most of the network: these are looked into."""
        self.graph, self.pixels, self.kinds, self.sums = graph, pixels, kinds, sums
        self.sum_values = {s.value for s in sums}
        calls = [call for i in self.sum_values if (call := graph.values[i].call) is not None]
        self.opened = {id(scope) for call in calls for scope in call.scope.up()}
        layers = graph.mixing(list(range(len(graph.values))))
        self.layers_in = Counter(id(scope) for v in layers if v.call is not None for scope in v.call.scope.up())
        self.trunk = graph.dominators()
        for scope in graph.trace.scopes:
            if isinstance(scope.module, CONTAINERS) or 2 * self.layers_in[id(scope)] > len(layers):
                self.opened.add(id(scope))

    def find(self) -> list[PlainBlock]:
        """The blocks in order; the stem is the first."""
        blocks = self.on_trunk()
        blocks += self.at_entries(blocks)
        if not self.sums and len(blocks) < 4:
            blocks = self.of_modules()
        return self.stem_merged(sorted(blocks, key=lambda block: block.read))

    def on_trunk(self) -> list[PlainBlock]:
        """Follow the values that everything flows through; what mixes between two of them belongs to a block."""
        blocks: list[PlainBlock] = []
        current: PlainBlock | None = None
        pending: list[Value] = []
        last, cut = self.graph.trace.image, None
        for start, end in pairwise(self.trunk):
            span = self.graph.between(start, end)
            last = last if self._grid(start) is None else start
            if self.sum_values.intersection(span):
                current, pending = None, []
                continue
            pending += self.kinds.layers_acting(span, end)
            if self._grid(end) is None:
                current = None if pending else current
                cut = end if cut is None and pending and leaves_out(self.pixels, end) else cut
            elif pending:
                scope = self._module_of(pending)
                if not blocks or blocks[-1].scope is not scope:
                    blocks.append(PlainBlock(last, end, scope))
                current = blocks[-1]
                current.read = end
                current.layers += pending
                pending, cut = [], None
            elif current is not None and self._belongs(current, end):
                current.read = end
        if cut is not None:  # padding that was cropped before the next map is none of our business
            call = self.graph.values[cut].call
            raise unreadable(self.pixels, cut, call.scope.path if call else "")
        return blocks

    def _belongs(self, block: PlainBlock, end: int) -> bool:
        """Whether an elementwise step still belongs to a block: same map, and not in another block or ahead of it.

        So a block is read behind its norm and activation, and not behind those with which the next block begins.
        """
        if self._grid(block.read) != self._grid(end):
            return False
        scope = self._module_of([self.graph.values[end]])
        if scope is block.scope or id(scope) in self.opened:
            return True
        return not self.layers_in[id(scope)] and any(outer is scope.parent for outer in block.scope.up())

    def _grid(self, index: int) -> tuple[int, int] | None:
        layout = layout_of(self.pixels, index)
        return None if layout is None else layout.grid

    def _module_of(self, layers: list[Value]) -> Scope:
        """The outermost module around these calls that is not looked into."""
        common = scopes_around(layers)
        return next((scope for scope in common if id(scope) not in self.opened), common[-1])

    def at_entries(self, known: list[PlainBlock]) -> list[PlainBlock]:
        """Where a stream of a network with several streams begins: the map that its first unit takes.

        Nothing of the streams of HRNet or CrossViT is on the trunk, so the first map of each would go unread.
        """
        blocks: list[PlainBlock] = []
        entries = sorted({s.fork for s in self.sums})
        while entries:
            index = entries.pop(0)
            if index in self.trunk:
                continue
            origin = self._origin(index)
            inside = any(index in self.graph.between(s.fork, s.branch) for s in self.sums)
            if origin is None or inside or self._grid(index) is None:
                continue
            scope = self._module_of([self.graph.values[origin]])
            own = [v for v in self._layers(scope, origin) if v.index <= origin]
            if own and all(block.scope is not scope for block in known + blocks):
                start = min(self.graph.parents(own[0].index))
                blocks.append(PlainBlock(start, index, scope, own))
                entries.append(start)  # which a layer may have made that nothing else looks at, as in MobileViT
        return blocks

    def _layers(self, scope: Scope, end: int) -> list[Value]:
        """The layers in a call of a module that lead to a value."""
        return [v for v in self.kinds.layers_acting(range(end + 1), end) if v.call and scope in v.call.scope.up()]

    def _origin(self, index: int) -> int | None:
        """The layer whose result reaches this value by elementwise functions and moves alone; None after a sum."""
        while index not in self.sum_values:
            parents, call = self.graph.parents(index), self.graph.values[index].call
            if call is None or not parents:
                return None
            if call.name in MIXING and not call.name.startswith("interpolate"):
                return index
            if call.name in ("add", "add_") and len(set(parents)) > 1:
                return None
            index = min(parents)
        return None

    def of_modules(self) -> list[PlainBlock]:
        """The output of each module that is not looked into.

        Where cells take several earlier maps, as in NASNet, hardly any value has everything flow through it.
        """
        blocks = []
        for scope in self.graph.trace.scopes:
            around = [outer for outer in scope.up() if id(outer) not in self.opened]
            if around != [scope] or not scope.outputs or not scope.inputs:
                continue
            layers = self._layers(scope, scope.outputs[0])
            if layers and self._grid(scope.outputs[0]) is not None:
                blocks.append(PlainBlock(scope.inputs[0], scope.outputs[0], scope, layers))
        return blocks

    def stem_merged(self, blocks: list[PlainBlock]) -> list[PlainBlock]:
        """Everything ahead of the first stage with residual sums is one stem."""
        first = self.graph.values[self.sums[0].value].call if self.sums else None
        if first is None or not blocks:
            return blocks
        root = blocks[0].layers[0].call
        assert root is not None
        stage = [scope for scope in first.scope.up() if scope not in root.scope.up()][-1:]
        ahead = []
        for block in blocks:
            # A strided layer that opens the stage is none of the stem, though it comes before the first sum.
            opens = any(scope in stage for v in block.layers if v.call is not None for scope in v.call.scope.up())
            if block.read < self.sums[0].value and block.read in self.trunk and not opens:
                ahead.append(block)
        if len(ahead) < 2:
            return blocks
        layers = [value for block in ahead for value in block.layers]
        stem = PlainBlock(ahead[0].start, ahead[-1].read, ahead[0].scope, layers)
        return [stem, *(block for block in blocks if block not in ahead)]
