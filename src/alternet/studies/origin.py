"""Where evidence comes from: how every network of a plan was trained and measured, and on what."""

from collections.abc import Iterable, Mapping
from typing import Any

from alternet.studies.measuring_job import MeasuringJob
from alternet.studies.plan import Plan, trained
from alternet.studies.training_job import TrainingJob

CIRCUMSTANCES = ("versions", "python", "device", "device_name", "git")
"""Facts of a run or measurement that most of a plan have in common."""


def origin(plan: Plan) -> dict[str, Any]:
    """What stands beside the evidence of a plan, as plain values; what is not finished is not named.

    Each circumstance is a list of all that occurred, so that one sees at once whether all was made on one machine.
    """
    jobs = [job for job in plan.jobs if trained(job.training)]
    # a stored table is read, and its checksum taken, whenever its provenance is asked for: so once
    measured = {one.address: one.result.provenance for job in jobs for one in job.measurements if one.finished}
    runs = {job.folder: job.training.result.facts for job in jobs if not job.training.given}
    facts = [*runs.values(), *measured.values()]
    return {
        "studies": [study.figure for study in plan.studies],
        "scale": plan.scale.name,
        "seeds": list(plan.seeds),
        **{name: _occurred(fact.get(name) for fact in facts) for name in CIRCUMSTANCES},
        "dates": sorted({fact["date"][:10] for fact in facts if "date" in fact}),
        "networks": {
            job.folder.name: {
                **_training(job.training, runs.get(job.folder)),
                "measured": [
                    _measurement(one, measured[one.address]) for one in job.measurements if one.address in measured
                ],
            }
            for job in jobs
        },
    }


def _occurred(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value is not None and value not in found:
            found.append(value)
    return found


def _training(job: TrainingJob, facts: Mapping[str, Any] | None) -> dict[str, Any]:
    if facts is None:  # published weights, which nobody trained here
        return {"model": job.model, "data": job.data}
    return {
        "model": job.model,
        "model_args": dict(job.model_args),
        "parameters": facts["parameters"]["all"],
        "data": facts["data"],
        "recipe": job.changed,
        "seconds": round(facts["seconds"]),
    }


def _measurement(job: MeasuringJob, facts: Mapping[str, Any]) -> dict[str, Any]:
    about = {"instrument": job.instrument.spec.name, "settings": job.changed, "weights": job.snapshot}
    return {**about, "images": facts["images"], "data": facts["data"]["name"]}
