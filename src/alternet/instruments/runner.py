"""The one runner: which results exist, which instruments share a pass, and storing what was measured."""

import hashlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alternet.arithmetic import computed_in
from alternet.circumstances import circumstances
from alternet.data.image_batches import Batches
from alternet.data.kept import Frozen
from alternet.distributed import gather, rank, together, world_size
from alternet.errors import Doubt
from alternet.instruments.measurable import as_measured, doubts, require_fitting, require_measurable
from alternet.instruments.passes import itemise, plain, stream
from alternet.instruments.rounding import ROUNDING, moved
from alternet.instruments.work import OnePass, PerItem, Tables, Work
from alternet.measurement import PROVENANCE, Measurement, folder_of, keep_order
from alternet.seeding import random_state_kept
from alternet.storage import Journal, require_same, require_same_networks, require_writable, sole_writer, tidy, versions
from alternet.subject.subject import Subject
from alternet.untouched import AsFound, no_inference, untouched

if TYPE_CHECKING:
    from alternet.instruments.base import Instrument

LOG = logging.getLogger("alternet")
Result = Measurement | Exception

PREPARATION = "preparation"
"""Under which name the provenance says how the images were made ready; results of a first version do not."""


class NotStoredError(OSError):
    """A measurement that is complete but could not be written; `measurement` holds it."""

    def __init__(self, message: str, measurement: Measurement) -> None:
        super().__init__(message)
        self.measurement = measurement


def run(instrument: "Instrument", subject: Subject, batches: Batches, *, out: Path | None) -> Measurement:
    """Measure, or take up what `out` already holds; see `Instrument.measure`."""
    if out is not None and rank() == 0:
        keep_order(out, [subject.name])
    ((_, result),) = measure_each([instrument], subject, batches, out=out)
    if isinstance(result, Exception):
        raise result
    return result


def measure_each(
    instruments: "Sequence[Instrument]",
    subject: Subject,
    batches: Batches,
    *,
    out: Path | None = None,
    folders: Sequence[Path] | None = None,
) -> "Iterator[tuple[Instrument, Result]]":
    """Measure with several instruments; those that look at the model in the same way share one pass over the data.

    Args:
        instruments: What to measure.
        subject: The model; it is left exactly as it was.
        batches: The images.
        out: Folder to store the results in, as they come.
        folders: The folder of each instrument's result, in place of one that is named after model and instrument.

    Yields:
        Each instrument, as soon as it is finished, with its measurement or with the error that kept it from one. What
        `out` already holds comes first. An error in one instrument does not cost the others their results.
    """
    batches = _in_own_order(batches)
    for doubt in doubts(instruments, subject, batches):
        warnings.warn(doubt, Doubt, stacklevel=4)  # the line that called Instrument.measure
    places: Sequence[Path | None] = folders or [
        None if out is None else folder_of(out, subject.name, kind.spec.name) for kind in instruments
    ]
    with ExitStack() as locks:
        yield from _each(list(zip(instruments, places, strict=True)), subject, batches, locks)


def _each(
    placed: "Sequence[tuple[Instrument, Path | None]]", subject: Subject, batches: Batches, locks: ExitStack
) -> "Iterator[tuple[Instrument, Result]]":
    jobs: list[_Job] = []
    misfit = _tried(require_fitting, subject, batches)
    for instrument, folder in placed:
        try:
            require_measurable(instrument, subject, batches)
            if misfit is not None:
                raise misfit
            job, stored = _opened(instrument, as_measured(subject, instrument.spec), batches, folder, locks)
            if stored is None:
                job.rounding  # noqa: B018 - what fails in it fails before the long work
        except Exception as error:
            yield instrument, error
            continue
        if stored is not None:
            yield instrument, stored
            continue
        jobs.append(job)

    for company in _in_company(jobs):
        for job, result in _measured(company):
            job.lock.close()
            yield job.instrument, result


def _in_own_order(batches: Batches) -> Batches:
    """The images as their data has them, since an interrupted work names what is done by places in their order.

    What is frozen has an order that belongs to it, so has a shard, and a stream has one alone.
    """
    if batches.augment is not None or batches.part != (0, 1) or not batches.dataset.indexable:
        return batches
    own = np.sort(batches.order)
    return batches if np.array_equal(batches.order, own) else replace(batches, order=own, _kept=Frozen())


def _in_company(jobs: "Sequence[_Job]") -> "list[list[_Job]]":
    """The jobs that share a pass, each beside the others, in the order in which the first of them was asked for.

    Where images are compared within a batch, it counts which ones come together; whatever else streams takes part in
    that pass, since sums over the same images do not depend on their order.
    """
    passes: list[list[_Job]] = []
    for job in sorted(jobs, key=lambda job: not (isinstance(job.work, OnePass) and job.work.compares)):
        for company in passes:
            if _pass_shared(company[0].work, job.work):
                company.append(job)
                break
        else:
            passes.append([job])
    place = {id(job): place for place, job in enumerate(jobs)}
    return sorted(passes, key=lambda company: min(place[id(job)] for job in company))


