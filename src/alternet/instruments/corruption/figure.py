"""Corruption figure: accuracy under each corruption and against severity (its mean is Fig 12b of the paper)."""

from functools import partial
from math import isnan, nan

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from alternet.instruments.corruption import CLEAN, Corruption
from alternet.instruments.exhibit import Exhibit
from alternet.instruments.key_number import KeyNumber, interval
from alternet.measurement import Measurement
from alternet.plotting.heat_map import COLOURS
from alternet.plotting.legend import of_models, put
from alternet.plotting.panel import Cells, Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, Drawing, label, letters, model_styles

MEAN = "mean"
SPREAD = 0.7
"""Part of the height of a row that the marks of all models may take."""

GAP = 0.6
"""Rows left free between two families."""

VALUE, ERROR = "accuracy", "standard_error"
AXIS = "accuracy (±2 standard errors)"
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
    each = table.groupby("corruption", sort=False)[[VALUE, ERROR]].mean()
    # the mean of the errors is no less than that of the mean, which results of version 0.1.0 do not have
    known = pd.Series({name: metric(one, f"mean_{name}")[1] for name in each.index}, dtype=float)
    return pd.concat([summed, each.assign(standard_error=known.fillna(each[ERROR]))])


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


def _offsets(measurement: Measurement) -> dict[str, float]:
    """By how much the marks of each model are moved off the middle of a row."""
    count = len(measurement.models)
    step = min(0.3, SPREAD / count)
    return {model: step * (turn - (count - 1) / 2) for turn, model in enumerate(measurement.models)}


def panels(measurement: Measurement) -> list[Panel]:
    """A row a corruption, the way from clean images to severity 5, and for each model a map of all its sets."""
    high = (max(places(measurement.table)[0].values()) + 1) * (0.22 + 0.02 * len(measurement.models))
    rows = partial(_rows, measurement=measurement)
    steps = partial(_steps, measurement=measurement)
    maps = [
        Panel(title=f"{model}: accuracy on every set", draw=partial(_map, table=measurement.of(model).table))
        for model in measurement.models
    ]
    return [
        Panel(title="Each corruption, mean over its severities", draw=rows, size=(5.0, 0.9 + high), wide=True),
        Panel(title="Mean over corruptions", draw=steps),
        *maps,
    ]


def _rows(axis: Axes, measurement: Measurement) -> Targets:
    targets, (rows, families) = [], places(measurement.table)
    looks, offsets = model_styles(measurement.models, points=True), _offsets(measurement)
    for model, look in looks.items():
        table = by_corruption(measurement.of(model))
        y, (low, high) = [rows[name] + offsets[model] for name in table.index], _whiskers(table)
        with belongs_to(model, axis):
            axis.hlines(y, low, high, color=look["color"], lw=1)
            axis.scatter(table[VALUE], y, 22, marker=look["marker"], color=look["color"], zorder=3)
        texts = [f"{_row_name(str(name), measurement)}: {_percent(*row)}" for name, *row in table.itertuples()]
        targets.append(points(axis, table[VALUE], y, texts, name=model))
    axis.set_yticks(list(rows.values()), [label(_row_name(name, measurement)) for name in rows])
    axis.set_ylim(max(rows.values()) + 0.7, -0.7)
    axis.tick_params(axis="y", length=0)
    for family, middle in families.items():
        where = {"transform": axis.get_yaxis_transform(), "ha": "left", "va": "center"}
        axis.text(1.01, middle, label(family), color=FAINT, **where)
    axis.set(xlabel=AXIS, xlim=(0, 1))
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    _quiet_grid(axis)
    return list(targets)


def _steps(axis: Axes, measurement: Measurement) -> Targets:
    targets, offsets = [], _offsets(measurement)
    for model, look in model_styles(measurement.models, points=True).items():
        table = by_severity(measurement.of(model))
        moved, (low, high) = table.index + offsets[model] / 6, _whiskers(table)
        with belongs_to(model, axis):
            axis.vlines(moved, low, high, color=look["color"], lw=1)
            axis.plot(moved, table[VALUE], **look)
        texts = [f"{f'severity {step}' if step else CLEAN}: {_percent(*row)}" for step, *row in table.itertuples()]
        targets.append(points(axis, moved, table[VALUE], texts, name=model))
    axis.set(xlabel="severity", ylabel=AXIS, xlim=(-0.3, 5.3), ylim=(0, 1))
    axis.set_xticks(range(6), [CLEAN, *map(str, range(1, 6))])
    axis.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    _quiet_grid(axis)
    return list(targets)


