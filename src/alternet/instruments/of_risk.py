"""What the instruments of the loss have in common: which loss, on which augmented data."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch

from alternet.data.augment import PAPER_CIFAR, PAPER_IMAGENET, WEAK, Augmentation
from alternet.data.batches import Batches
from alternet.instruments.base import Itemised
from alternet.loss.risk import Risk, Value
from alternet.subject.history import augmentation_of
from alternet.subject.subject import Subject

View = TypeVar("View")

AUGMENTATIONS = {"paper": PAPER_CIFAR, "paper-imagenet": PAPER_IMAGENET, "weak": WEAK, "none": Augmentation()}
"""How the images are varied, once, before anything is measured."""


@dataclass(frozen=True, kw_only=True)
class OfRisk(Itemised[View]):
    """An instrument of NLL + L2 on frozen augmented batches of the training data (Park and Kim 2022, appendix A).

    Attributes:
        augment: Augmentation of the images: the strong one of the paper for CIFAR or ImageNet, the weak one, none, or
            that of the `recipe` which the model was trained with, for a model that comes from a run. Batches that are
            frozen already are taken as they are.
        batch_size: Images in a batch; the numbers depend on it where images are mixed.
        weight_decay: Factor of the L2 part.
        l2: `textbook`: half the squared norm of the decayed parameters. `paper`: the sum of norms of all parameters.
        batch_norm: BatchNorm with its `running` statistics or those of each `batch`.
        seed: What order, augmentation and random vectors are drawn from.
    """

    augment: Literal["paper", "paper-imagenet", "weak", "none", "recipe"] = "paper"
    batch_size: int = 16
    weight_decay: float = 0.05
    l2: Literal["textbook", "paper"] = "textbook"
    batch_norm: Literal["running", "batch"] = "running"
    seed: int = 0

    needs_labels: ClassVar[bool] = True
    split: ClassVar[Literal["test", "train"]] = "train"
    learnt_with: ClassVar[Augmentation | None] = None
    """The augmentation of the model's recipe, once it is ready for a model and where that is asked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ValueError(f"{self.name} got batch_size={self.batch_size}, expected at least 1.")
        if self.seed < 0:
            raise ValueError(f"{self.name} got seed={self.seed}, expected at least 0.")
        if self.weight_decay < 0:
            raise ValueError(f"{self.name} got weight_decay={self.weight_decay}, expected a number from 0 on.")

    def ready(self, subject: Subject) -> Self:
        """With the augmentation of the model's own recipe, if that is asked for."""
        if self.augment != "recipe":
            return self
        met = replace(self)
        object.__setattr__(met, "learnt_with", augmentation_of(subject))
        return met

    def prepare(self, batches: Batches) -> Batches:
        if batches.augment is not None or not batches.images:  # the runner refuses what is empty
            return batches
        augmentation = AUGMENTATIONS.get(self.augment, self.learnt_with)
        assert augmentation is not None, "ready() comes first"
        return batches.frozen(augmentation, seed=self.seed, batch_size=self.batch_size)

    def risk(self, subject: Subject, batches: Batches, **options: Any) -> Risk:
        """The loss that is measured, a model in half precision in single precision; `options` go to `Risk`."""
        options = {"dtype": torch.promote_types(subject.dtype, torch.float32)} | options
        return Risk(
            subject,
            batches,
            weight_decay=self.weight_decay,
            l2=self.l2,
            batch_norm=self.batch_norm,
            **options,
        )


def known(value: Value) -> tuple[float | None, float | None, float | None, float | None]:
    """NLL, L2, loss and accuracy of a point, None for what is undefined.

    Without a finite NLL there is no loss, and no logit that could be right.
    """
    l2 = value.l2 if isfinite(value.l2) else None
    if not isfinite(value.nll):
        return None, l2, None, None
    return value.nll, l2, None if l2 is None else value.loss, value.accuracy
