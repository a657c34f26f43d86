"""Pair: the feature maps of two models on the same images."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from alternet.probe.probe import Probe
from alternet.shapes import FeatureMap, Images, Logits
from alternet.subject.subject import Subject
from alternet.taps.find import Tap

SECOND = "second model: "
"""Before the names of the second model's taps, since both models may have one of the same name."""


class Pair:
    """Two models under observation: inside the `with` block in evaluation mode, afterwards as they were.

    Both see the same images in [0, 1], each with the normalisation that it declares.

    Attributes:
        taps: Those of the first model, then those of the second, their names led by `SECOND`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> nets = [nn.Sequential(nn.Conv2d(3, c, 3), nn.Flatten(), nn.Linear(36 * c, 2)) for c in (4, 6)]
        >>> one, two = (Subject(net, name="mine", input_size=(3, 8, 8)) for net in nets)
        >>> with Pair(one, two) as pair:
        ...     logits = pair.observe(torch.rand(5, 3, 8, 8), lambda tap, feature: print(tap.name, feature.shape))
        0 torch.Size([5, 4, 6, 6])
        second model: 0 torch.Size([5, 6, 6, 6])
    """

    def __init__(self, first: Subject, second: Subject) -> None:
        self._first, self._second = Probe(first), Probe(second)
        self._renamed = {tap.name: replace(tap, name=f"{SECOND}{tap.name}") for tap in second.taps}
        self.taps: tuple[Tap, ...] = (*first.taps, *self._renamed.values())
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for probe in (self._first, self._second):
                entered.enter_context(probe)
            self._undo = entered.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    def observe(self, images: Images, visit: Callable[[Tap, FeatureMap], None]) -> Logits:
        """Run a batch through both models, hand over each feature map as it arises, and give the first one's logits."""
        logits = self._first.observe(images, visit)
        self._second.observe(images, lambda tap, feature: visit(self._renamed[tap.name], feature))
        return logits
