"""Disturbed: what tables of accuracy under disturbed images say, by the frequency of what disturbs them."""

from math import isnan
from typing import Any

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


def interval(table: pd.DataFrame, value: str = VALUE) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """The ends of the interval of each change of accuracy: two standard errors where results have none."""
    low, high = (table[value] + side * table[ERROR] for side in (-2, 2))
    if {"low", "high"} <= set(table):  # results of earlier versions beside others have empty cells
        return table["low"].astype(float).fillna(low), table["high"].astype(float).fillna(high)
    return low, high


def loss(row: "pd.Series[Any]", value: str = VALUE, *, percent: float = 100) -> str:
    """What a row's disturbance costs in percentage points, with its interval or else its standard error.

    Args:
        row: The change of accuracy, its standard error and perhaps `low` and `high`.
        value: The column of the change.
        percent: What makes percentage points of these.

    Examples:
        >>> loss(pd.Series({"delta_accuracy": -0.25, "standard_error": 0.01, "low": -0.271, "high": -0.23}))
        '25.0 (95 %: 23.0 to 27.1)'
        >>> loss(pd.Series({"delta_accuracy": 0.0, "standard_error": 0.0}))
        '0.0 ± 0.0'
    """
    lost, low, high = (
        f"{-percent * row.get(column, float('nan')) + 0.0:.1f}".replace("-", "−") for column in (value, "high", "low")
    )
    return f"{lost}{plus_minus(percent * row[ERROR])}" if low == "nan" else f"{lost} (95 %: {low} to {high})"


def reach(table: pd.DataFrame) -> "pd.Series[float]":
    """Half the width of each interval."""
    low, high = interval(table)
    return (high - low) / 2


def low_against_high(table: pd.DataFrame) -> str:
    """Low against high frequencies, nothing where one of them was not measured.

    They see the same images, so the difference is off by no more than the sum of what both may be off.
    """
    low, high = (table[part] for part in (table["frequency"] < MIDDLE, table["frequency"] > MIDDLE))
    if low.empty or high.empty:
        return ""
    cost, cost_high = (round(-100 * half[VALUE].mean(), 1) + 0.0 for half in (low, high))  # + 0 makes −0 a 0
    apart = abs(cost - cost_high) > 100 * (reach(low).mean() + reach(high).mean())
    verdict = f"more fragile to {'low' if cost > cost_high else 'high'} frequencies" if apart else "no clear difference"
    return f"; on average it {_lost(cost)} below {MIDDLE}π and {_lost(cost_high)} above: {verdict}"


def _lost(cost: float) -> str:
    """What it costs in words; a negative cost is a gain.

    Examples:
        >>> _lost(2.0), _lost(-5.9), _lost(0.0)
        ('loses 2.0', 'gains 5.9', 'loses 0.0')
    """
    return f"gains {-cost:.1f}" if cost < 0 else f"loses {cost:.1f}"
