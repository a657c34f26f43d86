"""History: the training run that a model comes from, and how it varied its images."""

from pathlib import Path

from alternet.data.augment import Augmentation
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


def augmentation_of(subject: Subject) -> Augmentation:
    """How the images were varied that a model was trained on, by the recipe of its run.

    Raises:
        ValueError: The model has no run, or the run does not say.
    """
    history = history_of(subject, "no recipe whose augmentation could be taken")
    try:
        return Augmentation.of(TrainingRun(history).facts["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{history / RUN} does not say how the images were augmented ({error}). Name an augmentation instead, for "
            "example augment=weak."
        ) from error
