"""Shape-bias figure: for each class of shapes the share of decisions for the shape (Fig 4 of Geirhos et al. 2019)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alternet.measurement import Measurement
from alternet.plotting import interactive, style
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, Drawing, label, model_styles, say_empty

ALL = "all"
"""Stands for all classes together in the column `shape`."""

HALF = 0.5
"""As many decisions for the shape as for the texture."""


def overall(bias: pd.DataFrame) -> "pd.Series[Any]":
    """The row of one model that counts all classes together.

    Examples:
        >>> overall(pd.DataFrame({"shape": ["all", "cat"], "decisions": [9, 4]}))["decisions"].item()
        9
    """
    return bias[bias["shape"] == ALL].iloc[0]


def draw(measurement: Measurement) -> Drawing:
    """A row for each class of shapes and one for all; left is texture, right is shape, bars are 95 % intervals."""
    bias = measurement.tables["bias"]
    names = _names(bias)
    count = len(measurement.models)
    figure = Drawing(figsize=(7.0, 1.6 + len(names) * (0.14 + 0.07 * count)), layout="constrained")
    axis = figure.subplots()
    handles = []
    for place, (model, look) in enumerate(model_styles(measurement.models).items()):
        rows = bias[bias["model"] == model].set_index("shape").reindex(names)
        handles.append(
            _points(axis, rows, _heights(len(names), place, count), style.POINTS[place % len(style.POINTS)], look)
        )
        handles[-1].set_label(f"{label(model, 60)} ({_share(overall(measurement.of(model).tables['bias']))})")
    _finish(axis, names, bias)
    figure.legend(handles=handles, loc="outside lower center", title="bars: 95 % intervals", title_fontsize=8.5)
    return figure


def _share(row: "pd.Series[Any]") -> str:
    return f"{row['shape_bias']:.0%} shape in {int(row['decisions'])} decisions" if row["decisions"] else "no decision"


def _names(bias: pd.DataFrame) -> list[str]:
    """The rows of the figure, all classes together first."""
    return [ALL, *(name for name in dict.fromkeys(bias["shape"]) if name != ALL)]


def _heights(rows: int, place: int, count: int) -> np.ndarray:
    """Where the points of one of several models lie: those of a class one below the other."""
    return np.arange(rows) + (place - (count - 1) / 2) * 0.8 / max(count, 2)


def _points(axis: Axes, rows: pd.DataFrame, y: np.ndarray, marker: str, look: dict[str, Any]) -> Any:
    known = rows["shape_bias"].notna().to_numpy()
    part, y = rows[known], y[known]
    axis.hlines(y, part["low"], part["high"], color=look["color"], linewidth=1.0, alpha=0.7)
    (handle,) = axis.plot(part["shape_bias"], y, linestyle="none", marker=marker, color=look["color"])
    return handle


def _finish(axis: Axes, names: list[str], bias: pd.DataFrame) -> None:
    axis.axvline(HALF, color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
    axis.axhline(0.5, color=FAINT, linewidth=0.8)
    axis.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), ["all classes", *(label(name, 24) for name in names[1:])])
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0\nall texture", "25 %", "50 %", "75 %", "100 %\nall shape"])
    axis.set_xlabel("share of decisions for the shape")
    axis.set_title("Shape or texture?")
    if bias["shape_bias"].isna().all():
        say_empty(axis)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, its shape bias with the interval, and on how many images it rests."""
    return [_sentence(model, measurement.of(model).tables["bias"]) for model in measurement.models]


def _sentence(model: str, bias: pd.DataFrame) -> str:
    row = overall(bias)
    if pd.isna(row["shape_bias"]):
        return f"{model}: it decided for neither shape nor texture on any image."
    side = "no clear preference"
    if row["low"] > HALF or row["high"] < HALF:
        side = "it goes by shape more" if row["low"] > HALF else "it goes by texture more"
    where = f"{row['shape_bias']:.1%} (95 % interval {row['low']:.1%} to {row['high']:.1%})"
    on = f"{int(row['decisions'])} decisions for either cue on {int(row['images'])} images"
    return f"{model}: shape bias {where}, from {on}; {side}."


def plots(measurement: Measurement) -> list[Panel]:
    """The same points; the hover text has interval and counts."""
    looks, bias = model_styles(measurement.models), measurement.tables["bias"]
    names, parts = _names(bias), [bias[bias["model"] == model].set_index("shape") for model in looks]
    traces = [
        _trace(part.reindex(names), _heights(len(names), place, len(looks)), place, model, looks[model])
        for place, (model, part) in enumerate(zip(looks, parts, strict=True))
    ]
    layout = interactive.layout(x="share of decisions for the shape", y="class of the shape")
    layout["xaxis"] |= {"range": [-0.02, 1.02], "tickformat": ".0%"}
    ticks = [interactive.plain_text(name) for name in ("all classes", *names[1:])]
    layout["yaxis"] |= {"range": [len(names) - 0.5, -0.5], "tickvals": list(range(len(names))), "ticktext": ticks}
    half = {"type": "line", "x0": HALF, "x1": HALF, "y0": 0, "y1": 1, "yref": "paper"}
    layout["shapes"] = [half | {"line": {"color": FAINT, "width": 1, "dash": "dash"}}]
    key = ("left: all texture", "right: all shape", "bars: 95 % intervals")
    return [Panel(title="Shape or texture?", figure={"data": traces, "layout": layout}, key=key, wide=True)]


def _trace(rows: pd.DataFrame, y: np.ndarray, place: int, model: str, look: dict[str, Any]) -> dict[str, Any]:
    share, name = rows["shape_bias"], interactive.plain_text(model)
    ends = {"array": interactive.numbers(rows["high"] - share), "arrayminus": interactive.numbers(share - rows["low"])}
    counts = zip(rows.index, interactive.numbers(rows["decisions"]), interactive.numbers(rows["images"]), strict=True)
    return {
        "x": interactive.numbers(share),
        "y": interactive.numbers(y),
        "error_x": {"type": "data", "symmetric": False, "thickness": 1, "width": 0} | ends,
        "customdata": [[interactive.plain_text(shape), *rest] for shape, *rest in counts],
        "name": name,
        "mode": "markers",
        "marker": {
            "symbol": interactive.POINTS[place % len(interactive.POINTS)],
            "size": 8,
            "color": interactive.rgb(look["color"]),
        },
        "hovertemplate": (
            "<b>%{fullData.name}</b><br>%{customdata[0]}: %{x:.1%} shape<br>%{customdata[1]} decisions on "
            "%{customdata[2]} images<extra></extra>"
        ),
    }


EXHIBIT = Exhibit(
    title="Shape bias",
    question="Where shape says one thing and texture another, which of them does the network go by?",
    columns={
        "table": ("model", "shape", "texture", "images", "chose_shape", "chose_texture"),
        "bias": ("model", "shape", "images", "decisions", "shape_bias", "low", "high"),
    },
    draw=draw,
    sentences=sentences,
    caution=(
        "The share says nothing about images that the network decided for neither cue: look at how many decisions it "
        "rests on, since guessing gives one half as well. It belongs to this set of images, whose maker chose how "
        "strong each cue is, so it may be compared between networks but not between sets. The intervals take images "
        "for independent; those made from the same originals are not quite."
    ),
    texts=frozenset({"model", "shape", "texture"}),
    interactive=plots,
)
