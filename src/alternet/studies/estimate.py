"""Estimate: what a plan costs on this machine, from one timed step of each of its networks; no data is needed."""

import time
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from alternet.errors import in_one_line
from alternet.instruments.base import Instrument
from alternet.instruments.landscape import Landscape
from alternet.seeding import random_state_kept
from alternet.studies.measuring_job import MeasuringJob
from alternet.studies.plan import NetworkJob, Plan, trained
from alternet.studies.scale import Facts
from alternet.studies.training_job import TrainingJob, without_path
from alternet.studies.units import built, facts_of
from alternet.training.recipe import Recipe

TIMED = (8, 64)
"""Images of the timed steps: a few, and more of networks that are quick, which cost most where they are few."""

QUICK = 0.5
"""Seconds below which a step of a few images counts as quick."""

GRADIENT = 3.0
"""Forward passes that a gradient costs."""


class Cost(NamedTuple):
    """One network: its parameters, seconds a picture takes to train on, and the units that lesions remove."""

    parameters: int
    seconds: float
    units: int


def described(plan: Plan) -> Iterator[str]:
    """What a plan would do, a line a network, study by study and in sum."""
    yield f"Scale {plan.scale.name}, seeds {', '.join(map(str, plan.seeds))}, in {plan.out}:"
    for study in plan.studies:
        arms = ", ".join(dict.fromkeys(arm.name for arm in study.arms))
        yield f"  {study.figure:<5} {study.title} [{arms}]"
    yield ""
    costs: dict[str, Cost | str] = {}
    total, left = 0.0, 0.0
    for job in plan.jobs:
        cost = costs.setdefault(_network(job.training), _tried(job.training))
        if isinstance(cost, str):
            yield f"  {job.folder.name:<40} {cost}"
            continue
        training, measuring = _seconds(job, cost)
        total += training + sum(measuring)
        done, known = _done(job), [_is_there(one) for one in job.measurements]
        left += (0 if done else training) + sum(
            0 if there else each for there, each in zip(known, measuring, strict=True)
        )
        there = f"{'trained' if done else 'to train'}, {sum(known)} of {len(known)} measured"
        yield (
            f"  {job.folder.name:<40} {cost.parameters / 1e6:6.2f} M  {_recipe(job.training.recipe):<34} "
            f"train {_time(training):>8}  measure {_time(sum(measuring)):>8}  {there}"
        )
    jobs = plan.jobs
    finished, measurements = sum(map(_done, jobs)), [one for job in jobs for one in job.measurements]
    yield ""
    yield (
        f"{len(plan.studies)} figures, {len(jobs)} trainings ({finished} there), {len(measurements)} measurements "
        f"({sum(map(_is_there, measurements))} there)."
    )
    device = "GPU" if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    yield f"About {_time(total)} on this machine ({device}), {_time(left)} of it still to do; from timed steps."


def _seconds(job: NetworkJob, cost: Cost) -> tuple[float, list[float]]:
    training, facts = job.training, facts_of(job.training.data)
    images = facts.train * _share(training.recipe.subset) * (1 - _share(training.recipe.validation))
    recipe, forward = training.recipe, cost.seconds / GRADIENT
    passes = 2 if recipe.sam != "none" else 1
    learning = 0 if training.given else recipe.total_epochs * (images * cost.seconds * passes + facts.test * forward)
    measuring = []
    for one in job.measurements:
        everything = (
            facts_of(one.data)
            if without_path(one.data) != "cue-conflict"
            else Facts(train=0, test=1224, classes=18, side=32)
        )
        count = everything.train if one.instrument.spec.split == "train" else everything.test
        measuring.append(min(one.limit or count, count) * forwards(one.instrument, cost.units) * forward)
    return learning, measuring


def forwards(instrument: Instrument, units: int) -> float:
    """How many forward passes over its images an instrument costs, about.

    Examples:
        >>> from alternet.instruments.fourier import Fourier
        >>> forwards(Fourier(), units=17)
        1.2
    """
    if isinstance(instrument, Landscape):
        return instrument.points**2 + 8 * instrument.draws
    settings = instrument.settings
    known = {
        "fourier": 1.2,
        "variance": 1.2,
        "similarity": 1.5,
        "lesion": units / 2 + 1,
        "frequency_noise": 1 + settings.get("bands", 9) * settings.get("repeats", 1),
        "calibration": 1.0,
        "corruption": 1.0 + 5 * len(getattr(instrument, "corruptions", ())),
        "shape_bias": 1.0,
        "hessian": 75 * GRADIENT,
        "spectral_density": 550 * GRADIENT,
        "interpolation": 1.0 + settings.get("steps", 20) + 2 * settings.get("beyond", 4),
        "trajectory": 0.0,
    }
    return known.get(instrument.spec.name, 1.0)


def _network(training: TrainingJob) -> str:
    """What decides how long a step takes."""
    return str((training.model, sorted(training.model_args.items()), without_path(training.data), training.img_size))


def _tried(training: TrainingJob) -> Cost | str:
    try:
        return timed(training)
    except (ValueError, OSError, RuntimeError) as error:
        return in_one_line(error)


def timed(training: TrainingJob) -> Cost:
    """Build a network, and time some steps of it; the quickest counts, since other work only slows them.

    Raises:
        ValueError: It cannot be built, or nothing is known of its data.
    """
    facts = facts_of(training.data)
    subject = built(training, facts)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = subject.model.to(device).train()
    assert subject.input_size is not None
    seconds = inf
    with random_state_kept(seed=0):
        for count in TIMED:
            images = torch.rand(count, *subject.input_size, device=device)
            targets = torch.zeros(count, dtype=torch.long, device=device)
            each = [_step(model, images, targets) / count for _ in range(3)]  # the first one also warms up
            seconds = min(seconds, *each)
            if min(each) * count > QUICK:
                break
    units = len(model.state_dict()) // 8  # about a unit for eight tensors, which is what lesions are priced by
    return Cost(sum(parameter.numel() for parameter in model.parameters()), seconds, units)


def _step(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> float:
    begun = time.perf_counter()
    cross_entropy(model(images), targets).backward()
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _share(part: str) -> float:
    above, _, below = part.partition("/")
    return float(above) / float(below or 1)


def _recipe(recipe: Recipe) -> str:
    changed = [f"{recipe.total_epochs} epochs", f"{recipe.opt}", f"seed {recipe.seed}"]
    changed += [f"subset {recipe.subset}"] if recipe.subset != "1" else []
    return ", ".join(changed)


def _done(job: NetworkJob) -> bool:
    return trained(job.training)


def _is_there(one: MeasuringJob) -> bool:
    try:
        return trained(one.training) and one.finished
    except ValueError:
        return False


def _time(seconds: float) -> str:
    """A time in the unit that one would use.

    Examples:
        >>> _time(30), _time(600), _time(7200), _time(400_000)
        ('30 s', '10 min', '2.0 h', '4.6 days')
    """
    for unit, length in (("days", 86_400), ("h", 3600)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
