"""What the instruments of the loss do alike: they freeze augmented batches and open NLL + L2 on them."""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

import torch

from alternet.data.augment import PAPER_CIFAR, PAPER_IMAGENET, WEAK, Augmentation
from alternet.data.image_batches import Batches
from alternet.instruments.loss_instrument import LossInstrument
from alternet.instruments.work import PerItem
from alternet.loss.risk import Risk, Value
from alternet.subject.history import objective_of
from alternet.subject.subject import Subject

AUGMENTATIONS: dict[str, Callable[[Subject], Augmentation]] = {
    "strong": lambda _: PAPER_CIFAR,
    "strong-imagenet": lambda _: PAPER_IMAGENET,
    "weak": lambda _: WEAK,
    "none": lambda _: Augmentation(),
    "recipe": lambda subject: objective_of(subject).augment,
}
"""How the images are varied, once, before anything is measured, by the setting `augment`."""

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


class Point(NamedTuple):
    """The loss at one point of the space of weights, None for what is undefined there.

    Attributes:
        nll: Negative log-likelihood, in nats.
        l2: The penalty, without the factor of weight decay.
        loss: nll + weight decay · l2.
        accuracy: Share of right answers.
    """

    nll: float | None
    l2: float | None
    loss: float | None
    accuracy: float | None

    @classmethod
    def of(cls, value: Value) -> "Point":
        """What is defined of a value: without a finite NLL there is no loss, and no logit that could be right."""
        l2 = value.l2 if isfinite(value.l2) else None
        if not isfinite(value.nll):
            return cls(None, l2, None, None)
        return cls(value.nll, l2, None if l2 is None else value.loss, value.accuracy)


class LossWork(PerItem):
    """NLL + L2 of a model on frozen augmented batches.

    Attributes:
        risk: The loss, once the work has begun.
    """

    risk: Risk

    def __init__(self, instrument: Any, subject: Subject, batches: Batches) -> None:
        instrument = stated(instrument, subject)
        # batches that somebody froze are taken as they are
        if batches.augment is None:
            augmentation = AUGMENTATIONS[instrument.augment](subject)
            batches = batches.frozen(augmentation, seed=instrument.seed, batch_size=instrument.batch_size)
        super().__init__(instrument, subject, batches)
        if instrument.objective == "run" and batches.augment is not None:
            weights = "averaged" if subject.averaged else "as stepped"
            self.facts = {"objective": {"weights": weights, "augment": batches.augment.facts}}
        # numbers that cannot have a gradient are no parameters in the first place
        real = [p for p in subject.model.parameters() if p.is_floating_point()]
        left_out = 0 if self.moves_frozen else sum(p.numel() for p in real if not p.requires_grad)
        if left_out:  # of a model without any there is nothing to say, and results of earlier versions do not say it
            self.facts = {**self.facts, "frozen_left_out": left_out}

    @property
    def moves_frozen(self) -> bool:
        """Whether frozen parameters are varied: where it is asked for, and on the way to other weights."""
        return getattr(self.instrument, "frozen", True)

    def begin(self) -> None:
        self.risk = self.undo.enter_context(self.loss())

    def loss(self, **options: Any) -> Risk:
        """The loss that is measured, a model in half precision in single precision; `options` go to `Risk`."""
        asked = self.instrument
        dtype = torch.promote_types(self.subject.dtype, torch.float32)
        options = {"dtype": dtype, "frozen": self.moves_frozen} | options
        return Risk(
            self.subject,
            self.batches,
            weight_decay=asked.weight_decay,
            decays=asked.decays,
            l2=asked.l2,
            batch_norm=asked.batch_norm,
            **options,
        )


def stated(instrument: LossInstrument, subject: Subject) -> LossInstrument:
    """The instrument with the whole loss in its settings: what was left out is that of the run, or the paper's."""
    objective = instrument.objective or ("stated" if subject.history is None else "run")
    weight_decay, decays, augment = 0.05, "timm", "strong"
    if objective == "run":
        run = objective_of(subject)
        weight_decay, decays, augment = run.weight_decay, run.decays, "recipe"
    return replace(
        instrument,
        objective=objective,
        augment=instrument.augment or augment,
        weight_decay=weight_decay if instrument.weight_decay is None else instrument.weight_decay,
        decays=instrument.decays or decays,
    )


class CurvatureWork(LossWork):
    """The loss with the settings that the instruments of its Hessian share."""

    def loss(self, **options: Any) -> Risk:
        asked = self.instrument
        chosen = {
            "parameters": asked.parameters,
            "micro_batch": asked.micro_batch,
            "dtype": PRECISIONS[asked.precision],
        }
        return super().loss(**chosen | options)
