"""Residual units: which sums of a traced pass are "skip + branch" of the main stream, and which are mere sums."""

from dataclasses import dataclass

from torch import Tensor

from alternet.taps.families import ATTENTION_CLASSES
from alternet.taps.graph import MIXING, Graph, operand
from alternet.taps.kinds import Judge
from alternet.taps.layout import NCHW, layout_of
from alternet.taps.operations import ACTIVATIONS, ADDITIONS, MOVES, POOLS, SAME
from alternet.taps.pixels import TOKENS, Sites, thin
from alternet.taps.trace import Call, Value

IDENTITY, SCALED, PROJECTED, BARRED = "identity", "scaled", "projected", "barred"


@dataclass(frozen=True, kw_only=True)
class Sum:
    """A residual sum: its value, the operands, the value that both come from, and what the skip does to it.

    `skip_kind` is "identity" (the skip hands on the fork), "scaled" (elementwise or normalised), "projected" (through
    a convolution or pool, where channels or resolution change), or None for several linear branches added up.
    """

    value: int
    skip: int
    branch: int
    fork: int
    skip_kind: str | None
    swapped: bool


class UnknownLayout(ValueError):
    """Nothing tells which element of a residual sum lies where."""

    def __init__(self, value: Value) -> None:
        """Name the sum and say how to declare it."""
        path = value.call.scope.path if value.call else ""
        super().__init__(
            f"How the feature map of the unit in {path!r}, of shape {tuple(value.shape)}, lies in the image cannot be "
            "told from the pass: a function that cannot be followed made it. Expected tokens [n, prefix + h * w, c] "
            "with a declared grid; state it, as in Subject(model, name=..., prefix_tokens=1, grid=(14, 14))."
        )


