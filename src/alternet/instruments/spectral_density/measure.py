"""Spectral density: how are all eigenvalues of the loss's Hessian distributed, and what do they add up to?

H is the Hessian of NLL + L2 over all images at once, p by p. A random vector v of p signs is unbiased for its trace,
E[vᵀ·f(H)·v] = tr f(H) (Hutchinson 1990), and m steps of Lanczos from v give the Gauss quadrature

    vᵀ·f(H)·v ≈ p · Σ_j w_j · f(θ_j),    Σ_j w_j = 1,

with the eigenvalues θ_j of the small matrix as nodes and the squared first entries of its eigenvectors as weights
(Ubaru, Chen and Saad 2017). It is exact for polynomials up to the degree 2m − 1, so the trace and ‖H‖_F² have no error
but that of the random vectors. The weights, smoothed, are the density (Ghorbani et al. 2019).

Unlike `Hessian`, which sees the few extreme eigenvalues of small batches, this sees all of one Hessian, but coarsely.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Row, Tables
from alternet.instruments.hessian.measure import PRECISIONS
from alternet.instruments.of_risk import OfRisk
from alternet.loss.lanczos import Krylov, Operator, Ritz
from alternet.loss.quadrature import Node, moments
from alternet.loss.risk import Risk
from alternet.seeding import derived_seed
from alternet.subject.subject import Subject


@dataclass(frozen=True, kw_only=True)
class SpectralDensity(OfRisk[Risk]):
    """The density of the Hessian's eigenvalues by stochastic Lanczos quadrature, an item a random vector.

    Attributes:
        draws: Random vectors; two or more give standard errors.
        steps: Steps of Lanczos from each, two or more: that many products over all the data, and as many vectors of the
            length of θ in memory. More steps tell nearer eigenvalues apart.
        parameters: Which parameters: `all`, a kind of unit (`msa`, `mlp`, `conv`, ...), or names with wildcards.
        micro_batch: Images that pass the network at a time, 0 for whole batches.
        precision: Type of the computation, whatever that of the model.
        batch_size: Images in a batch; only the mixing of images depends on it.

    Examples:
        >>> SpectralDensity(draws=4).settings["steps"]
        64
    """

    draws: int = 8
    steps: int = 64
    parameters: str = "all"
    micro_batch: int = 0
    precision: Literal["float32", "float64"] = "float32"
    batch_size: int = 64

    name = "spectral_density"
    question = "How are all eigenvalues of the Hessian distributed?"
    columns: ClassVar = {
        "table": ("draw", "node", "eigenvalue", "weight", "residual"),
        "moments": ("metric", "value", "standard_error"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting, least in {"draws": 1, "steps": 2}.items():  # of one step λ² would not be exact
            if getattr(self, setting) < least:
                raise ValueError(f"spectral_density got {setting}={getattr(self, setting)}, expected at least {least}.")

    def view(self, subject: Subject, batches: Batches) -> Risk:
        """The loss over all the data; raises what `Risk` raises."""
        options = {"parameters": self.parameters, "micro_batch": self.micro_batch}
        return self.risk(subject, batches, dtype=PRECISIONS[self.precision], **options)

    def items(self, view: Risk) -> Sequence[tuple[int]]:
        """The random vectors."""
        return [(draw,) for draw in range(self.draws)]

    def rows(self, view: Risk, item: tuple[int]) -> Sequence[Row]:
        """The nodes from one random vector, by rising eigenvalue; then L2's part of the trace, and the length of θ."""
        (draw,) = item
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.name, draw))
        vector = signs(view.theta, generator)
        l2 = float((vector * view.penalty_product(vector)).sum(dtype=torch.float64))
        ritz = quadrature(view.product, vector, self.steps, generator)
        weights = ritz.coordinates[0].square()
        nodes = zip(ritz.values.tolist(), weights.tolist(), ritz.residuals.tolist(), strict=True)
        return [(draw, number, *node, l2, view.space.size) for number, node in enumerate(sorted(nodes))]

    def tables(self, rows: Sequence[Row]) -> Tables:
        """The nodes, and what the eigenvalues add up to."""
        draws: dict[int, list[Node]] = {}
        for draw, _, eigenvalue, weight, *_ in rows:
            draws.setdefault(draw, []).append(Node(eigenvalue, weight))
        l2 = {row[0]: row[-2] for row in rows}
        sums = moments(list(draws.values()), list(l2.values()), rows[0][-1])
        return {"table": [row[:-2] for row in rows], "moments": sums}


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
    while not (krylov.full or krylov.said_all):
        krylov.extend()
    return krylov.ritz()
