"""Directions: which way one walks from a network's weights, and how far one step is.

A random direction means something only relative to the weights: multiplying a layer by ten before a normalisation
changes no prediction, but makes a step of the same length ten times smaller. Filter normalisation (Li et al. 2018)
gives each output filter of the direction the norm of that filter's weights.
"""

import re
from typing import Any

import torch
from torch import Tensor

from alternet.loss.parameters import ParameterVector
from alternet.seeding import derived_seed

POSITION = re.compile(r"pos_embed|position|rel_pos|attention_bias")
"""In the names of position embeddings and relative position biases: timm's, torchvision's, transformers' and ours."""


def ignored(name: str, shape: torch.Size) -> bool:
    """Whether a parameter is of a norm, a bias or a position, which directions leave out by default.

    Norms and biases are what has fewer than two axes, as in the released code; LayerScale and the like are among them.

    Examples:
        >>> ignored("fc.bias", torch.Size([8])), ignored("pos_embed", torch.Size([1, 65, 8]))
        (True, True)
        >>> ignored("fc.weight", torch.Size([8, 4])), ignored("cls_token", torch.Size([1, 1, 8]))
        (False, False)
    """
    return len(shape) < 2 or bool(POSITION.search(name))


def normalised(direction: Tensor, weight: Tensor, how: str) -> Tensor:
    """A direction of one parameter with the norms of its weight.

    Args:
        direction: Of the shape of the weight.
        weight: One parameter.
        how: `filter`: each entry along the first axis gets the norm of the weight's, so that is each output of a Linear
            layer and each filter of a convolution, depthwise ones too; a first axis of one, as in a [1, N, C]
            embedding, makes the whole a single filter, and so does a vector. `layer`: the whole parameter. `paper`: as
            released, norms are taken over the first axis, so each input weight is scaled across the output filters.
            `none`: as it is.

    Returns:
        The scaled direction; zero where the direction has norm zero.

    Examples:
        >>> w, d = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [2.0, 0.0]])
        >>> normalised(d, w, "filter").tolist()
        [[5.0, 0.0], [1.0, 0.0]]
    """
    if how == "none":
        return direction
    whole = how == "layer" or weight.ndim < 2
    axes = [0] if how == "paper" else list(range(0 if whole else 1, weight.ndim))
    options: Any = {"dim": axes, "keepdim": True, "dtype": torch.float64}
    wanted, given = (torch.linalg.vector_norm(t, **options) for t in (weight, direction))
    factors = torch.where(given > 0, wanted / given.clamp_min(torch.finfo(given.dtype).tiny), 0.0)
    return direction * factors.to(direction)


def fitted(direction: Tensor, theta: Tensor, space: ParameterVector, *, how: str, ignore: bool) -> Tensor:
    """A direction of all parameters, normalised one by one, and zero in those that are left out."""
    weights = space.split(theta)
    return space.join(
        {
            name: torch.zeros_like(part)
            if ignore and ignored(name, part.shape)
            else normalised(part, weights[name], how)
            for name, part in space.split(direction).items()
        }
    )


def gaussian(theta: Tensor, seed: int, number: int) -> Tensor:
    """The random direction of that number, the same on every device; independent of the others, not orthogonal."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "direction", number))
    return torch.randn(len(theta), generator=generator, dtype=torch.float32).to(theta)
