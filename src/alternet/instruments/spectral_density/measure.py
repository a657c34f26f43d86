"""Spectral density: how are all eigenvalues of the loss's Hessian distributed, and what do they add up to?

H is the Hessian of NLL + L2 over all images at once, p by p. A random vector v of p signs is unbiased for its trace,
E[vᵀ·f(H)·v] = tr f(H) (Hutchinson 1990), and m steps of Lanczos from v give the Gauss quadrature

    vᵀ·f(H)·v ≈ p · Σ_j w_j · f(θ_j),    Σ_j w_j = 1,

with the eigenvalues θ_j of the small matrix as nodes and the squared first entries of its eigenvectors as weights
(Ubaru, Chen and Saad 2017). It is exact for polynomials up to the degree 2m − 1, so the trace and ‖H‖_F² have no error
but that of the random vectors, and of that the outermost eigenvalues, found beforehand, have no part: see
`alternet.loss.quadrature`. The weights, smoothed, are the density (Ghorbani et al. 2019).

Unlike `Hessian`, which sees the few extreme eigenvalues of small batches, this sees all of one Hessian, but coarsely.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from alternet.instruments.loss_work import CurvatureWork
from alternet.instruments.work import Tables
from alternet.loss.krylov import Krylov, Operator, Ritz
from alternet.loss.lanczos import Lanczos
from alternet.loss.quadrature import Node, moments
from alternet.seeding import derived_seed

if TYPE_CHECKING:
    from alternet.instruments.spectral_density import SpectralDensity


class Draw(NamedTuple):
    """What one random vector says: nodes by rising eigenvalue, L2's part of the trace, and the length of θ."""

    draw: int
    l2_trace: float
    parameters: int
    eigenvalues: list[float]
    weights: list[float]
    residuals: list[float]


class Known(NamedTuple):
    """The eigenvalues of largest magnitude with their residuals; none where they were not certified."""

    kind: str
    eigenvalues: list[float]
    residuals: list[float]


def recorded(first: Any, *values: Any) -> Draw | Known:
    """What a row of a journal is."""
    return Known(first, *values) if first == "known" else Draw(first, *values)


class SpectralDensityWork(CurvatureWork):
    """An item is a random vector, by its number, or the eigenvalues that are counted exactly."""

    instrument: "SpectralDensity"
    record: ClassVar = staticmethod(recorded)

    def items(self) -> Sequence[tuple[int | str]]:
        known: list[tuple[int | str]] = [("known",)] if self.instrument.exact else []
        return [*known, *((draw,) for draw in range(self.instrument.draws))]

    def rows(self, item: tuple[int | str]) -> Sequence[Draw | Known]:
        (draw,), risk = item, self.risk
        if draw == "known":
            return [self.known()]
        generator = torch.Generator().manual_seed(derived_seed(self.instrument.seed, "spectral_density", draw))
        vector = signs(risk.theta, generator)
        l2 = float((vector * risk.penalty_product(vector)).sum(dtype=torch.float64))
        ritz = quadrature(risk.product, vector, self.instrument.steps, generator)
        # the random vector is the first of the basis, so these are its squared parts along the Ritz vectors
        weights = ritz.coordinates[0].square()
        nodes = sorted(zip(ritz.values.tolist(), weights.tolist(), ritz.residuals.tolist(), strict=True))
        return [Draw(int(draw), l2, risk.space.size, *map(list, zip(*nodes, strict=True)))]

    def known(self) -> Known:
        """The eigenvalues of largest magnitude."""
        risk, k = self.risk, self.instrument.exact
        generator = torch.Generator().manual_seed(derived_seed(self.instrument.seed, "spectral_density", "known"))
        lanczos = Lanczos(k=k, basis=max(32, 2 * k + 8), max_products=40 * k + 200)
        found = lanczos(risk.product, signs(risk.theta, generator), generator=generator)
        if not found.certified:
            return Known("known", [], [])
        return Known("known", found.values.tolist(), found.residuals.tolist())

    def tables(self, rows: Sequence[Draw | Known]) -> Tables:
        """The nodes, and what the eigenvalues add up to."""
        drawn = [row for row in rows if isinstance(row, Draw)]
        draws = [list(map(Node, row.eigenvalues, row.weights, row.residuals)) for row in drawn]
        nodes = [
            (row.draw, number, *node)
            for row, made in zip(drawn, draws, strict=True)
            for number, node in enumerate(made)
        ]
        known = [
            Node(value, 0.0, residual)
            for row in rows
            if isinstance(row, Known)
            for value, residual in zip(row.eigenvalues, row.residuals, strict=True)
        ]
        l2 = [row.l2_trace for row in drawn]
        return {"table": nodes, "moments": moments(draws, l2, drawn[0].parameters, known)}


def signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """A random vector of −1 and 1: of all with independent entries, the one whose trace varies least."""
    return torch.randint(0, 2, like.shape, generator=generator).to(like) * 2 - 1


def quadrature(operator: Operator, start: Tensor, steps: int, generator: torch.Generator) -> Ritz:
    """The operator within the Krylov space of a vector, of so many steps, or fewer where the space closes before.

    Examples:
        >>> diagonal = torch.tensor([1.0, 1.0, 4.0], dtype=torch.float64)
        >>> ritz = quadrature(lambda v: diagonal * v, torch.ones(3, dtype=torch.float64), 9, torch.Generator())
        >>> [[round(n, 6) for n in pair] for pair in zip(ritz.values.tolist(), ritz.coordinates[0].square().tolist())]
        [[4.0, 0.333333], [1.0, 0.666667]]
    """
    krylov = Krylov(operator, start, min(steps, len(start)), generator)
    krylov.extend()
    while not (krylov.full or krylov.exhausted):
        krylov.extend()
    return krylov.ritz()
