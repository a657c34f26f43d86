"""Corruption figure: accuracy under each corruption and against severity (its mean is Fig 12b of the paper)."""

from math import isnan, nan
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alternet.measurement import Measurement
from alternet.plotting import interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import DASHES, FAINT, Drawing, columns, label, model_styles

CLEAN, MEAN = "clean", "mean"
MARKERS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
"""One a model, as matplotlib and as plotly call it."""

SPREAD = 0.7
"""Part of the height of a row that the marks of all models may take."""

GAP = 0.6
"""Rows left free between two families."""

VALUE, ERROR = "accuracy", "standard_error"
AXIS = "accuracy (±2 standard errors)"
BELOW_BUTTONS = {"t": 32}
"""Plotly's buttons would hide the first row."""

SCALE = ("dark: 0%", "light: 100%")
ALEXNETS = {"mce": "the AlexNet of the benchmark's authors", "mce_paper": "the AlexNet released with the paper's code"}


def metric(one: Measurement, name: str) -> tuple[float, float]:
    """A metric of the summary of one model and its standard error; nan where there is none."""
    rows = one.tables["summary"]
    found = rows.loc[rows["metric"] == name, ["value", ERROR]].to_numpy(dtype=float)
    return (float(found[0, 0]), float(found[0, 1])) if len(found) else (nan, nan)


def by_corruption(one: Measurement) -> pd.DataFrame:
    """Accuracy and standard error of one model: clean, mean, then each corruption, averaged over its severities."""
    table = one.table[one.table["corruption"] != CLEAN]
    summed = pd.DataFrame(
        [metric(one, "clean_accuracy"), metric(one, "mean_accuracy")], index=[CLEAN, MEAN], columns=[VALUE, ERROR]
    )
    return pd.concat([summed, table.groupby("corruption", sort=False)[[VALUE, ERROR]].mean()])


def by_severity(one: Measurement) -> pd.DataFrame:
    """Mean accuracy and standard error of one model by severity; 0 is clean."""
    steps = ["clean_accuracy", *(f"severity_{severity}" for severity in range(1, 6))]
    return pd.DataFrame([metric(one, step) for step in steps], columns=[VALUE, ERROR])


