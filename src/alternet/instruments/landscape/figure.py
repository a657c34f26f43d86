"""Landscape figure: surfaces, contours, cuts and flatness of several models, all with one scale (Fig 1a, C.4a, C.7)."""

from collections.abc import Mapping
from functools import partial
from math import ceil, floor, isfinite, log10
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.axes3d import Axes3D

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.key_number import KeyNumber, interval
from alternet.instruments.landscape import Landscape
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry, models, put
from alternet.plotting.panel import Cells, Panel, Points, Targets, belongs_to, points
from alternet.plotting.style import FAINT, Drawing, elide, label, letters, model_styles, say_empty, title
from alternet.plotting.surface import Grid, Scale, colour_bar, draw_contours, draw_surface, heights, scale, turning

PARTS = {"nll": "NLL alone", "loss": "NLL + L2"}
RISES = {"NLL": ("nll_rise", "nll_standard_error"), "loss": ("rise", "standard_error")}
BOWL: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 1.8}
NAMED = 3
"""Of more models than these the bars bear no names, which would run into each other; their colours tell."""
L2: dict[str, Any] = {"facecolor": "none", "hatch": "/////", "linewidth": 0.8}


def panels(measurement: Measurement) -> list[Panel]:
    """Each model as surface and as contours, then all together: cuts along the axes, and flatness."""
    grids = {model: heights(measurement.of(model).table) for model in measurement.models}
    shown = scale(list(grids.values()))
    pairs: list[Panel] = []
    for model, grid in grids.items():
        here = {"model": model, "grid": grid, "shown": shown}
        surface = Panel(
            title=f"{model}: NLL + L2 above the centre",
            draw=partial(_surface, **here),
            projection="3d",
            size=(3.9, 3.3),
            surface=turning(grid, shown),
        )
        contours = Panel(
            title=f"{model}: the same from above",
            draw=partial(_contours, **here),
            size=(4.2, 3.3),
            bar=colour_bar(shown),
        )
        pairs += [surface, contours]
    bowls = {model: bowl(measurement.of(model)) for model in measurement.models}
    cuts = [
        Panel(title=f"Cuts: {name}", draw=partial(_cuts, grids=grids, column=column, bowls=bowls))
        for column, name in PARTS.items()
    ]
    rise = Panel(title="Mean rise over directions (±2 SE)", draw=partial(_bars, measurement=measurement))
    return [*pairs, *cuts, rise]


def _surface(axis: Axes3D, model: str, grid: Grid, shown: Scale) -> Targets:
    with belongs_to(model, axis):
        draw_surface(axis, grid, shown)
    return []


def _contours(axis: Axes, model: str, grid: Grid, shown: Scale) -> Targets:
    if not np.isfinite(grid.loss).any():
        say_empty(axis)
        return []
    with belongs_to(model, axis):
        draw_contours(axis, grid, shown)
    pairs = (zip(*rows, strict=True) for rows in zip(grid.loss, grid.nll, strict=True))
    texts = [[f"NLL {nll:+.4g}\nloss {loss:+.4g}".replace("-", "−") for loss, nll in row] for row in pairs]
    (left, right), (bottom, top) = (_edges(side) for side in (grid.x, grid.y))
    names = [[f"{letter} = {place:.3g}" for place in side] for letter, side in (("y", grid.y), ("x", grid.x))]
    return [Cells(axis, (left, right, bottom, top), names[0], names[1], texts, model)]


def _edges(places: np.ndarray) -> tuple[float, float]:
    """Where the outermost cells end whose middles lie at these places, which are evenly spaced."""
    half = (places[-1] - places[0]) / max(2 * (len(places) - 1), 1) or 0.5
    return float(places[0] - half), float(places[-1] + half)


def bowl(one: Measurement) -> float | None:
    """The rise of a model's L2 part over r², where directions are as long as the weights and L2 is their square.

    It is weight decay times the L2 of the weights that move, whatever the data; None where there is no such identity.
    """
    settings = one.provenance.get("settings", {})
    flat = one.tables["flatness"].astype({"l2_rise": float}).dropna(subset=["l2_rise"])
    exact = settings.get("l2", "textbook") == "textbook" and settings.get("normalisation") in (None, "filter", "layer")
    if not exact or flat.empty:
        return None
    last = flat.sort_values("radius").iloc[-1]
    return float(last["l2_rise"] / last["radius"] ** 2)


