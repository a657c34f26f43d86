"""Ancestry in a traced pass: what a value was made from, where two values part, and which calls lie between."""

from collections.abc import Iterator
from functools import cached_property

from alternet.taps.operations import ATTENTION, CONVOLUTIONS, FOURIER, POOLS, PRODUCTS, SEQUENCES
from alternet.taps.trace import Call, Ref, Trace, Value

MIXING = CONVOLUTIONS | POOLS | PRODUCTS | ATTENTION | FOURIER | SEQUENCES | {"linear", "opaque"}
"""Functions that mix channels or positions; all others act on each element, or only move or normalise it."""


class Graph:
    """Ancestors and descendants of the values that come from the images.

    The ancestors of a value are the bits of an integer, which makes "is this made from that" and "what lies between"
    cheap for networks of thousands of calls.
    """

    def __init__(self, trace: Trace) -> None:
        """Walk once through the trace."""
        self.trace = trace
        self.values = trace.values
        self.ancestors: list[int] = []
        for value in trace.values:
            bits = 1 << value.index if value.from_images else 0
            for parent in self.parents(value.index):
                bits |= self.ancestors[parent]
            self.ancestors.append(bits)

    def parents(self, index: int) -> list[int]:
        """The values from the images that a value was made from."""
        call = self.values[index].call
        return [] if call is None else [i for i in call.sources if self.values[i].from_images]

    @cached_property
    def children(self) -> dict[int, list[int]]:
        """The values made from each value."""
        children: dict[int, list[int]] = {value.index: [] for value in self.values}
        for value in self.values:
            for parent in set(self.parents(value.index)):
                children[parent].append(value.index)
        return children

    def is_from(self, later: int, earlier: int) -> bool:
        """Whether one value is made from another, or is it."""
        return bool(self.ancestors[later] >> earlier & 1)

    def fork(self, a: int, b: int) -> int:
        """The last value that both were made from."""
        return (self.ancestors[a] & self.ancestors[b]).bit_length() - 1

    def between(self, earlier: int, later: int) -> list[int]:
        """The values made from `earlier` that `later` is made from, in order, without `earlier`."""
        bits = self.ancestors[later] >> (earlier + 1)
        found = (earlier + 1 + i for i in _ones(bits))
        return [i for i in found if self.is_from(i, earlier)]

    def mixing(self, indices: list[int]) -> list[Value]:
        """Those of the values that a mixing function made, one a call."""
        values = (self.values[i] for i in indices)
        return [v for v in values if v.call is not None and v.call.name in MIXING and v.place == 0]

    def dominators(self) -> list[int]:
        """The values that everything flows through on the way from the images to the output, in order."""
        final = next(iter(self.trace.outputs), 0)
        above: dict[int, int] = {self.trace.image: self.trace.image}  # the last dominator ahead of each value
        for i in _ones(self.ancestors[final]):
            parents = [p for p in self.parents(i) if p in above]
            if i in above or not parents:
                continue
            meet, *others = parents
            for parent in others:
                while meet != parent:  # the later of the two goes up, since numbers fall on the way up
                    meet, parent = min(meet, parent), above[max(meet, parent)]
            above[i] = meet
        chain = [final]
        while chain[-1] in above and above[chain[-1]] != chain[-1]:
            chain.append(above[chain[-1]])
        return chain[::-1]


def operand(call: Call, position: int, name: str) -> int | None:
    """The value given as an argument of a call; None where a plain number was given."""
    argument = call.argument(position, name)
    return argument.value if isinstance(argument, Ref) else None


def _ones(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
