"""Depth axis: a network laid out from stem to last unit, with its kinds of units as shading, strips and markers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from alternet.kinds import KINDS, kind_of
from alternet.plotting.style import FAINT, INK, Drawing, elide, grid, kind_name, label, title

SHADES = {name: dict(kind.shade) for name, kind in KINDS.items() if kind.shade}
"""How the span of a unit is filled; units of other kinds stay white, as in the paper."""


ERROR = "standard_error"
"""The column that says how far a value may be off because only so many images were measured."""


class Span(NamedTuple):
    """The stretch of depth over which a unit acts: from the unit before it to itself."""

    start: float
    stop: float
    kind: str
    tap: str


def panels(models: Sequence[str], *, height: float, name: str) -> tuple[Drawing, dict[str, Axes]]:
    """A figure with a panel for each model, whose values have scales of their own; the left ones name the quantity."""
    rows, across = grid(len(models))
    figure = Drawing(figsize=(10.5 if across > 1 else 7.0, height * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, across, sharex=True, squeeze=False).ravel()
    for axis, model in zip(axes, models, strict=False):
        axis.set_title(title(model, 36))
    for axis in axes[len(models) :]:
        axis.set_axis_off()
    for axis in axes[::across]:
        axis.set_ylabel(name)
    return figure, dict(zip(models, axes, strict=False))


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


def strips(axis: Axes, per_model: dict[str, list[Span]], styles: dict[str, dict[str, Any]]) -> None:
    """One row of cells a model, first model on top: which kind of unit acts where."""
    rows = list(reversed(per_model))
    for row, model in enumerate(rows):
        for span in per_model[model]:
            shape = {"facecolor": "white", **SHADES.get(span.kind, {})}
            axis.barh(row, span.stop - span.start, left=span.start, height=0.72, linewidth=0, **shape)
            axis.barh(row, span.stop - span.start, left=span.start, height=0.72, fill=False, ec=FAINT, lw=0.4)
    axis.set_yticks(range(len(rows)), [label(elide(model, 28)) for model in rows])
    for text, model in zip(axis.get_yticklabels(), rows, strict=True):
        text.set_color(styles[model]["color"])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(-0.5, len(rows) - 0.5)
    axis.spines[["left"]].set_visible(False)


def curve(axis: Axes, points: pd.DataFrame, value: str, style: dict[str, Any]) -> None:
    """A quantity against depth for one model: a line, and at every unit the marker of its kind."""
    rows = points.sort_values("unit", kind="stable")
    axis.plot(rows["depth"], rows[value], zorder=3, **style)
    if ERROR in rows:
        axis.vlines(
            rows["depth"],
            rows[value] - 2 * rows[ERROR],
            rows[value] + 2 * rows[ERROR],
            color=style["color"],
            linewidth=0.9,
            zorder=3,
        )
    for kind, part in rows.groupby("kind", sort=False):
        it = kind_of(str(kind))
        marks = axis.scatter(part["depth"], part[value], 26, marker=it.marker, zorder=4, linewidth=1.2)
        marks.set(facecolor=style["color"] if it.filled else "white", edgecolor=style["color"])


def finish(axis: Axes) -> None:
    """Limits and label of the depth axis itself."""
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("normalised depth (0: stem, 1: last unit)")


def kind_handles(points: pd.DataFrame) -> list[Artist]:
    """Legend entries for the kinds of units that occur: marker, and the shading where there is one."""
    present = set(points["kind"])
    known = [kind for kind in (*KINDS, *sorted(present - set(KINDS))) if kind in present]
    handles: list[Artist] = [_marker(kind) for kind in known]
    shaded = [Patch(**SHADES[kind], label=f"{kind_name(kind)} acts here") for kind in known if kind in SHADES]
    return handles + shaded + ([_error_bar()] if ERROR in points else [])


def model_handles(styles: dict[str, dict[str, Any]], *, width: int = 34) -> list[Artist]:
    """Legend entries for the models, their names in full."""
    return [Line2D([], [], label=label(model, width), **style) for model, style in styles.items()]


def _marker(kind: str) -> Line2D:
    it = kind_of(kind)
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=it.marker,
        markerfacecolor=INK if it.filled else "white",
        markeredgecolor=INK,
        label=label(it.words),
    )


def _error_bar() -> Line2D:
    return Line2D([], [], linestyle="none", marker="|", markersize=11, color=INK, label="±2 standard errors")
