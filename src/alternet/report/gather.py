"""Gather: what lies under the folders of a report, measurements and training logs, told apart by model and folder."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from alternet.instruments.epoch_log import over_epochs
from alternet.instruments.figures import FIGURES, numbers
from alternet.measurement import PROVENANCE, Measurement, in_order
from alternet.runs import AVERAGED, LOG, PREFIX, RUN, WEIGHTS, TrainingRun
from alternet.storage import is_file

PATH = re.compile(r"\brun:(?:[^@,)/]*/)*(?=[^@,)/])|(?<=@)(?:[^@,)/]*/)+(?=[^@,)/])")
"""What leads to a run, or to a file of weights, in the name of a model that got none of the user's."""


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

    A model that an instrument measured in several folders is kept as often, its name followed by a number. Names are
    those of the user; of a model that got none and is called by a path, it is the last part of that.

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


def alias(name: str) -> str:
    """What a report calls a model: its name, without the folders that lead to its run or to its weights.

    Examples:
        >>> alias("run:runs/a@last"), alias("resnet50@w/best.pth"), alias("hf:google/vit"), alias("my net")
        ('a@last', 'resnet50@best.pth', 'hf:google/vit', 'my net')
    """
    return PATH.sub("", name)


def _aliases(found: Iterable[Found], notes: list[str]) -> dict[str, str]:
    """What each model is called, with a number where several would be called alike."""
    alike: dict[str, list[str]] = {}
    for name, group in {one.model: str(one.measurement.provenances[0].get("group") or "") for one in found}.items():
        folder = group.removeprefix(PREFIX).partition("@")[0]
        of_pattern = folder != group and name.startswith(f"{folder} ")  # names of its runs begin with the pattern
        alike.setdefault(alias(f"{PREFIX}{name}" if of_pattern else name), []).append(name)
    for short, same in alike.items():
        if len(same) > 1:
            each = ", ".join(f"{short} [{number}] is {name}" for number, name in enumerate(same, start=1))
            notes.append(f"{each}; alternet measure -m NAME=MODEL gives them names of their own.")
    return {
        name: short if len(same) == 1 else f"{short} [{number}]"
        for short, same in alike.items()
        for number, name in enumerate(same, start=1)
    }


def _told_apart(found: list[Found], notes: list[str]) -> list[Measurement]:
    """The measurements; where an instrument met a model twice, the model bears a number, in all instruments."""
    names = _aliases(found, notes)
    met = [(one.measurement.instrument, one.model) for one in found]
    twice = {(instrument == "training", model) for instrument, model in met if met.count((instrument, model)) > 1}
    numbered: dict[tuple[bool, str, str], str] = {}
    for training, model in sorted(twice):
        where = dict.fromkeys(one.where for one in found if (one.is_training, one.model) == (training, model))
        numbered |= {(training, model, w): f"{names[model]} [{number}]" for number, w in enumerate(where, start=1)}
        each = ", ".join(f"{numbered[training, model, w]} in {w}" for w in where)
        notes.append(f"{names[model]} was {'trained' if training else 'measured'} more than once: {each}.")
    measurements = []
    for one in found:
        others = [(facts.get("other") or {}).get("model", {}).get("name") for facts in one.measurement.provenances]
        called = {name: names.get(name, alias(name)) for name in others if name}
        called[one.model] = numbered.get((one.is_training, one.model, one.where), names[one.model])
        measurements.append(_called(one.measurement, called).marked())
    return measurements


def _called(measurement: Measurement, names: Mapping[str, str]) -> Measurement:
    """The same under other names, its group as well."""
    facts = [dict(one) for one in measurement.provenances]
    for one in facts:
        if group := one.get("group"):
            one["group"] = alias(str(group))
    return replace(measurement, provenances=tuple(facts)).renamed(names)


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
