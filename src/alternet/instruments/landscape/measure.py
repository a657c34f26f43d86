"""Landscape: NLL + L2 on a plane through the weights, and how far it rises along random directions.

R(θ + x·a + y·b) on a grid of x and y, where a and b are Gaussian directions that got the norms of the weights filter by
filter (Li et al. 2018), or span the plane in which a training run moved most, or the sharpest plane there is. Park and
Kim (2022) draw it in Fig. 1a, C.4a and C.7. A surface is one plane in a space of millions of dimensions; the table
`flatness` says what holds along more directions.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from alternet.data.image_batches import Batches
from alternet.instruments.loss_work import LossWork, Point
from alternet.instruments.work import Item, Tables
from alternet.loss import flatness
from alternet.loss.components import principal
from alternet.loss.directions import fitted, gaussian, ignored
from alternet.loss.lanczos import Lanczos
from alternet.loss.snapshots import WeightPath
from alternet.seeding import derived_seed

if TYPE_CHECKING:
    from alternet.instruments.landscape import Landscape

RADII = (0.25, 0.5, 0.75, 1.0)
"""Where `flatness` looks along a direction, in parts of the grid's radius."""


class GridPoint(NamedTuple):
    """The loss at a point of the plane."""

    kind: str
    x: float
    y: float
    nll: float | None
    l2: float | None
    loss: float | None
    accuracy: float | None


class RayEnds(NamedTuple):
    """The loss at one distance both ways along a direction."""

    kind: str
    radius: float
    loss_ahead: float | None
    nll_ahead: float | None
    loss_behind: float | None
    nll_behind: float | None


def visited(kind: str, *values: Any) -> GridPoint | RayEnds:
    """What a row of a journal is, by the kind of its item."""
    return GridPoint(kind, *values) if kind == "grid" else RayEnds(kind, *values)


class LandscapeWork(LossWork):
    """An item is a grid point, or both ways along a ray.

    Attributes:
        axes: The directions of x and y.
        point: Room for the weights elsewhere.
        ray: The direction drawn last, by its number.
    """

    instrument: "Landscape"
    record: ClassVar = staticmethod(visited)

    def begin(self) -> None:
        super().begin()
        asked, theta = self.instrument, self.risk.theta
        plane: Iterable[Tensor]
        if asked.directions == "random":
            plane = (gaussian(theta, asked.seed, number) for number in (0, 1))
        else:
            plane = self._travelled() if asked.directions == "trajectory" else self._sharpest()
        first, second = (self._fitted(axis.to(theta)) for axis in plane)
        if not (first.any() and second.any()):
            raise ValueError(
                f"Nothing of {self.subject.name!r} moves: its weights are zero, or norms, biases and positions, which "
                "stay. Set ignore=nothing, or normalisation=none."
            )
        self.axes, self.theta, self.point = (first, second), theta, torch.empty_like(theta)
        self.ray: dict[int, Tensor] = {}

    def items(self) -> Sequence[Item]:
        """The grid points, x by x for each y, then the rays, radius by radius for each direction."""
        side = range(self.instrument.points)
        rays = range(self.instrument.draws if self.instrument.directions == "random" else 2)
        return [
            *(("grid", x, y) for y in side for x in side),
            *(("ray", ray, part) for ray in rays for part in range(len(RADII))),
        ]

    def rows(self, item: Item) -> Sequence[GridPoint | RayEnds]:
        kind, first, second = item
        asked = self.instrument
        batches = self.risk.batches.redrawn(derived_seed(asked.seed, *item)) if asked.redraw == "paper" else None
        if kind == "grid":
            x, y = asked.axis[first], asked.axis[second]
            point = self._at([(x, self.axes[0]), (y, self.axes[1])], batches)
            return [GridPoint(kind, x, y, *point)]

        if first < 2:
            direction = self.axes[first]
        else:
            if first not in self.ray:  # one at a time, since each is as large as the model
                self.ray = {first: self._fitted(gaussian(self.theta, asked.seed, first))}
            direction = self.ray[first]
        radius = asked.radius * RADII[second]
        ahead, behind = (self._at([(factor, direction)], batches) for factor in (radius, -radius))
        return [RayEnds(kind, radius, ahead.loss, ahead.nll, behind.loss, behind.nll)]

    def tables(self, rows: Sequence[GridPoint | RayEnds]) -> Tables:
        """The grid, and what the rays say about flatness."""
        grid = [row for row in rows if isinstance(row, GridPoint)]
        rays = [
            flatness.Ray(row.radius, (row.loss_ahead, row.nll_ahead), (row.loss_behind, row.nll_behind))
            for row in rows
            if isinstance(row, RayEnds)
        ]
        (centre,) = [(point.loss, point.nll) for point in grid if point.x == point.y == 0]
        sampled = self.instrument.directions == "random"
        return {"table": [point[1:] for point in grid], "flatness": flatness.flatness(centre, rays, sampled=sampled)}

    def _at(self, steps: Sequence[tuple[float, Tensor]], batches: Batches | None) -> Point:
        """The loss after some steps from the centre, each a factor and a direction."""
        place = self.theta
        for factor, direction in steps:
            # into `point` also where it starts from theta, which must stay
            place = torch.add(place, direction, alpha=factor, out=self.point)
        return Point.of(self.risk.value(place, batches))

    def _travelled(self) -> Iterable[Tensor]:
        """The run's first two components, of the parameters that take part alone."""
        shapes, everything = self.risk.space.shapes, self.instrument.ignore == "nothing"
        names = [name for name, shape in shapes.items() if everything or not ignored(name, shape)]
        with WeightPath(self.subject) as path:
            gram = path.gram(names)
            components = principal(gram)
            if len(gram) < 3 or not components.share[1] > 1e-9:
                raise ValueError(
                    f"The snapshots of {self.subject.name!r} lie on a line and span no plane. Train with more of them: "
                    "snapshot_every=1."
                )
            # unit vectors, times the way from the initial weights to the final ones: the unit of the axes
            return path.combination(components.factors[:, :2], tuple(shapes)) * gram[0, 0].sqrt()

    def _sharpest(self) -> Iterable[Tensor]:
        """The Hessian's first two eigenvectors, or those of its block of the parameters that take part."""
        theta, seed = self.risk.theta, self.instrument.seed
        free = self._fitted(torch.ones_like(theta)).bool()
        if (count := int(free.sum())) < 2:
            raise ValueError(f"{count} of the weights of {self.subject.name!r} may move, expected two or more.")

        def placed(parts: Tensor) -> Tensor:
            whole = parts.new_zeros(*parts.shape[:-1], len(free))
            whole[..., free] = parts
            return whole

        found = Lanczos(k=2, which="largest")(
            lambda part: self.risk.product(placed(part))[free],
            gaussian(theta, seed, 0)[free],
            generator=torch.Generator().manual_seed(derived_seed(seed, "landscape", "lanczos")),
        )
        if not found.converged:
            raise ValueError(
                f"The eigenvectors of {self.subject.name!r} were not found within {found.products} products (residuals "
                f"{', '.join(f'{r:.2g}' for r in found.residuals.tolist())}). Give more images."
            )
        return placed(found.vectors)

    def _fitted(self, direction: Tensor) -> Tensor:
        asked, risk = self.instrument, self.risk
        return fitted(direction, risk.theta, risk.space, how=asked.normalisation, ignore=asked.ignore != "nothing")