def _pass_shared(first: Work, other: Work) -> bool:
    """Whether a work can take part in the pass that another one leads."""
    if not (isinstance(first, OnePass) and isinstance(other, OnePass)):
        return False
    if (first.subject.precision, first.subject.compiled) != (other.subject.precision, other.subject.compiled):
        return False
    if first.batches is other.batches:
        return True
    return not other.compares and first.batches.fingerprint == other.batches.fingerprint


def _opened(
    instrument: "Instrument", subject: Subject, batches: Batches, folder: Path | None, locks: ExitStack
) -> "tuple[_Job, Measurement | None]":
    """The work of an instrument, and its stored result if there is one."""
    found = AsFound(subject.model)
    try:
        with random_state_kept():  # what it opens is imported only now, and some packages draw as they are imported
            job = _Job(instrument, instrument.open(subject, batches), folder, batches)
        locks.push(job.lock)
        return job, job.taken_up()
    finally:
        found.put_back()


@dataclass(frozen=True)
class _Job:
    """One instrument with its work on one model and data, and where its result belongs."""

    instrument: "Instrument"
    work: Work
    folder: Path | None
    batches: Batches
    """The data as they were given; the work may look at them in another order, or varied."""
    lock: ExitStack = field(default_factory=ExitStack)
    """What is held as long as this is being measured: nobody else writes into the folder."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers; a stored result is taken up only if all of it agrees."""
        spec, work = self.instrument.spec, self.work
        facts = {
            "instrument": spec.name,
            "settings": work.instrument.settings,
            **work.subject.facts,
            "input": {**work.subject.facts["input"], "size": work.batches.shape},
            "data": {"name": work.batches.name, "fingerprint": work.batches.fingerprint},
            **work.facts,
            # stored results of a first version name none
            **({"version": spec.version} if spec.version > 1 else {}),
        }
        # as it comes back from a file, tuples as lists, to be compared with what is stored
        return json.loads(json.dumps(facts))

    @cached_property
    def networks(self) -> dict[str, Any]:
        """Checksum of each model's architecture, and the package versions it depends on."""
        models, shape = (self.work.subject, *self.work.others), self.work.batches.shape
        return {"architectures": {model.name: model.architecture(shape) for model in models}, "versions": versions()}

    @cached_property
    def rounding(self) -> dict[str, Any]:
        """What the precision of the model moves, measured on the first batch both ways; nothing where it has none."""
        subject, given = self.work.subject, self.batches
        if (exact := subject.in_arithmetic()) is subject:
            return {}
        order = given.order[: given.batch_size]
        first = replace(given, order=order, part=(0, 1), _kept=Frozen())

        def frames(way: Subject) -> dict[str, pd.DataFrame]:
            job = _Job(self.instrument, self.instrument.open(way, first), None, first)
            (tables,) = _tables([job])
            if isinstance(tables, Exception):
                raise tables
            return _frames(job, tables)

        return {ROUNDING: {"images": first.images, "apart": moved(frames(subject), frames(exact))}}

    @property
    def journal(self) -> Journal | None:
        """Where this process notes the items that it has finished."""
        if self.folder is None:
            return None
        return Journal(self.folder, *self.digests, part=rank(), networks=self.networks)

    @property
    def digests(self) -> list[str]:
        """What a journal is known by: the digest of the identity, then that which an earlier version gave it."""
        older = self.instrument.older
        old = {name: value for name, value in self.identity["settings"].items() if older.get(name, ...) != value}
        for name, spellings in self.instrument.old_spellings.items():
            old[name] = next((before for before, now in spellings.items() if now == old.get(name)), old.get(name))
        # a first version named the size that the model declares, not that of the images
        size = {"input": {**self.identity["input"], "size": self.work.subject.input_size}}
        known = [self.identity | both for both in ({}, {"settings": old}, size, {"settings": old} | size)]
        return [hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest() for facts in known]

    def taken_up(self) -> Measurement | None:
        """The stored result, or nothing, after a check that the measurement can be stored."""
        folder = self.folder
        if folder is None:
            return None

        def stored() -> Measurement | None:
            if rank() != 0:
                return None
            if not (folder / PROVENANCE).exists():
                require_writable(folder, b"x")
                self.lock.enter_context(sole_writer(folder))
            if not (folder / PROVENANCE).exists():  # nor has anybody else just finished
                return None
            found = Measurement.load(folder)
            require_same(
                folder, self._today(found.provenance), self.identity, holds="measurement", again="measure again"
            )
            now = self.networks if "architectures" in found.provenance else {}  # a pass, which others do without
            if said := require_same_networks(folder, found.provenance, now, again="measure again"):
                LOG.warning(said)
            tidy(folder)
            return found

        return together(stored)[0]

    def _today(self, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """What a provenance states, as this version states it."""
        facts = dict(provenance)
        if isinstance(settings := facts.get("settings"), dict):
            today = {name: self.instrument.today(name, value) for name, value in settings.items()}
            facts["settings"] = {**self.instrument.older, **today}
        if PREPARATION not in facts and isinstance(facts.get("input"), dict):
            # of a first version, which named the size that the model declares; the fingerprint holds the true one
            facts["input"] = {**facts["input"], "size": self.identity["input"]["size"]}
        return facts


def _tried(work: Callable[..., Any], *given: Any) -> Any:
    try:
        return work(*given)
    except Exception as error:
        return error


def _measured(jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Result]]:
    begun = time.monotonic()
    outcomes = _tried(_tables, jobs)
    if isinstance(outcomes, Exception) and len(jobs) > 1:
        for job in jobs:  # what one of them wants to see may have stopped the whole pass
            yield from _measured([job])
        return
    if isinstance(outcomes, Exception):
        outcomes = [outcomes]
    seconds = round(time.monotonic() - begun, 3)
    names = [job.instrument.spec.name for job in jobs]
    for job, outcome in zip(jobs, outcomes, strict=True):
        facts = {"seconds": seconds, "same_pass": [name for name in names if name != job.instrument.spec.name]}
        yield job, outcome if isinstance(outcome, Exception) else _tried(_kept, job, outcome, facts)


