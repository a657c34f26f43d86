"""Where evidence comes from: how every network of a plan was trained and measured, and on what."""

from collections.abc import Iterable, Mapping
from typing import Any

from alternet.studies.measuring_job import MeasuringJob
from alternet.studies.plan import NetworkJob, Plan, trained
from alternet.studies.training_job import TrainingJob
from alternet.training import Recipe

CIRCUMSTANCES = ("versions", "python", "device", "device_name", "git")
"""Facts of a run or measurement that most of a plan have in common."""


def origin(plan: Plan) -> dict[str, Any]:
    """What stands beside the evidence of a plan, as plain values; what is not finished is not named.

    Each circumstance is a list of all that occurred, so that one sees at once whether all was made on one machine.
    """
    jobs = [job for job in plan.jobs if trained(job.training)]
    facts = [fact for job in jobs for fact in _facts(job)]
    return {
        "studies": [study.figure for study in plan.studies],
        "scale": plan.scale.name,
        "seeds": plan.seeds,
        **{name: _occurred(fact.get(name) for fact in facts) for name in CIRCUMSTANCES},
        "dates": sorted({fact["date"][:10] for fact in facts if "date" in fact}),
        "networks": {job.folder.name: _network(job) for job in jobs},
    }


def _facts(job: NetworkJob) -> list[Mapping[str, Any]]:
    """The stored facts of a training and of its measurements."""
    own = [] if job.training.given else [job.training.result.facts]
    return [*own, *(one.result.provenance for one in job.measurements if one.finished)]


def _occurred(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value is not None and value not in found:
            found.append(value)
    return found


def _network(job: NetworkJob) -> dict[str, Any]:
    measured = [_measurement(one) for one in job.measurements if one.finished]
    return {**_training(job.training), "measured": measured}


def _training(training: TrainingJob) -> dict[str, Any]:
    if training.given:
        return {"model": training.model, "data": training.data}
    facts, usual = training.result.facts, Recipe().as_dict()
    return {
        "model": training.model,
        "model_args": dict(training.model_args),
        "parameters": facts["parameters"]["all"],
        "data": facts["data"],
        "recipe": {name: value for name, value in training.recipe.as_dict().items() if usual[name] != value},
        "seconds": round(facts["seconds"]),
    }


def _measurement(job: MeasuringJob) -> dict[str, Any]:
    usual, facts = type(job.instrument)().settings, job.result.provenance
    changed = {name: value for name, value in job.instrument.settings.items() if usual[name] != value}
    about = {"instrument": job.instrument.spec.name, "settings": changed, "weights": job.snapshot}
    return {**about, "images": facts["images"], "data": facts["data"]["name"]}
