"""Perturbed: how many answers of a classifier change for the worse when its images are changed."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.moments import mean_and_error, moments
from alternet.probe.predictions import Predictions
from alternet.scores import require_classes
from alternet.shapes import Images, Labels, Logits
from alternet.subject.subject import Subject

Change = Callable[[Images, range, int], Images]
"""Images on the model's device, their places in the data and the number of the repeat → the images as changed."""


class Score(NamedTuple):
    """Means over images of what the model makes of changed ones.

    Attributes:
        accuracy: Share of right answers.
        delta_accuracy: The same less the share of right answers to the unchanged images.
        nll: Mean of −log softmax at the label.
        standard_error: Of `delta_accuracy`, over the images: each one's mean over the repeats less its own answer
            unchanged. So it covers the choice of images and the draw of the noise; nan for a single image.
    """

    accuracy: float
    delta_accuracy: float
    nll: float
    standard_error: float


class Perturbed:
    """A view of a classifier that first answers to the images as they are, and then to changed ones.

    Of the unchanged images one bit each is kept, whether the answer was right.

    Args:
        subject: The model; it is left as it was.
        batches: The images and their labels.
        instrument: Who asks, for messages.

    Examples:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> data = Batches.of(torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 1, 0, 1]))
        >>> with Perturbed(Subject(net, name="mine"), data, instrument="mine") as perturbed:
        ...     score = perturbed.score(lambda images, places, repeat: images)
        >>> score.delta_accuracy, score.standard_error
        (0.0, 0.0)
    """

    def __init__(self, subject: Subject, batches: Batches, *, instrument: str) -> None:
        self.subject, self.batches, self.instrument = subject, batches, instrument
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._predictions = undo.enter_context(Predictions(self.subject))
            right = [self._answer(images.to(self.subject.device), targets)[0] for images, targets in self.batches]
            if not right:
                raise ValueError(f"{self.batches.name!r} gave no image to measure. Check that its files can be read.")
            self.right: Bool[Tensor, " n"] = torch.cat(right)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)

    def score(self, change: Change, *, repeats: int = 1) -> Score:
        """One pass over the data, every batch changed and answered `repeats` times."""
        sums: Tensor | float = 0.0
        start = 0
        for images, targets in self.batches:
            places = range(start, start + len(images))
            sums = sums + moments(self._changed(images, targets, places, change, repeats))
            start = places.stop
        assert isinstance(sums, Tensor)
        (accuracy, delta, nll), (_, error, _) = (values.tolist() for values in mean_and_error(sums))
        return Score(accuracy, delta, nll, error)

    def _changed(
        self, images: Images, targets: Labels, places: range, change: Change, repeats: int
    ) -> Float64[Tensor, "n 3"]:
        images = images.to(self.subject.device)
        answers = [self._answer(change(images, places, repeat), targets) for repeat in range(repeats)]
        right, nll = (torch.stack(values).double().mean(0) for values in zip(*answers, strict=True))
        return torch.stack([right, right - self.right[places.start : places.stop].double(), nll], dim=1)

    def _answer(self, images: Images, targets: Labels) -> tuple[Bool[Tensor, " n"], Float64[Tensor, " n"]]:
        """Whether each answer is right, and its −log likelihood."""
        logits = self._predictions.logits(images).cpu()
        require_classes(logits, targets, instrument=self.instrument)
        return logits.argmax(1) == targets, negative_log_likelihood(logits, targets)


def negative_log_likelihood(logits: Logits, targets: Labels) -> Float64[Tensor, " n"]:
    """−log softmax of each image's logits at its label, in float64.

    Examples:
        >>> negative_log_likelihood(torch.zeros(1, 2), torch.tensor([0])).exp().round(decimals=6)
        tensor([2.], dtype=torch.float64)
    """
    return -logits.double().log_softmax(1).gather(1, targets[:, None]).squeeze(1)
