"""Lesion figure: the change of accuracy without each unit against depth, one panel a model (Fig 10b, D.4)."""

from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alternet.measurement import Measurement
from alternet.plotting import depth_axis, interactive
from alternet.plotting.depth_axis import ERROR
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, Drawing, columns, kind_name, model_styles, say_empty

VALUE = "delta_accuracy"
POINTS = "points"
LEFT_ALONE = "left alone: changes shape"
"""What a unit without a number is called: its convolution could not be taken out."""
DOTTED = (0, (1, 2))


def in_points(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the change of accuracy and its standard error in percentage points, in order of units.

    Examples:
        >>> table = pd.DataFrame({"unit": [1], "delta_accuracy": [-0.25], "standard_error": [0.01]})
        >>> in_points(table)["points"].tolist()
        [-25.0]
    """
    scaled = table.assign(points=100 * table[VALUE], standard_error=100 * table[ERROR])
    return scaled.sort_values("unit", kind="stable").reset_index(drop=True)


def borders(points: pd.DataFrame) -> list[float]:
    """The depths between the last unit of a stage and the first of the next, from rows in order of units.

    Examples:
        >>> borders(pd.DataFrame({"depth": [0.0, 0.5, 1.0], "stage": [0, 0, 1]}))
        [0.75]
    """
    rows = zip(points["depth"], points["stage"], strict=True)
    return [(before + after) / 2 for (before, old), (after, new) in pairwise(rows) if old != new]


def at_stage_ends(points: pd.DataFrame) -> pd.Series:
    """Which rows are attention at the end of a stage: its last attention, if at most one unit comes after it.

    That one is the MLP of the same block, where blocks have one.

    Examples:
        >>> kinds = ["msa", "mlp", "msa", "mlp", "conv", "msa"]
        >>> at_stage_ends(pd.DataFrame({"kind": kinds, "stage": [0, 0, 0, 0, 1, 1]})).tolist()
        [False, False, True, False, False, True]
    """
    behind = points.groupby("stage", sort=False).cumcount(ascending=False)
    attention = points["kind"] == "msa"
    later = points.assign(msa=attention).iloc[::-1].groupby("stage", sort=False)["msa"].cumsum().reindex(points.index)
    return attention & (later == 1) & (behind <= 1)


def draw(measurement: Measurement) -> Drawing:
    """One panel a model with its own scale, which reaches as far as its largest loss."""
    looks = model_styles(measurement.models)
    figure, panels = depth_axis.panels(measurement.models, height=3.1, name="Δ accuracy (percentage points)")
    for model, axis in panels.items():
        _panel(axis, in_points(measurement.of(model).table), looks[model]["color"])
    handles = _handles(measurement.table)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns(len(handles), 6 if len(looks) > 1 else 3))
    return figure


def _panel(axis: Axes, points: pd.DataFrame, colour: str) -> None:
    known = points.dropna(subset=[POINTS])
    if known.empty:
        say_empty(axis)
    axis.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    axis.vlines(known["depth"], 0, known[POINTS], color=colour, linewidth=3, alpha=0.3, zorder=2)
    depth_axis.curve(axis, known, POINTS, {"color": colour, "linestyle": "none"})
    lost = points[points[POINTS].isna()]
    axis.plot(lost["depth"], [0.0] * len(lost), "x", color=FAINT, markersize=5, zorder=4)
    for border in borders(points):
        axis.axvline(border, color=FAINT, linewidth=0.9, linestyle=DOTTED, zorder=1)
    axis.tick_params(labelbottom=True)
    depth_axis.finish(axis)


def _handles(table: pd.DataFrame) -> list[Artist]:
    handles = [handle for handle in depth_axis.kind_handles(table) if isinstance(handle, Line2D)]
    if table[VALUE].isna().any():
        handles.append(Line2D([], [], label=LEFT_ALONE, marker="x", markeredgecolor=FAINT, linestyle="none"))
    if any(borders(part) for _, part in table.groupby("model", sort=False)):
        handles.append(Line2D([], [], label="between stages", color=FAINT, linewidth=0.9, linestyle=DOTTED))
    return list(handles)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, the unit whose removal costs most, and attention at the ends of stages beside all other units."""
    return [f"{model}: {_sentence(in_points(measurement.of(model).table))}." for model in measurement.models]


def _sentence(points: pd.DataFrame) -> str:
    known = points.dropna(subset=[POINTS])
    if known.empty:
        return "no unit could be removed"
    clauses = [_worst(known), *_ends(known)]
    if lost := len(points) - len(known):
        clauses.append(f"left alone, as a convolution changes the map's shape: {_units(lost)}")
    return "; ".join(clauses)


def _worst(known: pd.DataFrame) -> str:
    worst = known.sort_values(POINTS, kind="stable").iloc[0]
    loss, error = -worst[POINTS], worst[ERROR]
    if not loss > 2 * (0 if pd.isna(error) else error):
        return "no unit costs more than twice the standard error of its loss"
    where = f"{worst['tap']} ({kind_name(str(worst['kind']))}, depth {worst['depth']:.2f})"
    doubt = "" if pd.isna(error) else f" ± {error:.1f}"
    now, before = worst["accuracy"], worst["accuracy"] - worst[VALUE]
    return f"removing {where} costs most, {loss:.1f}{doubt} points of accuracy, from {before:.1%} to {now:.1%}"


def _ends(known: pd.DataFrame) -> list[str]:
    ends = at_stage_ends(known)
    if not ends.any() or ends.all():
        return []
    mean, other = -known.loc[ends, POINTS].mean(), -known.loc[~ends, POINTS].mean()
    return [
        f"attention at the end of a stage ({_units(int(ends.sum()))}) costs {_number(mean)} points on average, "
        f"all else ({_units(int((~ends).sum()))}) {_number(other)}"
    ]


def _number(points: float) -> str:
    return f"{points + 0.0:.1f}".replace("-0.0", "0.0").replace("-", "−")


def _units(count: int) -> str:
    return f"{count} unit" if count == 1 else f"{count} units"


def plots(measurement: Measurement) -> list[Panel]:
    """One plot a model."""
    styles = model_styles(measurement.models)
    return [_plot(in_points(measurement.of(model).table), model, style) for model, style in styles.items()]


def _plot(points: pd.DataFrame, model: str, style: dict[str, Any]) -> Panel:
    look = {model: style | {"linestyle": "solid"}}
    figure = interactive.against_depth(points.assign(model=model), POINTS, look, name="Δ accuracy (percentage points)")
    curve, layout = figure["data"][0], figure["layout"]
    curve["mode"] = "markers"
    curve["error_y"]["color"] = style["color"]
    curve["text"] = [f"{interactive.unit_name(row)}<br>{_likelihood(row)}" for _, row in points.iterrows()]
    curve["hovertemplate"] = "<b>%{fullData.name}</b><br>%{text}<br>Δ accuracy %{y:.2f} points<extra></extra>"
    layout["shapes"] = [_line(border) for border in borders(points)]
    layout["showlegend"] = False
    layout["yaxis"] |= {"zeroline": True, "zerolinecolor": FAINT}
    data = [_stems(points, style["color"]), curve, _crosses(points[points[POINTS].isna()])]
    return Panel(title=model, figure={"data": data, "layout": layout}, key=_key(points))


def _likelihood(row: "pd.Series[Any]") -> str:
    return "left alone" if pd.isna(row[POINTS]) else f"accuracy {row['accuracy']:.1%}, Δ NLL {row['delta_nll']:+.3g}"


def _stems(points: pd.DataFrame, colour: str) -> dict[str, Any]:
    """From no change to each unit's change; a gap parts one from the next."""
    known = points.dropna(subset=[POINTS])
    depths, values = interactive.numbers(known["depth"]), interactive.numbers(known[POINTS])
    return {
        "x": [x for depth in depths for x in (depth, depth, None)],
        "y": [y for value in values for y in (0.0, value, None)],
        "mode": "lines",
        "line": {"color": colour, "width": 3},
        "opacity": 0.3,
        "hoverinfo": "skip",
    }


def _crosses(lost: pd.DataFrame) -> dict[str, Any]:
    """Units that were left alone, on the line of no change."""
    return {
        "x": interactive.numbers(lost["depth"]),
        "y": [0.0] * len(lost),
        "text": [f"{interactive.unit_name(row)}<br>{LEFT_ALONE}" for _, row in lost.iterrows()],
        "mode": "markers",
        "marker": {"symbol": "x-thin", "size": 8, "line": {"color": FAINT, "width": 1.5}},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _line(border: float) -> dict[str, Any]:
    where = {"x0": border, "x1": border, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    return {"type": "line", "layer": "below", "line": {"color": FAINT, "width": 1, "dash": "dot"}} | where


def _key(points: pd.DataFrame) -> tuple[str, ...]:
    symbols = [entry for entry in interactive.key(points) if not entry.endswith("acts here")]
    crosses = [f"× {LEFT_ALONE}"] if points[POINTS].isna().any() else []
    return (*symbols, *crosses, *(["dotted lines: between stages"] if borders(points) else []))


EXHIBIT = Exhibit(
    title="Lesion study",
    question="How much accuracy does the network lose without each of its units?",
    columns={"table": ("model", "unit", "tap", "kind", "depth", "accuracy", VALUE, "delta_nll", ERROR, "stage")},
    draw=draw,
    sentences=sentences,
    caution=(
        "Nothing was retrained: what follows a removed unit sees maps that it was never trained on. So a large loss "
        "says that this network, as it stands, is tuned to the unit, not that the task needs it, and a small one does "
        "not say that the unit does nothing where others could stand in for it; losses of single units do not add up. "
        "That attention matters most at the ends of stages is claimed for networks of several stages. In deep plain "
        "ViTs, which have one, the units in the middle matter most, as the authors say. Bars cover the choice of "
        "images, not another training run; of many units, the worst looks worse than it is."
    ),
    interactive=plots,
)
