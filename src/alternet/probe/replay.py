"""Replay: one batch through a model again and again, what comes before the first edit of a pass taken from memory.

The first pass keeps the outputs of modules. In each later pass, modules whose call was over before the edit hand out
what is kept instead of computing it: their `forward` is replaced for the length of the pass. So L edits at even
distances cost about L/2 passes.

Whether that gives the same is tried out beforehand, with two images and no edit: taken up at the moment of each edit,
after a pass of other images, it must end as the first one did. Where it does not, as with modules that leave something
behind for others, or where the order of the calls depends on the images, nothing is taken from memory and every pass is
a whole one.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from alternet.probe.edits import Edits
from alternet.probe.timeline import Timeline, survey
from alternet.probe.watch import ObservedPass
from alternet.shapes import Logits
from alternet.subject.subject import Subject, logits_of
from alternet.taps.find import Address
from alternet.taps.trace import nothing_hidden, scopes_followed
from alternet.untouched import no_inference

PLAIN = (Tensor, bool, int, float, str, type(None))
"""Types of which a copy is as good as the original, beside nests of them."""


def trusted_timeline(subject: Subject, inputs: Tensor, addresses: Collection[Address]) -> Timeline:
    """The order of the calls, surveyed and tried out with a few images; without any call where memory would deceive.

    Args:
        subject: The model, which a `Probe` keeps as it was.
        inputs: Two normalised images on its device, or the only one.
        addresses: Calls of functions that later passes will edit.

    Raises:
        ValueError: The pass went by an address.
    """
    timeline = survey(subject, inputs, addresses)
    return timeline if Replay(subject, inputs, {}, timeline).faithful else replace(timeline, calls=())


class Replay:
    """A batch, and what is remembered of its first pass.

    Args:
        subject: The model, which a `Probe` keeps as it was.
        inputs: The batch, normalised, on the model's device.
        edits: What is changed in every pass.
        timeline: The order of the calls, with the moments of all edits that are to come.
    """

    def __init__(self, subject: Subject, inputs: Tensor, edits: Edits, timeline: Timeline) -> None:
        self.subject, self.inputs, self.edits, self.timeline = subject, inputs, edits, timeline
        self.memory: dict[int, tuple[Any, Counter]] = {}
        self.first = self._pass(edits, keep=timeline.wanted)

    def logits(self, edits: Edits) -> Logits:
        """The logits under these edits, whose addresses the timeline knows.

        Raises:
            ValueError: The pass went by an edit.
        """
        if not edits:
            return self.first
        first = min(self.timeline.moments[address] for address in edits)
        return self._pass({**self.edits, **edits}, given=self.timeline.ahead(first), due=edits)

    @property
    def faithful(self) -> bool:
        """Whether the pass, taken up at any of the moments without an edit, ends as the first one did.

        Other images pass first, so that what modules left behind belongs to them. The latest moment comes first: what
        was left ahead of a moment is then still theirs when its turn comes.
        """
        self._pass(self.edits, inputs=1 - self.inputs)
        # Some kernels of a GPU round otherwise every time.
        tolerance = 0.0 if self.first.device.type == "cpu" else 1e-3
        try:
            for moment in sorted(set(self.timeline.moments.values()), reverse=True):
                again = self._pass(self.edits, given=self.timeline.ahead(moment))
                if not torch.allclose(self.first, again, rtol=tolerance, atol=tolerance, equal_nan=True):
                    return False
            return True
        except Exception:  # what a module left behind is missing; an error of another kind comes up again
            return False

    def _pass(
        self,
        edits: Edits,
        *,
        inputs: Tensor | None = None,
        given: Collection[int] = (),
        keep: Collection[int] = (),
        due: Collection[Address] = (),
    ) -> Logits:
        run = _ReplayedPass(self.timeline, edits, self.memory, given=self.memory.keys() & given, keep=keep)
        paths = {self.timeline.calls[number].path for number in (*run.given, *keep)}
        model = self.subject.model
        with (
            no_inference(),
            torch.no_grad(),
            self.subject.going_forward(),
            nothing_hidden(),
            _standing_in(model, paths, run.answer),
            scopes_followed(model, run.enter, run.leave),
            run,
        ):
            output = model((self.inputs if inputs is None else inputs).clone())  # a model may write into its input
        if keep and not run.as_foreseen:
            self.memory.clear()  # numbers may stand for other calls than in the timeline
        run.check(self.subject.name, due)
        return logits_of(output, self.subject.name)


class _ReplayedPass(ObservedPass):
    """One pass in which some calls of modules are answered from memory, or kept there."""

    def __init__(
        self,
        timeline: Timeline,
        edits: Edits,
        memory: dict[int, tuple[Any, Counter]],
        *,
        given: Collection[int],
        keep: Collection[int],
    ) -> None:
        super().__init__((), edits, lambda *_: None)
        # Counted in every pass, whatever it edits: what memory gives back includes the counts so far.
        self.functions |= {address.function for address in timeline.moments}
        self.calls, self.memory, self.given, self.keep = timeline.calls, memory, given, keep
        self.next = 0  # number of the call that begins next, if all goes as in the timeline
        self.open: list[int] = []
        self.unforeseen = 0

    def enter(self, path: str, module: object, args: tuple, kwargs: dict) -> None:
        super().enter(path, module, args, kwargs)
        self.unforeseen += self.next >= len(self.calls) or self.calls[self.next].path != path
        self.open.append(self.next)
        self.next += 1

    def leave(self, path: str, module: object, args: tuple, kwargs: dict, output: Any) -> None:
        super().leave(path, module, args, kwargs, output)
        self.open.pop()

    def answer(self, path: str, forward: Callable, *args: Any, **kwargs: Any) -> Any:
        """In place of a module's forward: its output from memory, or computed and perhaps kept."""
        number = self.open[-1] if self.path[-1] == path else -1
        if number in self.given:
            output, counts = self.memory[number]
            self.counts, self.next = counts.copy(), self.calls[number].last + 1
            return self._safe(number, output)
        output = forward(*args, **kwargs)
        if number in self.keep and _copyable(output):
            self.memory[number] = self._safe(number, output), self.counts.copy()
        return output

    def _safe(self, number: int, output: Any) -> Any:
        """The output itself where nobody will change it, else a copy, laid out alike."""
        return output if isinstance(output, Tensor) and self.calls[number].lasting else deepcopy(output)

    @property
    def as_foreseen(self) -> bool:
        """Whether the calls came in the order of the timeline."""
        return not self.unforeseen and self.next == len(self.calls)


@contextmanager
def _standing_in(model: nn.Module, paths: Collection[str], answer: Callable) -> Iterator[None]:
    """Let `answer(path, forward, ...)` stand in for the forward of the modules with these paths."""
    with ExitStack() as undo:
        for path in paths:
            module = model.get_submodule(path)
            own, forward = "forward" in vars(module), module.forward
            if own:  # wrappers of models put a forward of their own there, which must come back
                undo.callback(vars(module).__setitem__, "forward", forward)
            else:
                undo.callback(vars(module).__delitem__, "forward")
            vars(module)["forward"] = partial(answer, path, forward)
        yield


def _copyable(output: Any) -> bool:
    """Whether an output is made of tensors and plain values alone, so that a copy of it is as good."""
    if isinstance(output, dict):
        return all(map(_copyable, output.values()))
    return isinstance(output, PLAIN) or (isinstance(output, tuple | list) and all(map(_copyable, output)))
