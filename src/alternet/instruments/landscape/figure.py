"""Landscape figure: surfaces, contours, cuts and flatness of several models, all with one scale (Fig 1a, C.4a, C.7)."""

from collections.abc import Mapping
from math import ceil, floor, isfinite, log10
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from alternet.measurement import Measurement
from alternet.plotting import interactive
from alternet.plotting.exhibit import Exhibit, Panel
from alternet.plotting.style import FAINT, Drawing, elide, label, model_styles, say_empty, title
from alternet.plotting.surface import Grid, Scale, add_axes, draw_contours, draw_surface, heights, plot, scale

PARTS = {"loss": "NLL + L2", "nll": "NLL alone"}
KEY = ("height: NLL + L2 above the centre, one scale for all models", "gaps: not finite, or beyond the scale")
ERRORS = {"rise": "standard_error", "nll_rise": "nll_standard_error"}
NAMED = 3
"""Of more models than these the bars bear no names, which would run into each other; their colours tell."""
L2: dict[str, Any] = {"facecolor": "none", "hatch": "/////", "linewidth": 0.8}


def draw(measurement: Measurement) -> Drawing:
    """Each model as surface and contours, then all together: cuts along the axes, and flatness."""
    grids = {model: heights(measurement.of(model).table) for model in measurement.models}
    shown = scale(list(grids.values()))
    across = 3 if len(grids) > 2 else len(grids)
    rows, height = ceil(len(grids) / across), 3.6 if len(grids) == 1 else 5.4
    figure = Drawing(figsize=(10.5, height * rows + 3.2), layout="constrained")
    *pairs, last = figure.subfigures(rows + 1, 1, squeeze=False, height_ratios=[height] * rows + [3.2]).ravel()
    for row, part in enumerate(pairs):
        _side_by_side(part, dict(list(grids.items())[row * across : (row + 1) * across]), across, shown)
    _together(last, measurement, grids)
    return figure


def _side_by_side(part: Any, grids: Mapping[str, Grid], across: int, shown: Scale) -> None:
    spec = part.add_gridspec(1, 2) if across == 1 else part.add_gridspec(2, across, height_ratios=[1.25, 1])
    flat, filled = [], None
    for column, (model, grid) in enumerate(grids.items()):
        above = add_axes(part, spec[0, column])
        draw_surface(above, grid, shown)
        above.set_title(title(model, 30), loc="center", y=0.98)
        below = part.add_subplot(spec[0, 1] if across == 1 else spec[1, column])
        if np.isfinite(grid.loss).any():
            filled = draw_contours(below, grid, shown)
        else:
            say_empty(below)
        flat.append(below)
    flat[0].set_ylabel("y")
    if filled is not None:
        bar = part.colorbar(filled, ax=flat, label="loss above the centre", shrink=0.9, aspect=14, pad=0.02)
        ticks = [float(level) for level in filled.levels][::2]
        bar.set_ticks(ticks, labels=[f"{level:.3g}" for level in ticks])


def _together(part: Any, measurement: Measurement, grids: Mapping[str, Grid]) -> None:
    axes = part.subplots(1, 3, width_ratios=[1, 1, 1.15])
    for axis, column in zip(axes, PARTS, strict=False):
        _cuts(axis, grids, column)
    axes[0].sharey(axes[1])
    axes[0].set_ylabel("above the centre")
    axes[1].tick_params(labelleft=False)
    _bars(axes[2], measurement)
    looks = model_styles(measurement.models)
    handles = [Line2D([], [], **look, label=label(model, 60)) for model, look in looks.items()]
    handles += [
        Line2D([], [], color=FAINT, linewidth=1.8, label="along x"),
        Line2D([], [], color=FAINT, linewidth=0.8, label="along y"),
        Patch(color=FAINT, label="NLL"),
        Patch(**L2, edgecolor=FAINT, label="L2"),
    ]
    part.legend(handles=handles, loc="outside lower center", ncols=4 if len(looks) > 3 else len(handles))


