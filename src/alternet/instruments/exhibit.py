"""Exhibit: how the report shows one instrument: its question, its drawing and what its numbers say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from alternet.errors import shortened
from alternet.instruments.key_number import KeyNumber
from alternet.instruments.spec import MODEL, Spec
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel, sheet


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What a report shows of one instrument; every function takes a measurement of one or more models.

    Attributes:
        spec: Title, question, caution, and the columns that the functions below read: those that are drawn.
        sentences: What the numbers say, one sentence a model, computed from them.
        panels: What it shows, a panel an idea, in the order of reading; a report sets each by itself. Panels are drawn
            inside `style.context`.
        legend: What the signs in the panels mean.
        layout: How `alternet.plotting.panel.sheet` puts the panels into one figure: what it takes besides them.
        numbers: The few numbers of one model that stand for all of it, by name, as a log of training keeps them; those
            that are `KeyNumber`s are columns of the first table of a report.
        draw: That figure where it has a layout of its own, run inside `style.context`.

    Examples:
        >>> from alternet.instruments.variance import Variance
        >>> def panels(measurement):
        ...     return [Panel(title="Depth", draw=lambda axis: axis.plot(measurement.table["depth"]) and [])]
        >>> Exhibit(spec=Variance.spec, panels=panels, sentences=lambda m: [f"{n}: deep." for n in m.models]).title
        'Variance of feature maps'
    """

    spec: Spec
    sentences: Callable[[Measurement], list[str]]
    panels: Callable[[Measurement], list[Panel]] | None = None
    legend: Callable[[Measurement], list[Entry]] | None = None
    layout: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[Measurement], Figure] | None = None
    numbers: Callable[[Measurement], Mapping[str, float | KeyNumber]] | None = None

    def __post_init__(self) -> None:
        if self.panels is None and self.draw is None:
            raise ValueError(f"The exhibit {self.title!r} draws nothing: give it `panels` or `draw`.")

    @property
    def title(self) -> str:
        """Heading of its section."""
        return self.spec.title

    def entries(self, measurement: Measurement) -> list[Entry]:
        """Its legend."""
        return self.legend(measurement) if self.legend else []

    def figure(self, measurement: Measurement) -> Figure:
        """All of it in one figure."""
        if self.draw is not None:
            return self.draw(measurement)
        assert self.panels is not None
        return sheet(self.panels(measurement), self.entries(measurement), **self.layout)

    def check(self, measurement: Measurement) -> None:
        """Refuse a measurement that lacks what the functions read.

        Raises:
            ValueError: A table, a column or a model is missing, or a column of numbers holds something else.
        """
        for name, declared in self.spec.tables.items():
            if name not in measurement.tables:
                raise ValueError(
                    f"{_what(measurement)} has no table {name!r}, only {sorted(measurement.tables)}. {_WAY}"
                )
            table = measurement.tables[name]
            drawn = {column: what for column, what in {**MODEL, **declared}.items() if what.drawn}
            if missing := [column for column in drawn if column not in table]:
                got = ", ".join(map(str, table.columns))
                raise ValueError(
                    f"Table {name!r} of {_what(measurement)} lacks {', '.join(missing)}; its columns are {got}. {_WAY}"
                )
            if empty := sorted(set(measurement.models) - set(table["model"])):
                raise ValueError(f"Table {name!r} of {_what(measurement)} has no row for {', '.join(empty)}. {_WAY}")
            for column, what in drawn.items():
                _check_values(measurement, name, table[column], text=what.type == "text")


_WAY = "Measure it again with this version."


def _what(measurement: Measurement) -> str:
    return f"the {measurement.instrument} measurement of {', '.join(measurement.models)}"


def _is_number(value: object) -> bool:
    """Whether a value of a column is one, or is missing; an integer that no float holds is none."""
    try:
        return value is None or float(value) is not None  # pyright: ignore[reportArgumentType] - what is none raises
    except (ValueError, TypeError, OverflowError):
        return False


def _check_values(measurement: Measurement, name: str, column: pd.Series, *, text: bool) -> None:
    if text and column.notna().all():
        return
    # a column without any value has whatever type pandas gave it
    if not text and (pd.api.types.is_numeric_dtype(column) or column.isna().all()):
        return
    expected = "a name in every row" if text else "numbers"
    bad = column[column.isna()] if text else column[[not _is_number(value) for value in column]]
    raise ValueError(
        f"Column {column.name!r} of table {name!r} of {_what(measurement)} holds {shortened(bad.iloc[0], 100)} in row "
        f"{bad.index[0]}, expected {expected}. The file is damaged: measure it again."
    )
