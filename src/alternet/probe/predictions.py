"""Predictions: what a classifier answers, batch by batch, with the model left as it was."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self

from torch import Tensor

from alternet.shapes import Images, Logits
from alternet.subject.subject import Subject
from alternet.untouched import untouched


class Predictions:
    """A view of a model from outside: images in, logits out, in evaluation mode and without gradients.

    Args:
        subject: The model; on leaving the block its modes, gradients, buffers and the random state are as before.

    Examples:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(12, 5)).train()
        >>> with Predictions(Subject(net, name="mine")) as predictions:
        ...     logits = predictions.logits(torch.zeros(7, 3, 2, 2))
        >>> logits.shape, net.training
        (torch.Size([7, 5]), True)
    """

    taps: Sequence[Any] = ()
    """A view from outside has no taps."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._undo.enter_context(untouched(self.subject.model))
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)

    def logits(self, images: Images) -> Logits:
        """The class scores of images in [0, 1]."""
        return self.subject.logits(images)

    def observe(self, images: Images, visit: Callable[[Any, Tensor], None]) -> Logits:
        """The class scores alone, so that instruments of predictions and of features run the same way."""
        return self.logits(images)
