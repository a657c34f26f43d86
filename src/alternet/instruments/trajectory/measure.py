"""Trajectory: how weights travelled from initialisation to the end of training, as radius, angle and PCA.

With Δw_t = w_t − w_final: radius_t = ‖Δw_t‖ / ‖Δw_init‖, and angle_t lies between Δw_t and Δw_init (Park and Kim 2022,
Fig. 1b and appendix A.2). The authors withdrew that figure as misleading and hard to reproduce, so this is a diagnostic
of one run and no evidence about an architecture.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from torch import Tensor

from alternet.instruments.work import PerItem, Tables
from alternet.loss.components import principal
from alternet.loss.snapshots import WeightPath

COMPONENTS = 10
"""How many principal components `explained` lists at most."""


class Place(NamedTuple):
    """A snapshot's place on the path, and the share of the component of the same number, if there is one."""

    step: int
    radius: float
    angle: float | None
    pc1: float
    pc2: float
    share: float | None


def polar(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Radius and angle in degrees of every point of a path, from the inner products of their Δw [t, t].

    The angle of a point that is the final one itself is not a number.

    Raises:
        ValueError: The path ends where it begins, so there is no length to measure with.

    Examples:
        >>> import torch
        >>> polar(torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
        (tensor([1.0000, 0.5000, 0.0000]), tensor([ 0., 90., nan]))
    """
    lengths = gram.diagonal().clamp_min(0).sqrt()
    if not lengths[0] > 0:
        raise ValueError(
            "The final weights are the initial ones, so the path has no length. Train for an epoch or more."
        )
    cosine = gram[:, 0] / (lengths * lengths[0])
    return lengths / lengths[0], cosine.clamp(-1, 1).arccos().rad2deg()


class TrajectoryWork(PerItem):
    """An item is a snapshot; one pass over the files gives the inner products that everything follows from."""

    record: ClassVar = Place

    def begin(self) -> None:
        with WeightPath(self.subject) as path:
            gram, self.steps = path.gram(), path.steps
        self.radius, self.angle = polar(gram)
        self.principal, self.length = principal(gram), float(gram[0, 0].sqrt())

    def items(self) -> Sequence[tuple[int]]:
        return [(number,) for number in range(len(self.steps))]

    def rows(self, item: tuple[int]) -> Sequence[Place]:
        (number,) = item
        # a path of two points has one component
        pc1, pc2 = [*(self.principal.coordinates[number] / self.length).tolist(), 0.0][:2]
        angle = None if self.angle[number].isnan() else self.angle[number].item()
        share = self.principal.share[number].item() if number < len(self.principal.share) else None
        return [Place(self.steps[number], self.radius[number].item(), angle, pc1, pc2, share)]

    def tables(self, rows: Sequence[Place]) -> Tables:
        """The snapshots, and how much of the path each component shows."""
        shares = [row.share for row in rows if row.share is not None][:COMPONENTS]
        explained = [(k + 1, share, sum(shares[: k + 1])) for k, share in enumerate(shares)]
        return {"table": [row[:-1] for row in rows], "explained": explained}
