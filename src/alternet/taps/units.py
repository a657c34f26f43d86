"""Residual units: which sums of a traced pass are "skip + branch" of the main stream, and which are mere sums."""

from dataclasses import dataclass, replace

from alternet.taps.graph import MIXING, Graph, operand
from alternet.taps.kinds import ATTENTION_CLASSES, RANKS, BranchKinds
from alternet.taps.layout import layout_of, leaves_out, unreadable
from alternet.taps.operations import ACTIVATIONS, ADDITIONS, MOVES, POOLS, SAME, TO_A_SIZE
from alternet.taps.pixels import NCHW, TOKENS, PixelMap, distinct
from alternet.taps.trace import Call, Value

IDENTITY, SCALED, PROJECTED, CUT = "identity", "scaled", "projected", "cut"
"""How an operand of a sum comes from the value where skip and branch part; what is cut out of it is no skip."""


@dataclass(frozen=True, kw_only=True)
class ResidualSum:
    """A residual sum: its value, the operands, the value that both come from, and what the skip does to it.

    Attributes:
        value: Index in the trace of what the addition gave.
        skip: Index of the operand that is the skip.
        branch: Index of the other operand.
        fork: Index of the last value that both were made from.
        skip_kind: "identity" (the skip hands on the fork), "scaled" (elementwise or normalised), "projected" (through
            a convolution or pool, where channels or resolution change), or None for several linear branches added up.
        swapped: Whether the skip is the second operand of the addition.
    """

    value: int
    skip: int
    branch: int
    fork: int
    skip_kind: str | None
    swapped: bool


