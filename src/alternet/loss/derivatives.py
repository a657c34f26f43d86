"""Derivatives: say in one line why a loss has no second one, and see where autograd would leave a part of it out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from alternet.errors import first_line
from alternet.memory import short_of_memory


@contextmanager
def refused_in_a_line(name: str) -> Iterator[None]:
    """Turn what autograd says into one line; a full memory is another matter.

    Raises:
        ValueError: The loss of the model of this name has no such derivative.
    """
    try:
        yield
    except RuntimeError as error:
        if short_of_memory(error):
            raise
        raise ValueError(
            f"The loss of {name!r} cannot be differentiated twice by these parameters ({first_line(error)}). "
            "Give the plain nn.Module, neither compiled nor under torch.no_grad(), made of functions whose backward "
            "has a derivative."
        ) from error


def require_second_derivative(gradients: Sequence[Tensor]) -> None:
    """Refuse a graph of gradients with a backward that is marked as once differentiable.

    With leaves given, autograd goes round such a mark without an error, and the part of the Hessian behind it is lost.

    Raises:
        RuntimeError: There is one.
    """
    seen: set[Any] = set()
    ahead = [gradient.grad_fn for gradient in gradients]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise RuntimeError("a function in it is marked as once differentiable")
        seen.add(node)
        ahead += [following for following, _ in node.next_functions]