def _cuts(axis: Axes, grids: Mapping[str, Grid], column: str, bowls: Mapping[str, float | None]) -> Targets:
    """The loss along the two axes of the plane, above what L2 adds by itself."""
    targets = []
    for model, look in model_styles(tuple(grids)).items():
        grid = grids[model]
        values = grid.loss if column == "loss" else grid.nll
        along_x, along_y = values[np.abs(grid.y).argmin()], values[:, np.abs(grid.x).argmin()]
        for letter, at, heights_, width in (("x", grid.x, along_x, 1.8), ("y", grid.y, along_y, 0.8)):
            with belongs_to(model, axis):
                axis.plot(at, heights_, **look, linewidth=width)
            texts = [f"{letter} = {x:.3g}: {y:+.4g}".replace("-", "−") for x, y in zip(at, heights_, strict=True)]
            targets.append(points(axis, at, heights_, texts, name=model))
    for model, look in model_styles(tuple(grids)).items():
        if column == "loss" and (factor := bowls[model]) is not None:
            at = grids[model].x
            with belongs_to(model, axis):
                axis.plot(at, factor * at**2, color=look["color"], **BOWL)
    axis.set(xlabel="x or y", ylabel="above the centre")
    return list(targets)


def draw(measurement: Measurement) -> Drawing:
    """Surfaces above contours, a column a model, and below them what shows all models together."""
    drawn, count = panels(measurement), len(measurement.models)
    surfaces, contours, together = drawn[0 : 2 * count : 2], drawn[1 : 2 * count : 2], drawn[2 * count :]
    across = 3 if count > 2 else count
    rows, height = ceil(count / across), 3.6 if count == 1 else 5.4
    figure = Drawing(figsize=(10.5, height * rows + 3.2), layout="constrained")
    *parts, last = figure.subfigures(rows + 1, 1, squeeze=False, height_ratios=[height] * rows + [3.2]).ravel()
    for row, part in enumerate(parts):
        some = slice(row * across, (row + 1) * across)
        _side_by_side(part, surfaces[some], contours[some], across, measurement.models[some])
    _, right, _ = axes = last.subplots(1, 3, width_ratios=[1, 1, 1.15])
    for axis, panel in zip(axes, together, strict=True):
        panel.draw(axis)
        axis.set_title(panel.title)
    right.set_ylabel("")
    entries = legend(measurement)
    put(last, entries, width=60, columns=4 if count > 3 else len(entries))
    return figure


def _side_by_side(
    part: Any, surfaces: list[Panel], contours: list[Panel], across: int, models: tuple[str, ...]
) -> None:
    spec, flat = part.add_gridspec(1, 2) if across == 1 else part.add_gridspec(2, across, height_ratios=[1.25, 1]), []
    for column, (model, surface, contour) in enumerate(zip(models, surfaces, contours, strict=True)):
        above = part.add_subplot(spec[0, column], projection="3d")
        surface.draw(above)
        above.set_title(title(model, 30), loc="center", y=0.98)
        flat.append(part.add_subplot(spec[0, 1] if across == 1 else spec[1, column]))
        contour.draw(flat[-1])
        if column:
            flat[-1].set_ylabel("")
    bar = contours[0].bar
    assert bar is not None
    bar.add(part, flat, shrink=0.9, aspect=14, pad=0.02)


