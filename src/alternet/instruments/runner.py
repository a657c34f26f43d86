"""The one runner: which results exist, which instruments share a pass, and storing what was measured."""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from alternet.data.batches import Batches
from alternet.distributed import gather, rank, world_size
from alternet.instruments.base import Instrument, Itemised, Row, Streaming, Tables
from alternet.instruments.passes import itemise, plain, stream, together
from alternet.measurement import PROVENANCE, Measurement, folder_of
from alternet.storage import Journal
from alternet.subject.subject import Subject
from alternet.untouched import untouched

VERSIONED = ("alternet", "torch", "timm", "numpy")

Result = Measurement | Exception


class NotStoredError(OSError):
    """A measurement that is complete but could not be written; `measurement` holds it."""

    def __init__(self, message: str, measurement: Measurement) -> None:
        super().__init__(message)
        self.measurement = measurement


def run(instrument: Instrument, subject: Subject, batches: Batches, *, out: Path | None) -> Measurement:
    """Measure, or take up what `out` already holds; see `Instrument.measure`."""
    ((_, result),) = measure_each([instrument], subject, batches, out=out)
    if isinstance(result, Exception):
        raise result
    return result


def measure_each(
    instruments: Sequence[Instrument], subject: Subject, batches: Batches, *, out: Path | None = None
) -> Iterator[tuple[Instrument, Result]]:
    """Measure with several instruments; those that look at the model in the same way share one pass over the data.

    Args:
        instruments: What to measure.
        subject: The model; it is left exactly as it was.
        batches: The images.
        out: Folder to store the results in, as they come.

    Yields:
        Each instrument, as soon as it is finished, with its measurement or with the error that kept it from one. What
        `out` already holds comes first. An error in one instrument does not cost the others their results.
    """
    waiting: list[_Job] = []
    for instrument in instruments:
        try:
            job = _job(instrument, subject, batches, out)
            stored = job.taken_up()
        except Exception as error:
            yield instrument, error
            continue
        if stored is None:
            waiting.append(job)
        else:
            yield instrument, stored
    for jobs in _sharing(waiting):
        for job, result in _measured(jobs):
            yield job.asked, result


def _job(instrument: Instrument, subject: Subject, batches: Batches, out: Path | None) -> "_Job":
    if instrument.needs_labels and not batches.labelled:
        raise ValueError(
            f"{instrument.name} needs labels, but {batches.name!r} has none. "
            "Give a folder with one subfolder a class (at least two), or a labelled data set such as photos."
        )
    if not batches.images:
        raise ValueError(f"{batches.name!r} holds no image to measure. Give a larger limit or other data.")
    ready = instrument.ready(subject)
    return _Job(instrument, ready, subject, ready.prepare(batches), out)


