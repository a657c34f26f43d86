"""The one runner: which results exist, which instruments share a pass, and storing what was measured."""

import hashlib
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from alternet.circumstances import circumstances
from alternet.data.image_batches import Batches
from alternet.distributed import gather, rank, together, world_size
from alternet.errors import Doubt
from alternet.instruments.passes import itemise, plain, stream
from alternet.instruments.work import OnePass, PerItem, Tables, Work
from alternet.measurement import PROVENANCE, Measurement, folder_of, keep_order
from alternet.seeding import noise, random_state_kept
from alternet.storage import Journal, require_same, require_same_networks, sole_writer, versions
from alternet.subject.declared import classes_of
from alternet.subject.ensemble import Ensemble
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
    instruments: "Sequence[Instrument]", subject: Subject, batches: Batches, *, out: Path | None = None
) -> "Iterator[tuple[Instrument, Result]]":
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
    for doubt in _doubts(instruments, subject, batches):
        warnings.warn(doubt, Doubt, stacklevel=4)  # the line that called Instrument.measure
    with ExitStack() as locks:
        yield from _each(instruments, subject, batches, out, locks)


def _each(
    instruments: "Sequence[Instrument]", subject: Subject, batches: Batches, out: Path | None, locks: ExitStack
) -> "Iterator[tuple[Instrument, Result]]":
    passes: dict[Any, list[_Job]] = {}
    for instrument in instruments:
        try:
            _require_measurable(instrument, subject, batches)
            job, stored = _opened(instrument, subject, batches, out, locks)
        except Exception as error:
            yield instrument, error
            continue
        if stored is not None:
            yield instrument, stored
            continue

        work = job.work
        shared = (id(work.batches), work.reads_features) if isinstance(work, OnePass) else id(work)
        passes.setdefault(shared, []).append(job)

    for jobs in passes.values():
        for job, result in _measured(jobs):
            job.lock.close()
            yield job.instrument, result


def _doubts(instruments: "Sequence[Instrument]", subject: Subject, batches: Batches) -> Iterator[str]:
    """What one should know before one believes the numbers: of weights, normalisation and classes."""
    if subject.origin["weights"].get("from") == "random":
        model = subject.origin.get("model", "MODEL")
        yield (
            f"{subject.name} has random weights; name a file, {model}@FILE, or published ones, {model}@pretrained, "
            f"where there are some, or train it: alternet train -m {model}."
        )
    if subject.doubt:
        yield subject.doubt
    specs = [kind.spec for kind in instruments]
    judged = [spec.name for spec in specs if "labels" in spec.needs and not spec.joins_classes]
    if not (judged and batches.labelled and batches.classes and subject.classifies):
        return
    # Labels count classes and so do logits; nothing but their number can tell that they count different ones.
    known = classes_of(subject.model)
    if known and known != (count := len(batches.classes)):
        verb = "takes" if len(judged) == 1 else "take"
        yield (
            f"{batches.name} has {count} classes and {subject.name} has {known}; {', '.join(judged)} {verb} class k of "
            "the one for class k of the other."
        )


def _require_fitting(subject: Subject, batches: Batches) -> None:
    """Refuse images that the model does not take, before torch does."""
    if subject.input_size is None or isinstance(subject.model, Ensemble):
        return
    channels, *size = subject.input_size
    images, *side = batches.shape
    if channels != images:
        way = "batches(..., colour=False)" if channels == 1 else "images of as many channels"
        raise ValueError(
            f"{subject.name} takes {'1 channel' if channels == 1 else f'{channels} channels'}, but the images of "
            f"{batches.name!r} have {images}. Give {way}, or a model that takes them."
        )
    if side == size:
        return
    try:
        with untouched(subject.model):
            subject.model(subject.normalise(noise(batches.shape)))
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(
            f"{subject.name} takes images of {size[0]} x {size[1]} and cannot take {batches.name!r} at {side[0]} x "
            f"{side[1]} ({reason}). Give batches(..., img_size={size[0]}), or load the model for that size."
        ) from error