class Residuals:
    """Finds the residual sums of one trace."""

    def __init__(self, graph: Graph, sites: Sites, judge: Judge) -> None:
        """Search as far as the graph goes."""
        self.graph, self.sites, self.judge = graph, sites, judge
        self.found: dict[int, Sum] = {}
        self.others: set[int] = set()

    def find(self) -> list[Sum]:
        """The residual sums of the main stream, in order."""
        for value in self.graph.values:
            call = value.call
            if call is not None and value.from_images and call.name in ADDITIONS:
                found = self._consider(value, call)
                if found is not None:
                    self.found[value.index] = found
        self._drop_nested()
        self._drop_cells()
        for index in self.found:
            if layout_of(self.sites, index) is None:
                raise UnknownLayout(self.graph.values[index])
        return self._merge_linear()

    def _consider(self, value: Value, call: Call) -> Sum | None:
        pair = [operand(call, 0, "input"), operand(call, 1, "other")]
        if call.name.startswith("addcmul"):
            pair[1] = next((i for i in call.inputs[1:] if self._like(i, value)), None)
        a, b = pair
        if a is None or b is None or any(not self._like(i, value) for i in (a, b)):
            return None
        fork = self.graph.fork(a, b)
        lost = self.sites.of(value.index) is None and value.tensor.ndim in (TOKENS, NCHW)
        if fork < 0 or (layout_of(self.sites, value.index) is None and not lost):
            return None
        ways = {i: self.way(i, fork) for i in (a, b)}
        if BARRED in ways.values():
            return None
        chosen = self._choose(value, a, b, fork, ways)
        if chosen is None:
            self.others.add(id(call.scope))
        return chosen

    def _like(self, index: int, value: Value) -> bool:
        given = self.graph.values[index]
        return given.from_images and given.shape == value.shape

    def _choose(self, value: Value, a: int, b: int, fork: int, ways: dict[int, str]) -> Sum | None:
        for kind in (IDENTITY, SCALED):
            straight = [i for i in (a, b) if ways[i] == kind]
            if straight and a != b:
                skip = straight[0]
                branch = b if skip == a else a
                acts = ways[branch] == PROJECTED and self.judge.acting(self.graph.between(fork, branch), branch)
                return self._sum(value, skip, branch, fork, kind) if acts else None
        return self._projected(value, a, b, fork)

    def _sum(self, value: Value, skip: int, branch: int, fork: int, kind: str) -> Sum:
        assert value.call is not None
        swapped = skip != operand(value.call, 0, "input")
        return Sum(value=value.index, skip=skip, branch=branch, fork=fork, skip_kind=kind, swapped=swapped)

    def way(self, index: int, fork: int) -> str:
        """How an operand comes from the fork: handed on, scaled, projected, or cut out of it."""
        kind = IDENTITY
        while index != fork:
            value = self.graph.values[index]
            parents, call = set(self.graph.parents(index)), value.call
            assert call is not None
            if index in self.found and self.found[index].skip_kind in (IDENTITY, SCALED):
                index = self.found[index].skip
                continue
            if len(parents) != 1 or call.name in MIXING or not self.graph.is_from(min(parents), fork):
                return PROJECTED
            (parent,) = parents
            if call.name in MOVES and self._cuts(parent, index):
                return BARRED
            kind = kind if call.name in MOVES | SAME else SCALED
            index = parent
        return kind

    def _cuts(self, before: int, after: int) -> bool:
        """Whether a move leaves out part of the map: some channels, or some positions."""
        if self.graph.values[before].tensor.numel() <= self.graph.values[after].tensor.numel():
            return False
        old, new = self.sites.of(before), self.sites.of(after)
        return old is None or new is None or _held(old) != _held(new)

    def _projected(self, value: Value, a: int, b: int, fork: int) -> Sum | None:
        """A shortcut with a projection: at most one layer and pools, lighter than the branch, no units on the way."""
        spans = {i: self.graph.between(fork, i) for i in (a, b)}
        streams = {i for i, found in self.found.items() if found.skip_kind == IDENTITY}
        if any(streams.intersection(span) for span in spans.values()):
            return None
        weights = {i: self._weight(span) for i, span in spans.items()}
        skip, branch = sorted((a, b), key=lambda i: weights[i])
        names = [call.name for i in spans[skip] if (call := self.graph.values[i].call)]
        if weights[skip] == weights[branch] or weights[skip][0] > 2 or ACTIVATIONS & set(names):
            return None
        return self._sum(value, skip, branch, fork, PROJECTED)

    def _weight(self, span: list[int]) -> tuple[int, int]:
        layers = [v for v in self.graph.mixing(span) if v.call and v.call.name not in POOLS]
        return len(layers), sum(self.judge.kernel(v) for v in layers)

    def _drop_nested(self) -> None:
        """A sum inside the branch of another is a unit only if it is a residual stream of its own."""
        stream = self._stream()
        for index in sorted(set(self.found) - stream):
            inner = self.found[index]
            later = [s for s in self.found.values() if s.value > index]
            around = [s for s in later if index in self.graph.between(s.fork, s.branch)]
            if not around or not all(self._stands_alone(inner, outer) for outer in around):
                del self.found[index]

    def _stream(self) -> set[int]:
        """The values that reach the output without passing through the branch of a sum."""
        reached: set[int] = set()
        waiting = list(self.graph.trace.outputs[:1])
        while waiting:
            index = waiting.pop()
            if index not in reached:
                reached.add(index)
                waiting += [self.found[index].skip] if index in self.found else self.graph.parents(index)
        return reached

    def _stands_alone(self, inner: Sum, outer: Sum) -> bool:
        """Not a sum inside an attention layer, in a layer beside the stream, on a gate, or with more than a skip."""
        if inner.skip_kind != IDENTITY or not self.graph.is_from(inner.fork, outer.fork):
            return False
        maps = [layout_of(self.sites, s.value) for s in (inner, outer)]
        home = self.graph.values[inner.value].call
        assert home is not None
        if None in maps:
            return False
        span = self.graph.mixing(self.graph.between(inner.fork, inner.branch))
        homes = [v.call.scope for v in span if v.call is not None and self.judge.attends(v)]
        inlined = home.scope in homes or type(home.scope.module).__name__ in ATTENTION_CLASSES
        return not inlined and len({layout.grid for layout in maps if layout}) == 1

    def _drop_cells(self) -> None:
        """A module that adds up several maps side by side is a cell: its inner sums are no blocks with a shortcut."""
        for index, found in list(self.found.items()):
            call = self.graph.values[index].call
            if call is None or id(call.scope) not in self.others:
                continue
            users = {user.name for i in self.graph.children[index] if (user := self.graph.values[i].call)}
            if found.skip_kind == PROJECTED or users <= {"cat", "concat"}:
                del self.found[index]

    def _merge_linear(self) -> list[Sum]:
        """Several linear layers on one input added up (re-parameterised blocks) are one unit, read at the last sum."""
        kept: list[Sum] = []
        for found in (self.found[index] for index in sorted(self.found)):
            before = kept[-1] if kept else None
            if before is not None and self._together(before, found):
                kept[-1] = Sum(**{**found.__dict__, "skip_kind": None})
            else:
                kept.append(found)
        return kept

    def _together(self, before: Sum, found: Sum) -> bool:
        homes = [self.graph.values[s.value].call for s in (before, found)]
        same = homes[0] is not None and homes[1] is not None and homes[0].scope is homes[1].scope
        single = all(len(self.graph.mixing(self.graph.between(s.fork, s.branch))) == 1 for s in (before, found))
        return same and single and before.fork == found.fork and found.skip == before.value


def _held(where: Tensor) -> int:
    """How many elements lie at a position."""
    once = thin(where)
    return int((once > 0).sum()) * (where.numel() // max(once.numel(), 1))
