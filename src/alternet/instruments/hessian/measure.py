"""Hessian: how sharp is the loss around the weights, and does it curve downwards anywhere?

For each batch b of 16 augmented images (mixup and CutMix included), the k eigenvalues of largest magnitude of

    H_b = ∂²/∂θ² [ NLL_b(θ) + weight decay · ½·‖θ‖² ]

at the network's own θ, with the residual ‖H_b·v − λ·v‖ of each (Park and Kim 2022, Fig. 1c, 4, 6, 7 and appendix A, who
use power iteration). The eigenvalues of all batches make one pool. Its share below zero is the negative eigenvalue
proportion NEP, the mean of its positive part the average positive eigenvalue APE; see `alternet.loss.spectrum`.

A low NEP does not say that the loss is nearly convex: negative eigenvalues count only if they are among the k of
largest magnitude, so a sharper network shows fewer of them. Nor is a flat network better for being flat: scaling the
weights of two consecutive layers changes the eigenvalues and not one prediction (Dinh et al. 2017).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from alternet.instruments.loss_work import PRECISIONS, CurvatureWork
from alternet.instruments.work import Tables, no_image
from alternet.loss.curvature import Curvature
from alternet.loss.gauss_newton import part_of
from alternet.loss.krylov import Vector
from alternet.loss.norms import norm, unit
from alternet.loss.spectrum import summary
from alternet.seeding import derived_seed

if TYPE_CHECKING:
    from alternet.instruments.hessian import Hessian


class Pair(NamedTuple):
    """A row of the table: one eigenpair of one batch."""

    batch: int
    rank: int
    eigenvalue: float
    residual: float
    products: int
    images: int
    # rows of journals of earlier versions have no further ones
    checking: int = 0
    certified: int = 0
    overlap: float | None = None


class HessianWork(CurvatureWork):
    """An item is a batch, by its number."""

    instrument: "Hessian"
    record: ClassVar = Pair

    def items(self) -> Sequence[tuple[int]]:
        return [(number,) for number in range(len(self.risk.batches))]

    def rows(self, item: tuple[int]) -> Sequence[Pair]:
        (number,), asked = item, self.instrument
        rows: list[Pair] = []
        for images, targets in self.risk.batches.shard(number, len(self.risk.batches)):  # none if none can be read
            curvature = self.risk.on(images, targets)
            generator = torch.Generator().manual_seed(derived_seed(asked.seed, "hessian", number))
            operator = part_of(curvature, asked.of)
            found = asked.lanczos()(operator, start(curvature, generator), generator=generator)
            products = (2 if asked.of == "residual" else 1) * torch.tensor([found.products, found.checking])
            cost, checking = products.tolist()
            along = overlaps(found.vectors, curvature.gradient)
            pairs = zip(found.values.tolist(), found.residuals.tolist(), along, strict=True)
            rows += [
                Pair(number, rank, value, residual, cost, len(images), checking, int(found.certified), overlap)
                for rank, (value, residual, overlap) in enumerate(pairs)
            ]
        return rows

    def tables(self, rows: Sequence[Pair]) -> Tables:
        if not rows:
            raise no_image(self.batches)
        batches, eigenvalues = [row.batch for row in rows], [row.eigenvalue for row in rows]
        errors = [0.0] * len(rows) if self.instrument.negative == "paper" else self.errors(rows)
        return {"table": rows, "summary": summary(batches, eigenvalues, errors)}

    def errors(self, rows: Sequence[Pair]) -> list[float]:
        """How far each eigenvalue may be off: its residual, or the rounding of the batch's largest."""
        precision = torch.finfo(PRECISIONS[self.instrument.precision]).eps
        largest: dict[int, float] = {}
        for row in rows:
            largest[row.batch] = max(largest.get(row.batch, 0.0), abs(row.eigenvalue))
        return [max(row.residual, precision * largest[row.batch]) for row in rows]


def overlaps(vectors: Tensor, gradient: Vector) -> list[float | None]:
    """What part of the squared length of the gradient lies along each unit vector [k, p]; none of a gradient of zero.

    Examples:
        >>> overlaps(torch.eye(3)[:2], torch.tensor([3.0, 0.0, 4.0]))
        [0.36, 0.0]
    """
    length = float(norm(gradient))
    if not length:
        return [None] * len(vectors)
    return [(float(vector.double() @ gradient.double()) / length) ** 2 for vector in vectors]


def start(curvature: Curvature, generator: torch.Generator) -> Vector:
    """Where to begin on a batch: its gradient, which leans towards sharp directions, and as much of a random direction.

    The gradient comes with the graph that the products need anyway. It must not stand alone: what is symmetric in the
    network leaves it without any part along some eigenvectors.
    """
    gradient = curvature.gradient
    random = torch.randn(len(gradient), generator=generator, dtype=torch.float32).to(gradient)
    return unit(gradient) + unit(random)
