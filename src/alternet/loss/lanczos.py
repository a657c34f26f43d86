"""Lanczos: a few eigenpairs of a symmetric operator from products with vectors alone, each with its residual.

Orthonormal vectors V = [v₁ … vⱼ] are grown by vⱼ₊₁ ∝ A·vⱼ less its part along V, so that A·V = V·H + β·vⱼ₊₁·eⱼᵀ with
the small matrix H = Vᵀ·A·V. An eigenpair (θ, y) of H gives the pair (θ, V·y) of A with the residual

    ‖A·V·y − θ·V·y‖ = √(‖H·y − θ·y‖² + (β·yⱼ)²),

which costs no further product: the first term measures how far the operator is from symmetric, the second what the
vectors do not yet span. When as many vectors are kept as allowed, the best combinations of them are kept and the others
dropped (thick restart, Wu and Simon 2000), so memory does not grow with the number of products.

What one start vector cannot see: of a multiple eigenvalue a Krylov space holds one copy. Where the space closes, as it
soon does if there are few distinct eigenvalues, it is gone on with a fresh random vector, until a fresh vector changes
none of the wanted values; so there copies are counted. Within a rich spectrum the wanted pairs converge before, and a
multiple eigenvalue is given once, or more often if rounding has brought further copies in by then. So are two that lie
nearer to each other than the tolerance can tell apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
class Eigenpairs:
    """What was found of a symmetric operator.

    Attributes:
        values: Eigenvalues in the order asked for.
        vectors: The normalised vector of each, a row each.
        residuals: ‖A·v − λ·v‖ of each pair, up to rounding. Some eigenvalue of A is as near to λ as that.
        products: Products with the operator that it took.
        converged: Whether every residual is within the tolerance; if not, the values are the best there are.
    """

    values: Float64[Tensor, " k"]
    vectors: Float[Tensor, "k p"]
    residuals: Float64[Tensor, " k"]
    products: int
    converged: bool


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


@dataclass(frozen=True, kw_only=True)
class Lanczos:
    """Which eigenpairs are wanted, how exactly, and at what cost; call it with an operator.

    Attributes:
        k: How many pairs, at most as many as the operator has rows.
        which: `largest_magnitude`: by |λ|, negative ones included. `largest`: from the upper end. `both_ends`: half
            from the upper end, one more of these if k is odd, and half from the lower one; the largest first.
        tolerance: A pair is good when its residual is at most this times the largest |λ|.
        max_products: Where to give up.
        basis: Vectors kept, one more included that is in work; this bounds the memory.

    Examples:
        >>> diagonal = torch.tensor([3.0, -5.0, 1.0, 0.5, 0.0, 0.2], dtype=torch.float64)
        >>> start = torch.ones(6, dtype=torch.float64)
        >>> found = Lanczos(k=2, tolerance=1e-9)(lambda v: diagonal * v, start, generator=torch.Generator())
        >>> found.values.round(decimals=6).tolist(), found.products, found.converged
        ([-5.0, 3.0], 6, True)
    """

    k: int = 5
    which: Which = "largest_magnitude"
    tolerance: float = 1e-3
    max_products: int = 200
    basis: int = 32

    def __post_init__(self) -> None:
        for name, least in {"k": 1, "tolerance": 0, "max_products": 1, "basis": self.k + 3}.items():
            if not getattr(self, name) >= least:
                reason = f" ({self.k} wanted and 3 to work with)" if name == "basis" else ""
                raise ValueError(f"{name} must be at least {least}{reason}, got {getattr(self, name)}.")

    def __call__(self, operator: Operator, start: Vector, *, generator: torch.Generator) -> Eigenpairs:
        """The wanted eigenpairs.

        Args:
            operator: A symmetric linear map of vectors like `start`.
            start: Where to begin; its type and device are those of the computation. A start along the wanted
                vectors saves products, one without any part of a vector never finds it.
            generator: For fresh vectors, on the CPU.

        Raises:
            ValueError: A product is not finite.
        """
        krylov = Krylov(operator, start, min(self.basis - 1, len(start)), generator)
        k, closed = min(self.k, len(start)), []  # the wanted values, each time that a start vector has said all
        while True:
            krylov.extend()
            ritz = krylov.ritz(self.which)
            if krylov.said_all:
                closed.append(ritz.values[:k])
            settled = self._settled(ritz, k) and (not closed or (krylov.said_all and self._unchanged(closed, ritz)))
            if settled or krylov.complete or krylov.products >= self.max_products:
                break
            if krylov.full:
                krylov.restart(ritz, keep=k + (krylov.capacity - k) // 2)

        order = torch.arange(min(k, len(ritz.values)))
        if self.which == "both_ends":  # which stand in turns, one from each end
            order = ritz.values[:k].argsort(descending=True)
        return Eigenpairs(
            values=ritz.values[order],
            vectors=krylov.combined(ritz.coordinates[:, order]),
            residuals=ritz.residuals[order],
            products=krylov.products,
            converged=self._good(ritz, k),
        )

    def _good(self, ritz: Ritz, k: int) -> bool:
        residuals = ritz.residuals[:k]
        return len(residuals) == k and bool((residuals <= self.tolerance * ritz.scale).all())

    def _settled(self, ritz: Ritz, k: int) -> bool:
        """Whether the wanted pairs are good, and no pair from the other end could by its residual still outrank them.

        Each end of the spectrum converges from outside inwards, but one end may be ahead of the other.
        """
        good = self._good(ritz, k)
        if not good or self.which != "largest_magnitude":
            return good
        reach = ritz.values.abs()[k:] + ritz.residuals[k:]
        return bool((reach <= ritz.values[:k].abs().min() + self.tolerance * ritz.scale).all())

    def _unchanged(self, closed: Sequence[Tensor], ritz: Ritz) -> bool:
        """Whether the last start vector changed none of the wanted values."""
        if len(closed) < 2 or len(closed[-2]) < len(closed[-1]):
            return False
        return bool(((closed[-1] - closed[-2]).abs() <= self.tolerance * ritz.scale).all())


class Krylov:
    """The growing vectors and what the operator is within their span.

    Every product is made orthogonal twice: to the two vectors that it overlaps with in exact arithmetic (after a
    restart to all), then to all.

    Attributes:
        matrix: H; only the first `size` rows and columns are in use.
        capacity: Vectors that fit; one more, the next, is kept beside them.
        size: Vectors that were multiplied.
        beta: How much of the last product lies outside their span, along the next vector.
        products: Products made.
        runs: How many products each start vector was good for, the given one and the fresh ones.
    """

    def __init__(self, operator: Operator, start: Vector, capacity: int, generator: torch.Generator) -> None:
        """Begin with one vector."""
        self.operator, self.capacity, self.generator = operator, capacity, generator
        self.vectors = start.new_empty(capacity + 1, len(start))
        self.matrix = torch.zeros(capacity + 1, capacity + 1, dtype=torch.float64)
        self.size, self.products, self.runs, self.beta = 0, 0, [0], 0.0
        self._overlapping = 0
        self._scale, self._dropped = 0.0, 0.0
        self.vectors[0] = unit(start) if start.any() else self._fresh()

    @property
    def full(self) -> bool:
        """Whether no further vector fits."""
        return self.size == self.capacity

    @property
    def complete(self) -> bool:
        """Whether the vectors span everything."""
        return self.size == self.vectors.shape[1]

    @property
    def said_all(self) -> bool:
        """Whether the present start vector has nothing to add: its space is closed, or it ran as long as the first."""
        return self.runs[-1] == 0 or (len(self.runs) > 1 and self.runs[-1] >= self.runs[0])

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
            span = self.vectors[first : j + 1]
            part = span @ rest
            rest = torch.addmv(rest, span.T, part, alpha=-1)  # not in place: the operator may have given its own vector
            self.matrix[first : j + 1, j] += part.double().cpu()
        self.size, self._overlapping = j + 1, j

        left = float(norm(rest))
        closed = left <= ROUNDING * torch.finfo(rest.dtype).eps * self._scale
        self.beta = 0.0 if closed or self.complete else left
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
        order = _priority(values, which)
        values, coordinates = values[order], coordinates[:, order]
        unsymmetric = (inside @ coordinates - coordinates * values).norm(dim=0)
        residuals = torch.hypot(unsymmetric, self.beta * coordinates[-1].abs()) + self._dropped
        return Ritz(values, coordinates, residuals)

    def restart(self, ritz: Ritz, keep: int) -> None:
        """Keep the most wanted combinations of the vectors, and the next vector."""
        chosen = ritz.coordinates[:, :keep]
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

    def combined(self, coordinates: Float64[Tensor, "j k"]) -> Float[Tensor, "k p"]:
        """Vectors from their coordinates, normalised, a row each."""
        vectors = coordinates.T.to(self.vectors) @ self.vectors[: self.size]
        return torch.stack([unit(vector) for vector in vectors])

    def _fresh(self) -> Vector:
        """A random direction across all vectors so far."""
        length = self.vectors.shape[1]
        fresh = torch.randn(length, generator=self.generator, dtype=torch.float32).to(self.vectors)
        for _ in range(3):  # each time takes out what rounding left of the vectors the time before
            fresh -= self.vectors[: self.size].T @ (self.vectors[: self.size] @ fresh)
            fresh = unit(fresh)
        return fresh


def _priority(values: Float64[Tensor, " j"], which: Which) -> Tensor:
    """Places of ascending values, the most wanted one first.

    Examples:
        >>> values = torch.tensor([-5.0, -1.0, 2.0, 4.0], dtype=torch.float64)
        >>> [values[_priority(values, which)].tolist() for which in ("largest_magnitude", "largest", "both_ends")]
        [[-5.0, 4.0, 2.0, -1.0], [4.0, 2.0, -1.0, -5.0], [4.0, -5.0, 2.0, -1.0]]
    """
    if which == "largest_magnitude":
        return values.abs().argsort(descending=True, stable=True)
    falling = torch.arange(len(values) - 1, -1, -1)
    if which == "largest":
        return falling
    half = -(-len(values) // 2)
    return torch.stack([falling[:half], falling.flip(0)[:half]], dim=1).flatten()[: len(values)]
