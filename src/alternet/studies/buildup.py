"""Build-up: where in a CNN attention pays, found by training (Park and Kim 2022, section 4 and Fig. 12a).

The paper gives three rules in prose. They are read so:

1. Blocks attend alternately, from the end: in a stage first the last unit, then every second one towards its
   beginning; the last stage first.
2. Where one more brings nothing, it is tried at the end of the stage before: a unit is kept if the mean gain in
   validation accuracy over seeds, seed by seed, is above its standard error; else the search leaves the stage, and
   takes along what was kept.
3. Late stages get more heads: as many as the unit's width holds, which doubles from stage to stage where that does.

All candidates are trained alike: one recipe, the same seeds, the same images. They are compared on validation images
that are taken out of the training set; the test images are looked at once, at the end, by the first network and the
chosen one.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import nan
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from alternet.circumstances import circumstances
from alternet.data import batches
from alternet.instruments.buildup_log import SPEC
from alternet.instruments.calibration import Calibration
from alternet.measurement import Measurement
from alternet.storage import versions
from alternet.studies.executor import Executor, InProcess
from alternet.studies.over_seeds import over_seeds, standard_error
from alternet.studies.training_job import TrainingJob
from alternet.subject.loading import load
from alternet.subject.starting import start
from alternet.subject.subject import Subject
from alternet.subject.transplant import Written, plan_transplant
from alternet.training import Recipe, TrainData

Placement = tuple[str, ...]
"""Names of the units that attend."""


class Step(NamedTuple):
    """One placement that was tried.

    Attributes:
        units: Its units.
        unit: The one that was added; empty of the first network.
        scores: Validation accuracy of each seed.
        gain: Mean over seeds of the accuracy less that of the placement it was added to; nan of the first network.
        error: Standard error of that.
        kept: Whether the unit stays.
    """

    units: Placement
    unit: str
    scores: np.ndarray
    gain: float
    error: float
    kept: bool


def search(stages: Sequence[Sequence[str]], score: Callable[[Placement], np.ndarray]) -> list[Step]:
    """Try placements by the rules above.

    Args:
        stages: Names of the units that may attend, in forward order, stage by stage.
        score: The accuracy of a placement for each seed, two seeds or more.

    Examples:
        >>> worth = {"a2": 0.0, "b4": 0.1, "b2": -0.1}
        >>> def score(units):
        ...     return 0.5 + sum(worth[unit] for unit in units) + np.array([0.0, 0.01])
        >>> [(step.unit, step.kept) for step in search([["a1", "a2"], ["b1", "b2", "b3", "b4"]], score)]
        [('', True), ('b4', True), ('b2', False), ('a2', False)]
    """
    best = score(())
    kept: Placement = ()
    steps = [Step(kept, "", best, nan, nan, True)]
    for stage in reversed(stages):
        for unit in stage[::-2]:
            scores = score((*kept, unit))
            gains = scores - best
            gain, error = float(gains.mean()), standard_error(gains)
            steps.append(Step((*kept, unit), unit, scores, gain, error, kept=gain > max(error, 0.0)))
            if not steps[-1].kept:
                break
            kept, best = (*kept, unit), scores
    return steps


@dataclass(frozen=True, kw_only=True)
class BuildUp:
    """What is searched, and by which budget.

    Attributes:
        model: The CNN to begin with, as `alternet train` takes it.
        data: A name or path of labelled images, likewise.
        recipe: The budget of every training; its `validation` says which part of the training images decides.
        seeds: How often each placement is trained, twice or more, from the recipe's seed on.
        form: What attends: the whole residual `unit`, as in AlterNet, or its spatial convolution alone (`conv`).
        settings: Of the attention, as `alternet.transplant` takes them.
        img_size: Side of the images; by default the data's own.
        model_args: More keyword arguments of the model.

    Raises:
        ValueError: The recipe keeps no validation images, or there are fewer than two seeds.
    """

    model: str
    data: str
    recipe: Recipe
    seeds: int = 3
    form: Literal["unit", "conv"] = "unit"
    settings: Mapping[str, Any] = field(default_factory=dict)
    img_size: int | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.recipe.validation == "0":
            raise ValueError(
                "A build-up chooses by validation images, but the recipe takes none out of training. Set validation, "
                "for example --set validation=1/4: the test images must not choose."
            )
        if self.seeds < 2:
            raise ValueError(f"A build-up got seeds={self.seeds}, expected 2 or more: one run has no standard error.")
        if Written.of(self.model):
            raise ValueError(f"A build-up begins with a CNN without attention, got {self.model!r}.")

    @property
    def colour(self) -> bool:
        """Whether the network takes images in colour, as `train` reads it off the arguments."""
        return self.model_args.get("in_chans") != 1

    def written(self, units: Placement) -> str:
        """The network with these units attending, as MODEL."""
        if not units:
            return self.model
        settings = {"form": self.form, **self.settings}
        return f"{self.model}+msa({','.join([*units, *(f'{key}={value}' for key, value in settings.items())])})"

    def jobs(self, units: Placement, out: Path) -> list[TrainingJob]:
        """The trainings of a placement, one a seed."""
        shared = {"data": self.data, "out": out, "img_size": self.img_size, "model_args": self.model_args}
        recipes = [replace(self.recipe, seed=self.recipe.seed + number) for number in range(self.seeds)]
        return [TrainingJob(model=self.written(units), recipe=recipe, **shared) for recipe in recipes]

    def line(self, units: Placement, out: str = "runs/chosen") -> str:
        """The command that trains a placement on all training images."""
        job = self.jobs(units, Path(out))[0]
        return f"alternet train -m '{job.model}' {shlex.join([*job.options, '--out', out])}"

    def stages(self, subject: Subject) -> tuple[list[list[str]], dict[str, str]]:
        """The units that may attend, stage by stage in forward order, and why others may not."""
        stages: dict[int, list[str]] = {}
        refused: dict[str, str] = {}
        for tap in subject.taps:
            if tap.kind != "conv":
                continue
            try:
                plan_transplant(subject, [tap.name], form=self.form, **self.settings)
            except ValueError as error:
                refused[tap.name] = str(error)
            else:
                stages.setdefault(tap.stage, []).append(tap.name)
        if not stages:
            why = next(iter(refused.values()), "it has no convolutional unit")
            raise ValueError(f"{self.model} has no unit that attention could take the place of: {why}")
        return [stages[stage] for stage in sorted(stages)], refused


def buildup(
    study: BuildUp, out: str | Path, *, executor: Executor | None = None, say: Callable[[str], None] = lambda _: None
) -> Measurement:
    """Search where attention pays; an interrupted search goes on where it stopped.

    Args:
        study: What to search.
        out: Folder of the trainings, under `trained`, and of the result.
        executor: Where to train; by default one after the other in this process.
        say: Called with a line about every placement.

    Returns:
        The path of the search (`table`), all trainings (`runs`) and the test (`test`), stored in
        `out/<model>/buildup`.

    Raises:
        ValueError: The model has no unit that could attend, or model, data and recipe do not fit.
        RuntimeError: A training failed.
    """
    out, executor = Path(out), executor or InProcess()
    images = TrainData.named(study.data, study.recipe, img_size=study.img_size, colour=study.colour)
    first = start(study.model, images.input_size, len(images.classes), study.model_args, seed=study.recipe.seed).model
    subject = Subject(first, name=study.model, input_size=images.input_size)
    stages, refused = study.stages(subject)
    places = {name: number for number, name in enumerate(chain(*stages))}
    trained: dict[Placement, list[TrainingJob]] = {}

    def score(units: Placement) -> np.ndarray:
        ordered = tuple(sorted(units, key=places.__getitem__))  # so that a placement has one address, however reached
        jobs = trained[ordered] = study.jobs(ordered, out)
        for job in executor.run(jobs):
            say(f"  trained {job.folder.name}")
        accuracies = np.array([job.result.validation_accuracy for job in jobs])
        mean, error = accuracies.mean(), standard_error(accuracies)
        say(f"{', '.join(ordered) or 'no attention'}: validation accuracy {mean:.1%} ± {error:.1%}")
        return accuracies

    steps = [step._replace(units=tuple(sorted(step.units, key=places.__getitem__))) for step in search(stages, score)]
    chosen = next(step for step in reversed(steps) if step.kept)
    say("looking at the test images")
    test = {step.units: _tested(study, trained[step.units]) for step in (steps[0], chosen)}
    tables = {
        "table": _path(study, steps, stages),
        "runs": _runs(study, steps, trained),
        "test": _test(study, [test[steps[0].units], test[chosen.units]], len(chosen.units)),
    }
    data = {"name": images.name, "fingerprint": images.fingerprint, **images.shares}
    provenance = {
        "instrument": SPEC.name,
        "settings": {"seeds": study.seeds, "form": study.form, **study.settings},
        "recipe": study.recipe.as_dict(),
        "model": {"name": study.model, "class": type(first).__name__, "model_args": dict(study.model_args)},
        "input": {"size": list(images.input_size)},
        "data": data,
        "chosen": study.written(chosen.units),
        "train": study.line(chosen.units),
        "left_out": refused,
        "versions": versions(),
        **circumstances(f"buildup({study!r})", "cpu"),
    }
    found = Measurement(instrument=SPEC.name, tables=tables, provenances=(provenance,))
    found.save(out)
    return found


def _path(study: BuildUp, steps: Sequence[Step], stages: Sequence[Sequence[str]]) -> pd.DataFrame:
    stage_of = {unit: number for number, stage in enumerate(stages) for unit in stage}
    rows = [
        {
            "model": study.model,
            "step": number,
            "unit": step.unit or "no attention",
            "stage": stage_of.get(step.unit, nan),
            "units": ", ".join(step.units) or "no attention",
            "attention": len(step.units),
            "accuracy": step.scores.mean(),
            "standard_error": standard_error(step.scores),
            "gain": step.gain,
            "gain_error": step.error,
            "kept": int(step.kept),
        }
        for number, step in enumerate(steps)
    ]
    return pd.DataFrame(rows)


def _runs(study: BuildUp, steps: Sequence[Step], trained: Mapping[Placement, list[TrainingJob]]) -> pd.DataFrame:
    rows = [
        {
            "model": study.model,
            "step": number,
            "seed": job.recipe.seed,
            "accuracy": accuracy,
            "run": job.folder.name,
        }
        for number, step in enumerate(steps)
        for job, accuracy in zip(trained[step.units], step.scores.tolist(), strict=True)
    ]
    return pd.DataFrame(rows)


def _tested(study: BuildUp, jobs: Sequence[TrainingJob]) -> np.ndarray:
    """Accuracy of each run on the test images."""
    accuracies = []
    for job in jobs:
        subject = load(job.result.name)
        table = Calibration().measure(subject, batches(study.data, split="test", **subject.takes)).table
        accuracies += table.loc[table["metric"] == "accuracy", "value"].tolist()
    return np.array(accuracies)


def _test(study: BuildUp, accuracies: Sequence[np.ndarray], attention: int) -> pd.DataFrame:
    """The first network, the chosen one and their difference, seed by seed, each with Student's interval."""
    before, after = accuracies
    rows = []
    for network, count, values in (
        ("no attention", 0, before),
        ("chosen", attention, after),
        ("difference", attention, after - before),
    ):
        rows.append((study.model, network, count, *over_seeds(values), len(values)))
    columns = ["model", "network", "attention", "accuracy", "standard_error", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)