def places(table: pd.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """Where each row of the figure stands, from above, and the middle of each family.

    Examples:
        >>> table = pd.DataFrame({"corruption": ["clean", "fog", "snow"], "family": ["clean", "weather", "weather"]})
        >>> places(table)
        ({'clean': 0.0, 'mean': 1.0, 'fog': 2.6, 'snow': 3.6}, {'weather': 3.1})
    """
    rows, families, place = {CLEAN: 0.0, MEAN: 1.0}, {}, 2.0
    for family, part in table[table["corruption"] != CLEAN].groupby("family", sort=False):
        names = list(dict.fromkeys(part["corruption"]))
        place += GAP
        rows |= {name: round(place + turn, 3) for turn, name in enumerate(names)}
        families[str(family)] = round(place + (len(names) - 1) / 2, 3)
        place += len(names)
    return rows, families


def _row_name(name: str, measurement: Measurement) -> str:
    if name != MEAN:
        return name.replace("_", " ")
    counts = {metric(measurement.of(model), "sets")[0] for model in measurement.models}
    return f"mean of {counts.pop():.0f} sets" if len(counts) == 1 else "mean"


def _looks(measurement: Measurement) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of each model, and by how much it is moved off the middle of a row."""
    looks, step = model_styles(measurement.models), min(0.3, SPREAD / len(measurement.models))
    for turn, look in enumerate(looks.values()):
        look["marker"] = list(MARKERS)[DASHES.index(look["linestyle"])]
        look["offset"] = step * (turn - (len(looks) - 1) / 2)
    return looks


def draw(measurement: Measurement) -> Drawing:
    """On the left a row a corruption, on the right the way from clean images to severity 5; a mark a model."""
    looks, (rows, families) = _looks(measurement), places(measurement.table)
    height = (max(rows.values()) + 1) * (0.22 + 0.02 * len(looks))
    figure = Drawing(figsize=(10.5, 1.9 + height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    for model, look in looks.items():
        _dots(left, by_corruption(measurement.of(model)), rows, look)
        _steps(right, by_severity(measurement.of(model)), look)
    left.set_title("Each corruption, mean over its severities")
    left.set_yticks(list(rows.values()), [label(_row_name(name, measurement)) for name in rows])
    left.set_ylim(max(rows.values()) + 0.7, -0.7)
    left.tick_params(axis="y", length=0)
    for family, middle in families.items():
        where = {"transform": left.get_yaxis_transform(), "ha": "left", "va": "center"}
        left.text(1.01, middle, label(family), color=FAINT, **where)
    right.set_title("Mean over corruptions")
    right.set(xlabel="severity", ylabel=AXIS, xlim=(-0.3, 5.3), ylim=(0, 1))
    right.set_xticks(range(6), ["clean", *map(str, range(1, 6))])
    _finish(left, right)
    handles = [_handle(model, look) for model, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns(len(handles), 3))
    return figure


def _dots(axis: Axes, points: pd.DataFrame, rows: dict[str, float], look: dict[str, Any]) -> None:
    y = [rows[name] + look["offset"] for name in points.index]
    axis.hlines(y, points[VALUE] - 2 * points[ERROR], points[VALUE] + 2 * points[ERROR], color=look["color"], lw=1)
    axis.scatter(points[VALUE], y, 22, marker=look["marker"], color=look["color"], zorder=3)


def _steps(axis: Axes, points: pd.DataFrame, look: dict[str, Any]) -> None:
    moved = points.index + look["offset"] / 6
    axis.vlines(moved, points[VALUE] - 2 * points[ERROR], points[VALUE] + 2 * points[ERROR], color=look["color"], lw=1)
    line = {key: look[key] for key in ("color", "linestyle", "marker")}
    axis.plot(moved, points[VALUE], **line)


def _finish(left: Axes, right: Axes) -> None:
    left.set(xlabel=AXIS, xlim=(0, 1))
    left.xaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    right.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    for axis in (left, right):
        axis.grid(color="#E6E6E6", linewidth=0.6)
        axis.set_axisbelow(True)


def _handle(model: str, look: dict[str, Any]) -> Line2D:
    shown = {key: look[key] for key in ("color", "linestyle", "marker")}
    return Line2D([], [], label=label(model, 34), **shown)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, its accuracy on clean and on corrupted images, the worst corruption, and its mCE if defined."""
    return [_sentence(model, measurement.of(model)) for model in measurement.models]


def _sentence(model: str, one: Measurement) -> str:
    parts = [f"accuracy {_percent(*metric(one, 'clean_accuracy'))} on clean images"]
    mean, (count, _) = metric(one, "mean_accuracy"), metric(one, "sets")
    if not isnan(mean[0]):
        parts.append(f"{_percent(*mean)} in the plain mean over {count:.0f} corrupted sets")
    single = by_corruption(one).iloc[2:].sort_values(VALUE, kind="stable")
    for name, value, error in single.head(1).itertuples():
        parts.append(f"lowest under {str(name).replace('_', ' ')} ({_percent(value, error)})")
    for name, alexnet in ALEXNETS.items():
        if not isnan((mce := metric(one, name))[0]):
            parts.append(f"mCE {_percent(*mce)} against {alexnet}")
    return f"{model}: {', '.join(parts)}."


def _percent(value: float, error: float) -> str:
    return f"{value:.1%}" if isnan(error) else f"{value:.1%} ± {error:.1%}"


def plots(measurement: Measurement) -> list[Panel]:
    """The rows of corruptions, the mean against severity, and for each model a map of all its sets."""
    looks = _looks(measurement)
    first = Panel(
        title="Accuracy by corruption, mean over severities", figure=_rows_plot(measurement, looks), wide=True
    )
    second = Panel(title="Mean accuracy over corruptions, by severity", figure=_steps_plot(measurement, looks))
    return [first, second, *(_map(model, measurement.of(model).table) for model in measurement.models)]


def _rows_plot(measurement: Measurement, looks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    rows, _ = places(measurement.table)
    plot = interactive.layout(x=AXIS, y="")
    plot["margin"] = plot["margin"] | BELOW_BUTTONS
    names = [interactive.plain_text(_row_name(name, measurement)) for name in rows]
    ticks = {"tickvals": list(rows.values()), "ticktext": names, "range": [max(rows.values()) + 0.7, -0.7]}
    plot["yaxis"] = plot["yaxis"] | ticks
    plot["xaxis"] = plot["xaxis"] | {"range": [0, 1.02], "dtick": 0.2, "tickformat": ".0%"}
    traces = []
    for model, look in looks.items():
        points = by_corruption(measurement.of(model))
        places_of = [rows[name] + look["offset"] for name in points.index]
        traces.append(
            _trace(model, look, mode="markers")
            | {"x": interactive.numbers(points[VALUE]), "y": interactive.numbers(places_of)}
            | {"error_x": _bars(points, look), "text": [_row_name(name, measurement) for name in points.index]}
            | {"hovertemplate": "<b>%{fullData.name}</b><br>%{text}: %{x:.1%}<extra></extra>"}
        )
    return {"data": traces, "layout": plot}


def _steps_plot(measurement: Measurement, looks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    plot = interactive.layout(x="severity", y=AXIS)
    plot["xaxis"] = plot["xaxis"] | {"tickvals": list(range(6)), "ticktext": ["clean", *map(str, range(1, 6))]}
    plot["yaxis"] = plot["yaxis"] | {"range": [0, 1], "tickformat": ".0%"}
    traces = []
    for model, look in looks.items():
        points = by_severity(measurement.of(model))
        traces.append(
            _trace(model, look, mode="lines+markers")
            | {"x": list(range(6)), "y": interactive.numbers(points[VALUE]), "error_y": _bars(points, look)}
            | {"hovertemplate": "<b>%{fullData.name}</b><br>severity %{x}: %{y:.1%}<extra></extra>"}
        )
    return {"data": traces, "layout": plot}


def _trace(model: str, look: dict[str, Any], *, mode: str) -> dict[str, Any]:
    marker = {"symbol": MARKERS[look["marker"]], "size": 7, "color": look["color"]}
    return {"name": interactive.plain_text(model), "mode": mode, "marker": marker, "line": interactive.line(look)}


def _bars(points: pd.DataFrame, look: dict[str, Any]) -> dict[str, Any]:
    return {"array": interactive.numbers(2 * points[ERROR]), "thickness": 1, "width": 0, "color": look["color"]}


def _map(model: str, table: pd.DataFrame) -> Panel:
    """Every set of one model: a row a corruption, a column a severity."""
    shown = table[table["corruption"] != CLEAN]
    order = [name for name in places(table)[0] if name in set(shown["corruption"])]
    grid = shown.pivot(index="corruption", columns="severity", values=VALUE).loc[order]
    heat = {
        "type": "heatmap",
        "x": [str(severity) for severity in grid.columns],
        "y": [interactive.plain_text(name.replace("_", " ")) for name in grid.index],
        "z": [interactive.numbers(row) for row in grid.to_numpy()],
        "zmin": 0,
        "zmax": 1,
        "colorscale": "Viridis",
        "texttemplate": "%{z:.0%}",
        "hovertemplate": "%{y}, severity %{x}: %{z:.1%}<extra></extra>",
        "showscale": False,
    }
    plot = interactive.layout(x="severity", y="")
    plot["margin"] = plot["margin"] | BELOW_BUTTONS
    plot["yaxis"] = plot["yaxis"] | {"autorange": "reversed"}
    plot["xaxis"] = plot["xaxis"] | {"type": "category"}
    return Panel(title=f"{model}: accuracy on every set", figure={"data": [heat], "layout": plot}, key=SCALE)


EXHIBIT = Exhibit(
    title="Common corruptions",
    question="How much accuracy do noise, blur, weather and compression cost?",
    columns={
        "table": ("model", "corruption", "severity", VALUE, ERROR, "family"),
        "summary": ("model", "metric", "value", ERROR),
    },
    texts=frozenset({"model", "corruption", "family", "metric"}),
    draw=draw,
    sentences=sentences,
    caution=(
        "Severities are steps of one corruption and not of equal harm, so corruptions cannot be ranked by their "
        "strength, and the mean over sets depends on which corruptions are in it. Corruptions made on the fly are not "
        "the published files of the same name: compare only what was measured on the same. What follows ± is one "
        "standard error over images; for means over sets, which share their images, it is an upper bound. A network "
        "that is more accurate on clean images tends to be so on corrupted ones too, and augmentation in training "
        "that resembles a corruption helps against it: a difference may come from either and not from the architecture."
    ),
    interactive=plots,
)
