"""Figures: one drawing an instrument, from the numbers of a measurement alone, without torch and without a display."""

from importlib import import_module
from importlib.util import find_spec

from matplotlib.figure import Figure

from alternet.errors import nearest
from alternet.instruments import buildup_log, training_log, verdicts
from alternet.instruments.base import Instrument
from alternet.instruments.catalogue import instruments
from alternet.instruments.exhibit import Exhibit
from alternet.measurement import Measurement
from alternet.plotting import style
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel
from alternet.plotting.style import cast, save, svg

__all__ = [
    "FIGURES",
    "Exhibit",
    "Panel",
    "cast",
    "draw",
    "exhibit",
    "legend",
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
    "buildup": buildup_log.EXHIBIT,
    "claims": verdicts.EXHIBIT,
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


def draw(measurement: Measurement) -> Figure:
    """The figure of a measurement of one or more models; needs no display and changes no global setting.

    Here and in panels, legend and sentences it stands behind a model's name where its weights are random.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    with style.context():
        return shown.figure(measurement.marked())


def panels(measurement: Measurement) -> list[Panel]:
    """The panels of that figure, in the order of reading; none where an exhibit draws all of it at once.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    with style.context():
        return shown.panels(measurement.marked()) if shown.panels else []


def legend(measurement: Measurement) -> list[Entry]:
    """What the signs in the panels mean."""
    with style.context():
        return exhibit(measurement.instrument).entries(measurement.marked())


def sentences(measurement: Measurement) -> list[str]:
    """What the numbers of a measurement say, one sentence a model.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    return shown.sentences(measurement.marked())
