"""Trajectory: how weights travelled from initialisation to the end of training, as radius, angle and PCA.

With Δw_t = w_t − w_final: radius_t = ‖Δw_t‖ / ‖Δw_init‖, and angle_t lies between Δw_t and Δw_init (Park and Kim 2022,
Fig. 1b and appendix A.2). The authors withdrew that figure as misleading and hard to reproduce, so this is a diagnostic
of one run and no evidence about an architecture.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Itemised, Row, Tables
from alternet.loss.snapshots import WeightPath
from alternet.subject.subject import Subject

COMPONENTS = 10
"""How many principal components `explained` lists at most."""


class Principal(NamedTuple):
    """Principal components of a path.

    Attributes:
        share: Part of the path's variance along each component, falling [k].
        coordinates: Each point's place relative to the last one [t, k].
        factors: Each unit component as a sum over the points, Σ factor · w [t, k].
    """

    share: Tensor
    coordinates: Tensor
    factors: Tensor


def polar(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Radius and angle in degrees of every point of a path, from the inner products of their Δw [t, t].

    The angle of a point that is the final one itself is not a number.

    Raises:
        ValueError: The path ends where it begins, so there is no length to measure with.

    Examples:
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


def principal(gram: Tensor) -> Principal:
    """PCA of a path from the inner products of its points' Δw [t, t], which need no vector of weights.

    Components are signed so that the coordinate farthest from the last point is positive.

    Examples:
        >>> line = torch.tensor([2.0, 1.0, 0.0])
        >>> principal(torch.outer(line, line)).share.round(decimals=6).abs().tolist()
        [1.0, 0.0]
    """
    points = len(gram)
    centring = torch.eye(points, dtype=gram.dtype) - 1 / points
    values, vectors = torch.linalg.eigh(centring @ gram @ centring)
    values, vectors = values.flip(0)[:-1].clamp_min(0), vectors.flip(1)[:, :-1]  # a centred cloud has one axis less
    places = vectors - vectors[-1]
    farthest = places.gather(0, places.abs().argmax(0, keepdim=True))
    vectors = vectors * torch.where(farthest < 0, -1.0, 1.0)
    lengths = values.sqrt()
    factors = torch.where(lengths > 1e-6 * lengths[0], vectors / lengths.clamp_min(1e-300), 0.0)
    return Principal(values / values.sum(), (vectors - vectors[-1]) * lengths, factors)


@dataclass(frozen=True)
class Course:
    """What was found out about a path, all from one reading of its files."""

    steps: Sequence[int]
    radius: Tensor
    angle: Tensor
    principal: Principal
    length: float


@dataclass(frozen=True, kw_only=True)
class Trajectory(Itemised[Course]):
    """The path of a training run through the space of its trainable weights, a row a snapshot; the last is the end.

    It needs a model that comes from a run (`run:DIR`) and looks at no image. Angles are in degrees; pc1 and pc2 are
    coordinates along the first principal components in units of ‖w_init − w_final‖, with the final weights at the
    origin. Parameters count, buffers such as the statistics of BatchNorm do not.

    Examples:
        >>> Trajectory().settings
        {}
    """

    name = "trajectory"
    question = "Which way did the weights take through training?"
    columns: ClassVar = {
        "table": ("step", "radius", "angle", "pc1", "pc2"),
        "explained": ("component", "share", "cumulative"),
    }

    @contextmanager
    def view(self, subject: Subject, batches: Batches) -> Iterator[Course]:
        """One pass over the files gives the inner products that everything follows from."""
        with WeightPath(subject) as path:
            gram = path.gram()
        radius, angle = polar(gram)
        yield Course(path.steps, radius, angle, principal(gram), float(gram[0, 0].sqrt()))

    def items(self, view: Course) -> Sequence[tuple[int]]:
        """The snapshots."""
        return [(number,) for number in range(len(view.steps))]

    def rows(self, view: Course, item: tuple[int]) -> Sequence[Row]:
        """One snapshot, with what it takes to fill `explained`."""
        (number,) = item
        places = [*(view.principal.coordinates[number] / view.length).tolist(), 0.0][:2]
        angle = None if view.angle[number].isnan() else view.angle[number]
        share = view.principal.share[number] if number < len(view.principal.share) else None
        return [(view.steps[number], view.radius[number], angle, *places, share)]

    def tables(self, rows: Sequence[Row]) -> Tables:
        """The snapshots, and how much of the path each component shows."""
        shares = [row[-1] for row in rows if row[-1] is not None][:COMPONENTS]
        explained = [(k + 1, share, sum(shares[: k + 1])) for k, share in enumerate(shares)]
        return {"table": [row[:-1] for row in rows], "explained": explained}
