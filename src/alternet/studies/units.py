"""The units of a study's networks, from the networks themselves: no weight of them matters."""

from typing import Any

import pandas as pd

from alternet.data.datasets import dataset
from alternet.seeding import noise
from alternet.studies.declaration import Study
from alternet.studies.plan import Plan
from alternet.studies.scale import KNOWN, Facts
from alternet.studies.training_job import TrainingJob, without_path
from alternet.subject.starting import start
from alternet.subject.subject import Subject


def facts_of(data: str) -> Facts:
    """Images, classes and side of a data set; of those that are well known without having it.

    Raises:
        ValueError: It is none of those, and cannot be found.
    """
    if known := KNOWN.get(without_path(data)):
        return known
    train, test = (dataset(data, split=split) for split in ("train", "test"))
    side = train.img_size if isinstance(train.img_size, int) else max(train.img_size)
    return Facts(train=len(train), test=len(test), classes=len(train.classes), side=side)


def built(training: TrainingJob, facts: Facts) -> Subject:
    """The network that a training begins with."""
    side = training.img_size or facts.side
    shape = (int(training.model_args.get("in_chans", 3)), side, side)
    begun = start(
        training.model.removesuffix("@pretrained"), shape, facts.classes, training.model_args, seed=training.recipe.seed
    )
    return Subject(begun.model.eval(), name=training.model, input_size=shape)


def units_of(plan: Plan, study: Study) -> pd.DataFrame:
    """A row for every unit of every network: `arm`, `unit`, `tap`, `kind`, `stage`, `channels`, `height`, `width`."""
    rows: list[dict[str, Any]] = []
    for arm in study.arms:
        training = plan.training(arm.of, 0)
        subject = built(training, facts_of(training.data))
        assert subject.input_size is not None
        for tap in subject.taps_on(noise(subject.input_size)):
            size = dict(zip(("channels", "height", "width"), tap.shape, strict=True))
            rows.append(
                {"arm": arm.name, "unit": tap.unit, "tap": tap.name, "kind": tap.kind, "stage": tap.stage, **size}
            )
    return pd.DataFrame(rows)
