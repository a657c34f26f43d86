"""Differences: how a report shows the comparison of two networks, one row a key number, in its own unit."""

from collections.abc import Iterable
from functools import partial
from math import isnan
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.spec import Spec, integer, number, text
from alternet.instruments.verdicts import interval, records, say
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel, Targets, belongs_to, points, stacked
from alternet.plotting.style import FAINT, INK, Drawing, label, letters, model_styles, short

CLEAR = 0.05
"""A difference is clear where p, corrected after Holm for all rows of its table, is below this."""
NONE = "–"
"""In a cell of words that has nothing to say."""


class Axis(NamedTuple):
    """An axis that rows share.

    Attributes:
        title: Of the panel.
        label: Below the axis.
        null: Where there is no difference.
        log: Whether it is logarithmic.
        factor: What effects are multiplied by.
    """

    title: str
    label: str
    null: float = 0.0
    log: bool = False
    factor: float = 1.0


AXES = {
    "points": Axis("Shares", "percentage points", factor=100),
    "nat": Axis("Losses", "nat"),
    "ratio": Axis("Ratios", "times as much", null=1.0, log=True),
    "plain": Axis("Other numbers", "each in its own unit"),
}
"""In the order of the panels, by `axis_of`."""


def axis_of(row: dict[str, Any]) -> str:
    """On which of `AXES` a row stands."""
    return "nat" if row["scale"] == "plain" and row["measured_in"] == "nat" else str(row["scale"])


def p_value(value: float) -> str:
    """A p-value as a text, empty where there is none.

    Examples:
        >>> p_value(0.0312), p_value(2e-9), p_value(float("nan"))
        ('0.031', '< 0.0001', '')
    """
    if isnan(value):
        return ""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def number_of(value: float, scale: str) -> str:
    """The number of one network as a text: fractions that differ by points in per cent.

    Examples:
        >>> number_of(0.512, "points"), number_of(1283.2, "ratio"), number_of(float("nan"), "plain")
        ('51.2%', '1,283', '')
    """
    if isnan(value):
        return ""
    return (f"{value:.1%}" if scale == "points" else short(value)).replace("-", "−")


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """A comparison as one reads it, every cell a text: for a terminal, a paper or a page.

    Args:
        table: Of one comparison, as `alternet.compare` fills it.

    Returns:
        A row a key number, with columns named after the two networks.
    """
    first, second = table["a"].iloc[0], table["b"].iloc[0]
    rows = [
        {
            "number": row["what"],
            first: number_of(row["value_a"], row["scale"]),
            second: number_of(row["value_b"], row["scale"]),
            "difference": say(row["effect"], row["scale"]),
            "95 % interval": interval(row["low"], row["high"], row["scale"]),
            "over": row["unit"],
            "p": p_value(row["p"]),
            "p (Holm)": p_value(row["p_holm"]),
            "better": "" if row["better"] == NONE else row["better"],
            "remark": "" if row["remark"] == NONE else row["remark"],
        }
        for row in records(table)
    ]
    return pd.DataFrame(rows)


def panels(measurement: Measurement) -> list[Panel]:
    """A panel an axis and comparison; what has no difference to draw stands in the table alone."""
    made = []
    for name in measurement.models:
        rows = [row for row in records(measurement.of(name).table) if not isnan(row["effect"])]
        for key, axis in AXES.items():
            mine = [row for row in rows if axis_of(row) == key]
            if mine:
                draw = partial(_forest, rows=mine, of=axis, model=name)
                high = 0.24 * sum(_lines(row) for row in mine) + 0.9
                made.append(Panel(title=f"{axis.title}: {name}", draw=draw, size=(8.5, high), wide=True))
    return made


NAMES = 44
"""Characters of a name in a line."""


def _lines(row: dict[str, Any]) -> float:
    return 1 + 0.7 * label(row["what"], NAMES).count("\n")


