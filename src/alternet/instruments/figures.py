"""Figures: one drawing an instrument, from the numbers of a measurement alone, without torch and without a display."""

from difflib import get_close_matches

from matplotlib.figure import Figure

from alternet.instruments.calibration import figure as calibration
from alternet.instruments.corruption import figure as corruption
from alternet.instruments.fourier import figure as fourier
from alternet.instruments.fourier_heatmap import figure as fourier_heatmap
from alternet.instruments.frequency_noise import figure as frequency_noise
from alternet.instruments.hessian import figure as hessian
from alternet.instruments.interpolation import figure as interpolation
from alternet.instruments.landscape import figure as landscape
from alternet.instruments.lesion import figure as lesion
from alternet.instruments.shape_bias import figure as shape_bias
from alternet.instruments.similarity import figure as similarity
from alternet.instruments.spectral_density import figure as spectral_density
from alternet.instruments.trajectory import figure as trajectory
from alternet.instruments.variance import figure as variance
from alternet.measurement import Measurement
from alternet.plotting import style, training_log
from alternet.plotting.exhibit import Exhibit
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

FIGURES: dict[str, Exhibit] = {
    "training": training_log.EXHIBIT,
    "fourier": fourier.EXHIBIT,
    "variance": variance.EXHIBIT,
    "similarity": similarity.EXHIBIT,
    "lesion": lesion.EXHIBIT,
    "frequency_noise": frequency_noise.EXHIBIT,
    "fourier_heatmap": fourier_heatmap.EXHIBIT,
    "shape_bias": shape_bias.EXHIBIT,
    "calibration": calibration.EXHIBIT,
    "corruption": corruption.EXHIBIT,
    "hessian": hessian.EXHIBIT,
    "spectral_density": spectral_density.EXHIBIT,
    "landscape": landscape.EXHIBIT,
    "interpolation": interpolation.EXHIBIT,
    "trajectory": trajectory.EXHIBIT,
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
        near = get_close_matches(instrument, FIGURES) or list(FIGURES)
        raise ValueError(
            f"There is no figure for {instrument!r}. Did you mean {', '.join(near)}? "
            "For an instrument of your own, call alternet.instruments.figures.register first."
        )
    return FIGURES[instrument]


def draw(measurement: Measurement) -> Figure:
    """The figure of a measurement of one or more models; needs no display and changes no global setting.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    with style.context():
        return shown.figure(measurement)


def panels(measurement: Measurement) -> list[Panel]:
    """The panels of that figure, in the order of reading; none where an exhibit draws all of it at once.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    with style.context():
        return shown.panels(measurement) if shown.panels else []


def legend(measurement: Measurement) -> list[Entry]:
    """What the signs in the panels mean."""
    with style.context():
        return exhibit(measurement.instrument).entries(measurement)


def sentences(measurement: Measurement) -> list[str]:
    """What the numbers of a measurement say, one sentence a model.

    Raises:
        ValueError: The instrument has no figure, or a column that it needs is missing or damaged.
    """
    shown = exhibit(measurement.instrument)
    shown.check(measurement)
    return shown.sentences(measurement)
