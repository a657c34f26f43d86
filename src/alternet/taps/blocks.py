"""Units by their output: the maps that arise outside residual branches, in stems, poolings and blocks without skip."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from torch import nn

from alternet.taps.graph import MIXING, Graph
from alternet.taps.kinds import Judge
from alternet.taps.layout import layout_of
from alternet.taps.pixels import Sites
from alternet.taps.trace import Scope, Value
from alternet.taps.units import Sum

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(eq=False)
class Block:
    """Layers between two units: where they begin, the map that comes out, the module, the mixing calls."""

    start: int
    read: int
    scope: Scope
    layers: list[Value] = field(default_factory=list)


class Blocks:
    """Finds the units by output of one trace, given its residual sums."""

    def __init__(self, graph: Graph, sites: Sites, judge: Judge, sums: list[Sum]) -> None:
        """Note which modules contain residual sums or most of the network: these are looked into."""
        self.graph, self.sites, self.judge, self.sums = graph, sites, judge, sums
        self.heads = {s.value for s in sums}
        calls = [call for i in self.heads if (call := graph.values[i].call) is not None]
        self.opened = {id(scope) for call in calls for scope in call.scope.up()}
        layers = graph.mixing(list(range(len(graph.values))))
        self.within = Counter(id(scope) for v in layers if v.call is not None for scope in v.call.scope.up())
        self.trunk = graph.dominators()
        for scope in graph.trace.scopes:
            if isinstance(scope.module, CONTAINERS) or 2 * self.within[id(scope)] > len(layers):
                self.opened.add(id(scope))

    def find(self) -> list[Block]:
        """The units by output, in order; the stem is the first."""
        blocks = self._on_trunk()
        blocks += self._at_entries(blocks)
        if not self.sums and len(blocks) < 4:
            blocks = self._of_modules()
        return self._stem_merged(sorted(blocks, key=lambda block: block.read))

    def _on_trunk(self) -> list[Block]:
        """Follow the values that everything flows through; what mixes between two of them belongs to a block."""
        blocks: list[Block] = []
        current: Block | None = None
        pending: list[Value] = []
        last = self.graph.trace.image
        for start, end in pairwise(self.trunk):
            span = self.graph.between(start, end)
            last = last if self._grid(start) is None else start
            if self.heads.intersection(span):
                current, pending = None, []
                continue
            pending += self.judge.acting(span, end)
            if self._grid(end) is None:
                current = None if pending else current
            elif pending:
                current = self._grown(blocks, pending, last, end)
                pending = []
            elif current is not None and self._belongs(current, end):
                current.read = end
        return blocks

    def _grown(self, blocks: list[Block], layers: list[Value], last: int, end: int) -> Block:
        """The last block with these layers, if they are in its module; else a new one."""
        scope = self.block_of(layers)
        if blocks and blocks[-1].scope is scope:
            blocks[-1].layers += layers
            blocks[-1].read = end
            return blocks[-1]
        blocks.append(Block(last, end, scope, list(layers)))
        return blocks[-1]

    def _belongs(self, block: Block, end: int) -> bool:
        """Whether an elementwise step still belongs to a block: same map, and not in another block or ahead of it."""
        if self._grid(block.read) != self._grid(end):
            return False
        scope = self.block_of([self.graph.values[end]])
        if scope is block.scope or id(scope) in self.opened:
            return True
        return not self.within[id(scope)] and any(outer is scope.parent for outer in block.scope.up())

    def _grid(self, index: int) -> tuple[int, int] | None:
        layout = layout_of(self.sites, index)
        return None if layout is None else layout.grid

    def block_of(self, layers: list[Value]) -> Scope:
        """The outermost module around these calls that is not looked into."""
        ways = [list(value.call.scope.up())[::-1] for value in layers if value.call is not None]
        common = [scope for scope in ways[0] if all(scope in way for way in ways)]
        return next((scope for scope in common if id(scope) not in self.opened), common[-1])

    def _at_entries(self, known: list[Block]) -> list[Block]:
        """Where a stream of a network with several streams begins: the map that its first unit takes."""
        blocks: list[Block] = []
        for index in sorted({s.fork for s in self.sums}.difference(self.trunk)):
            origin = self._origin(index)
            inside = any(index in self.graph.between(s.fork, s.branch) for s in self.sums)
            if origin is None or inside or self._grid(index) is None:
                continue
            scope = self.block_of([self.graph.values[origin]])
            own = [v for v in self._layers(scope, origin) if v.index <= origin]
            if own and all(block.scope is not scope for block in known + blocks):
                blocks.append(Block(min(self.graph.parents(own[0].index)), index, scope, own))
        return blocks

    def _layers(self, scope: Scope, end: int) -> list[Value]:
        """The mixing calls in a module call that lead to a value."""
        return [v for v in self.judge.acting(range(end + 1), end) if v.call and scope in v.call.scope.up()]

    def _origin(self, index: int) -> int | None:
        """The layer whose result reaches this value by elementwise functions and moves alone; None after a sum."""
        while index not in self.heads:
            parents, call = self.graph.parents(index), self.graph.values[index].call
            if call is None or not parents:
                return None
            if call.name in MIXING:
                return index
            if call.name in ("add", "add_") and len(set(parents)) > 1:
                return None
            index = min(parents)
        return None

    def _of_modules(self) -> list[Block]:
        """Networks whose cells take several earlier maps: the output of each module that is not looked into."""
        blocks = []
        for scope in self.graph.trace.scopes:
            around = [outer for outer in scope.up() if id(outer) not in self.opened]
            if around != [scope] or not scope.outputs or not scope.inputs:
                continue
            layers = self._layers(scope, scope.outputs[0])
            if layers and self._grid(scope.outputs[0]) is not None:
                blocks.append(Block(scope.inputs[0], scope.outputs[0], scope, layers))
        return blocks

    def _stem_merged(self, blocks: list[Block]) -> list[Block]:
        """Everything ahead of the first stage with residual sums is one stem."""
        first = self.graph.values[self.sums[0].value].call if self.sums else None
        if first is None or not blocks:
            return blocks
        root = blocks[0].layers[0].call
        assert root is not None
        stages = [scope for scope in first.scope.up() if scope not in root.scope.up()]
        ahead = [b for b in blocks if b.read < self.sums[0].value and not (stages and _inside(b, stages[-1]))]
        joined = [b for b in ahead if b.read in self.trunk]
        if len(joined) < 2:
            return blocks
        stem = Block(joined[0].start, joined[-1].read, joined[0].scope, [v for b in joined for v in b.layers])
        return [stem, *(b for b in blocks if b not in joined)]


def _inside(block: Block, scope: Scope) -> bool:
    return any(value.call is not None and scope in value.call.scope.up() for value in block.layers)
