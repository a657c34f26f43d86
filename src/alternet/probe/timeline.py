"""Timeline: the order in which modules are called in one pass, and which of these calls memory can answer later.

A later pass may take the output of a call from memory if nothing else follows from the call: it wrote into no tensor
that existed before it, and it hands out no tensor, nor a view of one, that existed before it. An activation in place,
a dropout that is off and a block that adds to its own input are therefore run again: they do no work, or the modules
within them do it, whose calls memory can answer. Also known is which outputs are written into later on, so that memory
keeps them as they were.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from alternet.subject.subject import Subject
from alternet.taps.find import Address
from alternet.taps.trace import Scope, Trace, memory_of, record


@dataclass(frozen=True, kw_only=True)
class TimedCall:
    """One call of a module.

    Attributes:
        path: Of the module.
        ended: The moment at which it ended. Moments are numbers of values in the trace.
        last: Number of the last call that began before it ended.
        closed: Whether its output is all that follows from it.
        lasting: Whether nobody writes into its output later.
    """

    path: str
    ended: int
    last: int
    closed: bool
    lasting: bool


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The calls of modules in one pass, by number in the order in which they begin, and the moments of some functions.

    Attributes:
        calls: All calls of modules; the first is that of the model.
        moments: When the functions at some addresses are called.
    """

    calls: tuple[TimedCall, ...]
    moments: dict[Address, int]

    def ahead(self, moment: int) -> frozenset[int]:
        """Numbers of the outermost calls that are over at a moment and that memory can answer."""
        numbers, number = [], 0
        while number < len(self.calls):
            call = self.calls[number]
            if call.closed and call.ended <= moment:
                numbers.append(number)
                number = call.last
            number += 1
        return frozenset(numbers)

    @cached_property
    def wanted(self) -> frozenset[int]:
        """Numbers of the calls that are ahead of any of the moments."""
        return frozenset().union(*(self.ahead(moment) for moment in self.moments.values()))


def survey(subject: Subject, inputs: Tensor, addresses: Collection[Address]) -> Timeline:
    """Trace one pass of a few images; whoever calls this keeps the model as it was.

    Args:
        subject: The model.
        inputs: Normalised images on its device.
        addresses: Calls of functions that a later pass will change.

    Raises:
        ValueError: The pass went by an address.
    """
    trace = record(subject.model, inputs.clone())
    found: dict[tuple[str, str, int], int] = {}
    for value in trace.values:
        if value.call is not None:
            found.setdefault((value.call.scope.path, value.call.name, value.call.ordinal), value.index)
    if missing := sorted({address.module for address in addresses if address.spot not in found}):
        raise ValueError(
            f"{subject.name!r} did not reach {', '.join(missing)} in this pass, though it did when it was traced. A "
            "model whose path depends on the input cannot be changed there; leave these units out."
        )
    scopes = trace.scopes[1:]
    last = {id(scope): number for number, scope in enumerate(scopes)}
    for scope in reversed(scopes):  # calls within a call come after it, and are thus settled before it
        if id(scope.parent) in last:
            last[id(scope.parent)] = max(last[id(scope.parent)], last[id(scope)])
    lives = _Lifetimes(trace)
    calls = tuple(
        TimedCall(
            path=scope.path,
            ended=scope.ended,
            last=last[id(scope)],
            closed=lives.closed(scope),
            lasting=lives.lasting(scope),
        )
        for scope in scopes
    )
    return Timeline(calls=calls, moments={address: found[address.spot] for address in addresses})


class _Lifetimes:
    """When each tensor and each piece of memory is first and last seen in a trace, which holds them all."""

    def __init__(self, trace: Trace) -> None:
        self.values = trace.values
        self.first: dict[int, int] = {}
        self.first_in_memory: dict[int, int] = {0: -1}  # where that is not known, as if it had been there before all
        self.last: dict[int, int] = {}
        for value in trace.values:
            self.first.setdefault(id(value.tensor), value.index)
            self.first_in_memory.setdefault(memory_of(value.tensor), value.index)
            self.last[id(value.tensor)] = value.index

    def closed(self, scope: Scope) -> bool:
        """Whether a call made something, and neither wrote into what existed before it nor hands that out."""
        made = self.values[scope.begun : scope.ended]
        wrote = any(self.first[id(value.tensor)] < scope.begun for value in made)
        given = [self.first_in_memory[memory_of(self.values[index].tensor)] for index in scope.outputs]
        return not wrote and min(given, default=-1) >= scope.begun

    def lasting(self, scope: Scope) -> bool:
        """Whether nothing writes into the outputs of a call once it is over."""
        return all(self.last[id(self.values[index].tensor)] < scope.ended for index in scope.outputs)
