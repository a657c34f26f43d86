"""Gauss-Newton: the part of the Hessian that the likelihood's own curvature makes, and the rest.

With logits z(θ), their Jacobian J and the NLL ℓ(z) of a batch, the Hessian of NLL + L2 is G + R with

    G = Jᵀ·(∂²ℓ/∂z²)·J + weight decay · ∂²penalty/∂θ²,      R = Σ_k (∂ℓ/∂z_k)·∂²z_k/∂θ².

G is the generalised Gauss-Newton matrix (Schraudolph 2002; Sagun et al. 2017) plus the Hessian of the penalty, which is
convex as well: no eigenvalue of G is negative. R is what the curvature of the network itself adds, weighted by how
wrong the answers are; what curves downwards comes from there.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from alternet.loss.curvature import Batch, Curvature
from alternet.loss.derivatives import refused_in_a_line, require_second_derivative
from alternet.loss.krylov import Vector
from alternet.loss.likelihood import nll

Part = Literal["loss", "gauss-newton", "residual"]


class GaussNewton:
    """The generalised Gauss-Newton matrix of the NLL on one batch, times vectors; no penalty is in it."""

    def __init__(self, curvature: Curvature) -> None:
        """Prepare it for the batch and the point of a curvature; nothing is computed yet."""
        self._curvature = curvature
        self._kept: tuple[Any, ...] | None = None

    def __call__(self, vector: Vector) -> Vector:
        """Jᵀ·(∂²ℓ/∂z²)·J times a vector [p]."""
        return self._curvature.fitting(lambda: self._product(vector))

    def _product(self, vector: Vector) -> Vector:
        total = torch.zeros_like(vector)
        parts = self._curvature.parts
        kept, self._kept = self._kept, None  # where it fails, the graph of parts that are too large is let go
        for part in parts:
            graph = kept if kept and len(parts) == 1 else self._graph(part)
            total += self._times(graph, vector)
            self._kept = graph if len(parts) == 1 else None
        return total

    def _graph(self, part: Batch) -> tuple[Any, ...]:
        """Parameters as leaves, logits, the NLL's derivative by them, and Jᵀ·w with the w that it is linear in."""
        curvature, (images, targets) = self._curvature, part
        risk = curvature.risk
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), refused_in_a_line(risk.subject.name):
            leaves, logits = risk.answer(images, curvature.theta)
            loss = nll(logits, targets) / curvature.images
            (slope,) = torch.autograd.grad(loss, logits, create_graph=True)
            weights = torch.zeros_like(logits, requires_grad=True)
            back: Any = torch.autograd.grad(
                logits, leaves, weights, create_graph=True, allow_unused=True, materialize_grads=True
            )
            require_second_derivative(back)
        return leaves, logits, slope, back, weights

    def _times(self, graph: tuple[Any, ...], vector: Vector) -> Vector:
        leaves, logits, slope, back, weights = graph
        directions = self._curvature.risk.space.split(vector.to(logits)).values()
        reached = [(one, d) for one, d in zip(back, directions, strict=True) if one.requires_grad]
        if not reached:
            return torch.zeros_like(vector)
        outputs, along = zip(*reached, strict=True)
        options: dict[str, Any] = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        with sdpa_kernel(SDPBackend.MATH), refused_in_a_line(self._curvature.risk.subject.name):
            (moved,) = torch.autograd.grad(outputs, weights, along, **options)  # J·v
            (curved,) = torch.autograd.grad(slope, logits, moved, **options)
            products = torch.autograd.grad(logits, leaves, curved, **options)
        return torch.cat([product.detach().reshape(-1) for product in products])


def part_of(curvature: Curvature, part: Part) -> Callable[[Vector], Vector]:
    """The Hessian of a batch, its Gauss-Newton part with the penalty, or what is left: products with a vector [p]."""
    if part == "loss":
        return curvature
    matrix, risk = GaussNewton(curvature), curvature.risk
    if part == "gauss-newton":
        return lambda vector: matrix(vector) + risk.penalty_product(vector, curvature.theta)
    return lambda vector: curvature.nll_product(vector) - matrix(vector)
