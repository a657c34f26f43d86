"""Lanczos: a few eigenpairs of a symmetric operator from products with vectors alone, each with its residual.

What one start vector cannot see: of a multiple eigenvalue a Krylov space holds one copy, and a pair of which the start
has little may not have emerged when all others have converged. So the pairs that were found are checked: a random
vector across them is multiplied on, within what is across them, until it has found another pair that belongs among the
wanted ones, or would have found one. How certain that is follows from the coefficients of the space: see
`Lanczos._checked`. What it finds takes its place, and the next random vector looks again; so copies are counted.

Without the check (`certify=False`) copies are counted only where the space closes, as it soon does if there are few
distinct eigenvalues: then it is gone on with fresh vectors until one changes none of the wanted values. Within a rich
spectrum a multiple eigenvalue is given once, or more often if rounding has brought further copies in by then. So are
two that lie nearer to each other than the tolerance can tell apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, pi

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from alternet.loss.krylov import Krylov, Operator, Ritz, Vector, Which, best_of

MISSED = 0.1
"""The chance of having missed a wanted pair at which a check is content."""
LEAST = 5
"""Products that a check makes at least: where that chance falls fast, a few more make it small."""


@dataclass(frozen=True)
class Eigenpairs:
    """What was found of a symmetric operator.

    Attributes:
        values: Eigenvalues in the order asked for.
        vectors: The normalised vector of each, a row each.
        residuals: ‖A·v − λ·v‖ of each pair, up to rounding. Some eigenvalue of A is as near to λ as that.
        products: Products with the operator that it took.
        converged: Whether every residual is within the tolerance; if not, the values are the best there are.
        certified: Whether a random vector across the pairs found no other one that belongs among them, where it had at
            most a chance of 1 in 10 to miss one that is there.
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
                vectors saves products; what it has no part of is left to the check.
            generator: For fresh vectors, on the CPU.

        Raises:
            ValueError: A product is not finite.
        """
        found, ahead, scale = self._searched(operator, start, generator)
        while self.certify and not found.certified and found.products < self.max_products:
            if found.converged:
                found, ahead = self._checked(operator, found, ahead, self.tolerance * scale, generator)
            else:  # pairs of two searches lead into each other: they must be told apart better
                finer = replace(self, tolerance=self.tolerance / 10, max_products=self.max_products - found.products)
                again, ahead, scale = finer._searched(operator, found.vectors.sum(0), generator)
                found = replace(again, products=found.products + again.products, checking=found.checking)
        if self.which == "both_ends":  # which stand in turns, one from each end
            order = found.values.argsort(descending=True)
            values, vectors, residuals = found.values[order], found.vectors[order], found.residuals[order]
            return replace(found, values=values, vectors=vectors, residuals=residuals)
        return found

    def _searched(
        self, operator: Operator, start: Vector, generator: torch.Generator
    ) -> tuple[Eigenpairs, Vector, float]:
        """What one start vector finds, the most wanted first, the vector it would go on with, and the largest |λ|."""
        krylov = Krylov(operator, start, min(self.basis - 1, len(start)), generator)
        k, closed = min(self.k, len(start)), []  # the wanted values, each time that a start vector has said all
        while True:
            krylov.extend()
            ritz = krylov.ritz(self.which)
            if krylov.exhausted:
                closed.append(ritz.values[:k])
            settled = self._settled(ritz, k) and (not closed or (krylov.exhausted and self._unchanged(closed, ritz)))
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
            certified=self.certify and krylov.complete,
        )
        return found, krylov.ahead, ritz.scale

    def _checked(
        self, operator: Operator, found: Eigenpairs, ahead: Vector, allowed: float, generator: torch.Generator
    ) -> tuple[Eigenpairs, Vector]:
        """The pairs with what a fresh vector across them finds, or certified where it finds nothing.

        Half of the start is where the last search would have gone on, half is random. Let it have the part c along the
        eigenvector of a λ beyond all Ritz values. Then the vectors that grow from it have the parts c·pⱼ(λ), with the
        polynomials pⱼ of the Krylov space, and since their squares add up to at most 1, |c| ≤ (Σ pⱼ(λ)²)^(−1/2). In d
        dimensions so small a part has at most the chance √2·√(2d/π)·|c|.
        """
        k, left = len(found.values), len(ahead) - len(found.values)
        capacity = min(max(self.basis - 1 - k, k + 2), left)
        krylov = Krylov(operator, ahead, capacity, generator, beside=found.vectors)
        # a value that is off by the tolerance, and another one that is as far beyond it
        missed = _outside(found.values, 2 * allowed, self.which)
        grown, enough = torch.zeros_like(missed), log(4 * left / pi) - 2 * log(MISSED)
        while True:
            krylov.extend()
            ritz = krylov.ritz(self.which)
            every = torch.cat([found.values, ritz.values])
            best = best_of(every, self.which)[:k]
            new = best >= k
            changed = _differ(every[best], found.values, allowed, self.which)
            ready = bool((ritz.residuals[best[new] - k] <= allowed).all())
            grown = torch.logaddexp(grown, 2 * krylov.log_polynomial(ritz, missed))
            sure = krylov.products >= LEAST or krylov.exhausted or krylov.complete
            certified = not changed and sure and bool((grown >= enough).all())
            if certified or (changed and ready) or found.products + krylov.products >= self.max_products:
                break
            if krylov.full:
                krylov.restart(ritz, keep=krylov.capacity // 2)

        spent = {"products": found.products + krylov.products, "checking": found.checking + krylov.products}
        residuals = torch.cat([found.residuals, ritz.residuals.hypot(krylov.leading(ritz.coordinates))])[best]
        converged = bool((residuals <= allowed).all())
        if not new.any() or not ready or (certified and not converged):
            return replace(found, certified=certified, **spent), krylov.ahead
        vectors = torch.empty_like(found.vectors)
        vectors[~new] = found.vectors[best[~new]]
        vectors[new] = krylov.combined(ritz.coordinates[:, best[new] - k])
        pairs = Eigenpairs(every[best], vectors, residuals, **spent, converged=converged, certified=certified)
        return pairs, krylov.ahead

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


def _outside(values: Tensor, margin: float, which: Which) -> Tensor:
    """From where on an eigenvalue would outrank the last of these, at each end where one is wanted."""
    if which == "largest_magnitude":
        reach = values.abs().min() + margin
        return torch.stack([reach, -reach])
    if which == "largest" or len(values) == 1:
        return values.min()[None] + margin
    return torch.stack([values[::2].min() + margin, values[1::2].max() - margin])


def _differ(values: Tensor, others: Tensor, allowed: float, which: Which) -> bool:
    """Whether some rank is held by another value, of two of one magnitude either one."""
    one, other = (values.abs(), others.abs()) if which == "largest_magnitude" else (values, others)
    return bool(((one - other).abs() > allowed).any())
