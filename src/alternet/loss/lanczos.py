"""Lanczos: a few eigenpairs of a symmetric operator from products with vectors alone, each with its residual.

What one start vector cannot see: of a multiple eigenvalue a Krylov space holds one copy. Where the space closes, as it
soon does if there are few distinct eigenvalues, it is gone on with a fresh random vector, until a fresh vector changes
none of the wanted values; so there copies are counted. Within a rich spectrum the wanted pairs converge before, and a
multiple eigenvalue is given once, or more often if rounding has brought further copies in by then. So are two that lie
nearer to each other than the tolerance can tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, pi

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from alternet.loss.krylov import Krylov, Operator, Ritz, Vector, Which, priority

MISSED = 0.01
"""The chance to miss a wanted pair at which a check is content."""


@dataclass(frozen=True)
class Eigenpairs:
    """What was found of a symmetric operator.

    Attributes:
        values: Eigenvalues in the order asked for.
        vectors: The normalised vector of each, a row each.
        residuals: ‖A·v − λ·v‖ of each pair, up to rounding. Some eigenvalue of A is as near to λ as that.
        products: Products with the operator that it took.
        converged: Whether every residual is within the tolerance; if not, the values are the best there are.
        certified: Whether a fresh vector across the pairs found no other one that belongs among them, with a chance of
            1 in 100 to have missed it.
        checking: How many of the products this check took.
    """

    values: Float64[Tensor, " k"]
    vectors: Float[Tensor, "k p"]
    residuals: Float64[Tensor, " k"]
    products: int
    converged: bool
    certified: bool = False
    checking: int = 0


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
        certify: Whether to look for wanted pairs that the start vector missed.

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
    certify: bool = True

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
        found, scale = self._searched(operator, start, generator)
        while self.certify and found.converged and not found.certified and found.products < self.max_products:
            found = self._checked(operator, found, self.tolerance * scale, generator)
        if self.which == "both_ends":  # which stand in turns, one from each end
            order = found.values.argsort(descending=True)
            values, vectors, residuals = found.values[order], found.vectors[order], found.residuals[order]
            return replace(found, values=values, vectors=vectors, residuals=residuals)
        return found

    def _searched(self, operator: Operator, start: Vector, generator: torch.Generator) -> tuple[Eigenpairs, float]:
        """What one start vector finds, the most wanted first, and the largest |λ| it saw."""
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

        found = Eigenpairs(
            values=ritz.values[:k],
            vectors=krylov.combined(ritz.coordinates[:, :k]),
            residuals=ritz.residuals[:k],
            products=krylov.products,
            converged=self._good(ritz, k),
        )
        return found, ritz.scale

    def _checked(self, operator: Operator, found: Eigenpairs, allowed: float, generator: torch.Generator) -> Eigenpairs:
        """The pairs with what a fresh vector across them finds, or certified where it finds nothing.

        Along the eigenvector of a λ beyond all Ritz values, the vectors that grow from a random unit vector with the
        part c hold c·pⱼ(λ), with the polynomials pⱼ of its Krylov space. Since Σⱼ (c·pⱼ(λ))² ≤ 1, c is at most
        (Σ pⱼ(λ)²)^(−1/2), and in d dimensions that small with a probability of √(2d/π)·c.
        """
        k, left = len(found.values), found.vectors.shape[1] - len(found.values)
        if not left:
            return replace(found, certified=True)
        capacity = min(max(self.basis - 1 - k, k + 2), left)
        krylov = Krylov(operator, torch.zeros_like(found.vectors[0]), capacity, generator, beside=found.vectors)
        missed = self._outside(found.values, allowed)
        carried, enough = torch.zeros_like(missed), log(2 * left / pi) - 2 * log(MISSED)
        while True:
            krylov.extend()
            ritz = krylov.ritz(self.which)
            values, place = torch.cat([found.values, ritz.values]).sort()
            best = place[priority(values, self.which)[:k]]
            residuals = torch.cat([found.residuals, ritz.residuals])[best]
            values = torch.cat([found.values, ritz.values])[best]
            ranks = [each.abs() if self.which == "largest_magnitude" else each for each in (values, found.values)]
            changed = bool(((ranks[0] - ranks[1]).abs() > allowed).any())

            carried = torch.logaddexp(carried, 2 * krylov.log_polynomial(ritz, missed))
            certified = not changed and bool((carried >= enough).all())
            settled = changed and bool((residuals <= allowed).all())
            if settled or certified or found.products + krylov.products >= self.max_products:
                break
            if krylov.full:
                krylov.restart(ritz, keep=krylov.capacity // 2)

        spent = {"products": found.products + krylov.products, "checking": found.checking + krylov.products}
        if not settled:
            return replace(found, certified=certified, **spent)
        fresh = krylov.combined(ritz.coordinates[:, best[best >= k] - k])
        vectors = found.vectors.new_empty(found.vectors.shape)
        vectors[best < k], vectors[best >= k] = found.vectors[best[best < k]], fresh
        return replace(found, values=values, vectors=vectors, residuals=residuals, **spent)

    def _outside(self, values: Tensor, allowed: float) -> Tensor:
        """From where on an eigenvalue would outrank the last of these, at either end where either is wanted."""
        if self.which == "largest_magnitude":
            reach = values.abs().min() + allowed
            return torch.stack([reach, -reach])
        if self.which == "largest" or len(values) == 1:
            return values.min()[None] + allowed
        return torch.stack([values[::2].min() + allowed, values[1::2].max() - allowed])

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
