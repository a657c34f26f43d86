"""Residual units: which sums of a traced pass are "skip + branch" of the main stream, and which are mere sums."""

from dataclasses import dataclass

from alternet.views.graph import Graph, operand
from alternet.views.kinds import Judge
from alternet.views.layout import layout_of
from alternet.views.operations import ACTIVATIONS, ADDITIONS, MOVES, POOLS, SAME
from alternet.views.graph import MIXING
from alternet.views.sites import Sites
from alternet.views.trace import Call, Value

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


class Residuals:
    """Finds the residual sums of one trace."""

    def __init__(self, graph: Graph, sites: Sites, judge: Judge) -> None:
        """Search as far as the graph goes."""
        self.graph, self.sites, self.judge = graph, sites, judge
        self.found: dict[int, Sum] = {}

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
        return self._merge_linear()

    def _consider(self, value: Value, call: Call) -> Sum | None:
        pair = [operand(call, 0, "input"), operand(call, 1, "other")]
        if call.name.startswith("addcmul"):
            pair[1] = next((i for i in call.inputs[1:] if self.graph.values[i].shape == value.shape), None)
        a, b = pair
        if a is None or b is None or any(not self._like(i, value) for i in (a, b)):
            return None
        fork = self.graph.fork(a, b)
        if fork < 0 or layout_of(self.sites, value.index) is None:
            return None
        ways = {i: self.way(i, fork) for i in (a, b)}
        if BARRED in ways.values():
            return None
        return self._choose(value, a, b, fork, ways)

    def _like(self, index: int, value: Value) -> bool:
        given = self.graph.values[index]
        return given.from_images and given.shape == value.shape

    def _choose(self, value: Value, a: int, b: int, fork: int, ways: dict[int, str]) -> Sum | None:
        for kind in (IDENTITY, SCALED):
            straight = [i for i in (a, b) if ways[i] == kind]
            if straight and a != b:
                skip = straight[0]
                branch = b if skip == a else a
                acts = ways[branch] == PROJECTED and self.judge.acting(self.graph.between(fork, branch))
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
        return old is None or new is None or int((old > 0).sum()) != int((new > 0).sum())

    def _projected(self, value: Value, a: int, b: int, fork: int) -> Sum | None:
        """A shortcut with a projection: at most one layer and pools, lighter than the branch, no units on the way."""
        spans = {i: self.graph.between(fork, i) for i in (a, b)}
        if any(index in self.found for span in spans.values() for index in span):
            return None
        weights = {i: self._weight(span) for i, span in spans.items()}
        skip, branch = sorted((a, b), key=lambda i: weights[i])
        names = [call.name for i in spans[skip] if (call := self.graph.values[i].call)]
        if weights[skip] == weights[branch] or weights[skip][0] > 1 or ACTIVATIONS & set(names):
            return None
        return self._sum(value, skip, branch, fork, PROJECTED)

    def _weight(self, span: list[int]) -> tuple[int, int]:
        layers = [v for v in self.graph.mixing(span) if v.call and v.call.name not in POOLS]
        return len(layers), sum(self.judge.kernel(v) for v in layers)

    def _drop_nested(self) -> None:
        """A sum inside the branch of another is a unit only if it is a residual stream of its own."""
        for outer in sorted(self.found, reverse=True):
            if outer not in self.found:
                continue
            around = self.found[outer]
            inside = set(self.graph.feeding(around.branch, without=around.skip)) & set(self.found)
            for index in inside:
                if not self._stands_alone(self.found[index], around):
                    del self.found[index]

    def _stands_alone(self, inner: Sum, outer: Sum) -> bool:
        """Not the sums inside an attention layer, in a layer beside the stream, or with more than a plain skip."""
        if inner.skip_kind != IDENTITY or not self.graph.is_from(inner.fork, outer.fork):
            return False
        home = self.graph.values[inner.value].call
        assert home is not None
        calls = (
            v.call for v in self.graph.mixing(self.graph.between(inner.fork, inner.branch)) if self.judge.attends(v)
        )
        return all(call is not None and call.scope is not home.scope for call in calls)

    def _drop_cells(self) -> None:
        """A module with several projected sums side by side is a cell, not a block with a shortcut."""
        homes: dict[int, list[int]] = {}
        for index, found in self.found.items():
            call = self.graph.values[index].call
            if found.skip_kind == PROJECTED and call is not None:
                homes.setdefault(id(call.scope), []).append(index)
        for indices in homes.values():
            if len(indices) > 1:
                for index in indices:
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
