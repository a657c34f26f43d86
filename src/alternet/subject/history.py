"""History: the training run that a model comes from, and the loss that it minimised."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alternet.data.augment import Augmentation
from alternet.errors import Doubt
from alternet.runs import RUN, TrainingRun
from alternet.subject.subject import Subject


def history_of(subject: Subject, without: str) -> Path:
    """The folder of the run that a Subject comes from.

    Args:
        subject: The model.
        without: What there is not where there is no run, for the error.

    Raises:
        ValueError: There is none.
    """
    if subject.history is None:
        raise ValueError(
            f"{subject.name!r} has no training run with it, so {without}. Load one: run:DIR, where DIR is what "
            "`alternet train` wrote, or state it: Subject(..., history=DIR)."
        )
    return subject.history


@dataclass(frozen=True)
class Objective:
    """The loss that a run minimised, by its recipe: NLL on augmented images, and L2 by weight decay.

    Attributes:
        augment: How the images were varied, mixed, and their labels smoothed.
        weight_decay: Factor of the L2 part.
        decays: Whether weight decay acted on `all` parameters or on those that timm's rule leaves it (`timm`).
    """

    augment: Augmentation
    weight_decay: float
    decays: Literal["timm", "all"]


def objective_of(subject: Subject) -> Objective:
    """The loss that a model was trained on.

    Raises:
        ValueError: The model has no run, or the run does not say.
    """
    history = history_of(subject, "no recipe that says which loss was trained on")
    try:
        recipe = TrainingRun(history).facts["recipe"]
        spared, weight_decay = recipe["filter_bias_and_bn"], float(recipe["weight_decay"])
        shares = {name: recipe.get(name, whole) for name, whole in (("subset", "1"), ("validation", "0"))}
        if shares != {"subset": "1", "validation": "0"}:
            said = ", ".join(f"{name}: {share}" for name, share in shares.items())
            warnings.warn(
                f"{subject.name} was trained on a part of its training images ({said}); its loss is measured on those "
                "that are given, also where it has not seen them.",
                Doubt,
                stacklevel=2,
            )
        return Objective(Augmentation.of(recipe), weight_decay, "timm" if spared else "all")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{history / RUN} does not say which loss was trained on ({error}). State the loss instead, for example "
            "objective=stated and augment=weak."
        ) from error
