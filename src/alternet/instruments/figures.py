"""Figures: one drawing an instrument, from the numbers of a measurement alone, without torch and without a display."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alternet.errors import first_line, nearest
from alternet.instruments import buildup_log, differences, epoch_log, rounding, training_log, verdicts
from alternet.instruments.base import Instrument
from alternet.instruments.catalogue import instruments
from alternet.instruments.exhibit import Exhibit
from alternet.instruments.key_number import KeyNumber
from alternet.instruments.pooled import pooled
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel
from alternet.plotting.style import SCREEN, cast, coloured, context, drawn_for, label, save, svg

__all__ = [
    "FIGURES",
    "Exhibit",
    "KeyNumber",
    "Panel",
    "as_shown",
    "cast",
    "draw",
    "exhibit",
    "key_numbers",
    "legend",
    "numbers",
    "panels",
    "register",
    "save",
    "sentences",
    "svg",
]


def _beside(kind: type[Instrument]) -> Exhibit | None:
    """What the module `figure` beside an instrument says about its drawing; none where there is no such module."""
    here = find_spec(kind.__module__)
    if here is None or here.submodule_search_locations is None or find_spec(f"{kind.__module__}.figure") is None:
        return None
    return import_module(f"{kind.__module__}.figure").EXHIBIT


_FOUND = {name: _beside(kind) for name, kind in instruments().items()}

FIGURES: dict[str, Exhibit] = {
    "training": training_log.EXHIBIT,
    "epochs": epoch_log.EXHIBIT,
    "buildup": buildup_log.EXHIBIT,
    "claims": verdicts.EXHIBIT,
    "comparison": differences.EXHIBIT,
    **{name: shown for name, shown in _FOUND.items() if shown},
}
"""By instrument, in the order of a report."""


def register(instrument: str, exhibit: Exhibit) -> None:
    """Give an instrument of your own a figure and a section in the report.

    Raises:
        ValueError: The instrument has one already.
    """
    if instrument in FIGURES:
        raise ValueError(f"Instrument {instrument!r} has a figure already. Give yours another name.")
    FIGURES[instrument] = exhibit


def exhibit(instrument: str) -> Exhibit:
    """How the report shows an instrument.

    Raises:
        ValueError: It has no figure.
    """
    if instrument not in FIGURES:
        near = nearest(instrument, FIGURES, shown=len(FIGURES))
        raise ValueError(
            f"There is no figure for {instrument!r}. Did you mean {near}? "
            "For an instrument of your own, call alternet.instruments.figures.register first."
        )
    return FIGURES[instrument]


def as_shown(measurement: Measurement) -> Measurement:
    """The measurement as figures and sentences have it: runs of a group as one model, and random weights marked."""
    spec = FIGURES[measurement.instrument].spec if measurement.instrument in FIGURES else None
    return (pooled(measurement, spec) if spec and spec.pools else measurement).marked()


def draw(
    measurement: Measurement,
    axes: Any = None,
    *,
    names: Mapping[str, str] | None = None,
    order: Sequence[str] | None = None,
    colours: Mapping[str, str] | None = None,
    style: str = SCREEN,
) -> Figure:
    """The figure of a measurement of one or more models; needs no display and changes no global setting.

    Here and in panels, legend and sentences it stands behind a model's name where its weights are random.

    Args:
        measurement: What is drawn.
        axes: As for `Measurement.draw`, like all that follows.
        names: What models are called.
        order: Which models, in this order.
        colours: Colours of models.
        style: What it is drawn for.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged, or a model or style
            that is named is not there.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    if unknown := {*(names or ()), *(order or ()), *(colours or ())} - {*measurement.models}:
        raise ValueError(
            f"No model {', '.join(sorted(unknown))} in this {measurement.instrument} measurement; it holds "
            f"{', '.join(measurement.models)}."
        )
    if order is not None:
        measurement = Measurement.concat(measurement.of(name) for name in order)
    called = {name: (names or {}).get(name, name) for name in measurement.models}
    measurement = measurement.renamed(called)
    own = {called[name]: colour for name, colour in (colours or {}).items()}
    with _told(measurement), drawn_for(style), context(), coloured(own):
        if axes is None:
            return shown.figure(as_shown(measurement))
        if shown.panels is None:
            raise ValueError(
                f"The figure of {measurement.instrument} is drawn as a whole, not on axes. Leave axes out."
            )
        given = [axes] if isinstance(axes, Axes) else list(np.ravel(axes))
        for panel, axis in zip(shown.panels(as_shown(measurement)), given, strict=False):
            panel.draw(axis)
            axis.set_title(label(panel.title))
        whole = given[0].get_figure(root=True)
        assert whole is not None
        return whole


def panels(measurement: Measurement) -> list[Panel]:
    """The panels of that figure, in the order of reading; none where an exhibit draws all of it at once.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    with _told(measurement), context():
        return shown.panels(as_shown(measurement)) if shown.panels else []


def legend(measurement: Measurement) -> list[Entry]:
    """What the signs in the panels mean."""
    with _told(measurement), context():
        return exhibit(measurement.instrument).entries(as_shown(measurement))


def numbers(measurement: Measurement) -> dict[str, float]:
    """The key numbers of a measurement of one model, by name; none where its instrument states none."""
    given = {name: one.value if isinstance(one, KeyNumber) else one for name, one in _stated(measurement).items()}
    return {name: float(value) for name, value in given.items() if pd.notna(value)}


def key_numbers(measurement: Measurement) -> list[KeyNumber]:
    """Those of them that are compared between models, as far as they are defined."""
    return [one for one in _stated(measurement).values() if isinstance(one, KeyNumber) and isfinite(one.value)]


def _stated(measurement: Measurement) -> Mapping[str, float | KeyNumber]:
    shown = FIGURES.get(measurement.instrument)
    with _told(measurement):
        return shown.numbers(measurement) if shown and shown.numbers else {}


def sentences(measurement: Measurement) -> list[str]:
    """What the numbers of a measurement say, one sentence a model, and what another precision moved.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    with _told(measurement):
        return [*shown.sentences(as_shown(measurement)), *rounding.sentences(measurement)]


@contextmanager
def _told(measurement: Measurement) -> Iterator[None]:
    """Let tables whose columns hold words or numbers that no measurement writes be an error like others.

    Raises:
        ValueError: They cannot be shown.
    """
    try:
        yield
    except (LookupError, ArithmeticError, AttributeError, TypeError) as error:
        raise ValueError(
            f"The tables of {measurement.instrument} of {', '.join(measurement.models)} cannot be shown "
            f"({type(error).__name__}: {first_line(error)}). They were edited, or damaged: measure again."
        ) from error
