"""Quadrature: what the nodes of stochastic Lanczos quadrature say about the sum of all eigenvalues; no torch."""

from collections.abc import Callable, Iterator, Sequence
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


def moments(draws: Sequence[Sequence[Node]], l2: Sequence[float], size: int) -> Iterator[Moment]:
    """What the eigenvalues add up to: metric, value and standard error over the random vectors.

    `trace` is their sum, made of `nll_trace` and `l2_trace`; `negative_trace` is the sum of those below zero, roughly,
    since nodes next to zero stand for eigenvalues of either sign; `squared_norm` is the sum of all squares; `smallest`
    and `largest` are the outermost nodes, which lie within the spectrum; `parameters` is the number of eigenvalues.

    Args:
        draws: The nodes from each random vector.
        l2: What the penalty adds to the trace, from each random vector.
        size: How many eigenvalues there are.

    Examples:
        >>> draws = [[Node(-1.0, 0.25), Node(3.0, 0.75)], [Node(-1.0, 0.5), Node(3.0, 0.5)]]
        >>> for row in moments(draws, [1.0, 1.0], size=4):
        ...     print(*row)
        trace 6.0 2.0
        nll_trace 5.0 2.0
        l2_trace 1.0 0.0
        negative_trace -1.5 0.5
        squared_norm 24.0 4.0
        smallest -1.0 None
        largest 3.0 None
        parameters 4 None
    """
    functions: dict[str, Callable[[float], float]] = {
        "trace": lambda value: value,
        "negative_trace": lambda value: min(value, 0.0),
        "squared_norm": lambda value: value**2,
    }
    sums = {
        metric: [size * fsum(weight * function(value) for value, weight in nodes) for nodes in draws]
        for metric, function in functions.items()
    }
    # vector by vector: both come from the same ones, so their errors are not independent
    sums |= {"nll_trace": [whole - part for whole, part in zip(sums["trace"], l2, strict=True)], "l2_trace": list(l2)}
    for metric in ("trace", "nll_trace", "l2_trace", "negative_trace", "squared_norm"):
        yield metric, fmean(sums[metric]), stdev(sums[metric]) / sqrt(len(draws)) if len(draws) > 1 else None
    values = [node.eigenvalue for nodes in draws for node in nodes]
    yield "smallest", min(values), None
    yield "largest", max(values), None
    yield "parameters", size, None
