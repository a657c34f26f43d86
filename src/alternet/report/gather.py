"""Gather: what lies under the folders of a report, measurements and training logs, told apart by model and folder."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from alternet.instruments.epoch_log import over_epochs
from alternet.instruments.figures import FIGURES, numbers
from alternet.measurement import PROVENANCE, Measurement, in_order
from alternet.runs import AVERAGED, LOG, RUN, WEIGHTS, TrainingRun
from alternet.storage import is_file


@dataclass(frozen=True)
class Found:
    """One measurement of one model, and the folder in which it lies."""

    folder: Path
    measurement: Measurement

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.measurement.models[0]

    @property
    def is_training(self) -> bool:
        """Whether it is the log of a training run."""
        return self.measurement.instrument == "training"

    @property
    def where(self) -> str:
        """The folder that tells it from others of the same model: that of the run or of all measurements."""
        return (self.folder if self.is_training else self.folder.parent.parent).as_posix()


def gather(paths: Iterable[Path]) -> tuple[list[Measurement], list[str]]:
    """Everything under the folders, one measurement an instrument, and what a reader must know about it.

    A model that an instrument measured in several folders is kept as often, its name followed by the folder.

    Raises:
        ValueError: A folder does not exist, there is nothing under them, or a file is damaged.
    """
    paths = list(paths)
    folders: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"{path} is not a folder. Give the folders that `alternet measure` or `train` wrote.")
        finished = {file.parent for file in path.rglob(PROVENANCE) if is_file(file)}
        runs = {file.parent for file in path.rglob(RUN) if is_file(file) and is_file(file.parent / LOG)}
        # Folders that were given twice, or one within another, are still read once.
        folders |= {folder.resolve(): folder for folder in in_order(finished | runs)}
    found = _named_alike([Found(folder, _load(folder)) for folder in folders.values()])
    if not found:
        where = ", ".join(map(str, paths)) or "no folder at all"
        raise ValueError(
            f"Nothing to report under {where}: expected <model>/<instrument>/{PROVENANCE} or a training run with "
            f"{RUN} and {LOG}. Measure something first: alternet measure fourier -m resnet18 --data photos --out out."
        )
    unfinished = [one for one in found if one.is_training and not one.measurement.provenance.get("finished")]
    notes = [f"The training of {one.model} in {one.folder} is not finished." for one in unfinished]
    groups: dict[str, list[Measurement]] = {}
    for one in _told_apart(found, notes):
        groups.setdefault(one.instrument, []).append(one)
    joined = []
    for instrument, group in groups.items():
        try:
            joined.append(Measurement.concat(group))
        except KeyError as error:
            models = ", ".join(name for one in group for name in one.models)
            raise ValueError(
                f"The {instrument} measurements of {models} do not all have a table {error}. "
                "Measure them with one version."
            ) from error
    keyed = [(one, {model: numbers(one.of(model)) for model in one.models}) for one in joined]
    if (over := over_epochs(keyed)) is not None:
        joined.append(over)
    return joined, notes


def _named_alike(found: list[Found]) -> list[Found]:
    """Training logs first, under the names and in the order that their networks were measured with."""
    names: dict[Path, dict[str, None]] = {}
    for one in found:
        weights = (one.measurement.provenances[0].get("origin") or {}).get("weights") or {}
        file = Path(str(weights.get("file", "")))
        if weights.get("from") == "run" and file.name in (WEIGHTS, AVERAGED):
            names.setdefault(file.parent.resolve(), {})[one.model] = None
    order = list(dict.fromkeys(one.model for one in found if not one.is_training))
    logs = []
    for one in (one for one in found if one.is_training):
        called = list(names.get(one.folder.resolve(), {}))
        if len(called) == 1:  # of several names none is the run's own
            one = replace(one, measurement=one.measurement.renamed({one.model: called[0]}))
        logs.append(one)
    logs.sort(key=lambda one: order.index(one.model) if one.model in order else len(order))
    return [*logs, *(one for one in found if not one.is_training)]


def _told_apart(found: list[Found], notes: list[str]) -> list[Measurement]:
    """The measurements; where an instrument met a model twice, the model bears its folder, in all instruments."""
    met = [(one.measurement.instrument, one.model) for one in found]
    twice = {(instrument == "training", model) for instrument, model in met if met.count((instrument, model)) > 1}
    for training, model in sorted(twice):
        where = dict.fromkeys(one.where for one in found if (one.is_training, one.model) == (training, model))
        verb = "trained" if training else "measured"
        notes.append(f"{model} was {verb} more than once ({', '.join(where)}); each is shown with its folder.")
    measurements = []
    for one in found:
        measurement = one.measurement
        if (one.is_training, one.model) in twice:
            measurement = measurement.renamed({one.model: f"{one.model} [{one.where}]"})
        measurements.append(measurement.marked())
    return measurements


def _load(folder: Path) -> Measurement:
    measurement = Measurement.load(folder) if (folder / PROVENANCE).is_file() else _training(folder)
    if not isinstance(measurement.instrument, str):
        raise ValueError(f"{folder / PROVENANCE} names no instrument but {measurement.instrument!r}. Measure it again.")
    if exhibit := FIGURES.get(measurement.instrument):
        try:
            exhibit.check(measurement)
        except ValueError as error:
            raise ValueError(f"{folder} cannot be shown. {error}") from error
    return measurement


def _training(folder: Path) -> Measurement:
    """The log of a training run as a measurement of its model."""
    run = TrainingRun(folder)
    try:
        facts = run.facts
        model = facts["model"]
        if not isinstance(model, str):
            raise TypeError(f"its `model` is {model!r}, expected a name")
        rows = run.log.assign(model=model)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds a damaged training run ({error}). Train it again.") from error
    tested = {"test_accuracy", "validation_accuracy"}
    for column in tested - {*rows} if tested & {*rows} else ():  # a run has one of the two
        rows[column] = float("nan")
    rows.insert(0, "model", rows.pop("model"))  # the first column of every table of a measurement
    provenance = {**facts, "instrument": "training", "model": {"name": model}}
    return Measurement(instrument="training", tables={"table": rows}, provenances=(provenance,))
