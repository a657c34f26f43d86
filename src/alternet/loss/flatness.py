"""Flatness: how far a loss rises on the way out, in the mean over directions, with its standard error."""

from collections.abc import Iterable
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

Heights = tuple[float | None, float | None]
"""Loss and NLL at one point; None where it is not finite."""

COLUMNS = (
    "radius",
    "nll_rise",
    "nll_standard_error",
    "l2_rise",
    "l2_standard_error",
    "rise",
    "standard_error",
    "directions",
    "finite",
)


class Ray(NamedTuple):
    """The loss at one distance from the centre, both ways along one direction.

    Attributes:
        radius: The distance, in lengths of the direction.
        ahead: Loss and NLL at centre + radius · direction.
        behind: Loss and NLL at centre − radius · direction.
    """

    radius: float
    ahead: Heights
    behind: Heights


def flatness(centre: Heights, rays: Iterable[Ray], *, sampled: bool = True) -> list[tuple[float | int | None, ...]]:
    """A row for each radius: the mean rise of NLL, L2 part and loss over directions, each with its standard error.

    The rise along a direction is the mean of both ways less the centre; that cancels the slope at the centre, which
    says nothing about flatness. If the loss is not finite along some direction, no mean exists and the row says so.

    Args:
        centre: Loss and NLL of the model itself.
        rays: All radii of all directions, in any order.
        sampled: Whether the directions are a random sample; only then do standard errors exist, from three on.

    Returns:
        Rows in the order of `COLUMNS`, by rising radius.

    Examples:
        >>> first, second = Ray(1.0, (3.0, 1.5), (2.0, 0.5)), Ray(1.0, (4.0, 1.0), (2.0, 1.0))
        >>> rays = [first, second, Ray(1.0, (3.0, 1.0), (3.5, 1.0))]
        >>> [round(number, 3) for number in flatness((1.0, 0.5), rays)[0][:6]]
        [1.0, 0.5, 0.0, 1.417, 0.22, 1.917]
    """
    by_radius: dict[float, list[Ray]] = {}
    for ray in rays:
        by_radius.setdefault(ray.radius, []).append(ray)
    rows: list[tuple[float | int | None, ...]] = []
    for radius in sorted(by_radius):
        here = by_radius[radius]
        loss, nll = ([_rise(centre[k], ray.ahead[k], ray.behind[k]) for ray in here] for k in (0, 1))
        known = [(a, b) for a, b in zip(loss, nll, strict=True) if a is not None and b is not None]
        whole = known if len(known) == len(here) else []
        numbers: list[float | None] = []
        for part in ([b for _, b in whole], [a - b for a, b in whole], [a for a, _ in whole]):
            numbers.append(fmean(part) if part else None)
            numbers.append(stdev(part) / sqrt(len(part)) if sampled and len(part) > 2 else None)
        rows.append((radius, *numbers, len(here), len(known)))
    return rows


def _rise(centre: float | None, ahead: float | None, behind: float | None) -> float | None:
    if centre is None or ahead is None or behind is None:
        return None
    return (ahead + behind) / 2 - centre
