"""Fourier heat map figure: what a wave costs, over its frequencies across and down the image, a map a model."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.fourier_heatmap import FourierHeatmap
from alternet.measurement import Measurement
from alternet.plotting.disturbed import ERROR, VALUE, clean, loss, low_against_high, plus_minus
from alternet.plotting.heat_map import COLOURS, UNDEFINED, colour_bar
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Cells, Panel, Targets, belongs_to
from alternet.plotting.style import say_empty

QUANTITY = "loss of accuracy (percentage points)"


class Map(NamedTuple):
    """The losses of one model in percentage points [fy, fx], with their errors, the accuracies, and both axes."""

    model: str
    fx: np.ndarray
    fy: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    accuracy: np.ndarray

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the outermost cells; fy goes down, as rows of an image do."""
        (left, right), (top, bottom) = (_ends(axis) for axis in (self.fx, self.fy))
        return left, right, bottom, top


def maps(measurement: Measurement) -> list[Map]:
    """The map of every model; cells without a wave, as the zero frequency, are nan."""
    found = []
    for model in measurement.models:
        table = measurement.of(model).table
        fx, fy = (np.unique([*table[axis], 0.0]) for axis in ("fx", "fy"))
        accuracy, delta, error = (
            table.pivot(index="fy", columns="fx", values=column).reindex(index=fy, columns=fx).to_numpy(dtype=float)
            for column in ("accuracy", VALUE, ERROR)
        )
        found.append(Map(model, fx, fy, -100 * delta + 0.0, 100 * error, accuracy))  # + 0 makes −0 a 0
    return found


def _ends(axis: np.ndarray) -> tuple[float, float]:
    half = np.diff(axis).min() / 2 if len(axis) > 1 else 1.0  # an image of one row has one frequency down
    return float(axis[0] - half), float(axis[-1] + half)


def limits(drawn: list[Map]) -> tuple[float, float]:
    """The lowest loss, or 0 if none is below, and the highest, of all models; 1 if nothing is lost."""
    values = np.concatenate([one.loss.ravel() for one in drawn])
    values = values[~np.isnan(values)]
    highest = float(values.max(initial=0))
    return float(values.min(initial=0)), highest if highest > 0 else 1.0


def panels(measurement: Measurement) -> list[Panel]:
    """One square heat map a model, the zero frequency in the middle, all in one scale of colours from no loss on."""
    drawn = maps(measurement)
    lowest, highest = limits(drawn)
    bar = colour_bar(lowest, highest, QUANTITY, below="\nblack: a gain")
    return [
        Panel(title=one.model, draw=partial(_waves, one=one, highest=highest), size=(4.2, 3.4), bar=bar)
        for one in drawn
    ]


def _waves(axis: Axes, one: Map, highest: float) -> Targets:
    left, right, bottom, top = one.edges
    with belongs_to(one.model, axis):
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, zorder=0, **UNDEFINED))
        axis.imshow(one.loss, COLOURS, vmin=0, vmax=highest, extent=one.edges, interpolation="none", zorder=1)
    if np.isnan(one.loss).all():
        say_empty(axis)
    axis.set(xlim=(left, right), ylim=(bottom, top), aspect="auto", box_aspect=1)
    axis.set(xlabel="frequency across", ylabel="frequency down")
    for side, reach in ((axis.xaxis, right), (axis.yaxis, bottom)):
        ticks = [tick for tick in (-1.0, -0.5, 0.0, 0.5, 1.0) if abs(tick) < reach]
        # an axis of fewer than two of these ticks keeps its own
        if len(ticks) > 1:
            side.set_ticks(ticks, [_pi(tick) for tick in ticks])
        else:
            side.set_major_formatter(lambda value, _: _pi(value))
    triples = (zip(*rows, strict=True) for rows in zip(one.loss, one.error, one.accuracy, strict=True))
    texts = [[_wave(*triple) for triple in row] for row in triples]
    down, across = [f"{_pi(y)} down" for y in one.fy], [f"{_pi(x)} across" for x in one.fx]
    return [Cells(axis, (left, right, top, bottom), down, across, texts, one.model)]


def _wave(loss: float, error: float, accuracy: float) -> str:
    if np.isnan(loss):
        return "not measured"
    return f"loss {loss:.1f}{plus_minus(error)} points\naccuracy {accuracy:.1%}".replace("-", "−")


def legend(measurement: Measurement) -> list[Entry]:
    """What the hatched cell is, and how strong the waves are if that is the same for all models."""
    known = {facts.get("settings", {}).get("strength") for facts in measurement.provenances}
    strength = known.pop() if len(known) == 1 else None
    said = "zero frequency, not measured"
    said += "" if strength is None else f"; waves of RMS {strength:.3g} of the image range"
    return [Entry(Patch(**UNDEFINED), said)]


def _pi(value: float) -> str:
    """A frequency as it stands on an axis and in a sentence.

    Examples:
        >>> _pi(0.25), _pi(-1.0), _pi(0.0)
        ('0.25π', '−π', '0')
    """
    if not round(value, 6):
        return "0"
    sign, size = "−" if value < 0 else "", f"{abs(value):.2g}"
    return f"{sign}π" if size == "1" else f"{sign}{size}π"


def sentences(measurement: Measurement) -> list[str]:
    """For each model, which wave costs it most, and waves of low frequency against those of high."""
    said = []
    for model in measurement.models:
        table = once(measurement.of(model).table)
        if table.empty:
            said.append(f"{model}: no accuracy under waves was measured.")
            continue
        worst = table.sort_values([VALUE, "fx", "fy"], ascending=[True, False, False], kind="stable").iloc[0]
        where = f"the wave at {_pi(worst['fx'])} across and {_pi(worst['fy'])} down"
        lost = f"{loss(worst)} percentage points"
        most = f"{where} costs most, {lost}" if worst[VALUE] < 0 else "no wave costs anything"
        right = f"right on {clean(table):.1%} of the images without a wave"
        said.append(f"{model}: {right}; {most}{low_against_high(table)}.")
    return said


def once(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one model in which no wave stands twice for being at 1 and at −1, with the larger `frequency` of two.

    Examples:
        >>> table = pd.DataFrame({"fx": [-1.0, 0.5, 1.0], "fy": [0.0, -0.75, 0.0], "delta_accuracy": 0.0})
        >>> once(table)["frequency"].tolist()
        [0.75, 1.0]
    """
    kept = table[(table["fx"] > -1) & (table["fy"] > -1)].dropna(subset=[VALUE])
    return kept.assign(frequency=kept[["fx", "fy"]].abs().max(axis=1))


EXHIBIT = Exhibit(
    spec=FourierHeatmap.spec,
    panels=panels,
    legend=legend,
    layout={"names": 90},
    sentences=sentences,
)
