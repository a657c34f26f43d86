"""Depth axis: a network laid out from stem to last unit, with its kinds of units as shading, strips and markers."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from alternet.kinds import KINDS, kind_of
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Points, belongs_to, points
from alternet.plotting.style import FAINT, INK, elide, label

SHADES = {name: dict(kind.shade) for name, kind in KINDS.items() if kind.shade}
"""How the span of a unit is filled; units of other kinds stay white, as in the paper."""


ERROR = "standard_error"
"""The column that says how far a value may be off because only so many images were measured."""

STEP = ("step", "step_low", "step_high")
"""Columns of what a unit changes, with its interval: what the bars show where results have them."""


class Span(NamedTuple):
    """The stretch of depth over which a unit acts: from the unit before it to itself."""

    start: float
    stop: float
    kind: str
    tap: str


def spans(points: pd.DataFrame) -> list[Span]:
    """The spans of one model's units, from one row a unit with `unit`, `depth`, `kind` and `tap`.

    Examples:
        >>> points = pd.DataFrame({"unit": [0, 1], "depth": [0.0, 1.0], "kind": ["stem", "msa"], "tap": ["s", "a"]})
        >>> spans(points)
        [Span(start=0.0, stop=1.0, kind='msa', tap='a')]
    """
    rows = points.sort_values("unit", kind="stable")
    stops = rows["depth"].tolist()
    parts = zip(stops, stops[1:], rows["kind"].iloc[1:], rows["tap"].iloc[1:], strict=False)
    return [Span(*part) for part in parts]


def alike(per_model: Iterable[list[Span]]) -> bool:
    """Whether all models have the same kinds of units at the same depths, so that one background serves them all."""
    return len({tuple(span[:3] for span in one) for one in per_model}) <= 1


def shade(axis: Axes, of_model: list[Span]) -> None:
    """Fill the background of an axis where attention, subsampling or token mixing acts."""
    for span in merged(of_model):
        if span.kind in SHADES:
            axis.axvspan(span.start, span.stop, zorder=0, linewidth=0, **SHADES[span.kind])


def merged(of_model: list[Span]) -> Iterator[Span]:
    """Neighbouring spans of one kind as one."""
    run: Span | None = None
    for span in of_model:
        if run is not None and run.kind == span.kind and run.stop == span.start:
            run = run._replace(stop=span.stop)
            continue
        if run is not None:
            yield run
        run = span
    if run is not None:
        yield run


def strips(axis: Axes, per_model: dict[str, list[Span]], styles: dict[str, dict[str, Any]]) -> list[Points]:
    """One row of cells a model, first model on top: which kind of unit acts where."""
    rows, targets = list(reversed(per_model)), []
    for row, model in enumerate(rows):
        cells = per_model[model]
        with belongs_to(model, axis):
            for span in cells:
                if span.kind in SHADES:
                    shape = {"height": 0.72, "linewidth": 0, **SHADES[span.kind]}
                    axis.barh(row, span.stop - span.start, left=span.start, **shape)
            # the frames of all cells in one line, which is a single path in a page
            x = [place for s in cells for place in (s.start, s.stop, s.stop, s.start, s.start, np.nan)]
            y = row + 0.36 * np.tile([-1, -1, 1, 1, -1, np.nan], len(cells))
            axis.plot(x, y, color=FAINT, linewidth=0.4)
        boxes = np.array([[span.start, row - 0.36, span.stop, row + 0.36] for span in cells]).reshape(-1, 4)
        texts = [f"{span.tap} ({kind_of(span.kind).words})" for span in cells]
        targets.append(Points(axis, boxes, texts, model, model))
    axis.set_yticks(range(len(rows)), [label(elide(model, 18)) for model in rows])
    for text, model in zip(axis.get_yticklabels(), rows, strict=True):
        text.set_color(styles[model]["color"])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.5, len(rows) - 0.5)
    axis.spines[["left"]].set_visible(False)
    return targets


def unit_name(row: Any) -> str:
    """A unit in one line: where it is, what it is, how deep.

    Examples:
        >>> unit_name({"tap": "layer1.0", "kind": "conv", "depth": 0.25})
        'layer1.0 (convolution, depth 0.25)'
    """
    return f"{row['tap']} ({kind_of(str(row['kind'])).words}, depth {row['depth']:.2f})"


def curve(axis: Axes, table: pd.DataFrame, value: str, style: dict[str, Any]) -> Points:
    """A quantity against depth for one model: a line, and at every unit the marker of its kind."""
    rows = table.sort_values("unit", kind="stable")
    model = str(rows["model"].iloc[0]) if len(rows) else ""
    texts = [f"{unit_name(row)}\n{row[value]:.4g}" for _, row in rows.iterrows()]
    with belongs_to(model, axis):
        axis.plot(rows["depth"], rows[value], zorder=3, **style)
        if ERROR in rows:
            errors = rows[ERROR].map(lambda error: "" if pd.isna(error) else f" ± {error:.2g}")
            texts = [text + error for text, error in zip(texts, errors, strict=True)]
        if has_steps(rows):
            texts = [text + _step(row) for text, (_, row) in zip(texts, rows.iterrows(), strict=True)]
        low, high = bars(rows, value)
        axis.vlines(rows["depth"], low, high, color=style["color"], linewidth=0.9, zorder=3)
        for kind, part in rows.groupby("kind", sort=False):
            it = kind_of(str(kind))
            look: dict[str, Any] = {"marker": it.marker, "edgecolor": style["color"]}
            look["facecolor"] = style["color"] if it.filled else "white"
            axis.scatter(part["depth"], part[value], 26, zorder=4, linewidth=1.2, **look)
    return points(axis, rows["depth"], rows[value], texts, name=model)


def has_steps(rows: pd.DataFrame) -> bool:
    """Whether the results say how sure a step from one unit to the next is; those of earlier versions do not."""
    return set(STEP) <= set(rows) and bool(rows[STEP[1]].notna().any())


def bars(rows: pd.DataFrame, value: str) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """The ends of each unit's bar: the interval of its step, as seen from the unit before, or its own, or two errors.

    Examples:
        >>> rows = pd.DataFrame({"x": [1.0, 3.0], "step": [np.nan, 2.0], "step_low": [np.nan, 1.5]})
        >>> [ends.tolist() for ends in bars(rows.assign(step_high=[np.nan, 2.5]), "x")]
        [[nan, 2.5], [nan, 3.5]]
    """
    if has_steps(rows):
        step, *ends = (rows[column] for column in STEP)
        low, high = (rows[value] + end - step for end in ends)
        return low, high
    error = rows[ERROR] if ERROR in rows else rows[value] * np.nan
    low, high = rows[value] - 2 * error, rows[value] + 2 * error
    if {"low", "high"} <= set(rows):  # results of earlier versions beside others have empty cells
        return rows["low"].fillna(low), rows["high"].fillna(high)
    return low, high


def _step(row: Any) -> str:
    step, low, high = (row[column] for column in STEP)
    return "" if pd.isna(low) else f"\nstep {step:+.2g}, 95 %: {low:+.2g} to {high:+.2g}".replace("-", "−")


def finish(axis: Axes) -> None:
    """Limits and label of the depth axis itself."""
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("normalised depth (0: stem, 1: last unit)")


def kind_entries(table: pd.DataFrame) -> list[Entry]:
    """Legend entries for the kinds of units that occur: marker, and the shading where there is one."""
    present = set(table["kind"])
    known = [kind for kind in (*KINDS, *sorted(present - set(KINDS))) if kind in present]
    entries = []
    for kind in known:
        it = kind_of(kind)
        look: dict[str, Any] = {
            "marker": it.marker,
            "markerfacecolor": INK if it.filled else "white",
            "markeredgecolor": INK,
        }
        entries.append(Entry(Line2D([], [], linestyle="none", **look), it.words))
    entries += [Entry(Patch(**SHADES[kind]), f"{kind_of(kind).words} acts here") for kind in known if kind in SHADES]
    bar = Line2D([], [], linestyle="none", marker="|", markersize=11, color=INK)
    if has_steps(table):
        return [*entries, Entry(bar, "95 % interval of the step from the unit before")]
    if {"low", "high"} <= set(table):
        return [*entries, Entry(bar, "95 % interval")]
    return entries + ([Entry(bar, "±2 standard errors")] if ERROR in table else [])
