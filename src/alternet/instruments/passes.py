"""Passes: how work meets the data, as sums over one pass or item by item, shared among all processes."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alternet.distributed import rank, together, world_size
from alternet.instruments.moments import double
from alternet.instruments.work import Batch, OnePass, PerItem, Row, Tables
from alternet.memory import AtOnce, reason, short_of_memory
from alternet.probe.probe import Probe
from alternet.progress import track
from alternet.seeding import noise
from alternet.storage import Journal
from alternet.taps.find import Tap
from alternet.taps.trace import nothing_hidden

Sums = dict[str, Tensor]


def stream(works: Sequence[OnePass], *, label: str) -> list[Tables | Exception]:
    """One pass over the images for several works on the same ones: the tables of each, or what kept it from them.

    Every process sums over its shard of the batches, those of the first work; all of them get the tables. A work that
    fails takes no further part, and costs the others nothing.
    """
    members: list[_Member] = []
    together(lambda: members.extend(_passed(works, label)))
    outcomes: list[Tables | Exception] = []
    for member in members:
        try:
            outcomes.append(member.tables())
        except Exception as error:
            outcomes.append(error)
    return outcomes


class _Member:
    """A work in a pass, with the sums of this process."""

    def __init__(self, work: OnePass) -> None:
        self.work, self.sums, self.readings = work, Sums(), Sums()
        self.error: Exception | None = None

    def attempt(self, step: Callable[..., object], *given: Any) -> None:
        """Take a step, unless one has failed before."""
        if self.error is None:
            try:
                step(*given)
            except Exception as error:
                if short_of_memory(error):
                    raise  # with fewer images at a time it may go
                self.error = error

    def read(self, tap: Tap, feature: Tensor) -> None:
        if (reading := self.work.read(tap, feature)) is not None:
            self.readings[tap.name] = reading

    def add(self, batch: Batch, probe: Probe) -> None:
        if not batch.logits.shape[1] and self.work.instrument.spec.needs & {"labels", "logits"}:
            probe.logits(batch.images)  # says what the model gives in their place
        readings, self.readings = self.readings, Sums()
        _add(self.sums, self.work.part(batch, readings))

    def tables(self) -> Tables:
        """From the sums of all processes; an error in one of them is an error in all."""
        total = Sums()
        for sums in together(self._mine):
            _add(total, sums)
        if not total:
            raise ValueError(f"{self.work.batches.name!r} gave no image to measure. Check that its files can be read.")
        return self.work.tables(total)

    def _mine(self) -> Sums:
        if self.error is not None:
            raise self.error
        return {key: value.cpu() for key, value in self.sums.items()}


def _passed(works: Sequence[OnePass], label: str) -> list[_Member]:
    """The works after a pass, which is made again with batches in smaller parts where the memory was too small."""
    at_once = AtOnce(works[0].subject)
    while True:
        members = [_Member(work) for work in works]
        try:
            _pass(members, label, at_once)
            return members
        except RuntimeError as error:
            if not short_of_memory(error):
                raise
            said = reason(error)  # not the error, which holds what was computed
        if compared := [work.instrument.spec.name for work in works if work.compares]:
            raise MemoryError(
                f"Out of memory with {at_once.tried} images of {at_once.name} at a time ({said}), which {compared[0]} "
                "compares with one another. Free memory on the device, or give smaller batches, which are another "
                "measurement."
            )
        at_once.halve(at_once.tried, said)


def _pass(members: Sequence[_Member], label: str, at_once: AtOnce) -> None:
    """Show this process's share of the batches to all members."""
    subject, batches = members[0].work.subject, members[0].work.batches
    shard, reading = batches.shard(rank(), world_size()), [member for member in members if member.work.reads_features]
    # No fused attention, which rounds otherwise than what is observed layer by layer: company shall change no number.
    with nothing_hidden(), ExitStack() as begun:
        probe = begun.enter_context(Probe(subject, None if reading else []))
        # only the size of these images matters: the shapes of the taps follow from it
        taps = probe.taps_on(noise(batches.shape))
        for member in members:
            member.work.taps = taps
            member.attempt(begun.enter_context, member.work)

        def visit(tap: Tap, feature: Tensor) -> None:
            # half precision is too coarse for sums and squares
            feature = feature if feature.dtype == torch.float64 else feature.float()
            for member in reading:
                member.attempt(member.read, tap, feature)

        whole = any(member.work.compares for member in members)
        for images, targets in _in_parts(track(shard, label=label, total=len(shard)), partial(at_once.of, whole=whole)):
            if all(member.error for member in members):
                break
            logits = probe.observe(images, visit) if reading else probe.logits(images)
            for member in members:
                member.attempt(member.add, Batch(images, targets, logits), probe)


