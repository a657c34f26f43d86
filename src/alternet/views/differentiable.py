"""Differentiable: whether a gradient can be differentiated again, where PyTorch itself would not tell."""

from collections.abc import Iterable

from torch import Tensor


def require_second_derivative(gradients: Iterable[Tensor], name: str) -> None:
    """Refuse gradients whose graph is cut by a function that is marked as differentiable once.

    Asked for a derivative by parameters that lie behind such a function, PyTorch passes over the mark and gives zero,
    so that a Hessian would be wrong without a word.

    Args:
        gradients: With their graphs.
        name: Of the model, for the message.

    Raises:
        ValueError: There is such a function.
    """
    waiting = [gradient.grad_fn for gradient in gradients]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name().endswith("autograd::Error"):
            raise ValueError(
                f"{name!r} holds a function that can be differentiated only once (torch.autograd.function."
                "once_differentiable), so its loss has no Hessian-vector product. Build the model without custom "
                "kernels."
            )
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
