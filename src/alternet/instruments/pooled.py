"""Pooled: runs of one network that differ by their seed alone, as one model with an interval over runs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from alternet.instruments.spec import Column, Spec
from alternet.measurement import Measurement
from alternet.student import reach

ERROR = re.compile(r"(?:(?P<of>\w+?)_)?(?P<part>standard_error|error|low|high)")
"""Columns that say how far another one may be off."""


def pooled(measurement: Measurement, spec: Spec | None = None) -> Measurement:
    """The same for showing: the runs of each group as one model, the mean over runs with what it may be off.

    Standard errors and 95 % intervals (Student's t) are then those of the mean over runs; those over images, which
    every run has, are left to the tables. Groups of one run, and such whose rows are not the same places (another
    architecture, another grid), stay as they are. Which number a column of errors belongs to is said by the spec
    (`Column.of`) or by its name (`step_error`); else it is the number ahead of it.

    Examples:
        >>> table = pd.DataFrame({"model": ["a", "b"], "x": [0.0, 0.0], "value": [1.0, 3.0], "standard_error": 0.1})
        >>> facts = tuple({"model": {"name": name}, "group": "net"} for name in "ab")
        >>> both = pooled(Measurement(instrument="i", tables={"table": table}, provenances=facts))
        >>> both.models, both.table["value"].tolist(), both.table["standard_error"].tolist()
        (('net (2 runs)',), [2.0], [1.0])
    """
    parts, done = [], set()
    groups = measurement.groups
    for model in measurement.models:
        group = next((group for group, runs in groups.items() if model in runs), "")
        if not group:
            parts.append(measurement.of(model))
        elif group not in done:
            done.add(group)
            parts += _pooled(group, [measurement.of(run) for run in groups[group]], spec)
    return Measurement.concat(parts) if done else measurement


def _pooled(group: str, runs: Sequence[Measurement], spec: Spec | None) -> list[Measurement]:
    """One measurement of all runs, or those of each where their rows are not the same places."""
    name, tables = f"{group} ({len(runs)} runs)", {}
    for key in runs[0].tables:
        found = [run.tables.get(key) for run in runs]
        table = _mean([one for one in found if one is not None], spec.tables.get(key, {}) if spec else {})
        if table is None or len(found) < len(runs):
            return list(runs)
        tables[key] = table.assign(model=name)
    first = runs[0].provenances[0]
    facts: Mapping[str, Any] = {**first, "model": {**first["model"], "name": name}, "runs": len(runs)}
    return [Measurement(instrument=runs[0].instrument, tables=tables, provenances=(facts,))]


def _mean(tables: Sequence[pd.DataFrame], columns: Mapping[str, Column]) -> pd.DataFrame | None:
    """The mean of tables with the same rows; None where their rows are not the same."""
    first = tables[0].reset_index(drop=True)
    if any(len(table) != len(first) or list(table) != list(first) for table in tables):
        return None
    numbers = [str(column) for column in first if is_numeric_dtype(first[column])]
    words = [column for column in first if column not in (*numbers, "model")]
    others = [table.reset_index(drop=True) for table in tables[1:]]
    if any(not first[column].equals(other[column]) for column in words for other in others):
        return None
    made = first.copy()
    stacked = {
        column: pd.concat([table[column].reset_index(drop=True) for table in tables], axis=1) for column in numbers
    }
    for column in numbers:
        same = all(first[column].equals(other[column]) for other in others)
        if not same or not is_integer_dtype(first[column]):
            counts = stacked.get(columns[column].counted) if column in columns else None
            made[column] = first[column] if same else _over_runs(stacked[column], counts)
    value = ""
    for column in numbers:
        found = ERROR.fullmatch(column)
        if found is None:
            value = column
            continue
        declared = columns[column].of if column in columns else ""
        of = next((owner for owner in (declared, found["of"]) if owner in numbers), value)
        same = all(first[column].equals(other[column]) for other in others)
        if of and not (same and found["part"] in ("low", "high") and not stacked[of].nunique(axis=1).gt(1).any()):
            made[column] = _off(stacked[of], found["part"])
    return made


def _over_runs(values: pd.DataFrame, counts: pd.DataFrame | None) -> "pd.Series[float]":
    """The mean over runs, in which a value that is itself a mean of so many counts as so many."""
    if counts is None:
        return values.mean(axis=1)
    weights = counts.set_axis(values.columns, axis=1).where(values.notna())
    return (values * weights).sum(axis=1, min_count=1) / weights.sum(axis=1)


def _off(values: pd.DataFrame, part: str) -> "pd.Series[float]":
    """How far the mean over runs may be off: its standard error, or an end of its interval."""
    count = values.notna().sum(axis=1)
    error = values.std(axis=1, ddof=1) / count**0.5
    if part in ("low", "high"):
        half = reach(error, (count - 1).clip(lower=1))
        return values.mean(axis=1) + (half if part == "high" else -half)
    return error
