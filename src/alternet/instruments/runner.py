"""The one runner: progress, storage, resume and scale-out for every instrument."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Instrument, Item, Itemised, Row, Streaming, Tables
from alternet.measurement import PROVENANCE, Measurement, folder_of
from alternet.progress import track
from alternet.scale import from_first, gather, rank, world
from alternet.storage import Journal
from alternet.views.subject import Subject
from alternet.views.untouched import untouched

VERSIONED = ("alternet", "torch", "timm", "numpy")


def run(instrument: Instrument, subject: Subject, batches: Batches, *, out: Path | None) -> Measurement:
    """Measure, or take up what `out` already holds; see `Instrument.measure`."""
    if instrument.needs_labels and not batches.labelled:
        raise ValueError(
            f"{instrument.name} needs labels, but {batches.name!r} has none. "
            "Give a folder with one subfolder a class, or a labelled data set such as photos."
        )
    identity = _identity(instrument, subject, batches)
    folder = None if out is None else folder_of(out, subject.name, instrument.name)
    if folder is not None and (stored := from_first(_stored(folder, identity))):
        return stored
    begun = time.monotonic()
    with untouched(subject.model):
        tables = _tables(instrument, subject, batches, folder, _digest(identity))
    provenance = identity | _circumstances(subject, batches, time.monotonic() - begun)
    measurement = Measurement(
        instrument=instrument.name, tables=_frames(instrument, subject, tables), provenances=(provenance,)
    )
    if folder is not None and out is not None and rank() == 0:
        measurement.save(out)
        Journal(folder, identity="").remove()
    return measurement


def _tables(instrument: Instrument, subject: Subject, batches: Batches, folder: Path | None, identity: str) -> Tables:
    label = f"{instrument.name} · {subject.name}"
    if isinstance(instrument, Streaming):
        return _stream(instrument, subject, batches, label)
    if isinstance(instrument, Itemised):
        return _itemise(instrument, subject, batches, label, folder, identity)
    raise TypeError(f"{type(instrument).__name__} must derive from Streaming or Itemised.")


def _stream(instrument: Streaming, subject: Subject, batches: Batches, label: str) -> Tables:
    share = batches.share(rank(), world())
    sums: dict[str, Tensor] = {}
    with instrument.view(subject) as view:
        for images, targets in track(share, label=label, total=len(share)):
            _add(sums, instrument.sums(view, images, targets))
        total: dict[str, Tensor] = {}
        for part in gather({key: value.cpu() for key, value in sums.items()}):
            _add(total, part)
        if not total:
            raise ValueError(f"{batches.name!r} gave no readable image to measure; skipped: {len(batches.skipped)}.")
        return {name: list(rows) for name, rows in instrument.tables(view, total).items()}


def _add(sums: dict[str, Tensor], part: Mapping[str, Tensor]) -> None:
    for key, value in part.items():
        sums[key] = sums[key] + value if key in sums else value


def _itemise(
    instrument: Itemised, subject: Subject, batches: Batches, label: str, folder: Path | None, identity: str
) -> Tables:
    with instrument.view(subject, batches) as view:
        items = {_key(item): item for item in instrument.items(view)}
        done = {} if folder is None else from_first(Journal(folder, identity=identity).done())
        mine = [key for key in items if key not in done][rank() :: world()]
        fresh = dict(_finished(instrument, view, {key: items[key] for key in mine}, label, folder, identity))
    for part in gather(fresh):
        done |= part
    return instrument.tables([row for key in items for row in done[key]])


def _finished(
    instrument: Itemised, view: Any, items: dict[str, Item], label: str, folder: Path | None, identity: str
) -> Iterator[tuple[str, list[Row]]]:
    progress = track(items.items(), label=label, total=len(items))
    if folder is None:
        for key, item in progress:
            yield key, instrument.rows(view, item)
        return
    with Journal(folder, identity=identity, part=rank()) as journal:
        for key, item in progress:
            rows = [list(row) for row in instrument.rows(view, item)]
            journal.add(key, rows)
            yield key, rows


def _key(item: Item) -> str:
    return json.dumps(item)


def _frames(instrument: Instrument, subject: Subject, tables: Tables) -> dict[str, pd.DataFrame]:
    if set(tables) != set(instrument.columns):
        raise TypeError(f"{instrument.name} filled the tables {sorted(tables)}, declared {sorted(instrument.columns)}.")
    return {
        name: pd.DataFrame([(subject.name, *row) for row in rows], columns=["model", *instrument.columns[name]])
        for name, rows in tables.items()
    }


def _stored(folder: Path, identity: dict[str, Any]) -> Measurement | None:
    if rank() != 0 or not (folder / PROVENANCE).exists():
        return None
    stored = Measurement.load(folder)
    for fact, now in identity.items():
        if (before := stored.provenance.get(fact)) != now:
            raise ValueError(
                f"{folder} holds a measurement with another {fact} ({_short(before)}, now {_short(now)}). "
                "Give another --out, or delete that folder to measure again."
            )
    return stored


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def _identity(instrument: Instrument, subject: Subject, batches: Batches) -> dict[str, Any]:
    """What decides the numbers; a stored result is taken up only if all of it agrees."""
    facts = {
        "instrument": instrument.name,
        "settings": instrument.settings,
        "model": {
            "name": subject.name,
            "class": type(subject.model).__name__,
            "parameters": sum(p.numel() for p in subject.model.parameters()),
            "weights_sha256": subject.weights_sha256,
        },
        "input": {"size": subject.input_size, "mean": subject.mean, "std": subject.std},
        "data": {"name": batches.name, "fingerprint": batches.fingerprint},
        "dtype": str(subject.dtype).removeprefix("torch."),
    }
    return json.loads(json.dumps(facts))


def _digest(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _circumstances(subject: Subject, batches: Batches, seconds: float) -> dict[str, Any]:
    skipped = sorted({name for part in gather(list(batches.skipped)) for name in part})
    return {
        "images": batches.images,
        "skipped": skipped,
        "device": subject.device.type,
        "processes": world(),
        "seconds": round(seconds, 3),
        "versions": {name: version(name) for name in VERSIONED},
    }