def _tables(jobs: Sequence[_Job]) -> list[Tables | Exception]:
    subject = jobs[0].work.subject
    label = f"{' + '.join(job.instrument.spec.name for job in jobs)} · {subject.name}"
    device, found = subject.device.type, AsFound(subject.model)
    try:
        with (
            # no trace of the modes that the caller's code runs in
            no_inference(),
            computed_in("float32", device),
            untouched(subject.model),
        ):
            if works := [job.work for job in jobs if isinstance(job.work, OnePass)]:
                return stream(works, label=label)
            (job,) = jobs
            if not isinstance(job.work, PerItem):
                raise TypeError(
                    f"{type(job.instrument).__name__} opened {job.work!r}, expected a OnePass or a PerItem."
                )
            return [itemise(job.work, label=label, journal=job.journal)]
    finally:
        found.put_back()


def _kept(job: _Job, tables: Tables, facts: dict[str, Any]) -> Measurement:
    frames, work, folder = _frames(job, tables), job.work, job.folder
    skipped = sorted({str(name) for part in gather(list(work.batches.skipped)) for name in part})
    telling = {
        "images": work.batches.images - len(skipped),
        "skipped": skipped,
        "split": work.batches.split,
        PREPARATION: work.batches.preparation,
        "origin": work.origin,
        "processes": world_size(),
        **({"group": work.subject.group} if work.subject.group else {}),
        **job.rounding,
        **job.networks,
        **circumstances(f"{job.instrument}.measure({work.subject.name!r}, {work.batches.name!r})", work.subject.device),
    }
    measurement = Measurement(
        instrument=job.instrument.spec.name,
        tables=frames,
        provenances=(json.loads(json.dumps(job.identity | telling | facts)),),
    )
    if folder is None:
        return measurement

    def save() -> None:
        if rank() != 0:
            return
        try:
            measurement.store(folder)
        except OSError as error:
            raise NotStoredError(
                f"The measurement is complete but could not be written to {folder} ({error.strerror or error}). Make "
                "room there and start again, or take it from this error's `measurement`.",
                measurement,
            ) from error
        Journal(folder, "").remove()  # only now: until the tables are on the disk it holds the finished items

    together(save)
    return measurement


def _frames(job: _Job, tables: Tables) -> dict[str, pd.DataFrame]:
    """The tables as declared; a column without any value holds numbers, as it does when it is read from its file."""
    spec, model = job.instrument.spec, job.work.subject.name
    if set(tables) != set(spec.tables):
        raise TypeError(f"{spec.name} filled the tables {sorted(tables)}, declared {sorted(spec.tables)}.")
    frames = {}
    for table, rows in tables.items():
        frame = pd.DataFrame([(model, *plain(row)) for row in rows], columns=list(spec.columns(table)))
        blank = [column for column in frame if len(frame) and frame[column].isna().all()]
        frames[table] = frame.astype(dict.fromkeys(blank, float))
    return frames