def _whiskers(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    return table[VALUE] - 2 * table[ERROR], table[VALUE] + 2 * table[ERROR]


def _quiet_grid(axis: Axes) -> None:
    axis.grid(color="#E6E6E6", linewidth=0.6)
    axis.set_axisbelow(True)


def _map(axis: Axes, table: pd.DataFrame) -> Targets:
    """Every set of one model: a row a corruption, a column a severity; dark is 0 %, bright 100 %."""
    shown, model = table[table["corruption"] != CLEAN], str(table["model"].iloc[0])
    order = [name for name in places(table)[0] if name in set(shown["corruption"])]
    squares = [
        shown.pivot(index="corruption", columns="severity", values=column).loc[order] for column in (VALUE, ERROR)
    ]
    names, severities = [name.replace("_", " ") for name in order], squares[0].columns
    with belongs_to(model, axis):
        axis.imshow(squares[0], COLOURS, vmin=0, vmax=1, aspect="auto", interpolation="none")
        for (row, column), value in np.ndenumerate(squares[0].to_numpy(dtype=float)):
            if not isnan(value):
                ink = "black" if value > 0.6 else "white"  # bright colours are above, dark ones below
                axis.text(column, row, f"{value:.0%}", color=ink, ha="center", va="center", fontsize=letters(8))
    axis.set_yticks(range(len(names)), [label(name) for name in names])
    axis.set_xticks(range(len(severities)), [str(severity) for severity in severities])
    axis.tick_params(length=0)
    axis.set_xlabel("severity")
    axis.spines[:].set_visible(False)
    both = (square.to_numpy(dtype=float) for square in squares)
    pairs = (zip(*rows, strict=True) for rows in zip(*both, strict=True))
    texts = [[_percent(*pair) if not isnan(pair[0]) else "not measured" for pair in row] for row in pairs]
    extent = (-0.5, len(severities) - 0.5, -0.5, len(names) - 0.5)
    return [Cells(axis, extent, names, [f"severity {severity}" for severity in severities], texts, model)]


legend = partial(of_models, points=True)


def draw(measurement: Measurement) -> Drawing:
    """Rows on the left, steps on the right."""
    rows, steps, *_ = panels(measurement)
    figure = Drawing(figsize=(10.5, 1.0 + rows.size[1]), layout="constrained")
    for axis, panel in zip(figure.subplots(1, 2, width_ratios=[1.7, 1]), (rows, steps), strict=True):
        panel.draw(axis)
        axis.set_title(panel.title)
    put(figure, legend(measurement))
    return figure


def sentences(measurement: Measurement) -> list[str]:
    """For each model, its accuracy on clean and on corrupted images, the worst corruption, and its mCE if defined."""
    said = []
    for model in measurement.models:
        one = measurement.of(model)
        parts = [f"accuracy {_percent(*metric(one, 'clean_accuracy'))} on clean images"]
        mean, (count, _) = metric(one, "mean_accuracy"), metric(one, "sets")
        if not isnan(mean[0]):
            parts.append(f"{_percent(*mean)} in the plain mean over {count:.0f} corrupted sets")
        single = by_corruption(one).iloc[2:].sort_values(VALUE, kind="stable")  # without the rows `clean` and `mean`
        for name, value, error in single.head(1).itertuples():
            parts.append(f"lowest under {str(name).replace('_', ' ')} ({_percent(value, error)})")
        for name, alexnet in ALEXNETS.items():
            if not isnan((mce := metric(one, name))[0]):
                parts.append(f"mCE {_percent(*mce)} against {alexnet}")
        said.append(f"{model}: {', '.join(parts)}.")
    return said


def _percent(value: float, error: float) -> str:
    return f"{value:.1%}" if isnan(error) or not error else f"{value:.1%} ± {error:.1%}"


def numbers(measurement: Measurement) -> dict[str, KeyNumber]:
    """Accuracy in the mean over all corrupted sets."""
    value, error = metric(measurement, "mean_accuracy")
    shown = KeyNumber(
        value=value,
        title="Corrupted",
        says="accuracy in the mean over all corrupted sets",
        topic="robustness",
        better="higher",
        percent=True,
        **interval(value, error),
    )
    return {"mean accuracy": shown}


EXHIBIT = Exhibit(
    spec=Corruption.spec,
    panels=panels,
    legend=legend,
    draw=draw,
    sentences=sentences,
    numbers=numbers,
)
