"""Passes: how work meets the data, as sums over one pass or item by item, shared among all processes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alternet.distributed import rank, together, world_size
from alternet.instruments.moments import double
from alternet.instruments.work import Batch, OnePass, PerItem, Row, Tables
from alternet.probe.probe import Probe
from alternet.progress import track
from alternet.seeding import noise
from alternet.storage import Journal
from alternet.taps.find import Tap

Sums = dict[str, Tensor]


def stream(works: Sequence[OnePass], *, label: str) -> list[Tables]:
    """One pass over the data for several works on the same data that look at the same things; the tables of each.

    Every process sums over its shard of the batches; all of them get the tables.
    """
    subject, batches, reads_features = works[0].subject, works[0].batches, works[0].reads_features

    def my_shard() -> list[Sums]:
        shard = batches.shard(rank(), world_size())
        sums: list[Sums] = [{} for _ in works]
        with ExitStack() as begun:
            probe = begun.enter_context(Probe(subject, None if reads_features else []))
            # only the size of these images matters: the shapes of the taps follow from it
            taps = probe.taps_on(noise(batches.shape))
            for work in works:
                work.taps = taps
                begun.enter_context(work)
            for images, targets in track(shard, label=label, total=len(shard)):
                for total, part in zip(sums, _parts(works, probe, images, targets), strict=True):
                    _add(total, part)
        return sums

    totals: list[Sums] = [{} for _ in works]
    for sums in together(my_shard):
        for total, part in zip(totals, sums, strict=True):
            _add(total, {key: value.cpu() for key, value in part.items()})
    if not all(totals):
        raise ValueError(f"{batches.name!r} gave no image to measure. Check that its files can be read.")
    return [work.tables(total) for work, total in zip(works, totals, strict=True)]


def _parts(works: Sequence[OnePass], probe: Probe, images: Tensor, targets: Tensor) -> list[Mapping[str, Tensor]]:
    """What one batch adds to the sums of each work."""
    readings: list[Sums] = [{} for _ in works]

    def visit(tap: Tap, feature: Tensor) -> None:
        # half precision is too coarse for sums and squares
        feature = feature if feature.dtype == torch.float64 else feature.float()
        for work, kept in zip(works, readings, strict=True):
            if (reading := work.read(tap, feature)) is not None:
                kept[tap.name] = reading

    logits = probe.observe(images, visit) if works[0].reads_features else probe.logits(images)
    if not logits.shape[1] and any(work.instrument.spec.needs & {"labels", "logits"} for work in works):
        probe.logits(images)  # says what the model gives in their place
    batch = Batch(images, targets, logits)
    return [work.part(batch, kept) for work, kept in zip(works, readings, strict=True)]


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
