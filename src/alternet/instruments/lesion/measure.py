"""Lesion: how much accuracy hangs on each unit? One unit at a time is removed, at test time, without retraining.

For every image, the network without a unit is compared with the whole one (Park and Kim 2022, Fig. 10b and D.4):

    delta_accuracy = mean over images of (1 if right without the unit, else 0) − (1 if right with it, else 0)
    delta_nll      = mean over images of nll without the unit − nll with it

Their standard errors are those of these differences, image by image, s/√n: much smaller than that of either accuracy,
since most images keep their answer. So accuracy − delta_accuracy is the accuracy of the whole network in every row.

What "one unit" is: `branch` leaves the residual branch of a unit out, whatever is in it. `paper` does so for attention
and MLPs, and of a convolutional unit takes only the spatial convolutions, with the identity in their place, and keeps
the rest of the branch. A bottleneck has one of them, a basic block two, which are removed together: what is gone in
both is the mixing of neighbours. Where one of them changes channels or resolution, as in a strided block, the identity
does not fit; the unit is then left alone, and its row has no numbers.

The network is not retrained, so what follows a removed unit sees maps that it was never trained on. A small loss means
that the unit can be spared; a large one does not say that the network needs it to solve the task.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Itemised, Row, Tables
from alternet.instruments.calibration.measure import contributions
from alternet.instruments.moments import mean_and_error, moments
from alternet.probe.edits import Edits, bypassed, silenced
from alternet.probe.probe import Probe
from alternet.scores import require_classes
from alternet.shapes import Labels, Logits
from alternet.subject.subject import Subject
from alternet.taps.find import Tap

WHERE = ("unit", "tap", "kind", "depth", "stage")
"""What leads the row of a unit in one batch; the sums over its images follow."""


def scores(logits: Logits, targets: Labels) -> Float64[Tensor, "n 2"]:
    """For each image, 1 if the answer is right, else 0, and its negative log likelihood.

    No answer is right whose logits are no numbers; its likelihood is not a number either.

    Examples:
        >>> scores(torch.tensor([[0.0, 0.0], [torch.nan, 0.0]]), torch.tensor([0, 0])).tolist()
        [[1.0, 0.6931471805599453], [0.0, nan]]
    """
    values = contributions(logits, targets)
    undefined = (logits.isnan() | logits.isposinf()).any(1)
    return torch.stack([values["accuracy"].masked_fill(undefined, 0), values["nll"]], dim=1)


@dataclass(frozen=True)
class Study:
    """A model under observation, the data, and how each unit is removed; a unit that cannot be removed has no edits."""

    probe: Probe
    batches: Batches
    units: Sequence[tuple[Tap, Edits]]

    def batch(self, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batch whose first image is at this place; nothing if none of its images can be read."""
        number = self.batches.numbers.index(first // self.batches.batch_size)
        yield from self.batches.shard(number, len(self.batches))


@dataclass(frozen=True, kw_only=True)
class Lesion(Itemised[Study]):
    """Accuracy and likelihood without one unit at a time, beside those of the whole network on the same images.

    An item is a batch: in it the part of the network ahead of a unit is computed once for all units.

    Attributes:
        unit: `branch`: the residual branch of every unit that has one. `paper`: of a convolutional unit its spatial
            convolutions alone, of other units the branch.

    Examples:
        >>> Lesion(unit="paper").settings
        {'unit': 'paper'}
    """

    unit: Literal["branch", "paper"] = "branch"

    name = "lesion"
    question = "How much accuracy hangs on each unit?"
    columns: ClassVar = {
        "table": (
            "unit",
            "tap",
            "kind",
            "depth",
            "accuracy",
            "delta_accuracy",
            "nll",
            "delta_nll",
            "standard_error",
            "nll_error",
            "stage",
        )
    }
    needs_labels = True

    @contextmanager
    def view(self, subject: Subject, batches: Batches) -> Iterator[Study]:
        units = [(tap, self._removal(tap)) for tap in subject.taps if tap.silenceable]
        if not any(edits for _, edits in units):
            raise ValueError(
                f"{subject.name!r} has no unit that lesion could remove: expected sums of a skip and a branch, as "
                f"`alternet taps` lists them, and with unit='paper' at least one attention, MLP or convolution that "
                "keeps its map's shape. Measure a residual network."
            )
        with Probe(subject, taps=[]) as probe:
            yield Study(probe, batches, units)

    def items(self, view: Study) -> Sequence[tuple[int, int]]:
        """The places of the first image of each batch and of the one after its last."""
        size, total = view.batches.batch_size, len(view.batches.order)
        return [(number * size, min((number + 1) * size, total)) for number in view.batches.numbers]

    def rows(self, view: Study, item: tuple[int, int]) -> Sequence[Row]:
        return [row for images, targets in view.batch(item[0]) for row in self._rows(view, images, targets)]

    def tables(self, rows: Sequence[Row]) -> Tables:
        sums: dict[tuple, Tensor] = {}
        for row in rows:
            unit, values = tuple(row[: len(WHERE)]), torch.tensor(row[len(WHERE) :], dtype=torch.float64)
            sums[unit] = sums.get(unit, 0) + values.view(3, -1)
        if not sums:
            raise ValueError("lesion was given no image that could be read. Check the files of the data.")
        return {"table": [_result(unit, total) for unit, total in sums.items()]}

    def _removal(self, tap: Tap) -> Edits:
        if self.unit == "branch" or tap.kind not in ("conv", "stem"):
            return silenced(tap)
        return bypassed(tap) if tap.convolutions else {}

    def _rows(self, view: Study, images: Tensor, targets: Labels) -> Iterator[Row]:
        variants = view.probe.variants(images, [{}, *(edits for _, edits in view.units if edits)])
        logits, targets = next(variants).cpu(), targets.cpu()
        require_classes(logits, targets, instrument=self.name)
        whole = scores(logits, targets)
        for tap, edits in view.units:
            without = scores(next(variants).cpu(), targets) if edits else whole[:0]
            values = torch.cat([without, without - whole[: len(without)]], dim=1)
            yield (tap.unit, tap.name, tap.kind, tap.depth, tap.stage, *moments(values).flatten().tolist())


def _result(unit: tuple, sums: Float64[Tensor, "3 4"]) -> Row:
    (accuracy, nll, delta, delta_nll), (_, _, error, nll_error) = (part.tolist() for part in mean_and_error(sums))
    *where, stage = unit
    return *where, accuracy, delta, nll, delta_nll, error, nll_error, stage
