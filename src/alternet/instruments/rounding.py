"""What another precision costs: by how much it moved each column on the first batch, as provenance and in words."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from alternet.measurement import Measurement

ROUNDING = "rounding"
"""Under which name the provenance holds it."""

Frames = Mapping[str, pd.DataFrame]


def moved(rounded: Frames, exact: Frames) -> dict[str, dict[str, float | None]]:
    """The largest difference of every column of numbers, by table; None where one of the two is undefined alone.

    Examples:
        >>> one, other = (pd.DataFrame({"tap": ["a", "b"], "cka": values}) for values in ([0.5, 0.25], [0.5, 0.5]))
        >>> moved({"table": one}, {"table": other})
        {'table': {'cka': 0.25}}
    """
    found: dict[str, dict[str, float | None]] = {}
    for name, table in exact.items():
        numbers = [str(column) for column in table if is_numeric_dtype(table[column])]
        found[name] = {column: _largest(rounded[name][column], table[column]) for column in numbers}
    return found


def _largest(one: pd.Series, other: pd.Series) -> float | None:
    if len(one) != len(other) or (one.isna() != other.isna()).any():
        return None
    apart = (one - other).abs().where(one != other, 0.0)  # infinite on both sides is no difference
    largest = float(apart.max()) if apart.notna().any() else 0.0
    return largest if isfinite(largest) else None


def sentences(measurement: Measurement) -> list[str]:
    """What stands beside the numbers of those models that went forward in another precision, a sentence each."""
    return [
        _said(provenance["model"]["name"], str(provenance.get("dtype", "")).partition(", ")[2], rounding)
        for provenance in measurement.provenances
        if isinstance(rounding := provenance.get(ROUNDING), Mapping)
    ]


def _said(name: str, how: str, rounding: Mapping[str, Any]) -> str:
    columns: Sequence[tuple[str, float | None]] = [
        (column, value) for table in rounding["apart"].values() for column, value in table.items()
    ]
    shifted = [f"{column} {'undefined in one of them' if v is None else f'{v:.2g}'}" for column, v in columns if v != 0]
    if shifted:
        by = f"its columns differ from those of single precision by at most {', '.join(dict.fromkeys(shifted))}"
    else:
        by = "no column differs from those of single precision"
    return f"{name} went {how or 'otherwise'}: on its first {rounding['images']} images {by}."
