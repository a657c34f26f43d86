"""Exhibit: how the report shows one instrument: its question, its drawing and what its numbers say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from alternet.measurement import Measurement


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One interactive plot.

    Attributes:
        title: What it shows, as a heading and for screen readers.
        figure: A plotly figure as plain JSON values, `{"data": [...], "layout": {...}}`; every text in it that comes
            from a measurement went through `alternet.plotting.interactive.plain_text`.
        key: What its symbols and shades mean, an entry each.
        wide: Whether it needs the whole width of a page.
    """

    title: str
    figure: Mapping[str, Any]
    key: tuple[str, ...] = ()
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What a report shows of one instrument; every function takes a measurement of one or more models.

    Attributes:
        title: Heading of its section.
        question: What the instrument answers, in one sentence.
        columns: Columns that the functions below read, by table.
        draw: The figure; a pure function, run inside `style.context`.
        sentences: What the numbers say, one sentence a model, computed from them.
        caution: What one may not conclude.
        texts: Those of the columns that hold words; the others must hold numbers.
        interactive: The same as plots that answer to a mouse, in the order of reading.

    Examples:
        >>> def draw(measurement):
        ...     figure = Figure()
        ...     figure.subplots().plot(measurement.table["radius"])
        ...     return figure
        >>> Exhibit(
        ...     title="Radius",
        ...     question="How large is it?",
        ...     columns={"table": ("model", "radius")},
        ...     draw=draw,
        ...     sentences=lambda m: [f"{name}: {m.of(name).table.radius.max():.1f}" for name in m.models],
        ...     caution="A large radius is not a good radius.",
        ... ).title
        'Radius'
    """

    title: str
    question: str
    columns: Mapping[str, tuple[str, ...]]
    draw: Callable[[Measurement], Figure]
    sentences: Callable[[Measurement], list[str]]
    caution: str
    texts: frozenset[str] = frozenset({"model", "tap", "kind", "metric"})
    interactive: Callable[[Measurement], list[Panel]] | None = None

    def check(self, measurement: Measurement) -> None:
        """Refuse a measurement that lacks what the functions read.

        Raises:
            ValueError: A table, a column or a model is missing, or a column of numbers holds something else.
        """
        for name, columns in self.columns.items():
            if name not in measurement.tables:
                raise ValueError(
                    f"{_what(measurement)} has no table {name!r}, only {sorted(measurement.tables)}. {_WAY}"
                )
            table = measurement.tables[name]
            if missing := [column for column in columns if column not in table]:
                got = ", ".join(map(str, table.columns))
                raise ValueError(
                    f"Table {name!r} of {_what(measurement)} lacks {', '.join(missing)}; its columns are {got}. {_WAY}"
                )
            if empty := sorted(set(measurement.models) - set(table["model"])):
                raise ValueError(f"Table {name!r} of {_what(measurement)} has no row for {', '.join(empty)}. {_WAY}")
            for column in columns:
                _check_values(measurement, name, table[column], text=column in self.texts)


_WAY = "Measure it again with this version."


def _what(measurement: Measurement) -> str:
    return f"the {measurement.instrument} measurement of {', '.join(measurement.models)}"


def _check_values(measurement: Measurement, name: str, column: pd.Series, *, text: bool) -> None:
    if text and column.notna().all():
        return
    if not text and (pd.api.types.is_numeric_dtype(column) or column.isna().all()):
        return
    expected = "a name in every row" if text else "numbers"
    bad = column[column.isna()] if text else column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
    raise ValueError(
        f"Column {column.name!r} of table {name!r} of {_what(measurement)} holds {bad.iloc[0]!r} in row "
        f"{bad.index[0]}, expected {expected}. The file is damaged: measure it again."
    )