@dataclass(frozen=True)
class _Job:
    """One instrument, as it was asked for and as it is ready, on one model and data, and where its result belongs."""

    asked: Instrument
    instrument: Instrument
    subject: Subject
    batches: Batches
    out: Path | None

    @property
    def folder(self) -> Path | None:
        return None if self.out is None else folder_of(self.out, self.subject.name, self.instrument.name)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers; a stored result is taken up only if all of it agrees."""
        facts = {
            "instrument": self.instrument.name,
            "settings": self.instrument.settings,
            **self.subject.facts,
            "data": {"name": self.batches.name, "fingerprint": self.batches.fingerprint},
            **self.instrument.facts,
        }
        return json.loads(json.dumps(facts))

    def taken_up(self) -> Measurement | None:
        """The stored result, or nothing, after a check that the measurement can be stored."""
        if self.folder is None:
            return None
        folder = self.folder
        stored, *_ = together(lambda: _stored(folder, self.identity) if rank() == 0 else None)
        return stored


def _tried(work: Any) -> Any:
    try:
        return work()
    except Exception as error:
        return error


def _sharing(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """Streaming instruments with equal views of the same batches together, every other one by itself."""
    groups: list[list[_Job]] = []
    for job in jobs:
        for group in groups:
            if _view(job) is not None and _view(job) == _view(group[0]) and job.batches is group[0].batches:
                group.append(job)
                break
        else:
            groups.append([job])
    return groups


def _view(job: _Job) -> Any:
    return job.instrument.view if isinstance(job.instrument, Streaming) else None


def _measured(jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Result]]:
    begun = time.monotonic()
    tables = _tried(lambda: _tables(jobs))
    if isinstance(tables, Exception) and len(jobs) > 1:
        for job in jobs:  # one of them may be at fault, the others shall not pay for it
            yield from _measured([job])
        return
    if isinstance(tables, Exception):
        yield jobs[0], tables
        return
    seconds = time.monotonic() - begun
    names = [job.instrument.name for job in jobs]
    for job, filled in zip(jobs, tables, strict=True):
        facts = {"seconds": round(seconds, 3), "same_pass": [name for name in names if name != job.instrument.name]}
        yield job, _tried(lambda job=job, filled=filled, facts=facts: _kept(job, filled, facts))


def _tables(jobs: Sequence[_Job]) -> list[Tables]:
    subject, batches = jobs[0].subject, jobs[0].batches
    label = f"{' + '.join(job.instrument.name for job in jobs)} · {subject.name}"
    streaming = [job.instrument for job in jobs if isinstance(job.instrument, Streaming)]
    with _undisturbed(subject):
        if streaming:
            return stream(streaming, subject, batches, label=label)
        (job,) = jobs
        if not isinstance(job.instrument, Itemised):
            raise TypeError(f"{type(job.instrument).__name__} must derive from Streaming or Itemised.")
        digest = hashlib.sha256(json.dumps(job.identity, sort_keys=True).encode()).hexdigest()
        return [itemise(job.instrument, subject, batches, label=label, folder=job.folder, identity=digest)]


@contextmanager
def _undisturbed(subject: Subject) -> Iterator[None]:
    """The model as it will be left, and no trace of the modes that the caller's code runs in."""
    with (
        torch.inference_mode(False),
        torch.autocast(subject.device.type, enabled=False),
        untouched(subject.model),
    ):
        yield


def _kept(job: _Job, tables: Tables, facts: dict[str, Any]) -> Measurement:
    measurement = Measurement(
        instrument=job.instrument.name,
        tables=_frames(job, tables),
        provenances=(job.identity | _circumstances(job) | facts,),
    )
    if job.folder is not None:
        together(lambda: _save(job, measurement) if rank() == 0 else None)
    return measurement


def _frames(job: _Job, tables: Tables) -> dict[str, pd.DataFrame]:
    instrument, name = job.instrument, job.subject.name
    if set(tables) != set(instrument.columns):
        raise TypeError(f"{instrument.name} filled the tables {sorted(tables)}, declared {sorted(instrument.columns)}.")
    return {
        key: _frame([(name, *plain(row)) for row in rows], ["model", *instrument.columns[key]])
        for key, rows in tables.items()
    }


def _frame(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    """The rows; a column without any value holds numbers, as it does when it is read back from its file."""
    frame = pd.DataFrame(rows, columns=columns)
    blank = [column for column in columns if len(rows) and frame[column].isna().all()]
    return frame.astype(dict.fromkeys(blank, float))


def _circumstances(job: _Job) -> dict[str, Any]:
    skipped = sorted({str(name) for part in gather(list(job.batches.skipped)) for name in part})
    return {
        "images": job.batches.images - len(skipped),
        "skipped": skipped,
        "device": job.subject.device.type,
        "processes": world_size(),
        "versions": {name: version(name) for name in VERSIONED},
    }


def _save(job: _Job, measurement: Measurement) -> None:
    assert job.out is not None
    assert job.folder is not None
    try:
        measurement.save(job.out)
    except OSError as error:
        raise NotStoredError(
            f"The measurement is complete but could not be written to {job.folder} ({error.strerror or error}). Make "
            "room there and start again, or take it from this error's `measurement`.",
            measurement,
        ) from error
    Journal(job.folder, identity="").remove()


def _stored(folder: Path, identity: dict[str, Any]) -> Measurement | None:
    if not (folder / PROVENANCE).exists():
        _require_writable(folder)
        return None
    stored = Measurement.load(folder)
    for fact, now in identity.items():
        if (before := stored.provenance.get(fact)) != now:
            raise ValueError(
                f"{folder} holds a measurement with another {fact} ({_short(before)}, now {_short(now)}). "
                "Give another --out, or delete that folder to measure again."
            )
    return stored


def _require_writable(folder: Path) -> None:
    """Fail before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise OSError(f"Cannot write to {folder} ({error.strerror or error}). Give another --out.") from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
