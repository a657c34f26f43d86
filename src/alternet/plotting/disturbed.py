"""Disturbed: what tables of accuracy under disturbed images say, by the frequency of what disturbs them."""

from math import isnan

import pandas as pd

VALUE, ERROR = "delta_accuracy", "standard_error"
MIDDLE = 0.5
"""Bands below this frequency are called low here, those above it high."""


def clean(table: pd.DataFrame) -> float:
    """Accuracy of one model on the images without noise.

    Examples:
        >>> clean(pd.DataFrame({"accuracy": [0.5], "delta_accuracy": [-0.25]}))
        0.75
    """
    return float((table["accuracy"] - table[VALUE]).mean())


def plus_minus(error: float) -> str:
    """What follows a number of percentage points with this standard error; nothing where that is not known.

    Examples:
        >>> plus_minus(1.25), plus_minus(float("nan"))
        (' ± 1.2', '')
    """
    return "" if isnan(error) else f" ± {error:.1f}"


def low_against_high(table: pd.DataFrame) -> str:
    """Low against high frequencies, nothing where one of them was not measured.

    They see the same images, so the error of the difference is at most the errors' sum.
    """
    low, high = (table[part] for part in (table["frequency"] < MIDDLE, table["frequency"] > MIDDLE))
    if low.empty or high.empty:
        return ""
    cost, cost_high = (round(-100 * half[VALUE].mean(), 1) + 0.0 for half in (low, high))  # + 0 makes −0 a 0
    apart = abs(cost - cost_high) > 200 * (low[ERROR].mean() + high[ERROR].mean())
    verdict = f"more fragile to {'low' if cost > cost_high else 'high'} frequencies" if apart else "no clear difference"
    return f"; on average it loses {cost:.1f} below {MIDDLE}π and {cost_high:.1f} above: {verdict}"
