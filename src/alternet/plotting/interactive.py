"""Interactive plots: plotly figures as plain JSON values, made without importing plotly."""

import html
import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.colors import to_hex

from alternet.kinds import KINDS
from alternet.plotting import style
from alternet.plotting.depth_axis import ERROR, SHADES, Span, alike, merged, spans
from alternet.plotting.style import FAINT, INK, elide, kind_name

SYMBOLS = {
    "stem": "diamond",
    "msa": "circle",
    "conv": "square",
    "mlp": "triangle-up",
    "mixer": "cross",
    "pool": "triangle-down",
}
GLYPHS = {"stem": "◇", "msa": "●", "conv": "□", "mlp": "△", "mixer": "+", "pool": "▽"}
HUES = {"msa": "grey", "pool": "blue", "mixer": "yellow"}
POINTS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def plain_text(text: object) -> str:
    """A text that plotly shows as it is: no markup, no template.

    Examples:
        >>> plain_text("<b>net</b> %{x}")
        '&lt;b&gt;net&lt;/b&gt; %&#123;x}'
    """
    return html.escape(str(text), quote=False).replace("%{", "%&#123;")


def numbers(values: Iterable[float]) -> list[float | None]:
    """Numbers to six digits for JSON; what is missing or infinite becomes None, a gap.

    Examples:
        >>> numbers([1 / 3, float("nan")])
        [0.333333, None]
    """
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def rgb(colour: Any) -> str:
    """A matplotlib colour as plotly reads it."""
    return to_hex(colour)


def line(look: dict[str, Any]) -> dict[str, Any]:
    """The line of a model, as plotly reads it, from its matplotlib style."""
    return {"color": look["color"], "dash": DASHES[style.DASHES.index(look["linestyle"])]}


def unit_name(row: "pd.Series[Any]") -> str:
    """A unit in one line: where it is, what it is, how deep."""
    return f"{plain_text(row['tap'])} ({plain_text(kind_name(str(row['kind'])))}, depth {row['depth']:.2f})"


def layout(*, x: str, y: str) -> dict[str, Any]:
    """The layout that all plots share: quiet axes, legend below, as large as the page allows."""
    axis = {"showline": True, "linecolor": FAINT, "gridcolor": "#EEEEEE", "zeroline": False, "automargin": True}
    return {
        "autosize": True,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": -1},
        "xaxis": axis | {"title": {"text": x, "standoff": 8}},
        "yaxis": axis | {"title": {"text": y, "standoff": 8}},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xref": "paper"},
    }


def key(points: pd.DataFrame) -> tuple[str, ...]:
    """What the symbols, shades and bars of a plot against depth mean, as far as they occur.

    Examples:
        >>> key(pd.DataFrame({"kind": ["stem", "msa", "mlp"]}))
        ('◇ stem', '● attention', '△ MLP', 'grey: attention acts here')
    """
    present = dict.fromkeys(points["kind"])
    known = [kind for kind in dict.fromkeys((*KINDS, *present)) if kind in present]
    symbols = [f"{GLYPHS.get(kind, '×')} {kind_name(kind)}" for kind in known]
    shades = [f"{HUES[kind]}: {kind_name(kind)} acts here" for kind in known if kind in HUES]
    return (*symbols, *shades, *(["bars: ±2 standard errors"] if ERROR in points else []))


def against_depth(points: pd.DataFrame, value: str, looks: dict[str, dict], *, name: str) -> dict[str, Any]:
    """A quantity against depth for the models with these styles; kinds of units as background or as strips below."""
    parts = {model: points[points["model"] == model].sort_values("unit", kind="stable") for model in looks}
    cells = {model: spans(part) for model, part in parts.items()}
    traces = [_curve(part, value, looks[model]) for model, part in parts.items()]
    plot = layout(x="normalised depth", y=name)
    plot["xaxis"]["range"] = [-0.03, 1.03]
    if alike(cells.values()):
        plot["shapes"] = [_background(span) for span in merged(next(iter(cells.values()))) if span.kind in SHADES]
        return {"data": traces, "layout": plot}
    share = min(0.4, 0.06 * len(looks))
    plot["yaxis"]["domain"] = [share + 0.06, 1]
    plot["yaxis2"] = {"domain": [0, share], "autorange": "reversed", "fixedrange": True, "automargin": True}
    plot["yaxis2"] |= {"tickvals": list(range(len(looks))), "ticktext": [_short(model) for model in looks]}
    plot["xaxis"]["anchor"] = "y2"
    plot["barmode"] = "overlay"
    traces += [_strip(row, of_model) for row, of_model in enumerate(cells.values())]
    return {"data": traces, "layout": plot}


def _short(model: str) -> str:
    return plain_text(elide(model, 14))


def _curve(part: pd.DataFrame, value: str, look: dict[str, Any]) -> dict[str, Any]:
    error = {"array": numbers(2 * part[ERROR]), "thickness": 1, "width": 0} if ERROR in part else {"visible": False}
    return {
        "x": numbers(part["depth"]),
        "y": numbers(part[value]),
        "error_y": error,
        "name": "".join(plain_text(model) for model in part["model"].iloc[:1]),
        "text": [unit_name(row) for _, row in part.iterrows()],
        "mode": "lines+markers",
        "line": line(look),
        "marker": {
            "symbol": [SYMBOLS.get(kind, "x") for kind in part["kind"]],
            "size": 7,
            "color": [look["color"] if kind == "msa" else "white" for kind in part["kind"]],
            "line": {"color": look["color"], "width": 1.5},
        },
        "hovertemplate": "<b>%{fullData.name}</b><br>%{text}<br>%{y:.4g}<extra></extra>",
    }


def _strip(row: int, of_model: list[Span]) -> dict[str, Any]:
    fill = [rgb(SHADES.get(span.kind, {}).get("facecolor", "white")) for span in of_model]
    return {
        "type": "bar",
        "orientation": "h",
        "yaxis": "y2",
        "y": [row] * len(of_model),
        "base": numbers(span.start for span in of_model),
        "x": numbers(span.stop - span.start for span in of_model),
        "text": [f"{plain_text(span.tap)} ({plain_text(kind_name(span.kind))})" for span in of_model],
        "textposition": "none",
        "width": 0.7,
        "marker": {"color": fill, "line": {"color": FAINT, "width": 0.5}},
        "showlegend": False,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _background(span: Span) -> dict[str, Any]:
    where = {"x0": span.start, "x1": span.stop, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    fill = rgb(SHADES[span.kind]["facecolor"])
    return {"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": fill, "opacity": 0.7} | where
