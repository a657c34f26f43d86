"""Shape-bias figure: for each class of shapes the share of decisions for the shape (Fig 4 of Geirhos et al. 2019)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.key_number import KeyNumber
from alternet.instruments.shape_bias import ShapeBias
from alternet.instruments.shape_bias.entry_level import ALL
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry, models
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, elide, label, model_styles, say_empty

HALF = 0.5
"""As many decisions for the shape as for the texture."""


def overall(bias: pd.DataFrame) -> "pd.Series[Any]":
    """The row of one model that counts all classes together.

    Examples:
        >>> overall(pd.DataFrame({"shape": ["all", "cat"], "decisions": [9, 4]}))["decisions"].item()
        9
    """
    return bias[bias["shape"] == ALL].iloc[0]


FEW = 4
"""Of more models than these the classes of each are a panel of their own, on one axis; in one row they would meet."""


def panels(measurement: Measurement) -> list[Panel]:
    """A row for each class of shapes and one for all; left is texture, right is shape, bars are 95 % intervals."""
    bias, looks = measurement.tables["bias"], model_styles(measurement.models, points=True)
    names, count = _names(bias), len(looks)
    if count <= FEW:
        height = 1.0 + len(names) * (0.14 + 0.07 * count)
        draw = partial(_rows, bias=bias, names=names, looks=looks)
        return [Panel(title="Shape or texture?", draw=draw, size=(5.0, max(height, 2.4)), wide=True)]
    height = 1.0 + 0.17 * len(names)
    return [
        Panel(
            title="All classes",
            draw=partial(_all_classes, bias=bias, looks=looks),
            size=(5.0, 1.0 + 0.2 * count),
            wide=True,
        ),
        *(
            Panel(title=model, draw=partial(_rows, bias=bias, names=names, looks={model: look}), size=(4.0, height))
            for model, look in looks.items()
        ),
    ]


def _all_classes(axis: Axes, bias: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> Targets:
    """A row a model."""
    targets = []
    for place, (model, look) in enumerate(looks.items()):
        row = overall(bias[bias["model"] == model])
        if pd.isna(row["shape_bias"]):
            continue
        with belongs_to(model, axis):
            axis.hlines([place], row["low"], row["high"], color=look["color"], linewidth=1.0, alpha=0.7)
            axis.plot(row["shape_bias"], place, linestyle="none", marker=look["marker"], color=look["color"])
        targets.append(points(axis, [row["shape_bias"]], [place], [_said(ALL, row)], name=model))
    axis.set_ylim(len(looks) - 0.5, -0.5)
    axis.set_yticks(range(len(looks)), [label(elide(model, 24)) for model in looks])
    _finish(axis, bias)
    return targets


def _rows(axis: Axes, bias: pd.DataFrame, names: list[str], looks: Mapping[str, Mapping[str, Any]]) -> Targets:
    count, targets = len(looks), []
    for place, (model, look) in enumerate(looks.items()):
        rows = bias[bias["model"] == model].set_index("shape").reindex(names)
        # those of a class lie one below the other
        heights = np.arange(len(names)) + (place - (count - 1) / 2) * 0.8 / max(count, 2)
        known = rows["shape_bias"].notna().to_numpy()
        part, y = rows[known], heights[known]
        with belongs_to(model, axis):
            axis.hlines(y, part["low"], part["high"], color=look["color"], linewidth=1.0, alpha=0.7)
            axis.plot(part["shape_bias"], y, linestyle="none", marker=look["marker"], color=look["color"])
        texts = [_said(str(name), row) for name, row in part.iterrows()]
        targets.append(points(axis, part["shape_bias"], y, texts, name=model))

    axis.axhline(0.5, color=FAINT, linewidth=0.8)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_yticks(range(len(names)), ["all classes", *(label(name, 24) for name in names[1:])])
    _finish(axis, bias[bias["model"].isin(looks)])
    return list(targets)


def _said(name: str, row: "pd.Series[Any]") -> str:
    return (
        f"{'all classes' if name == ALL else name}: {row['shape_bias']:.1%} shape "
        f"({row['low']:.1%} to {row['high']:.1%})\n{row['decisions']:.0f} decisions on {row['images']:.0f} images"
    )


def _finish(axis: Axes, bias: pd.DataFrame) -> None:
    axis.axvline(HALF, color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0\nall texture", "25 %", "50 %", "75 %", "100 %\nall shape"])
    axis.set_xlabel("share of decisions for the shape")
    if bias["shape_bias"].isna().all():
        say_empty(axis)


def legend(measurement: Measurement) -> list[Entry]:
    """The models with how much their share rests on."""
    looks = model_styles(measurement.models, points=True)
    facts = {}
    for model in looks:
        row = overall(measurement.of(model).tables["bias"])
        decided = f"{row['shape_bias']:.0%} shape in {int(row['decisions'])} decisions" if row["decisions"] else ""
        facts[model] = decided or "no decision"
    interval = Entry(Line2D([], [], color=FAINT, linewidth=1.0), "95 % interval")
    return [*models({model: look | {"linestyle": "none"} for model, look in looks.items()}, facts), interval]


def _names(bias: pd.DataFrame) -> list[str]:
    """The rows of the figure, all classes together first."""
    return [ALL, *(name for name in dict.fromkeys(bias["shape"]) if name != ALL)]


def sentences(measurement: Measurement) -> list[str]:
    """For each model, its shape bias with the interval, and on how many images it rests."""
    said = []
    for model in measurement.models:
        row = overall(measurement.of(model).tables["bias"])
        if pd.isna(row["shape_bias"]):
            said.append(f"{model}: it decided for neither shape nor texture on any image.")
            continue
        side = "no clear preference"
        if row["low"] > HALF or row["high"] < HALF:
            side = "it goes by shape more" if row["low"] > HALF else "it goes by texture more"
        where = f"{row['shape_bias']:.1%} (95 % interval {row['low']:.1%} to {row['high']:.1%})"
        on = f"{int(row['decisions'])} decisions for either cue on {int(row['images'])} images"
        said.append(f"{model}: shape bias {where}, from {on}; {side}.")
    return said


def numbers(measurement: Measurement) -> dict[str, KeyNumber]:
    """The share of decisions for the shape, over all classes."""
    row = overall(measurement.tables["bias"])
    shown = KeyNumber(
        value=float(row["shape_bias"]),
        title="Shape bias",
        says="share of the decisions for either cue that are for the shape",
        topic="robustness",
        percent=True,
        low=float(row["low"]),
        high=float(row["high"]),
    )
    return {"shape bias": shown}


EXHIBIT = Exhibit(
    spec=ShapeBias.spec,
    panels=panels,
    legend=legend,
    layout={"columns": 1, "names": 90},
    sentences=sentences,
    numbers=numbers,
)
