"""Quadrature: what the nodes of stochastic Lanczos quadrature say about the sum of all eigenvalues; no torch."""

from collections.abc import Iterator, Sequence
from math import fsum, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

Moment = tuple[str, float, float | None]


class Node(NamedTuple):
    """One node of the quadrature from one random vector.

    Attributes:
        eigenvalue: Where it lies.
        weight: The share of the vector's squared length that it stands for.
    """

    eigenvalue: float
    weight: float


def moments(draws: Sequence[Sequence[Node]], size: int) -> Iterator[Moment]:
    """What the eigenvalues add up to: metric, value and standard error over the random vectors.

    `trace` is their sum, `negative_trace` that of those below zero, `squared_norm` the sum of their squares; `smallest`
    and `largest` are the outermost nodes of all, which lie within the spectrum; `parameters` is their number.

    Examples:
        >>> for row in moments([[Node(-1.0, 0.25), Node(3.0, 0.75)], [Node(-1.0, 0.5), Node(3.0, 0.5)]], size=4):
        ...     print(*row)
        trace 6.0 2.0
        negative_trace -1.5 0.5
        squared_norm 24.0 4.0
        smallest -1.0 None
        largest 3.0 None
        parameters 4 None
    """
    functions = {
        "trace": lambda value: value,
        "negative_trace": lambda value: min(value, 0.0),
        "squared_norm": lambda value: value**2,
    }
    for metric, function in functions.items():
        sums = [size * fsum(weight * function(value) for value, weight in nodes) for nodes in draws]
        yield metric, fmean(sums), stdev(sums) / sqrt(len(sums)) if len(sums) > 1 else None
    values = [node.eigenvalue for nodes in draws for node in nodes]
    yield "smallest", min(values), None
    yield "largest", max(values), None
    yield "parameters", size, None
