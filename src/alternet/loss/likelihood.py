"""Likelihood: the negative log-likelihood of labels, also of a model that knows more classes than the data has."""

from jaxtyping import Float
from torch import Tensor, nn

from alternet.scores import require_known
from alternet.shapes import Logits


def nll(logits: Logits, targets: Tensor) -> Float[Tensor, ""]:
    """−Σ t·log softmax(logits), summed over the images, in nats.

    Args:
        logits: The model's answer [n, k].
        targets: Classes [n], or distributions over the first classes of the model [n, at most k].

    Raises:
        ValueError: A label is missing, or of a class that the model does not know.

    Examples:
        >>> import torch
        >>> logits = torch.zeros(1, 4)
        >>> nll(logits, torch.tensor([[0.5, 0.5]])) == nll(logits, torch.tensor([3]))
        tensor(True)
    """
    classes = logits.shape[1]
    require_known(targets, classes)
    targets = targets.to(logits.device)
    if targets.ndim == 2:
        targets = nn.functional.pad(targets.to(logits.dtype), (0, classes - targets.shape[1]))
    return nn.functional.cross_entropy(logits, targets, reduction="sum")
