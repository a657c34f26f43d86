"""Passes: how instruments meet the data, as sums over one pass or as items, shared among all processes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from alternet.data.batches import Batches
from alternet.distributed import gather, rank, world_size
from alternet.instruments.base import Item, Itemised, Observation, Row, Streaming, Tables
from alternet.instruments.moments import double
from alternet.progress import track
from alternet.storage import Journal
from alternet.subject.subject import Subject
from alternet.taps.find import Tap

T = TypeVar("T")
Sums = dict[str, Tensor]


def stream(instruments: Sequence[Streaming], subject: Subject, batches: Batches, *, label: str) -> list[Tables]:
    """One pass over the data for several instruments with the same view; the tables of each.

    Every process sums over its share of the batches; all of them get the tables.
    """

    def my_share() -> tuple[Sequence[Tap], list[Sums]]:
        share = batches.shard(rank(), world_size())
        sums: list[Sums] = [{} for _ in instruments]
        with instruments[0].view(subject) as view:
            for images, targets in track(share, label=label, total=len(share)):
                for total, part in zip(sums, _one_batch(instruments, view, images, targets), strict=True):
                    _add(total, part)
            return tuple(view.taps), sums

    parts = together(my_share)
    totals: list[Sums] = [{} for _ in instruments]
    for _, sums in parts:
        for total, part in zip(totals, sums, strict=True):
            _add(total, {key: value.cpu() for key, value in part.items()})
    if not all(totals):
        raise ValueError(f"{batches.name!r} gave no image to measure. Check that its files can be read.")
    taps = parts[0][0]
    return [instrument.tables(taps, total) for instrument, total in zip(instruments, totals, strict=True)]


def _one_batch(
    instruments: Sequence[Streaming], view: Observation, images: Tensor, targets: Tensor
) -> list[Mapping[str, Tensor]]:
    readings: list[Sums] = [{} for _ in instruments]

    def visit(tap: Tap, feature: Tensor) -> None:
        feature = feature if feature.dtype == torch.float64 else feature.float()
        for instrument, kept in zip(instruments, readings, strict=True):
            if (reading := instrument.read(tap, feature)) is not None:
                kept[tap.name] = reading

    logits = view.observe(images, visit)
    return [instrument.sums(kept, logits, targets) for instrument, kept in zip(instruments, readings, strict=True)]


def _add(total: Sums, part: Mapping[str, Tensor]) -> None:
    for key, value in part.items():
        before = total.get(key)
        if before is not None and before.shape != value.shape:
            raise ValueError(
                f"The sums of {key!r} have the shape {tuple(before.shape)} in one batch and {tuple(value.shape)} in "
                "another. Measure on images of one size."
            )
        total[key] = double(value) if before is None else before + double(value)


def itemise(
    instrument: Itemised, subject: Subject, batches: Batches, *, label: str, folder: Path | None, identity: str
) -> Tables:
    """Every item once, dealt out to the processes, in any order and after any number of interruptions."""
    done: dict[str, list[Row]] = {}
    if folder is not None:
        (done, *_) = together(lambda: Journal(folder, identity=identity).done() if rank() == 0 else {})

    def my_share() -> tuple[list[str], dict[str, list[Row]]]:
        with instrument.view(subject, batches) as view:
            items = {json.dumps(item): item for item in instrument.items(view)}
            mine = [key for key in items if key not in done][rank() :: world_size()]
            fresh = _finished(instrument, view, {key: items[key] for key in mine}, label)
            return list(items), dict(fresh if folder is None else _noted(fresh, folder, identity))

    parts = together(my_share)
    for _, fresh in parts:
        done |= fresh
    return instrument.tables([row for key in parts[0][0] for row in done[key]])


def _finished(
    instrument: Itemised, view: Any, items: Mapping[str, Item], label: str
) -> Iterator[tuple[str, list[Row]]]:
    for key, item in track(items.items(), label=label, total=len(items)):
        yield key, [plain(row) for row in instrument.rows(view, item)]


def _noted(finished: Iterator[tuple[str, list[Row]]], folder: Path, identity: str) -> Iterator[tuple[str, list[Row]]]:
    """Pass finished items on once they are on the disk."""
    with Journal(folder, identity=identity, part=rank()) as journal:
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


def together(work: Callable[[], T]) -> list[T]:
    """What the work gave in every process, in order of rank; an error in one of them is an error in all.

    So no process waits for another one that has given up.
    """
    mine, error = None, None
    try:
        mine = work()
    except Exception as failure:
        error = failure
    outcomes: list[tuple[Any, str | None]] = gather(
        (mine, None if error is None else f"{type(error).__name__}: {error}")
    )
    if error is not None:
        raise error
    for number, (_, failure) in enumerate(outcomes):
        if failure is not None:
            raise RuntimeError(f"Process {number} of {world_size()} failed. {failure}")
    return [result for result, _ in outcomes]
