"""A reader of panels: the axes of each, what it says where, and the artists of a model."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from tests.figures.crafted import several

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.plotting import style
from alternet.plotting.panel import Cells, Panel, Points
from alternet.plotting.style import Drawing


@dataclass(frozen=True)
class Drawn:
    """A panel by itself."""

    panel: Panel
    axes: list[Axes]
    targets: list[Points | Cells]

    @property
    def axis(self) -> Axes:
        return self.axes[0]

    def points(self, name: str, axis: int = 0) -> list[tuple[float, float, str]]:
        """Where, in data, and what is said of a model or a unit there."""
        found = [t for t in self.targets if isinstance(t, Points) and t.name == name and t.axis is self.axes[axis]]
        boxes = np.concatenate([target.boxes for target in found])
        texts = [text for target in found for text in target.texts]
        return [(float(box[2]), float(box[3]), text) for box, text in zip(boxes, texts, strict=True)]

    @property
    def cells(self) -> Cells:
        (found,) = (target for target in self.targets if isinstance(target, Cells))
        return found

    def artists(self, model: str) -> list[Artist]:
        return [artist for axis in self.axes for artist in axis.get_children() if artist.get_label() == model]

    def line(self, model: str, which: int = 0) -> Line2D:
        return [artist for artist in self.artists(model) if isinstance(artist, Line2D)][which]


def drawn(measurement: Measurement) -> dict[str, Drawn]:
    """The panels of a measurement by title."""
    made = {}
    for panel in figures.panels(measurement):
        with style.context():
            options: dict[str, Any] = {"subplot_kw": {"projection": panel.projection}, "height_ratios": panel.ratios}
            axes = list(Drawing().subplots(len(panel.ratios), 1, sharex=True, squeeze=False, **options)[:, 0])
            made[panel.title] = Drawn(panel, axes, panel.draw(*axes))
    return made


VALUES = {
    "training": ["train_loss", "test_accuracy"],
    "buildup": ["accuracy", "standard_error", "gain"],
    "interpolation": ["nll", "loss", "accuracy"],
    "trajectory": ["radius", "angle", "pc1", "pc2"],
    "shape_bias": ["shape_bias", "low", "high"],
    "calibration": ["accuracy", "confidence"],
}
"""What the crafted measurements have alike for all models."""


def told_apart(instrument: str, *models: str) -> Measurement:
    """Models with numbers of their own, the rows of all their tables in no order."""
    parts = []
    for turn, model in enumerate(models):
        one = several(instrument, model)
        tables = {}
        for name, table in one.tables.items():
            scaled = {column: table[column] * 0.9**turn for column in VALUES.get(instrument, []) if column in table}
            tables[name] = table.assign(**scaled).sample(frac=1, random_state=turn + 1)
        parts.append(replace(one, tables=tables))
    return Measurement.concat(parts)
