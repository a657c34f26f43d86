"""Curvature: the derivatives of a risk on one batch, with the graph of the gradient kept for further products."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from alternet.loss.derivatives import refused_in_a_line, require_second_derivative
from alternet.loss.krylov import Vector
from alternet.loss.likelihood import nll
from alternet.memory import reason, short_of_memory
from alternet.patience import FINISHED

if TYPE_CHECKING:
    from alternet.loss.risk import Risk

Batch = tuple[Tensor, Tensor]
T = TypeVar("T")


class Curvature:
    """Derivatives of the risk on one batch at one point; the graph of the gradient is kept for further products.

    Attributes:
        products: How many Hessian-vector products were made, the honest unit of cost.
        parts: The images and targets that pass the network at a time.
        images: How many images the batch has.
    """

    def __init__(self, risk: "Risk", images: Tensor, targets: Tensor, theta: Vector | None = None) -> None:
        """Prepare the batch; nothing is computed yet."""
        self.risk, self.theta, self.products = risk, theta, 0
        self.images, self._batch = len(images), (images, targets)
        self._cut()

    def _cut(self) -> None:
        images, targets = self._batch
        size = self.risk.micro_batch or self.images
        self.parts: list[Batch] = list(zip(images.split(size), targets.split(size), strict=True))
        self._kept: tuple[list[Tensor], list[Tensor]] | None = None

    def fitting(self, work: Callable[[], T]) -> T:
        """What the work gives, done again with the batch in smaller parts where the memory was too small.

        Raises:
            MemoryError: It is too small for a single image, or the batch must not be parted.
        """
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not short_of_memory(error):
                    raise
                said = reason(error)  # not the error, which holds what was computed
            tried, self._kept = len(self.parts[0][0]), None
            self.risk.within_memory(tried, said)
            self._cut()

    @property
    def gradient(self) -> Vector:
        """Derivative of NLL + L2; of a batch in one part its graph is kept, and costs no product another time."""
        of_nll = self.fitting(lambda: self._nll_gradient(create=len(self.parts) == 1))
        return of_nll + self.risk._penalty_gradient(self.theta)

    @property
    def nll_gradient(self) -> Vector:
        """Derivative of the NLL alone, without a graph."""
        return self.fitting(lambda: self._nll_gradient(create=False))

    def _nll_gradient(self, *, create: bool) -> Vector:
        total = torch.zeros_like(self.risk._theta)
        for part in self.parts:
            with self._graph(part, create=create) as (_, gradients):
                total += _flat(gradients)
        return total

    def __call__(self, vectors: Tensor) -> Tensor:
        """Hessian of NLL + L2 times a vector [p], or each column of [p, k]."""
        return self.nll_product(vectors) + self.risk.penalty_product(vectors, self.theta)

    def nll_product(self, vectors: Tensor) -> Tensor:
        """Hessian of the NLL alone times a vector [p], or each column of [p, k]."""
        columns = [vectors] if vectors.ndim == 1 else list(vectors.unbind(1))
        self.products += len(columns)
        products = self.fitting(lambda: self._nll_products(columns))
        return products[0] if vectors.ndim == 1 else torch.stack(products, dim=1)

    def _nll_products(self, columns: list[Vector]) -> list[Vector]:
        totals = [torch.zeros_like(self.risk._theta) for _ in columns]
        for part in self.parts:
            with self._graph(part, create=True) as (leaves, gradients):
                for total, column in zip(totals, columns, strict=True):
                    total += self._times(leaves, gradients, column)
        return totals

    # a function of its own, so that what one product took is free again before the next one
    def _times(self, leaves: list[Tensor], gradients: list[Tensor], vector: Vector) -> Vector:
        directions = list(self.risk.space.split(vector.to(self.risk._theta)).values())
        reached = [(g, d) for g, d in zip(gradients, directions, strict=True) if g.requires_grad]
        if not reached:  # the loss is linear in all of them
            return torch.zeros_like(vector)
        outputs, grads = zip(*reached, strict=True)
        with sdpa_kernel(SDPBackend.MATH), refused_in_a_line(self.risk.subject.name):
            products = torch.autograd.grad(
                outputs, leaves, grads, retain_graph=True, allow_unused=True, materialize_grads=True
            )
        FINISHED.one()
        return _flat(products)

    @contextmanager
    def _graph(self, part: Batch, *, create: bool) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """The parameters as leaves and the gradients by them; of a batch in one part the graph is kept."""
        if self._kept is not None:
            yield self._kept
            return
        images, targets = part
        with torch.enable_grad():
            with sdpa_kernel(SDPBackend.MATH):
                leaves, logits = self.risk.answer(images, self.theta)
            loss = nll(logits, targets) / self.images
            with refused_in_a_line(self.risk.subject.name):
                gradients: Any = torch.autograd.grad(
                    loss, leaves, create_graph=create, allow_unused=True, materialize_grads=True
                )
                if create:
                    require_second_derivative(gradients)
        if create and len(self.parts) == 1:
            self._kept = (leaves, list(gradients))
        yield leaves, list(gradients)


def _flat(tensors: Any) -> Vector:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
