"""Plan: what several studies need, each training and measurement once, known by the content of its declaration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from alternet.errors import Failure, in_one_line
from alternet.instruments.calibration import Calibration
from alternet.instruments.corruption import Corruption
from alternet.studies.declaration import Arm, Measuring, Reading, Study, Training
from alternet.studies.measuring_job import MeasuringJob
from alternet.studies.scale import Scale
from alternet.studies.training_job import TrainingJob
from alternet.training import Recipe


@dataclass(frozen=True, kw_only=True)
class NetworkJob:
    """One network from its first step to the last measurement of it, for an executor.

    Attributes:
        training: How it becomes.
        measurements: What is measured of it.
        again: Arguments of `alternet` that make the plan again which this is a part of.
    """

    training: TrainingJob
    measurements: tuple[MeasuringJob, ...] = ()
    again: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """That of the training; measurements have each their own."""
        return self.training.folder

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return trained(self.training) and all(one.finished for one in self.measurements)

    def command(self, device: str | None = None) -> list[str]:
        """The same as arguments of `alternet`."""
        where = [] if device is None else ["--device", device]
        return [*self.again, "--only", self.folder.name, *where]

    def run(self, device: str | None = None) -> None:
        """Train and measure in this process, or go on where that stopped.

        Raises:
            RuntimeError: Some measurements failed; the others are finished.
        """
        if not self.training.given:
            self.training.run(device)
        failed = [
            f"{one.instrument.spec.name} of {one.name}: {in_one_line(error)}"
            for part in self._parts().values()
            for one, error in _measured(part, device)
        ]
        if failed:
            raise Failure(f"{self.folder}: {len(failed)} measurements failed: {'; '.join(failed)}")

    def _parts(self) -> Mapping[tuple, list[MeasuringJob]]:
        """Measurements of the same weights on the same images, which share passes where they can."""
        parts: dict[tuple, list[MeasuringJob]] = {}
        for one in self.measurements:
            if not one.finished:
                split = one.instrument.spec.split
                parts.setdefault((one.snapshot, one.data, one.limit, split), []).append(one)
        return parts


def _measured(jobs: Sequence[MeasuringJob], device: str | None) -> list[tuple[MeasuringJob, Exception]]:
    """Measure what shares images; gives what failed."""
    from alternet.data import batches
    from alternet.instruments.runner import measure_each
    from alternet.subject.loading import load

    first = jobs[0]
    try:
        subject = load(first.model, name=first.name, device=device)
        images = batches(first.data, split=first.instrument.spec.split, limit=first.limit, **subject.takes)
        instruments = [one.instrument for one in jobs]
        found = measure_each(instruments, subject, images, folders=[one.folder for one in jobs])
        by_instrument = {id(one.instrument): one for one in jobs}
        return [(by_instrument[id(kind)], got) for kind, got in found if isinstance(got, Exception)]
    except Exception as error:  # what shares other images goes on
        return [(first, error)]


@cache
def _recipe(name: str) -> Recipe:
    return Recipe.load(name)


_ASKED = Reading(of=Measuring(instrument=Calibration()))
"""What is read of published weights in place of a log: accuracy and NLL on test images."""


def trained(training: TrainingJob) -> bool:
    """Whether its weights are there."""
    return training.given or training.result.finished


class Wanted(NamedTuple):
    """One reading of one training for one study."""

    study: Study
    arm: Arm
    seed: int
    training: TrainingJob
    reading: Reading
    measurement: MeasuringJob | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What studies need at a scale, and where it lies.

    Attributes:
        studies: What is asked for.
        scale: How large.
        out: Folder of all files.
        seeds: Of the trainings of each arm.
        data: Where data sets lie, by name: `{"cifar100": "cifar100:/data"}`; the one under "" takes the place of the
            scale's own.
        again: Arguments of `alternet` that make this plan again.
    """

    studies: tuple[Study, ...]
    scale: Scale
    out: Path
    seeds: Sequence[int] = (0,)
    data: Mapping[str, str] = field(default_factory=dict)
    again: tuple[str, ...] = ()

    @cached_property
    def wanted(self) -> list[Wanted]:
        """Every reading of every arm and seed."""
        found: list[Wanted] = []
        for study in self.studies:
            for arm in () if study.units else study.arms:
                for seed in self.seeds:
                    training = self.training(arm.of, seed)
                    for reading in study.readings:
                        if reading.only and arm.name not in reading.only:
                            continue
                        if training.given and (seed or (reading.of and reading.of.snapshot != "last")):
                            continue  # published weights are one run, of which the end is known
                        reading = _ASKED if training.given and reading.of is None else reading
                        of = None if reading.of is None else self.measurement(reading.of, training)
                        found.append(Wanted(study, arm, seed, training, reading, of))
        return found

    @cached_property
    def jobs(self) -> list[NetworkJob]:
        """One a network, in the order in which studies ask for them; every training and measurement once."""
        trainings: dict[str, TrainingJob] = {}
        measurements: dict[str, dict[str, MeasuringJob]] = {}
        for one in self.wanted:
            trainings.setdefault(one.training.address, one.training)
            mine = measurements.setdefault(one.training.address, {})
            if one.measurement is not None:
                mine.setdefault(one.measurement.address, one.measurement)
        return [
            NetworkJob(training=training, measurements=tuple(measurements[address].values()), again=self.again)
            for address, training in trainings.items()
        ]

    def training(self, declared: Training, seed: int) -> TrainingJob:
        """A declared training at this scale.

        Raises:
            ValueError: There is no such recipe, or an option that it does not have.
        """
        model, arguments = self.scale.network(declared.network)
        recipe, options = self.scale.recipes.get(declared.recipe, (declared.recipe, {}))
        return TrainingJob(
            model=model,
            data=self.located(declared.data or self.data.get("", self.scale.data)),
            recipe=_recipe(recipe).with_settings({**options, **declared.options, "seed": seed}),
            out=self.out,
            model_args={**arguments, **declared.model_args},
        )

    def measurement(self, declared: Measuring, training: TrainingJob) -> MeasuringJob:
        """A declared measurement of a training."""
        data, instrument = self.located(declared.data) if declared.data else training.data, declared.instrument
        if isinstance(instrument, Corruption) and (files := self.data.get("corrupted", "").partition(":")[2]):
            instrument = replace(instrument, published=files, only="")
        return MeasuringJob(
            training=training, instrument=instrument, data=data, snapshot=declared.snapshot, limit=declared.limit
        )

    def located(self, name: str) -> str:
        """A data set with the place where it lies, if that was said."""
        return self.data.get(name, name)