def legend(measurement: Measurement) -> list[Entry]:
    """The models, and what lines and bars are."""
    known = any(bowl(measurement.of(model)) is not None for model in measurement.models)
    return [
        *models(model_styles(measurement.models)),
        Entry(Line2D([], [], color=FAINT, linewidth=1.8), "along x"),
        Entry(Line2D([], [], color=FAINT, linewidth=0.8), "along y"),
        *([Entry(Line2D([], [], color=FAINT, **BOWL), "L2 by identity: weight decay · L2 · r²")] if known else []),
        Entry(Patch(color=FAINT), "NLL"),
        Entry(Patch(**L2, edgecolor=FAINT), "L2"),
    ]


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `flatness` at half the largest radius and at the largest one, as far as there are such."""
    table = table.drop(columns="model").astype(float)
    wanted = sorted({table["radius"].max() / 2, table["radius"].max()})
    rows = [table.loc[(table["radius"] - radius).abs().idxmin()] for radius in wanted]
    return pd.DataFrame(rows).drop_duplicates("radius")


def _bars(axis: Axes, measurement: Measurement) -> Targets:
    """How far the NLL rises in the mean over directions, and what L2 adds."""
    ticks: dict[float, str] = {}
    models, targets = measurement.models, []
    for place, (model, look) in enumerate(model_styles(models).items()):
        rows = ends(measurement.of(model).tables["flatness"])
        for side, (_, row) in zip((-0.2, 0.2), rows.iterrows(), strict=False):
            at, foot = place + side, max(row["nll_rise"], 0)
            with belongs_to(model, axis):
                axis.bar(at, row["nll_rise"], 0.36, color=look["color"])
                axis.bar(at, row["l2_rise"], 0.36, bottom=foot, **L2, edgecolor=look["color"])
                if isfinite(row["nll_standard_error"]):
                    error = 2 * row["nll_standard_error"]
                    axis.errorbar(at, row["nll_rise"], error, color=FAINT, capsize=2, linewidth=1)
            ticks[at] = f"r = {row['radius']:.3g}" if len(models) <= NAMED else f"{row['radius']:.3g}"
            box = np.array([[at - 0.18, min(row["nll_rise"], 0), at + 0.18, foot + row["l2_rise"]]])
            said = {name: _number(row[part], row[error]) for name, (part, error) in RISES.items()}
            text = "\n".join([f"r = {row['radius']:.3g}", *(f"{name} {number}" for name, number in said.items())])
            targets.append(Points(axis, box, [text], model, model))
    axis.set_xticks(list(ticks), list(ticks.values()), minor=True, fontsize=letters(7))
    names = [label(elide(model, 33 // len(models))) if len(models) <= NAMED else "" for model in models]
    axis.set_xticks(range(len(models)), names)
    axis.tick_params(axis="x", which="major", length=0, pad=18)
    beside = 0.6 if len(models) > 1 else 1.0
    axis.set_xlim(-beside, len(models) - 1 + beside)
    if measurement.tables["flatness"]["rise"].isna().all():
        say_empty(axis)
    return list(targets)


def sentences(measurement: Measurement) -> list[str]:
    """For each model, how far the NLL rises at half the radius and at all of it, and what L2 adds."""
    said = []
    for model in measurement.models:
        table, parts = measurement.of(model).tables["flatness"], []
        for _, row in ends(table).iterrows():
            where = f"at r = {row['radius']:.3g} the"
            if not isfinite(row["rise"]):
                lost = row["directions"] - row["finite"]
                parts.append(f"{where} loss is not finite along {lost:.0f} of {row['directions']:.0f} directions")
                continue
            nll = _number(row["nll_rise"], row["nll_standard_error"])
            l2 = _number(row["l2_rise"], float("nan"))
            parts.append(f"{where} NLL stands {nll} above the centre, and L2 adds {l2}")

        spread = ""
        if table["rise"].notna().any():
            count, sampled = int(table["directions"].iloc[0]), table["standard_error"].notna().any()
            spread = f" (mean over {count} random directions, ± one standard error)" if sampled else ""
            spread = spread or f" (mean of {count} directions)"
        factor = bowl(measurement.of(model))
        known = "" if factor is None else f"; what L2 adds is {factor:.3g}·r² by identity, whatever the data"
        said.append(f"{model}: {'; '.join(parts)}{spread}{known}.")
    return said


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


def numbers(measurement: Measurement) -> dict[str, KeyNumber]:
    """The mean rise of the NLL at the largest radius that was measured."""
    table = measurement.tables["flatness"].dropna(subset=["nll_rise"])
    if table.empty:
        return {}
    last = table.sort_values("radius").iloc[-1]
    value, radius = float(last["nll_rise"]), f"{last['radius']:.2g}"
    shown = KeyNumber(
        value=value,
        title=f"NLL rise, r = {radius}",
        says=f"mean rise of the NLL over directions at r = {radius}, in nats",
        topic="loss landscape",
        better="lower",
        **interval(value, last["nll_standard_error"], last["finite"] - 1),
    )
    return {f"rise of the NLL at {radius}": shown}


EXHIBIT = Exhibit(
    spec=Landscape.spec,
    panels=panels,
    legend=legend,
    draw=draw,
    sentences=sentences,
    numbers=numbers,
)
