"""Student's interval of a mean and Wilson's of a share, without torch; the level of all intervals."""

from typing import Any

LEVEL = 0.95


def quantile(freedom: Any) -> Any:
    """How many standard errors the interval of a mean reaches to either side; for a number or an array.

    Examples:
        >>> round(float(quantile(29)), 3)
        2.045
    """
    from scipy.special import stdtrit  # scipy.stats takes most of a second to import, and asks this too

    return stdtrit(freedom, (1 + LEVEL) / 2)


def reach(error: Any, freedom: Any) -> Any:
    """Half the width of the interval of a mean, from its standard error and degrees of freedom; numbers or arrays.

    Examples:
        >>> round(float(reach(1.0, 2)), 2)
        4.3
    """
    return quantile(freedom) * error


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; all of [0, 1] where nothing was tried.

    Examples:
        >>> low, high = wilson(5, 10)
        >>> round(low, 4), round(high, 4), wilson(0, 0)
        (0.2366, 0.7634, (0.0, 1.0))
    """
    from scipy.stats import binomtest  # takes most of a second to import

    if trials == 0:
        return 0.0, 1.0
    low, high = binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return float(low), float(high)
