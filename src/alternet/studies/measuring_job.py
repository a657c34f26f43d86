"""Measuring jobs: measurements of trained networks as data, each with an address of its own."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alternet.instruments.base import Instrument
from alternet.measurement import PROVENANCE, Measurement
from alternet.runs import TrainingRun
from alternet.storage import sha256_of
from alternet.studies.training_job import TrainingJob, without_path

MEASURED = "measured"
"""The folder of a study's measurements, each under its address."""


@dataclass(frozen=True, kw_only=True)
class MeasuringJob:
    """One measurement of one training's weights, and where it belongs. How a figure calls the network is no part of it.

    Attributes:
        training: Whose weights.
        instrument: What measures, with its settings.
        data: A name or path as `alternet measure` takes it.
        snapshot: Of which weights.
        limit: How many images.

    Examples:
        >>> from alternet.instruments.variance import Variance
        >>> from alternet.training import Recipe
        >>> training = TrainingJob(model="test_vit", data="digits", recipe=Recipe(epochs=1), out=Path("out"))
        >>> MeasuringJob(training=training, instrument=Variance(), data="digits").folder.name.rpartition("-")[0]
        'variance-test_vit'
    """

    training: TrainingJob
    instrument: Instrument
    data: str
    snapshot: str = "last"
    limit: int | None = None

    @property
    def address(self) -> str:
        """Digest of all that decides the numbers; settings at their default are left out, so new ones cost none."""
        kind = type(self.instrument)
        facts: dict[str, Any] = {
            "training": self.training.address,
            "snapshot": self.snapshot,
            "instrument": kind.spec.name,
            "version": kind.spec.version,
            "settings": self.changed,
            "data": without_path(self.data),
            "limit": self.limit,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def changed(self) -> dict[str, Any]:
        """Settings of the instrument that are not at their default."""
        usual = type(self.instrument)().settings
        return {name: value for name, value in self.instrument.settings.items() if usual.get(name, ...) != value}

    @property
    def folder(self) -> Path:
        """Where the result lies."""
        network = self.training.folder.name.rpartition("-")[0]
        return self.training.out / MEASURED / f"{self.instrument.spec.name}-{network}-{self.address}"

    @property
    def model(self) -> str:
        """The weights as MODEL."""
        if self.training.given:
            return self.training.model
        run = self.training.result
        return run.name if self.snapshot == "last" else f"{run.name}@{self.snapshot}"

    @property
    def name(self) -> str:
        """How the network is called in the stored tables, whatever a figure calls it."""
        return f"{self.training.folder.name}@{self.snapshot}"

    @property
    def finished(self) -> bool:
        """Whether it was measured.

        Raises:
            ValueError: It was, but of other weights than those that lie there now.
        """
        if not (self.folder / PROVENANCE).is_file():
            return False
        if self.training.given:  # the name of published weights stands for them
            return True
        file = TrainingRun(self.training.folder).at(self.snapshot)
        if self._measured_on() != _sum_of(file):
            raise ValueError(
                f"{self.folder} was measured on other weights than those of {file}, which was trained anew since. "
                f"Delete {self.folder} to measure again."
            )
        return True

    @property
    def result(self) -> Measurement:
        """What was measured."""
        return Measurement.load(self.folder)

    def _measured_on(self) -> str:
        """Checksum of the file of weights, as the provenance states it."""
        origin = self.result.provenance.get("origin") or {}
        return str((origin.get("weights") or {}).get("sha256", ""))


def _sum_of(file: Path) -> str:
    """The checksum of a file, made once as long as it stays: a plan asks for it at every measurement of its weights."""
    now = file.stat()
    return _sum(file, now.st_mtime_ns, now.st_size)


@cache
def _sum(file: Path, *_: int) -> str:
    return sha256_of(file)
