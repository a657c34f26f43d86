"""Units by their output: the maps that arise outside residual branches, in stems, poolings and blocks without skip."""

from dataclasses import dataclass, field

from torch import nn

from alternet.views.graph import MIXING, Graph
from alternet.views.kinds import Judge
from alternet.views.layout import layout_of
from alternet.views.sites import Sites
from alternet.views.trace import Scope, Value
from alternet.views.units import Sum

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
        for scope in graph.trace.scopes:
            inside = sum(v.call is not None and scope in v.call.scope.up() for v in layers)
            if isinstance(scope.module, CONTAINERS) or 2 * inside > len(layers):
                self.opened.add(id(scope))

    def find(self) -> list[Block]:
        """The units by output, in order; the stem is the first."""
        blocks = self._on_trunk()
        blocks += self._at_entries({block.read for block in blocks})
        if not self.sums and len(blocks) < 4:
            blocks = self._of_modules()
        return self._stem_merged(sorted(blocks, key=lambda block: block.read))

    def _on_trunk(self) -> list[Block]:
        """Follow the values that everything flows through; what mixes between two of them belongs to a block."""
        blocks: list[Block] = []
        current: Block | None = None
        chain = self.graph.dominators()
        last = self.graph.trace.image
        for start, end in zip(chain, chain[1:], strict=False):
            span = self.graph.between(start, end)
            if layout_of(self.sites, start) is not None:
                last = start
            if self.heads.intersection(span):
                current = None
                continue
            layers = self.judge.acting(span)
            if layout_of(self.sites, end) is None:
                current = current if not layers else None
                continue
            if layers:
                scope = self.block_of(layers)
                if current is None or current.scope is not scope:
                    current = Block(last, end, scope)
                    blocks.append(current)
                current.layers += layers
            if current is not None and self._grid(current.read) == self._grid(end):
                current.read = end
            elif current is not None and layers:
                current.read = end
        return blocks

    def _grid(self, index: int) -> tuple[int, int] | None:
        layout = layout_of(self.sites, index)
        return None if layout is None else layout.grid

    def block_of(self, layers: list[Value]) -> Scope:
        """The outermost module around these calls that is not looked into."""
        ways = [list(value.call.scope.up())[::-1] for value in layers if value.call is not None]
        common = [scope for scope in ways[0] if all(scope in way for way in ways)]
        return next((scope for scope in common if id(scope) not in self.opened), common[-1])

    def _at_entries(self, known: set[int]) -> list[Block]:
        """Where a stream of a network with several streams begins: the map that its first unit takes."""
        blocks = []
        for index in sorted({s.fork for s in self.sums} - known):
            origin = self._origin(index)
            if origin is None or layout_of(self.sites, index) is None:
                continue
            scope = self.block_of([self.graph.values[origin]])
            own = [v for v in self.judge.acting(range(origin + 1)) if v.call and scope in v.call.scope.up()]
            if own and not any(block.scope is scope for block in blocks) and origin not in known:
                blocks.append(Block(min(self.graph.parents(own[0].index)), index, scope, own))
        trunk = set(self.graph.dominators())
        return [block for block in blocks if block.read not in trunk]

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
            layers = [
                v for v in self.judge.acting(range(scope.outputs[0] + 1)) if v.call and scope in v.call.scope.up()
            ]
            if layers and layout_of(self.sites, scope.outputs[0]) is not None:
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
        joined = [b for b in ahead if b.read in set(self.graph.dominators())]
        if len(joined) < 2:
            return blocks
        stem = Block(joined[0].start, joined[-1].read, joined[0].scope, [v for b in joined for v in b.layers])
        return [stem, *(b for b in blocks if b not in joined)]


def _inside(block: Block, scope: Scope) -> bool:
    return any(value.call is not None and scope in value.call.scope.up() for value in block.layers)