def _forest(axis: Axes, rows: list[dict[str, Any]], of: Axis, model: str) -> Targets:
    """Rows from the top, each with its interval, and with its numbers on the right."""
    looks = model_styles((rows[0]["a"], rows[0]["b"]))
    y, place = [], 0.0
    for row in rows:
        y.append(place + _lines(row) / 2)
        place += _lines(row)
    said = []
    for at, row in zip(y, rows, strict=True):
        effect, low, high = (row[part] * of.factor for part in ("effect", "low", "high"))
        colour = looks[row["better"]]["color"] if row["better"] in looks else INK
        with belongs_to(model, axis):
            if not isnan(low):
                axis.plot([low, high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
            axis.plot([effect], [at], ls="", ms=5, color=colour, **_marker(row))
        reach = interval(row["low"], row["high"], row["scale"])
        text = say(row["effect"], row["scale"]) + (f" ({reach})" if reach else ", no interval")
        axis.annotate(
            label(text), (1.02, at), xycoords=("axes fraction", "data"), va="center", fontsize=letters(8),
            annotation_clip=False,
        )  # fmt: skip
        said.append("\n".join(_hover_lines(row, text)))
    axis.axvline(of.null, color=FAINT, linewidth=0.8, zorder=0)
    if of.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(place, 0)
    axis.set_yticks(y, [label(row["what"], NAMES) for row in rows])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(label(f"{rows[0]['b']} {'over' if of.log else 'less'} {rows[0]['a']}, {of.label}", 90))
    return [points(axis, [row["effect"] * of.factor for row in rows], y, said, model=model)]


def _marker(row: dict[str, Any]) -> dict[str, Any]:
    """Filled where a difference is clear, hollow where it is not, a diamond where there is no interval."""
    if isnan(row["low"]):
        return {"marker": "D", "mfc": "white"}
    return {"marker": "o"} if row["p_holm"] < CLEAR else {"marker": "o", "mfc": "white"}


def _hover_lines(row: dict[str, Any], text: str) -> Iterable[str]:
    """What a row says when it is pointed at."""
    yield str(row["what"])
    for side in ("a", "b"):
        yield f"{row[side]}: {number_of(row[f'value_{side}'], row['scale']) or 'undefined'}"
    yield text
    yield f"{row['instrument']}, over {row['unit']}"
    if not isnan(row["p"]):
        yield f"p {p_value(row['p'])}, after Holm {p_value(row['p_holm'])}"
    if row["remark"] != NONE:
        yield str(row["remark"])


def legend(measurement: Measurement) -> list[Entry]:
    """What markers and colours mean."""
    entries = []
    table = measurement.table
    for one in table[["a", "b"]].drop_duplicates().itertuples():
        for name, look in model_styles((str(one.a), str(one.b))).items():
            if (table["better"] == name).any():
                entries.append(Entry(Line2D([], [], ls="", marker="o", color=look["color"]), f"{name} is better", name))
    return [
        *{entry.text: entry for entry in entries}.values(),
        Entry(Line2D([], [], ls="", marker="o", color=INK), f"clear (p < {CLEAR:g} after Holm)"),
        Entry(Line2D([], [], ls="", marker="o", color=INK, mfc="white"), "not clear"),
        Entry(Line2D([], [], ls="", marker="D", color=INK, mfc="white"), "no interval"),
        Entry(Line2D([], [], color=INK, linewidth=1.6), "95 % interval"),
    ]


def sentences(measurement: Measurement) -> list[str]:
    """For each comparison, how many numbers differ clearly, which, and what could not be compared."""
    said = []
    for name, facts in zip(measurement.models, measurement.provenances, strict=True):
        rows = records(measurement.of(name).table)
        tested = [row for row in rows if not isnan(row["p"])]
        clear = [row for row in tested if row["p_holm"] < CLEAR]
        line = (
            f"{name}: of {len(rows)} numbers {len(tested)} have an interval, and {len(clear)} of these differ clearly"
        )
        line += f" (p < {CLEAR:g} after Holm)"
        if clear:
            line += ": " + "; ".join(f"{_lowered(row['what'])} {_with_interval(row)}" for row in clear)
        alone = [f"{', '.join(found)} ({who})" for who, found in (facts.get("left_out") or {}).items()]
        said.append(line + "." + (f" Measured of one of them alone: {'; '.join(alone)}." if alone else ""))
    return said


def _with_interval(row: dict[str, Any]) -> str:
    return f"{say(row['effect'], row['scale'])} ({interval(row['low'], row['high'], row['scale'])})"


def _lowered(what: str) -> str:
    """A title within a sentence; abbreviations stay as they are."""
    return what if what[:2].isupper() or not what[:1].isascii() else what[:1].lower() + what[1:]


def draw(measurement: Measurement) -> Drawing:
    """All panels, one above the other."""
    return stacked(panels(measurement), legend(measurement), columns=3)


SPEC = Spec(
    name="comparison",
    order=3,
    title="Comparison",
    question="In what do the two networks differ, and how sure is that?",
    caution=(
        "A difference between two networks of one training each is one between these networks: another seed can give "
        "another one, which only several runs tell. Intervals over images are those of independent samples, since how "
        "the answers of two networks to one image vary together is not stored; they are rather too wide than too "
        "narrow. "
        "That nothing differs clearly does not say that the networks are alike. Numbers that were measured with other "
        "settings or images differ for that reason too; the remark says so."
    ),
    tables={
        "table": {
            "instrument": text("what measured it"),
            "quantity": text("short name of the key number", drawn=False),
            "what": text("the key number in words"),
            "a": text("name of the first network"),
            "b": text("name of the second network"),
            "value_a": number("the number of the first network; over runs, their mean", missing=True),
            "value_b": number("the number of the second network", missing=True),
            "effect": number("the second less the first, or over the first", missing=True),
            "low": number("low end of its 95 % interval", missing=True),
            "high": number("high end", missing=True),
            "scale": text("points (a difference of fractions), ratio or plain"),
            "measured_in": text("unit of the number, – for none"),
            "unit": text("over what the interval is taken, and whether it is paired; – where there is none"),
            "left_out": integer("runs without a defined number", drawn=False),
            "p": number("two-sided p that there is no difference", missing=True),
            "p_holm": number("the same, corrected after Holm for all rows of the comparison", missing=True),
            "better": text("the network that is better, where that is clear and the number has a better end; else –"),
            "remark": text("what stands in the way: other settings or images, an error that is not stored; else –"),
        }
    },
    pools=False,
)
"""A comparison is shown like an instrument, though it measures nothing itself."""

EXHIBIT = Exhibit(spec=SPEC, panels=panels, legend=legend, sentences=sentences, draw=draw)
