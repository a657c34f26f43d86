"""Quadrature: what the nodes of stochastic Lanczos quadrature say about the sum of all eigenvalues; no torch.

The shares of the few largest eigenvalues make most of what one random vector differs from the next. Where these
eigenvalues are known they are counted exactly, and the random vectors stand for the rest alone (deflation, as in
Hutch++, Meyer et al. 2021): a converged node beyond a gap of the spectrum is an eigenvalue, and its weight times the
number of all eigenvalues has the mean 1, or the number of its copies; so these nodes give way to the eigenvalues.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import fsum, inf, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from alternet.student import reach

Moment = tuple[str, float, float | None, float | None, float | None]

FEWEST = 5
"""Random vectors below which there are no intervals: those would be far wider than the spread that they stand for."""


class Node(NamedTuple):
    """One node of the quadrature from one random vector.

    Attributes:
        eigenvalue: Where it lies.
        weight: The share of the vector's squared length that it stands for.
        residual: How far it may be from an eigenvalue.
    """

    eigenvalue: float
    weight: float
    residual: float = 0.0


def moments(
    draws: Sequence[Sequence[Node]], l2: Sequence[float], size: int, known: Sequence[Node] = ()
) -> Iterator[Moment]:
    """What the eigenvalues add up to: metric, value, standard error, and the ends of its 95 % interval.

    `trace` is their sum, made of `nll_trace` and `l2_trace`; `negative_trace` is the sum of those below zero, roughly,
    since nodes next to zero stand for eigenvalues of either sign; `squared_norm` is the sum of all squares; `smallest`
    and `largest` are the outermost nodes, which lie within the spectrum; `parameters` is the number of eigenvalues,
    `exact` how many of them were counted exactly. Errors and intervals (Student's t) are over the random vectors.

    Args:
        draws: The nodes from each random vector.
        l2: What the penalty adds to the trace, from each random vector.
        size: How many eigenvalues there are.
        known: The eigenvalues of largest magnitude, copies included, with their residuals; weights do not matter.

    Examples:
        >>> draws = [[Node(-1.0, 0.25), Node(3.0, 0.75)], [Node(-1.0, 0.5), Node(3.0, 0.5)]]
        >>> for row in moments(draws, [1.0, 1.0], size=4):
        ...     print(*row[:3])
        trace 6.0 2.0
        nll_trace 5.0 2.0
        l2_trace 1.0 0.0
        negative_trace -1.5 0.5
        squared_norm 24.0 4.0
        smallest -1.0 None
        largest 3.0 None
        parameters 4 None
        exact 0 None
        >>> exactly = moments(draws, [1.0, 1.0], size=4, known=[Node(3.0, 0), Node(3.0, 0), Node(-1.0, 0)])
        >>> [row[:3] for row in exactly][0]
        ('trace', 4.5, 0.5)
    """
    edge, exact = beyond(draws, known)
    functions: dict[str, Callable[[float], float]] = {
        "trace": lambda value: value,
        "negative_trace": lambda value: min(value, 0.0),
        "squared_norm": lambda value: value**2,
    }
    sums = {
        metric: [
            fsum(map(function, exact))
            + size * fsum(node.weight * function(node.eigenvalue) for node in nodes if abs(node.eigenvalue) < edge)
            for nodes in draws
        ]
        for metric, function in functions.items()
    }
    # vector by vector: both come from the same ones, so their errors are not independent
    sums |= {"nll_trace": [whole - part for whole, part in zip(sums["trace"], l2, strict=True)], "l2_trace": list(l2)}
    for metric in ("trace", "nll_trace", "l2_trace", "negative_trace", "squared_norm"):
        yield metric, *_mean(sums[metric])
    values = [node.eigenvalue for nodes in draws for node in nodes]
    for metric, value in {"smallest": min(values), "largest": max(values)}.items():
        yield metric, value, None, None, None
    yield "parameters", size, None, None, None
    yield "exact", len(exact), None, None, None


def beyond(draws: Sequence[Sequence[Node]], known: Sequence[Node]) -> tuple[float, list[float]]:
    """From which magnitude on all eigenvalues are known, and these; an endless one where none can be told apart.

    That is the middle of the last gap between known ones which is wide beside their residuals, and beyond which every
    draw has converged nodes where the known ones are, and only there. What is wrong with the weights of nodes is of the
    order of (residual / gap)².

    Examples:
        >>> draw = [Node(-5.0, 0.1), Node(5.0, 0.1), Node(1.0, 0.8)]
        >>> beyond([draw], [Node(-5.0, 0), Node(5.0, 0), Node(1.0, 0)])
        (3.0, [-5.0, 5.0])
    """
    falling = sorted(known, key=lambda node: -abs(node.eigenvalue))
    for count, (larger, smaller) in reversed(list(enumerate(pairwise(falling), start=1))):
        gap = abs(larger.eigenvalue) - abs(smaller.eigenvalue)
        edge = (abs(larger.eigenvalue) + abs(smaller.eigenvalue)) / 2
        if any(4 * node.residual >= gap for node in falling[: count + 1]):
            continue
        outer_nodes = [[node for node in draw if abs(node.eigenvalue) >= edge] for draw in draws]
        if all(_same(nodes, falling[:count], gap / 100) for nodes in outer_nodes):
            return edge, [node.eigenvalue for node in falling[:count]]
    return inf, []


def _same(nodes: Sequence[Node], known: Sequence[Node], allowed: float) -> bool:
    """Whether the nodes have converged, each to a known eigenvalue, and none of these is without a node."""
    if not nodes or any(node.residual > allowed for node in nodes):
        return False
    # a known value is as near to an eigenvalue as its residual says, a node nearer still
    near = [[abs(a.eigenvalue - b.eigenvalue) <= b.residual + allowed for b in known] for a in nodes]
    return all(map(any, near)) and all(map(any, zip(*near, strict=True)))


def _mean(values: Sequence[float]) -> tuple[float, float | None, float | None, float | None]:
    """The mean, its standard error from two values on, and its interval from enough of them on."""
    mean, count = fmean(values), len(values)
    if count < 2:
        return mean, None, None, None
    error = stdev(values) / sqrt(count)
    if count < FEWEST:
        return mean, error, None, None
    half = float(reach(error, count - 1))
    return mean, error, mean - half, mean + half
