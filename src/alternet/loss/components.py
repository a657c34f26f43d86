"""Components: the principal components of a path through the space of weights, from inner products alone."""

from typing import NamedTuple

import torch
from torch import Tensor


class Principal(NamedTuple):
    """Principal components of a path.

    Attributes:
        share: Part of the path's variance along each component, falling [k].
        coordinates: Each point's place relative to the last one [t, k].
        factors: Each unit component as a sum over the points, Σ factor · w [t, k].
    """

    share: Tensor
    coordinates: Tensor
    factors: Tensor


def principal(gram: Tensor) -> Principal:
    """PCA of a path from the inner products of its points' Δw [t, t], which need no vector of weights.

    Components are signed so that the coordinate farthest from the last point is positive.

    Examples:
        >>> line = torch.tensor([2.0, 1.0, 0.0])
        >>> principal(torch.outer(line, line)).share.round(decimals=6).abs().tolist()
        [1.0, 0.0]
    """
    points = len(gram)
    centring = torch.eye(points, dtype=gram.dtype) - 1 / points
    values, vectors = torch.linalg.eigh(centring @ gram @ centring)
    values, vectors = values.flip(0)[:-1].clamp_min(0), vectors.flip(1)[:, :-1]  # a centred cloud has one axis less
    places = vectors - vectors[-1]
    farthest = places.gather(0, places.abs().argmax(0, keepdim=True))
    vectors = vectors * torch.where(farthest < 0, -1.0, 1.0)
    lengths = values.sqrt()
    # a length below that is rounding: it is the root of an eigenvalue, which has the precision of the largest
    factors = torch.where(lengths > 1e-6 * lengths[0], vectors / lengths.clamp_min(1e-300), 0.0)
    return Principal(values / values.sum(), (vectors - vectors[-1]) * lengths, factors)
