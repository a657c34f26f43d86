"""Lesion: how much accuracy does each unit account for? One at a time is removed, at test time, without retraining.

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

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from alternet.instruments.intervals import change_interval
from alternet.instruments.moments import mean_and_error, moments
from alternet.instruments.work import PerItem, Row, Tables, no_image, where
from alternet.probe.edits import Edits, bypassed, silenced
from alternet.probe.probe import Probe
from alternet.scores import require_classes, right_and_nll
from alternet.taps.find import Tap

if TYPE_CHECKING:
    from alternet.instruments.lesion import Lesion


class Sums(NamedTuple):
    """What one batch says of one unit.

    Attributes:
        unit: Its number; `tap`, `kind`, `depth` and `stage` say which it is.
        moments: Count, sum and sum of squares over images of what is right and of the NLL without the unit, and of both
            less those of the whole network; all zero of a unit that is left alone [3, 4].
    """

    unit: int
    tap: str
    kind: str
    depth: float
    stage: int
    moments: Float64[Tensor, "3 4"]

    @classmethod
    def of(cls, unit: int, tap: str, kind: str, depth: float, stage: int, *moments: float) -> "Sums":
        """From a row of a journal, which holds the moments one after the other."""
        return cls(unit, tap, kind, depth, stage, torch.tensor(moments, dtype=torch.float64).view(3, 4))


class LesionWork(PerItem):
    """An item is a batch: in it the part of the network ahead of a unit is computed once for all units.

    Attributes:
        units: The units with what removes each; one that cannot be removed has no edits.
    """

    instrument: "Lesion"
    record: ClassVar = Sums.of

    def begin(self) -> None:
        self.units: list[tuple[Tap, Edits]] = []
        for tap in self.subject.taps:
            if not tap.silenceable:
                continue
            if self.instrument.unit == "branch" or tap.kind not in ("conv", "stem"):
                edits = silenced(tap)
            else:
                edits = bypassed(tap) if tap.convolutions else {}
            self.units.append((tap, edits))
        if not any(edits for _, edits in self.units):
            raise ValueError(
                f"{self.subject.name!r} has no unit that lesion could remove: expected sums of a skip and a branch, as "
                f"`alternet taps` lists them, and with unit='paper' at least one attention, MLP or convolution that "
                "keeps its map's shape. Measure a residual network."
            )
        self.probe = self.undo.enter_context(Probe(self.subject, taps=[]))

    def items(self) -> Sequence[tuple[int, int]]:
        return self.batches.places

    def rows(self, item: tuple[int, int]) -> Sequence[Row]:
        rows: list[Row] = []
        for images, targets in self.batches.at(item[0]):  # none if no image of it can be read
            variants = self.probe.variants(images, [{}, *(edits for _, edits in self.units if edits)])
            logits, labels = next(variants).cpu(), targets.cpu()
            require_classes(logits, labels, instrument="lesion")
            whole = right_and_nll(logits, labels)
            for tap, edits in self.units:
                without = right_and_nll(next(variants).cpu(), labels) if edits else whole[:0]
                values = torch.cat([without, without - whole[: len(without)]], dim=1)
                rows.append((*where(tap), tap.stage, *moments(values).flatten().tolist()))
        return rows

    def tables(self, rows: Sequence[Sums]) -> Tables:
        if not rows:
            raise no_image(self.batches)
        of_unit: dict[int, list[Sums]] = {}
        for row in rows:
            of_unit.setdefault(row.unit, []).append(row)
        table = []
        for parts in of_unit.values():
            total, at = sum((part.moments for part in parts[1:]), start=parts[0].moments), parts[0]
            (accuracy, nll, delta, delta_nll), (_, _, error, nll_error) = (v.tolist() for v in mean_and_error(total))
            numbers = (accuracy, delta, nll, delta_nll, error, nll_error)
            ends = (end.item() for end in change_interval(total[:, 2]))
            table.append((at.unit, at.tap, at.kind, at.depth, *numbers, at.stage, *ends))
        return {"table": table}
