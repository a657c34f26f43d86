"""Longer trainings: where a recipe asks for more epochs than a run was begun with, the run goes on."""

from collections.abc import Mapping

from alternet.runs import CHECKPOINT, TrainingRun
from alternet.training.recipe import Recipe


def epochs_before(run: TrainingRun, recipe: Recipe) -> dict[str, int]:
    """`epochs` as the recipe of a run says it, if that is fewer than the recipe now does; else nothing.

    Raises:
        ValueError: The run has come to its end, and its checkpoint, which a longer one goes on from, is gone.
    """
    stored = run.facts.get("recipe") if run.begun else None
    before = stored.get("epochs") if isinstance(stored, dict) else None
    if not isinstance(before, int) or before >= recipe.epochs:
        return {}
    if run.finished and not (run.folder / CHECKPOINT).exists():
        raise ValueError(
            f"{run.folder} was trained for {before} epochs, and its {CHECKPOINT}, from which a training of "
            f"{recipe.epochs} goes on, is not there (version 0.1 deleted it). Give another --out, or begin there with "
            f"its weights: -m {run.name}."
        )
    return {"epochs": before}


def goes_on(grown: Mapping[str, int], recipe: Recipe) -> str:
    """What one should know of a run that became longer.

    Args:
        grown: `epochs` of its recipe before, and how many were `done` when it grew.
        recipe: Its recipe now.

    Examples:
        >>> goes_on({"epochs": 10, "done": 10}, Recipe(epochs=20, sched="multistep"))
        'The run goes on: 10 of its 10 epochs are done, now it has 20.'
    """
    line = f"The run goes on: {grown['done']} of its {grown['epochs']} epochs are done, now it has {recipe.epochs}."
    if recipe.sched == "cosine" and grown["done"] > recipe.warmup_epochs:
        line += (
            " Until now the learning rate fell as for the shorter one, from here on as for the longer one, so the "
            f"weights are not those of {recipe.epochs} epochs from the start."
        )
    return line
