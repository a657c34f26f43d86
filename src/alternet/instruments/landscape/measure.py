"""Landscape: NLL + L2 on a plane through the weights, and how far it rises along random directions.

R(θ + x·a + y·b) on a grid of x and y, where a and b are Gaussian directions that got the norms of the weights filter by
filter (Li et al. 2018), or span the plane in which a training run moved most, or the sharpest plane there is. Park and
Kim (2022) draw it in Fig. 1a, C.4a and C.7. A surface is one plane in a space of millions of dimensions; the table
`flatness` says what holds along more directions.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Item, Row, Tables
from alternet.instruments.of_risk import OfRisk, known
from alternet.instruments.trajectory.measure import principal
from alternet.loss import flatness
from alternet.loss.directions import fitted, gaussian, ignored
from alternet.loss.lanczos import Lanczos
from alternet.loss.risk import Risk, Value
from alternet.loss.snapshots import WeightPath
from alternet.seeding import derived_seed
from alternet.subject.subject import Subject

RADII = (0.25, 0.5, 0.75, 1.0)
"""Where `flatness` looks along a direction, in parts of the grid's radius."""


@dataclass
class Ground:
    """The loss, where its grid stands, and room for one point of it.

    Attributes:
        risk: The loss.
        axes: The directions of x and y.
        theta: The weights in the centre.
        point: Room for the weights elsewhere.
        ray: The direction drawn last, by its number.
    """

    risk: Risk
    axes: tuple[Tensor, Tensor]
    theta: Tensor
    point: Tensor
    ray: dict[int, Tensor] = field(default_factory=dict)

    def at(self, steps: Sequence[tuple[float, Tensor]], batches: Batches | None) -> Value:
        """The loss after some steps from the centre, each a factor and a direction."""
        place = self.theta
        for factor, direction in steps:
            place = torch.add(place, direction, alpha=factor, out=self.point)
        return self.risk.value(place, batches)


