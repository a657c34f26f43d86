"""Student's interval of a mean: the level of all intervals, and how far they reach."""

from typing import Any

LEVEL = 0.95


def reach(error: Any, freedom: Any) -> Any:
    """Half the width of the interval of a mean, from its standard error and degrees of freedom; numbers or arrays.

    Examples:
        >>> round(float(reach(1.0, 2)), 2)
        4.3
    """
    from scipy.stats import t  # takes most of a second to import

    return t.ppf((1 + LEVEL) / 2, freedom) * error