def _cuts(axis: Axes, grids: Mapping[str, Grid], column: str) -> None:
    """The loss along the two axes of the plane."""
    for model, look in model_styles(tuple(grids)).items():
        grid = grids[model]
        values = grid.loss if column == "loss" else grid.nll
        row, place = np.abs(grid.y).argmin(), np.abs(grid.x).argmin()
        axis.plot(grid.x, values[row], **look, linewidth=1.8)
        axis.plot(grid.y, values[:, place], **look, linewidth=0.8)
    axis.set(xlabel="x or y", title=f"Cuts: {PARTS[column]}")


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `flatness` at half the largest radius and at the largest one, as far as there are such."""
    table = table.drop(columns="model").astype(float)
    wanted = sorted({table["radius"].max() / 2, table["radius"].max()})
    rows = [table.loc[(table["radius"] - radius).abs().idxmin()] for radius in wanted]
    return pd.DataFrame(rows).drop_duplicates("radius")


def _bars(axis: Axes, measurement: Measurement) -> None:
    """How far the loss rises in the mean over directions, and what of it is NLL."""
    ticks: dict[float, str] = {}
    models = measurement.models
    for place, (model, look) in enumerate(model_styles(measurement.models).items()):
        for side, (_, row) in zip((-0.2, 0.2), ends(measurement.of(model).tables["flatness"]).iterrows(), strict=False):
            at, error = place + side, row["standard_error"]
            axis.bar(at, row["nll_rise"], 0.36, color=look["color"])
            axis.bar(at, row["l2_rise"], 0.36, bottom=max(row["nll_rise"], 0), **L2, edgecolor=look["color"])
            if isfinite(error):
                axis.errorbar(at, row["rise"], 2 * error, color=FAINT, capsize=2, linewidth=1)
            ticks[at] = f"r = {row['radius']:.3g}" if len(models) <= NAMED else f"{row['radius']:.3g}"
    axis.set_xticks(list(ticks), list(ticks.values()), minor=True, fontsize=7)
    names = [label(elide(model, 33 // len(models))) if len(models) <= NAMED else "" for model in models]
    axis.set_xticks(range(len(models)), names)
    axis.tick_params(axis="x", which="major", length=0, pad=18)
    beside = 0.6 if len(models) > 1 else 1.0
    axis.set_xlim(-beside, len(models) - 1 + beside)
    axis.set_title("Mean rise over directions (±2 SE)")
    if measurement.tables["flatness"]["rise"].isna().all():
        say_empty(axis)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, how far the loss rises at half the radius and at all of it, and what of that is NLL."""
    return [_sentence(model, measurement.of(model).tables["flatness"]) for model in measurement.models]


def _sentence(model: str, table: pd.DataFrame) -> str:
    parts = [_at(row) for _, row in ends(table).iterrows()]
    if table["rise"].isna().all():
        return f"{model}: {'; '.join(parts)}."
    count, sampled = int(table["directions"].iloc[0]), table["standard_error"].notna().any()
    spread = f"mean over {count} random directions, ± one standard error" if sampled else f"mean of {count} directions"
    return f"{model}: {'; '.join(parts)} ({spread})."


def _at(row: "pd.Series[Any]") -> str:
    where = f"at r = {row['radius']:.3g} the loss"
    if not isfinite(row["rise"]):
        lost = row["directions"] - row["finite"]
        return f"{where} is not finite along {lost:.0f} of {row['directions']:.0f} directions"
    rise, nll = (_number(row[part], row[error]) for part, error in ERRORS.items())
    return f"{where} stands {rise} above the centre, of which NLL {nll} and L2 {_number(row['l2_rise'], float('nan'))}"


def _number(value: float, error: float) -> str:
    """A value to the digits that its error allows.

    Examples:
        >>> _number(12.3456, 0.0123), _number(123.4, 12.3), _number(0.12345, float("nan"))
        ('12.346 ± 0.012', '123 ± 12', '0.123')
    """
    if not isfinite(error) or error <= 0:
        return f"{value:.3g}"
    digits = max(0, 1 - floor(log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def plots(measurement: Measurement) -> list[Panel]:
    """A surface a model, then the cuts of all."""
    grids = {model: heights(measurement.of(model).table) for model in measurement.models}
    shown = scale(list(grids.values()))
    surfaces = [Panel(title=model, figure=plot(grid, shown), key=KEY) for model, grid in grids.items()]
    return [*surfaces, _cut_panel(grids)]


def _cut_panel(grids: Mapping[str, Grid]) -> Panel:
    traces = []
    for model, look in model_styles(tuple(grids)).items():
        grid = grids[model]
        for column, values in (("loss", grid.loss), ("nll", grid.nll)):
            traces.append(
                {
                    "x": interactive.numbers(grid.x),
                    "y": interactive.numbers(values[np.abs(grid.y).argmin()]),
                    "name": f"{interactive.plain_text(model)}, {PARTS[column]}",
                    "mode": "lines" if column == "loss" else "lines+markers",
                    "marker": {"color": look["color"], "size": 4},
                    "line": interactive.line(look) | {"width": 2 if column == "loss" else 1},
                }
            )
    layout = interactive.layout(x="x, at y = 0", y="above the centre")
    return Panel(title="Cuts along x", figure={"data": traces, "layout": layout}, key=("dots: NLL alone",), wide=True)


EXHIBIT = Exhibit(
    title="Loss landscape",
    question="How flat is the loss around the weights?",
    columns={
        "table": ("model", "x", "y", "nll", "l2", "loss", "accuracy"),
        "flatness": (
            "model",
            "radius",
            "rise",
            "standard_error",
            "nll_rise",
            "nll_standard_error",
            "l2_rise",
            "directions",
            "finite",
        ),
    },
    draw=draw,
    sentences=sentences,
    caution=(
        "A surface shows two directions out of as many as there are weights, and what it looks like depends on their "
        "normalisation: weights that are rescaled without changing a prediction can make it flat or sharp. The L2 part "
        "is a bowl around zero that knows no data; where it makes most of the height, as it often does, a flat picture "
        "means small weights, so compare the NLL as well. Training on other data or with another augmentation moves "
        "the centre. That a flatter minimum generalises better does not follow."
    ),
    interactive=plots,
)
