"""Lanczos: a few eigenpairs of a symmetric operator from products with vectors alone, each with its residual.

What one start vector cannot see: of a multiple eigenvalue a Krylov space holds one copy. Where the space closes, as it
soon does if there are few distinct eigenvalues, it is gone on with a fresh random vector, until a fresh vector changes
none of the wanted values; so there copies are counted. Within a rich spectrum the wanted pairs converge before, and a
multiple eigenvalue is given once, or more often if rounding has brought further copies in by then. So are two that lie
nearer to each other than the tolerance can tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from alternet.loss.krylov import Krylov, Operator, Ritz, Vector, Which


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
