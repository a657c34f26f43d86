"""Krylov: the space that products of a symmetric operator with vectors span, and the operator within it.

Orthonormal vectors V = [v₁ … vⱼ] are grown by vⱼ₊₁ ∝ A·vⱼ less its part along V, so that A·V = V·H + β·vⱼ₊₁·eⱼᵀ with
the small matrix H = Vᵀ·A·V. An eigenpair (θ, y) of H gives the pair (θ, V·y) of A with the residual

    ‖A·V·y − θ·V·y‖ = √(‖H·y − θ·y‖² + (β·yⱼ)²),

which costs no further product: the first term measures how far the operator is from symmetric, the second what the
vectors do not yet span. When as many vectors are kept as allowed, the best combinations of them are kept and the others
dropped (thick restart, Wu and Simon 2000), so memory does not grow with the number of products.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from alternet.loss.norms import norm, unit

Vector = Float[Tensor, " p"]
Operator = Callable[[Vector], Vector]
Which = Literal["largest_magnitude", "largest", "both_ends"]

ROUNDING = 100
"""A space closes where what is left of a product is below this many times the precision of its numbers."""
AT_ONCE = 2**20
"""Entries of the vectors that a restart combines at a time."""


@dataclass(frozen=True)
class Ritz:
    """The eigenpairs of H, the most wanted ones first."""

    values: Float64[Tensor, " j"]
    coordinates: Float64[Tensor, "j j"]
    residuals: Float64[Tensor, " j"]

    @property
    def scale(self) -> float:
        """The largest eigenvalue by magnitude."""
        return float(self.values.abs().max())


class Krylov:
    """The growing vectors and what the operator is within their span.

    Every product is made orthogonal twice: to the two vectors that it overlaps with in exact arithmetic (after a
    restart to all), then to all.

    With vectors `beside` it, all of this happens across them: the operator is A less what leads into or out of their
    span. The pairs of A itself have that much more of a residual, which `leading` gives.

    Attributes:
        matrix: H; only the first `size` rows and columns are in use.
        capacity: Vectors that fit; one more, the next, is kept beside them.
        size: Vectors that were multiplied.
        beta: How much of the last product lies outside their span, along the next vector.
        products: Products made.
        runs: How many products each start vector was good for, the given one and the fresh ones.
    """

    def __init__(
        self,
        operator: Operator,
        start: Vector,
        capacity: int,
        generator: torch.Generator,
        beside: Float[Tensor, "b p"] | None = None,
    ) -> None:
        """Begin with one vector; a start of zeros stands for a random one."""
        self.operator, self.capacity, self.generator = operator, capacity, generator
        self._beside = start.new_empty(0, len(start)) if beside is None else beside
        self._leading = torch.zeros(len(self._beside), capacity + 1, dtype=torch.float64)
        self.vectors = start.new_empty(capacity + 1, len(start))
        self.matrix = torch.zeros(capacity + 1, capacity + 1, dtype=torch.float64)
        self.size, self.products, self.runs, self.beta = 0, 0, [0], 0.0
        self._overlapping = 0
        self._scale, self._dropped = 0.0, 0.0
        self._roots, self._betas = torch.zeros(0, dtype=torch.float64), 0.0
        self.vectors[0] = unit(start) if start.any() else self._fresh()
        if beside is not None:
            self.vectors[0] = unit(self.vectors[0] + self._fresh())

    @property
    def full(self) -> bool:
        """Whether no further vector fits."""
        return self.size == self.capacity

    @property
    def complete(self) -> bool:
        """Whether the vectors span everything, with those beside them."""
        return self.size + len(self._beside) == self.vectors.shape[1]

    @property
    def exhausted(self) -> bool:
        """Whether the present start vector has nothing to add: its space is closed, or it ran as long as the first."""
        return self.runs[-1] == 0 or (len(self.runs) > 1 and self.runs[-1] >= self.runs[0])

    @property
    def ahead(self) -> Vector:
        """The next vector, a copy."""
        return self.vectors[self.size if not self.complete else self.size - 1].clone()

    def extend(self) -> None:
        """Multiply the next vector and find the one after it."""
        j = self.size
        rest = self.operator(self.vectors[j])
        self.products += 1
        self.runs[-1] += 1
        whole = float(norm(rest))
        if not whole < float("inf"):
            raise ValueError(
                f"Product {self.products} with the operator is not finite. The function has no second derivative "
                "there, or its numbers overflow: try precision='float64'."
            )
        self._scale = max(self._scale, whole)
        for first in (self._overlapping, 0):
            if len(self._beside):
                part = self._beside @ rest
                rest = torch.addmv(rest, self._beside.T, part, alpha=-1)
                self._leading[:, j] += part.double().cpu()
            span = self.vectors[first : j + 1]
            part = span @ rest
            rest = torch.addmv(rest, span.T, part, alpha=-1)  # not in place: the operator may have given its own vector
            self.matrix[first : j + 1, j] += part.double().cpu()
        self.size, self._overlapping = j + 1, j

        left = float(norm(rest))
        closed = left <= ROUNDING * torch.finfo(rest.dtype).eps * self._scale
        self.beta = 0.0 if closed or self.complete else left
        self._betas += log(self.beta) if self.beta else -inf
        if closed:
            self._dropped += left
            self.runs.append(0)
        if self.complete:
            return
        if closed:  # nothing is left to go on with
            self.vectors[self.size] = self._fresh()
        else:
            torch.div(rest, left, out=self.vectors[self.size])
        self.matrix[self.size, self.size - 1] = self.beta

    def ritz(self, which: Which = "largest") -> Ritz:
        """The eigenpairs of the operator within the span."""
        inside = self.matrix[: self.size, : self.size]
        values, coordinates = torch.linalg.eigh((inside + inside.T) / 2)
        order = best_of(values, which)
        values, coordinates = values[order], coordinates[:, order]
        unsymmetric = (inside @ coordinates - coordinates * values).norm(dim=0)
        residuals = torch.hypot(unsymmetric, self.beta * coordinates[-1].abs()) + self._dropped
        return Ritz(values, coordinates, residuals)

    def restart(self, ritz: Ritz, keep: int) -> None:
        """Keep the most wanted combinations of the vectors, and the next vector."""
        chosen = ritz.coordinates[:, :keep]
        self._roots = torch.cat([self._roots, ritz.values[keep:]])
        self._leading[:, :keep] = self._leading[:, : self.size] @ chosen
        self._leading[:, keep:] = 0
        inside = chosen.T @ self.matrix[: self.size, : self.size] @ chosen
        following = self.vectors[self.size].clone()
        coupling = torch.zeros(keep, dtype=torch.float64) if self.runs[-1] == 0 else self.beta * chosen[-1]
        for columns in self.vectors.split(AT_ONCE, dim=1):  # in place, without a second set of long vectors
            columns[:keep] = chosen.T.to(columns) @ columns[: self.size]
        self.vectors[keep] = following
        self.matrix.zero_()
        self.matrix[:keep, :keep] = inside
        self.matrix[keep, :keep] = coupling
        self.size, self._overlapping = keep, 0

    def log_polynomial(self, ritz: Ritz, places: Float64[Tensor, " z"]) -> Float64[Tensor, " z"]:
        """The logarithm of |p(z)| of the polynomial p for which the next vector is p(A)·(start vector).

        Its roots are the Ritz values and those that restarts dropped, its leading coefficient is 1 / Πβ. So along an
        eigenvector of A the next vector has |p(λ)| times the part that the start had.
        """
        if self._betas == -inf:  # of a closed space there is no next vector
            return torch.full_like(places, inf)
        roots = torch.cat([self._roots, ritz.values])
        return (places[:, None] - roots).abs().log().sum(1) - self._betas

    def leading(self, coordinates: Float64[Tensor, "j k"]) -> Float64[Tensor, " k"]:
        """How far the operator leads each combination of the vectors along those beside them."""
        return (self._leading[:, : self.size] @ coordinates).norm(dim=0)

    def combined(self, coordinates: Float64[Tensor, "j k"]) -> Float[Tensor, "k p"]:
        """Vectors from their coordinates, normalised, a row each."""
        vectors = coordinates.T.to(self.vectors) @ self.vectors[: self.size]
        return torch.stack([unit(vector) for vector in vectors])

    def _fresh(self) -> Vector:
        """A random direction across all vectors so far."""
        length = self.vectors.shape[1]
        fresh = torch.randn(length, generator=self.generator, dtype=torch.float32).to(self.vectors)
        for _ in range(3):  # each time takes out what rounding left of the vectors the time before
            for span in (self._beside, self.vectors[: self.size]):
                fresh -= span.T @ (span @ fresh)
            fresh = unit(fresh)
        return fresh


def best_of(values: Float64[Tensor, " j"], which: Which) -> Tensor:
    """Places of values, that of the most wanted one first.

    Examples:
        >>> values = torch.tensor([2.0, -5.0, 4.0, -1.0], dtype=torch.float64)
        >>> [values[best_of(values, which)].tolist() for which in ("largest_magnitude", "largest", "both_ends")]
        [[-5.0, 4.0, 2.0, -1.0], [4.0, 2.0, -1.0, -5.0], [4.0, -5.0, 2.0, -1.0]]
    """
    rising = values.argsort(stable=True)
    if which == "largest_magnitude":
        return rising[values[rising].abs().argsort(descending=True, stable=True)]
    falling = rising.flip(0)
    if which == "largest":
        return falling
    half = -(-len(values) // 2)
    return torch.stack([falling[:half], rising[:half]], dim=1).flatten()[: len(values)]