class ResidualSums:
    """Finds the residual sums of one trace."""

    def __init__(self, graph: Graph, pixels: PixelMap, kinds: BranchKinds) -> None:
        """Search as far as the graph goes."""
        self.graph, self.pixels, self.kinds = graph, pixels, kinds
        self.found: dict[int, ResidualSum] = {}
        self.padded: dict[int, ResidualSum] = {}
        self.with_mere_sums: set[int] = set()

    def find(self) -> list[ResidualSum]:
        """The residual sums of the main stream, in order."""
        for value in self.graph.values:
            call = value.call
            if call is not None and value.from_images and call.name in ADDITIONS:
                found = self._considered(value, call)
                if found is not None:
                    (self.padded if leaves_out(self.pixels, value.index) else self.found)[value.index] = found
        for index, found in self.padded.items():  # within a branch it may be cropped again, in the stream it may not
            if not any(index in self.graph.between(s.fork, s.branch) for s in self.found.values()):
                self.found[index] = found
        self.drop_nested()
        self.drop_in_cells()
        for index in self.found:
            if layout_of(self.pixels, index) is None:
                home = self.graph.values[index].call
                raise unreadable(self.pixels, index, home.scope.path if home else "")
        return self.linear_merged()

    def _considered(self, value: Value, call: Call) -> ResidualSum | None:
        """The residual sum that an addition makes; None if it is another sum."""
        given = {i: self.graph.values[i] for i in call.inputs}
        alike = [i for i, one in given.items() if one.from_images and one.shape == value.shape]
        a, b = operand(call, 0, "input"), operand(call, 1, "other")
        if call.name.startswith("addcmul"):  # skip + branch · scale: the scale is a weight
            b = next((i for i in call.inputs[1:] if i in alike), None)
        if a is None or b is None or a not in alike or b not in alike:
            return None
        fork = self.graph.fork(a, b)
        lost = value.tensor.ndim in (TOKENS, NCHW) and self.pixels.of(value.index) is None
        lost = lost or leaves_out(self.pixels, value.index)
        if fork < 0 or (layout_of(self.pixels, value.index) is None and not lost):
            return None
        ways = {i: self._way(i, fork) for i in (a, b)}
        if CUT in ways.values():
            return None
        straight = [i for kind in (IDENTITY, SCALED) for i in (a, b) if ways[i] == kind]
        if straight and a != b:
            skip, kind = straight[0], ways[straight[0]]
            branch = b if skip == a else a
            acts = ways[branch] == PROJECTED and self.kinds.layers_acting(self.graph.between(fork, branch), branch)
            pair = (skip, branch) if acts else None
        else:
            pair, kind = self._projected(a, b, fork), PROJECTED
        if pair is None:
            self.with_mere_sums.add(id(call.scope))
            return None
        skip, branch = pair
        return ResidualSum(value=value.index, skip=skip, branch=branch, fork=fork, skip_kind=kind, swapped=skip != a)

    def _way(self, index: int, fork: int) -> str:
        """How an operand comes from the fork: handed on, scaled, projected, or cut out of it."""
        kind = IDENTITY
        while index != fork:
            parents, call = set(self.graph.parents(index)), self.graph.values[index].call
            assert call is not None
            if index in self.found and self.found[index].skip_kind in (IDENTITY, SCALED):
                index = self.found[index].skip  # past the branch of an earlier unit, as where two blocks share a skip
                continue
            if len(parents) != 1 or call.name in MIXING or not self.graph.is_from(min(parents), fork):
                return PROJECTED
            (parent,) = parents
            if call.name in MOVES and self._cuts(parent, index):
                if not self._crops(parent, index):
                    return CUT
                kind = CUT  # unless a layer made the map larger than it should be, which the walk has yet to reach
            elif call.name not in MOVES | SAME and kind != CUT:
                kind = SCALED
            index = parent
        return kind

    def _cuts(self, before: int, after: int) -> bool:
        """Whether a move leaves out part of the map: some channels, or some positions.

        So the sums of groups of channels within a block of Res2Net or ReXNet are no units. Tokens without a position,
        such as a class token, are no part of the map.
        """
        if self.graph.values[before].tensor.numel() <= self.graph.values[after].tensor.numel():
            return False
        placed = []
        for where in (self.pixels.of(before), self.pixels.of(after)):
            if where is None:
                return True
            once = distinct(where)
            placed.append(int((once > 0).sum()) * (where.numel() // max(once.numel(), 1)))
        return placed[0] != placed[1]

    def _crops(self, before: int, after: int) -> bool:
        """Whether a move leaves out rows or columns and no channel, as behind an enlargement of an odd grid."""
        wide, narrow = layout_of(self.pixels, before), layout_of(self.pixels, after)
        if wide is None or narrow is None:
            return False
        given, left = self.graph.values[before].shape, self.graph.values[after].shape
        return given[wide.channel_axis] == left[narrow.channel_axis]

    def _projected(self, a: int, b: int, fork: int) -> tuple[int, int] | None:
        """Skip and branch where the skip has a projection, as in the strided blocks of a ResNet.

        It has at most two layers, beside pools, is lighter than the branch, and no unit is on the way.
        """
        spans = {i: self.graph.between(fork, i) for i in (a, b)}
        streams = {i for i, found in self.found.items() if found.skip_kind == IDENTITY}
        if any(streams.intersection(span) for span in spans.values()):
            return None  # one stream is added to another, as the pixels within patches to the patches in TNT
        weights = {}
        for i, span in spans.items():
            layers = [v for v in self.graph.mixing(span) if v.call and v.call.name not in POOLS]
            weights[i] = len(layers), sum(self.kinds.kernel(v) for v in layers)
        skip, branch = sorted((a, b), key=lambda i: weights[i])
        names = [call.name for i in spans[skip] if (call := self.graph.values[i].call)]
        if weights[skip] == weights[branch] or weights[skip][0] > 2 or ACTIVATIONS & set(names):
            return None
        return skip, branch

    def drop_nested(self) -> None:
        """A sum inside the branch of another is a unit only if it is a residual stream of its own."""
        stream: set[int] = set()  # what reaches the output without passing through the branch of a sum
        waiting = list(self.graph.trace.outputs[:1])
        while waiting:
            index = waiting.pop()
            if index not in stream:
                stream.add(index)
                waiting += [self.found[index].skip] if index in self.found else self.graph.parents(index)
        for index in sorted(set(self.found) - stream):
            inner = self.found[index]
            later = [s for s in self.found.values() if s.value > index]
            around = [s for s in later if index in self.graph.between(s.fork, s.branch)]
            if not around or not all(self._stands_alone(inner, outer) for outer in around):
                del self.found[index]

    def _stands_alone(self, inner: ResidualSum, outer: ResidualSum) -> bool:
        """Whether a sum in the branch of another is a unit, as the blocks within the branches of EdgeNeXt are.

        It is none in an attention layer (MViTv2 adds the queries to what it attended to), on a map of another size
        than the stream's (CSATv2), or if its skip does more than hand on (the parallel convolutions of RepViT).
        """
        if inner.skip_kind != IDENTITY or not self.graph.is_from(inner.fork, outer.fork):
            return False
        maps = [layout_of(self.pixels, s.value) for s in (inner, outer)]
        home = self.graph.values[inner.value].call
        assert home is not None
        if None in maps:
            return False
        ways = (self.graph.values[i].call for i in self.graph.between(outer.fork, inner.fork))
        if any(call is not None and call.name.startswith(TO_A_SIZE) for call in ways):
            return False  # a map of a size of its own, which is the stream's by chance
        span = self.graph.mixing(self.graph.between(inner.fork, inner.branch))
        homes = [v.call.scope for v in span if v.call is not None and self.kinds.attends(v)]
        inlined = home.scope in homes or type(home.scope.module).__name__ in ATTENTION_CLASSES
        return not inlined and len({layout.grid for layout in maps if layout}) == 1

    def drop_in_cells(self) -> None:
        """A module that adds up several maps side by side is a cell, as in NASNet: its sums are no blocks."""
        for index, found in list(self.found.items()):
            call = self.graph.values[index].call
            if call is None or id(call.scope) not in self.with_mere_sums:
                continue
            users = {user.name for i in self.graph.children[index] if (user := self.graph.values[i].call)}
            if found.skip_kind == PROJECTED or users <= {"cat", "concat"}:
                del self.found[index]

    def linear_merged(self) -> list[ResidualSum]:
        """Several linear layers on one input added up (re-parameterised blocks) are one unit, read at the last sum.

        Its branch is that of the kind which comes first: a 1 × 1 convolution beside one of 3 × 3 does not change it.
        """
        kept: list[ResidualSum] = []
        for found in (self.found[index] for index in sorted(self.found)):
            before = kept[-1] if kept else found
            pair = (before, found)
            goes_on = before.fork == found.fork and found.skip == before.value
            homes = {call.scope for s in pair if (call := self.graph.values[s.value].call)}
            linear = all(len(self.graph.mixing(self.graph.between(s.fork, s.branch))) == 1 for s in pair)
            if goes_on and len(homes) == 1 and linear:
                branch = min((found, before), key=self._rank).branch
                kept[-1] = replace(found, skip_kind=None, branch=branch)
            else:
                kept.append(found)
        return kept

    def _rank(self, found: ResidualSum) -> int:
        span = self.graph.between(found.fork, found.branch)
        kind = self.kinds.kind(self.kinds.layers_acting(span, found.branch))
        return RANKS.index(kind) if kind else len(RANKS)