def _require_measurable(instrument: "Instrument", subject: Subject, batches: Batches) -> None:
    spec = instrument.spec
    if isinstance(subject.model, Ensemble) and (needs := spec.needs - {"labels"}):
        raise ValueError(
            f"{spec.name} needs the {', '.join(sorted(needs))} of one network, and {subject.name} is several, of which "
            "only the answers are averaged. Measure its members one by one."
        )
    if spec.needs & {"labels", "logits"} and not subject.classifies:
        raise ValueError(
            f"{spec.name} needs class scores, but {subject.name} has no classifier and gives features. "
            "Load it with weights that have one, or measure features: fourier, variance, similarity."
        )
    if "labels" in spec.needs and not batches.labelled:
        raise ValueError(
            f"{spec.name} needs labels, but {batches.name!r} has none. "
            "Give a folder with one subfolder a class (at least two), or a labelled data set such as photos."
        )
    if not batches.images:
        raise ValueError(f"{batches.name!r} holds no image to measure. Give a larger limit or other data.")
    _require_fitting(subject, batches)
    if spec.split == "train" and batches.split == "test":
        # stacklevel: the line that called Instrument.measure
        warnings.warn(
            f"{spec.name} asks about the images that a model was trained on, but {batches.name!r} is its test split. "
            "Give the others, batches(..., split='train'), unless that is what you want to know.",
            stacklevel=5,
        )


def _opened(
    instrument: "Instrument", subject: Subject, batches: Batches, out: Path | None, locks: ExitStack
) -> "tuple[_Job, Measurement | None]":
    """The work of an instrument, and its stored result if there is one."""
    found = AsFound(subject.model)
    try:
        with random_state_kept():  # what it opens is imported only now, and some packages draw as they are imported
            job = _Job(instrument, instrument.open(subject, batches), out)
        locks.push(job.lock)
        return job, job.taken_up()
    finally:
        found.put_back()


@dataclass(frozen=True)
class _Job:
    """One instrument with its work on one model and data, and where its result belongs."""

    instrument: "Instrument"
    work: Work
    out: Path | None
    lock: ExitStack = field(default_factory=ExitStack)
    """What is held as long as this is being measured: nobody else writes into the folder."""

    @property
    def folder(self) -> Path | None:
        return None if self.out is None else folder_of(self.out, self.work.subject.name, self.instrument.spec.name)

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
        """What the models compute, whatever their weights are, and the packages that this is said in the terms of."""
        models, shape = (self.work.subject, *self.work.others), self.work.batches.shape
        return {"architectures": {model.name: model.architecture(shape) for model in models}, "versions": versions()}

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
                _require_writable(folder)
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


def _require_writable(folder: Path) -> None:
    """Fail before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise OSError(f"Cannot write to {folder} ({error.strerror or error}). Give another --out.") from error


def _tried(work: Callable[..., Any], *given: Any) -> Any:
    try:
        return work(*given)
    except Exception as error:
        return error


def _measured(jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Result]]:
    begun = time.monotonic()
    tables = _tried(_tables, jobs)
    if isinstance(tables, Exception) and len(jobs) > 1:
        for job in jobs:  # one of them may be at fault, the others shall not pay for it
            yield from _measured([job])
        return
    if isinstance(tables, Exception):
        yield jobs[0], tables
        return
    seconds = round(time.monotonic() - begun, 3)
    names = [job.instrument.spec.name for job in jobs]
    for job, filled in zip(jobs, tables, strict=True):
        facts = {"seconds": seconds, "same_pass": [name for name in names if name != job.instrument.spec.name]}
        yield job, _tried(_kept, job, filled, facts)


def _tables(jobs: Sequence[_Job]) -> list[Tables]:
    subject = jobs[0].work.subject
    label = f"{' + '.join(job.instrument.spec.name for job in jobs)} · {subject.name}"
    device, found = subject.device.type, AsFound(subject.model)
    try:
        with (
            # no trace of the modes that the caller's code runs in
            no_inference(),
            torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext(),
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
    frames, work, out, folder = _frames(job, tables), job.work, job.out, job.folder
    skipped = sorted({str(name) for part in gather(list(work.batches.skipped)) for name in part})
    telling = {
        "images": work.batches.images - len(skipped),
        "skipped": skipped,
        "split": work.batches.split,
        PREPARATION: work.batches.preparation,
        "origin": work.origin,
        "processes": world_size(),
        **({"group": work.subject.group} if work.subject.group else {}),
        **job.networks,
        **circumstances(f"{job.instrument}.measure({work.subject.name!r}, {work.batches.name!r})", work.subject.device),
    }
    measurement = Measurement(
        instrument=job.instrument.spec.name,
        tables=frames,
        provenances=(json.loads(json.dumps(job.identity | telling | facts)),),
    )
    if out is None or folder is None:
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