@dataclass(frozen=True, kw_only=True)
class Landscape(OfRisk[Ground]):
    """NLL + L2 on a grid around the weights, an item a grid point, then along random directions for its flatness.

    Where the loss is not finite, nll, loss and accuracy are undefined. Running statistics of BatchNorm and all other
    buffers stay as they are at every point.

    Attributes:
        points: Grid points a side; odd, so that the model itself is in the centre.
        radius: The grid reaches from −radius to radius.
        directions: Axes of the plane. `random`: two independent Gaussian directions, which in so many dimensions are
            all but orthogonal and are not made so. `trajectory`: the first two principal components of the run's
            snapshots, in units of ‖w_init − w_final‖, as `Trajectory` gives them. `eigenvectors`: the two of the
            Hessian of all this data with the largest eigenvalues λ, of length 1, so that the loss rises by λr²/2 near
            the centre. Both need normalisation="none" and are those of the parameters that are not ignored.
        normalisation: `filter` (Li et al. 2018), `layer`, `none`, or `paper`, over the first axis as released; see
            `alternet.loss.directions.normalised`.
        ignore: Parameters that stay where they are: those of norms, biases and positions, or none.
        draws: Random directions that `flatness` is averaged over; the first two are the axes. With other
            `directions` it looks along the two axes instead.
        redraw: `frozen`: one draw of the augmentation for all points. `paper`: a new one at each point, as released.
        batch_size: Images in a batch. Larger than for the Hessian, since nothing here is measured batch by batch; the
            mixing of images depends on it.
    """

    points: int = 21
    radius: float = 1.0
    directions: Literal["random", "trajectory", "eigenvectors"] = "random"
    normalisation: Literal["filter", "layer", "none", "paper"] = "filter"
    ignore: Literal["norm-bias-position", "nothing"] = "norm-bias-position"
    draws: int = 10
    redraw: Literal["frozen", "paper"] = "frozen"
    batch_size: int = 64

    name = "landscape"
    question = "How flat is the loss around the weights?"
    columns: ClassVar = {"table": ("x", "y", "nll", "l2", "loss", "accuracy"), "flatness": flatness.COLUMNS}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points < 3 or self.points % 2 == 0:
            raise ValueError(f"landscape got points={self.points}, expected an odd number from 3 on: 0 lies between.")
        if self.radius <= 0:
            raise ValueError(f"landscape got radius={self.radius}, expected a positive number.")
        if self.draws < 1:
            raise ValueError(f"landscape got draws={self.draws}, expected at least 1; 3 or more give standard errors.")
        if self.directions != "random" and self.normalisation != "none":
            raise ValueError(
                f"landscape got normalisation={self.normalisation!r} with directions={self.directions!r}, but scaling "
                "filters one by one would leave that plane. Set normalisation=none too."
            )

    @contextmanager
    def view(self, subject: Subject, batches: Batches) -> Iterator[Ground]:
        """The loss and the axes; raises what `Risk` and `WeightPath` raise."""
        with self.risk(subject, batches) as risk:
            theta = risk.theta
            planes = {"random": self._drawn, "trajectory": self._travelled, "eigenvectors": self._sharpest}
            first, second = (self._fitted(risk, axis.to(theta)) for axis in planes[self.directions](risk))
            if not (first.any() and second.any()):
                raise ValueError(
                    f"Nothing of {subject.name!r} moves: its weights are zero, or norms, biases and positions, which "
                    "stay. Set ignore=nothing, or normalisation=none."
                )
            yield Ground(risk, (first, second), theta, torch.empty_like(theta))

    def items(self, view: Ground) -> Sequence[Item]:
        """The grid points, x by x for each y, then the rays, radius by radius for each direction."""
        side = range(self.points)
        rays = range(self.draws if self.directions == "random" else 2)
        return [
            *(("grid", x, y) for y in side for x in side),
            *(("ray", ray, part) for ray in rays for part in range(len(RADII))),
        ]

    def rows(self, view: Ground, item: Item) -> Sequence[Row]:
        """A grid point, or both ways along a ray."""
        kind, first, second = item
        batches = self._redrawn(view.risk, item)
        if kind == "grid":
            x, y = self.axis[first], self.axis[second]
            value = view.at([(x, view.axes[0]), (y, view.axes[1])], batches)
            return [(kind, x, y, *known(value))]
        radius, direction = self.radius * RADII[second], self._ray(view, first)
        ways = [known(view.at([(factor, direction)], batches)) for factor in (radius, -radius)]
        return [(kind, radius, *(number for nll, _, loss, _ in ways for number in (loss, nll)))]

    def tables(self, rows: Sequence[Row]) -> Tables:
        """The grid, and what the rays say about flatness."""
        grid = [row[1:] for row in rows if row[0] == "grid"]
        rays = [flatness.Ray(r[1], (r[2], r[3]), (r[4], r[5])) for r in rows if r[0] == "ray"]
        (centre,) = [(loss, nll) for x, y, nll, _, loss, _ in grid if x == y == 0]
        return {"table": grid, "flatness": flatness.flatness(centre, rays, sampled=self.directions == "random")}

    @property
    def axis(self) -> list[float]:
        """The grid's coordinates along a side, symmetric around an exact 0."""
        half = self.points // 2
        return [self.radius * (step / half) for step in range(-half, half + 1)]

    def _drawn(self, risk: Risk) -> Iterable[Tensor]:
        return (gaussian(risk.theta, self.seed, number) for number in (0, 1))

    def _travelled(self, risk: Risk) -> Iterable[Tensor]:
        """The run's first two components, of the parameters that take part alone."""
        names = [n for n, shape in risk.space.shapes.items() if self.ignore == "nothing" or not ignored(n, shape)]
        with WeightPath(risk.subject) as path:
            gram = path.gram(names)
            components = principal(gram)
            if len(gram) < 3 or not components.share[1] > 1e-9:
                raise ValueError(
                    f"The snapshots of {risk.subject.name!r} lie on a line and span no plane. Train with more of them: "
                    "snapshot_every=1."
                )
            return path.combination(components.factors[:, :2]) * gram[0, 0].sqrt()

    def _sharpest(self, risk: Risk) -> Iterable[Tensor]:
        """The Hessian's first two eigenvectors, or those of its block of the parameters that take part."""
        free = self._fitted(risk, torch.ones_like(risk.theta)).bool()
        if (count := int(free.sum())) < 2:
            raise ValueError(f"{count} of the weights of {risk.subject.name!r} may move, expected two or more.")

        def placed(parts: Tensor) -> Tensor:
            whole = parts.new_zeros(*parts.shape[:-1], len(free))
            whole[..., free] = parts
            return whole

        found = Lanczos(k=2, which="largest")(
            lambda part: risk.product(placed(part))[free],
            gaussian(risk.theta, self.seed, 0)[free],
            generator=torch.Generator().manual_seed(derived_seed(self.seed, self.name, "lanczos")),
        )
        if not found.converged:
            raise ValueError(
                f"The eigenvectors of {risk.subject.name!r} were not found within {found.products} products (residuals "
                f"{', '.join(f'{r:.2g}' for r in found.residuals.tolist())}). Give more images."
            )
        return placed(found.vectors)

    def _fitted(self, risk: Risk, direction: Tensor) -> Tensor:
        ignore = self.ignore != "nothing"
        return fitted(direction, risk.theta, risk.space, how=self.normalisation, ignore=ignore)

    def _ray(self, view: Ground, number: int) -> Tensor:
        if number < 2:
            return view.axes[number]
        if number not in view.ray:
            view.ray = {number: self._fitted(view.risk, gaussian(view.theta, self.seed, number))}
        return view.ray[number]

    def _redrawn(self, risk: Risk, item: Item) -> Batches | None:
        return risk.batches.redrawn(derived_seed(self.seed, *item)) if self.redraw == "paper" else None
