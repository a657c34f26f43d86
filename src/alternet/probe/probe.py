"""Probe: read the feature map at every tap while a model runs, and change or leave out the branch at one of them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Self

import torch

from alternet.arithmetic import computed_in
from alternet.memory import AtOnce
from alternet.probe.edits import Change, Edits, bypassed, changed, silenced
from alternet.probe.replay import Replay, trusted_timeline
from alternet.probe.timeline import Timeline
from alternet.probe.watch import ObservedPass, Visit
from alternet.shapes import FeatureMap, Images, Logits
from alternet.subject.subject import Subject, logits_of, logits_or_none
from alternet.taps.find import Address, Tap, find_tap
from alternet.taps.trace import nothing_hidden, scopes_followed
from alternet.untouched import untouched


class Probe:
    """A model under observation: inside the `with` block in evaluation mode, afterwards as it was.

    Attributes:
        subject: The model with its facts.
        taps: The taps that are read, in forward order.

    Examples:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
        >>> with Probe(Subject(net, name="mine", input_size=(3, 8, 8))) as probe:
        ...     logits = probe.observe(torch.rand(5, 3, 8, 8), lambda tap, feature: print(tap.name, feature.shape))
        0 torch.Size([5, 8, 6, 6])
    """

    def __init__(self, subject: Subject, taps: Sequence[Tap | str] | None = None) -> None:
        """Observe some taps, given themselves or by name, or all of them.

        Raises:
            ValueError: The model has no tap of such a name.
        """
        self.subject = subject
        chosen = subject.taps if taps is None else [self._known(tap) for tap in taps]
        self.taps: tuple[Tap, ...] = tuple(sorted(chosen, key=lambda tap: tap.unit))
        self._edits: Edits = {}
        self._at_once = AtOnce(subject)
        self._timelines: dict[tuple[torch.Size, frozenset[Address]], Timeline] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Switch to evaluation mode, without gradients."""
        self._undo.enter_context(untouched(self.subject.model))
        return self

    def __exit__(self, *error: object) -> None:
        """Put the model back."""
        self._undo.close()

    def logits(self, images: Images) -> Logits:
        """The plain answer to a batch; nothing is looked at, and edits that are on act.

        Without edits the model runs as it does by itself, so that fused attention keeps its fast path, which rounds
        otherwise than the layers that `observe` sees one by one: up to about 1e-5 lie between the two.

        Raises:
            ValueError: The pass went by an edit.
        """
        return self._at_once(self._answer if self._edits else self.subject.logits, images)

    def observe(self, images: Images, visit: Visit) -> Logits:
        """Run a batch and hand over each feature map as soon as it arises; none is kept.

        Args:
            images: In [0, 1]; normalised as the subject declares. Any number of them.
            visit: Called with each tap and its feature [n, c, h, w], in forward order. The feature may be a view of
                memory that the model goes on to use: do not change it, and copy what you keep.

        Raises:
            ValueError: A tap was not reached, or its map has another size than the traced one.

        Returns:
            The logits; [n, 0] where the model gives none.
        """
        return logits_or_none(self._run(images, self.taps_on(images), visit), len(images))

    def taps_on(self, images: Images) -> Sequence[Tap]:
        """The taps with the shapes that maps of such images have; their addresses are the same."""
        traced = self.subject.input_size
        if not self.taps or (traced is not None and tuple(images.shape[-2:]) == traced[1:]):
            return self.taps
        of_size = self.subject.taps_on(images)
        return [find_tap(of_size, tap.name) for tap in self.taps]

    def features(self, images: Images) -> tuple[dict[str, FeatureMap], Logits]:
        """Run a batch and keep a copy of every feature map, by the tap's name."""
        kept: dict[str, FeatureMap] = {}

        def keep(tap: Tap, feature: FeatureMap) -> None:
            kept[tap.name] = feature.clone(memory_format=torch.contiguous_format)

        logits = self.observe(images, keep)
        return kept, logits

    @contextmanager
    def edit(self, edits: Edits) -> Iterator[Self]:
        """Let edits stand in for the calls that they name, in every pass inside the `with` block."""
        before, self._edits = self._edits, {**self._edits, **edits}
        try:
            yield self
        finally:
            self._edits = before

    def intervene(self, tap: Tap | str, change: Change) -> AbstractContextManager[Self]:
        """Let the branch at a tap go through `change` before it is added to the skip. A context manager.

        Args:
            tap: A tap that is `silenceable`, or its name.
            change: Takes the branch as the model lays it out and returns what is added instead, of the same shape.

        Raises:
            ValueError: The unit is no "skip + branch".
        """
        return self.edit(changed(self._known(tap), change))

    def silence(self, tap: Tap | str) -> AbstractContextManager[Self]:
        """Leave out the branch at a tap: the result of the addition is the skip alone. A context manager."""
        return self.edit(silenced(self._known(tap)))

    def bypass(self, tap: Tap | str) -> AbstractContextManager[Self]:
        """Put the identity in the place of the spatial convolutions of a tap's branch. A context manager.

        Raises:
            ValueError: The branch has none, or one that changes channels or resolution.
        """
        return self.edit(bypassed(self._known(tap)))

    def variants(self, images: Images, edits: Iterable[Edits]) -> Iterator[Logits]:
        """Run a batch once for each of several edits, the part of the network ahead of an edit only once for all.

        Args:
            images: In [0, 1]; normalised as the subject declares. Any number of them.
            edits: From `alternet.probe.edits`; `{}` for the model as it is. They must not write into what they are
                given.

        Yields:
            The logits under each of them in turn, bit for bit those of `with probe.edit(...): probe.observe(...)`.

        Raises:
            ValueError: The pass went by an edit.
        """
        variants = [dict(one) for one in edits]
        addresses = frozenset(address for one in variants for address in one)
        few = self.subject.normalise(images[:2])
        timeline = self._timelines.get((few.shape, addresses))
        if timeline is None:  # surveyed once for images of this size
            timeline = trusted_timeline(self.subject, few, addresses)
            self._timelines[few.shape, addresses] = timeline
        replays: dict[tuple[int, int], Replay] = {}

        def answer(one: Edits, part: Images) -> Logits:
            place = int(part.storage_offset()), len(part)
            if self._at_once.most:  # there was no memory to remember all images
                replays.clear()
            if place not in replays:
                replays[place] = Replay(self.subject, self.subject.normalise(part), self._edits, timeline)
            return replays[place].logits(one)

        for one in variants:
            yield self._at_once(partial(answer, one), images)

    def _known(self, tap: Tap | str) -> Tap:
        return find_tap(self.subject.taps, tap) if isinstance(tap, str) else tap

    def _answer(self, images: Images) -> Logits:
        return logits_of(self._run(images, (), lambda tap, feature: None), self.subject.name)

    def _run(self, images: Images, taps: Sequence[Tap], visit: Visit) -> Any:
        """What the model returns in one observed pass, under the edits that are on."""

        def seen(tap: Tap, feature: FeatureMap) -> None:
            with computed_in("float32", feature.device.type):  # the model is rounded, not what is measured of it
                visit(tap, feature)

        rounded = self.subject.precision != "float32"
        model, observed = self.subject.model, ObservedPass(taps, self._edits, seen if rounded else visit)
        inputs = self.subject.normalise(images)
        with (
            self.subject.going_forward(),
            nothing_hidden(),
            scopes_followed(model, observed.enter, observed.leave),
            observed,
        ):
            output = model(inputs)
        observed.check(self.subject.name, self._edits)
        return output
