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
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from alternet.data.batches import Batches
from alternet.instruments.base import Item, Row, Tables
from alternet.instruments.of_risk import OfRisk
from alternet.loss.lanczos import Lanczos, Vector
from alternet.loss.norms import unit
from alternet.loss.risk import Curvature, Risk
from alternet.loss.spectrum import summary
from alternet.seeding import derived_seed
from alternet.subject.subject import Subject

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class Hessian(OfRisk[Risk]):
    """The extreme eigenvalues of the Hessian of NLL + L2, batch by batch.

    Attributes:
        k: Eigenvalues of each batch.
        which: `largest_magnitude`: by |λ|, the paper's ordering. `largest`: from the upper end. `both_ends`: half from
            the upper end, half from the lower one.
        tolerance: An eigenpair is good when ‖H·v − λ·v‖ is at most this times the largest |λ|.
        max_products: Hessian-vector products after which a batch is given as it is, with the residuals it has.
        basis: Vectors of the length of θ that are kept, which bounds the memory.
        parameters: Which parameters: `all`, a kind of unit (`msa`, `mlp`, `conv`, ...), or names with wildcards; the
            others stay fixed. The eigenvalues are those of that block of the Hessian.
        micro_batch: Images that pass the network at a time, 0 for the whole batch. It changes the memory, no number.
        precision: Type of the computation, whatever that of the model.

    Examples:
        >>> Hessian(k=3, parameters="msa").settings["which"]
        'largest_magnitude'
    """

    k: int = 5
    which: Literal["largest_magnitude", "largest", "both_ends"] = "largest_magnitude"
    tolerance: float = 1e-3
    max_products: int = 200
    basis: int = 32
    parameters: str = "all"
    micro_batch: int = 0
    precision: Literal["float32", "float64"] = "float32"

    name = "hessian"
    question = "How sharp is the loss, and does it curve downwards?"
    columns: ClassVar = {
        "table": ("batch", "rank", "eigenvalue", "residual", "products", "images"),
        "summary": ("metric", "value", "low", "high"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self._lanczos  # noqa: B018 - checks the settings that it takes
        except ValueError as error:
            raise ValueError(f"hessian: {error}") from error

    @property
    def _lanczos(self) -> Lanczos:
        return Lanczos(
            k=self.k,
            which=self.which,
            tolerance=self.tolerance,
            max_products=self.max_products,
            basis=self.basis,
        )

    def view(self, subject: Subject, batches: Batches) -> Risk:
        return self.risk(
            subject,
            batches,
            parameters=self.parameters,
            micro_batch=self.micro_batch,
            dtype=PRECISIONS[self.precision],
        )

    def items(self, view: Risk) -> Sequence[Item]:
        return [(number,) for number in range(len(view.batches))]

    def rows(self, view: Risk, item: tuple[int]) -> Sequence[Row]:
        (number,) = item
        rows: list[Row] = []
        for images, targets in view.batches.shard(number, len(view.batches)):  # none if no image of it can be read
            curvature = view.on(images, targets)
            generator = torch.Generator().manual_seed(derived_seed(self.seed, self.name, number))
            found = self._lanczos(curvature, start(curvature, generator), generator=generator)
            pairs = zip(found.values.tolist(), found.residuals.tolist(), strict=True)
            rows += [(number, rank, *pair, found.products, len(images)) for rank, pair in enumerate(pairs)]
        return rows

    def tables(self, rows: Sequence[Row]) -> Tables:
        if not rows:
            raise ValueError("hessian found no image to measure. Check that the files can be read.")
        batches, _, eigenvalues, *_ = zip(*rows, strict=True)
        return {"table": rows, "summary": summary(batches, eigenvalues, seed=self.seed)}


def start(curvature: Curvature, generator: torch.Generator) -> Vector:
    """Where to begin on a batch: its gradient, which leans towards sharp directions, and as much of a random direction.

    The gradient comes with the graph that the products need anyway. It must not stand alone: what is symmetric in the
    network leaves it without any part along some eigenvectors.
    """
    gradient = curvature.gradient
    random = torch.randn(len(gradient), generator=generator, dtype=torch.float32).to(gradient)
    return unit(gradient) + unit(random)
