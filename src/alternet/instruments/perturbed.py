"""Perturbed: how many answers of a classifier change for the worse when its images are changed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from alternet.instruments.intervals import change_interval
from alternet.instruments.moments import mean_and_error, moments, of_mean_and_error
from alternet.instruments.work import PerItem, Row
from alternet.probe.probe import Probe
from alternet.scores import negative_log_likelihood, require_classes
from alternet.shapes import Images, Labels

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


class PerturbedWork(PerItem):
    """Work that first lets a classifier answer to the images as they are, and then to changed ones.

    Attributes:
        right: Of the unchanged images one bit each, whether the answer was right.
    """

    right: Bool[Tensor, " n"]

    def begin(self) -> None:
        self.probe = self.undo.enter_context(Probe(self.subject, taps=[]))
        right = [self._answer(images.to(self.subject.device), targets)[0] for images, targets in self.batches]
        if not right:
            raise ValueError(f"{self.batches.name!r} gave no image to measure. Check that its files can be read.")
        self.right = torch.cat(right)

    def score(self, change: Change, *, repeats: int = 1) -> Score:
        """One pass over the data, every batch changed and answered `repeats` times."""
        sums, start = [], 0
        for images, targets in self.batches:
            places = range(start, start + len(images))
            here = images.to(self.subject.device)
            answers = [self._answer(change(here, places, repeat), targets) for repeat in range(repeats)]
            right, nll = (torch.stack(values).double().mean(0) for values in zip(*answers, strict=True))
            before = self.right[places.start : places.stop].double()
            sums.append(moments(torch.stack([right, right - before, nll], dim=1)))
            start = places.stop
        total = sum(sums[1:], start=sums[0])
        (accuracy, delta, nll), (_, error, _) = (values.tolist() for values in mean_and_error(total))
        return Score(accuracy, delta, nll, error)

    def with_intervals(self, rows: Sequence[Row], delta: int, error: int) -> list[Row]:
        """The rows with the interval of each change of accuracy at their end.

        Args:
            rows: Rows of a table, as they stand in a journal.
            delta: The place of `delta_accuracy` in them.
            error: That of its standard error.
        """
        if not rows:
            return []
        of = (torch.tensor([row[place] for row in rows], dtype=torch.float64) for place in (delta, error))
        ends = change_interval(of_mean_and_error(len(self.right), *of))
        return [(*row, *pair) for row, *pair in zip(rows, *(end.tolist() for end in ends), strict=True)]

    def _answer(self, images: Images, targets: Labels) -> tuple[Bool[Tensor, " n"], Float64[Tensor, " n"]]:
        """Whether each answer is right, and its −log likelihood."""
        logits = self.probe.logits(images).cpu()
        require_classes(logits, targets, instrument=self.instrument.spec.name)
        return logits.argmax(1) == targets, negative_log_likelihood(logits, targets)