def _in_parts(
    batches: Iterable[tuple[Tensor, Tensor]], at_once: Callable[[Tensor], int]
) -> Iterator[tuple[Tensor, Tensor]]:
    for images, targets in batches:
        size = at_once(images)
        yield from zip(images.split(size), targets.split(size), strict=True)


def _add(total: Sums, part: Mapping[str, Tensor]) -> None:
    for key, value in part.items():
        before = total.get(key)
        if before is not None and before.shape != value.shape:
            raise ValueError(
                f"The sums of {key!r} have the shape {tuple(before.shape)} in one batch and {tuple(value.shape)} in "
                "another. Measure on images of one size."
            )
        total[key] = double(value) if before is None else before + double(value)


def itemise(work: PerItem, *, label: str, journal: Journal | None) -> Tables:
    """Every item once, dealt out to the processes, in any order and after any number of interruptions.

    Args:
        work: What is measured.
        label: What the progress bar says.
        journal: Where this process notes finished items; None keeps none.
    """
    done: dict[str, list[Row]] = {}
    if journal is not None:
        (done, *_) = together(lambda: journal.done() if rank() == 0 else {})
        try:  # before the work, not after it
            _records(work, [row for rows in done.values() for row in rows])
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"A half-finished measurement of {work.instrument.spec.name} holds rows of an older version. "
                "Give another --out, or delete that folder to start again."
            ) from error

    def my_share() -> tuple[list[str], dict[str, list[Row]]]:
        with work:
            items = {json.dumps(item): item for item in work.items()}
            # the processes list the same items in the same order, so no two take the same one
            mine = [key for key in items if key not in done][rank() :: world_size()]
            todo = track(mine, label=label, total=len(mine))
            fresh = ((key, [plain(row) for row in work.rows(items[key])]) for key in todo)
            return list(items), dict(fresh if journal is None else _noted(fresh, journal))

    parts = together(my_share)
    for _, fresh in parts:
        done |= fresh
    return work.tables(_records(work, [row for key in parts[0][0] for row in done[key]]))


def _records(work: PerItem, rows: Sequence[Row]) -> Sequence[Any]:
    return rows if work.record is None else [work.record(*row) for row in rows]


def _noted(finished: Iterator[tuple[str, list[Row]]], journal: Journal) -> Iterator[tuple[str, list[Row]]]:
    """Pass finished items on once they are on the disk."""
    with journal:
        for key, rows in finished:
            try:
                journal.add(key, rows)
            except OSError as error:
                raise OSError(
                    f"The rows of {key} could not be written to {journal.path} ({error.strerror or error}). All items "
                    "before it are kept: make room there and start again."
                ) from error
            yield key, rows


def plain(row: Row) -> Row:
    """A row as plain numbers and text, without NumPy's and torch's scalars.

    Examples:
        >>> plain([torch.tensor(1.5), np.int64(2), "conv"])
        [1.5, 2, 'conv']
    """
    return [value.item() if isinstance(value, Tensor | np.generic) else value for value in row]
