"""Verdicts: how a report shows what the studies' evidence says of the paper's claims, one row a case."""

from functools import partial
from math import inf, isnan, log
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.spec import Spec, integer, number, text
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel, Targets, belongs_to, points, stacked
from alternet.plotting.style import FAINT, INK, Drawing, label, letters, model_styles

WORDS = ("supported", "contradicted", "undecided", "undefined", "not measured", "not published")
"""Verdicts, without what stands behind them in brackets."""

LOOKS: dict[str, dict[str, Any]] = {
    "supported": {"marker": "o"},
    "contradicted": {"marker": "X", "color": INK},
    "undecided": {"marker": "o", "mfc": "white"},
}
"""Over the colour of the evidence; they read in grey."""


def word(verdict: str) -> str:
    """A verdict without its brackets.

    Examples:
        >>> word("supported (one run)")
        'supported'
    """
    return verdict.partition(" (")[0]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, by the names of their columns."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def say(effect: float, scale: str) -> str:
    """An effect as a text.

    Args:
        effect: The number.
        scale: `ratio`, `points` (a difference of fractions, said in percentage points) or `plain`.

    Examples:
        >>> say(-0.0041, "points"), say(0.0843, "ratio"), say(-0.54, "plain"), say(float("nan"), "plain")
        ('−0.41 pp', '× 0.0843', '−0.54', '')
    """
    if isnan(effect):
        return ""
    if scale == "ratio":
        return f"× {effect:.3g}"
    return f"{effect * 100:+.3g} pp".replace("-", "−") if scale == "points" else f"{effect:+.3g}".replace("-", "−")


def interval(low: float, high: float, scale: str) -> str:
    """An interval as a text, empty where there is none.

    Examples:
        >>> interval(-0.012, 0.003, "points"), interval(0.5, 0.8, "ratio")
        ('−1.2 to +0.3', '0.5 to 0.8')
    """
    return "" if isnan(low) else " to ".join(say(end, scale).strip("× p") for end in (low, high))


def summed_up(table: pd.DataFrame) -> str:
    """How many verdicts of each sort there are.

    Examples:
        >>> summed_up(pd.DataFrame({"verdict": ["supported", "undecided (one run)", "supported"]}))
        '2 supported, 1 undecided (one run)'
    """
    counts = table["verdict"].value_counts()
    order = sorted(map(str, counts.index), key=lambda one: (WORDS.index(word(one)), one))
    return ", ".join(f"{counts[one]} {one}" for one in order)


class Row(NamedTuple):
    """A case in the drawing: how far its effect lies on the claimed side, in units of its own."""

    value: float
    low: float
    high: float


def placed(case: dict[str, Any]) -> Row:
    """Where a case is drawn: 0 is the nearest end of what is claimed, 1 the furthest number of the row.

    Examples:
        >>> placed({"effect": 0.5, "low": 0.25, "high": 1.0, "null_low": 0.0, "null_high": 1.0, "scale": "ratio"})
        Row(value=0.5, low=0.0, high=1.0)
        >>> nan = float("nan")
        >>> placed({"effect": 3.0, "low": -1.0, "high": 4.0, "null_low": 0.0, "null_high": nan, "scale": "plain"})
        Row(value=0.75, low=-0.25, high=1.0)
    """
    ends = [
        open_end if isnan(case[name]) else case[name] for name, open_end in (("null_low", -inf), ("null_high", inf))
    ]
    numbers = [case[name] for name in ("effect", "low", "high")]
    if case["scale"] == "ratio":
        numbers = [log(value) if value > 0 else value for value in numbers]
        ends = [log(end) if end > 0 else -inf for end in ends]
    inside = [min(value - ends[0], ends[1] - value) for value in numbers]
    known = [value for value in inside if not isnan(value)]
    if ends[0] != -inf and ends[1] != inf and not isnan(numbers[1]) and numbers[1] < sum(ends) / 2 < numbers[2]:
        known.append((ends[1] - ends[0]) / 2)  # an interval around the middle reaches it
        inside = [inside[0], min(inside[1:]), known[-1]]
    furthest = max(map(abs, known), default=0.0) or 1.0
    value, one, other = (number / furthest for number in inside)
    return Row(value, min(one, other), max(one, other))


def panels(measurement: Measurement) -> list[Panel]:
    """A panel a topic and body of evidence."""
    made = []
    for model, look in model_styles(measurement.models).items():
        table = measurement.of(model).table
        for topic in dict.fromkeys(table["topic"]):
            rows = table[table["topic"] == topic]
            high = 0.19 * (len(rows) + rows["claim"].nunique()) + 0.8
            draw = partial(_forest, table=rows, model=model, colour=look["color"])
            made.append(Panel(title=f"{topic.capitalize()} · {model}", draw=draw, size=(8.5, high), wide=True))
    return made


def _forest(axis: Axes, table: pd.DataFrame, model: str, colour: str) -> Targets:
    """Cases below their claims, from the top."""
    place, heads, names, ends, said, y = 0, [], [], [], [], []
    for claim, cases in table.groupby("claim", sort=False):
        heads.append((place, str(cases["text"].iloc[0])))
        for case in records(cases):
            place += 1
            names.append(str(case["case"]))
            y.append(place)
            with belongs_to(model, axis):
                ends.append(_case(axis, place, case, colour))
            said.append(
                "\n".join(filter(None, (f"{claim}: {case['case']}", ends[-1], f"Fig. {case['figure']}", case["unit"])))
            )
        place += 1
    axis.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    axis.axvspan(0, 1.15, color=FAINT, alpha=0.08, linewidth=0)
    axis.set_xlim(-1.15, 1.15)
    axis.set_ylim(place - 0.3, -0.8)
    axis.set_yticks(y, [label(name) for name in names])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xticks([-1, 0, 1], ["against the claim", "0", "as claimed"])
    for row, head in heads:
        axis.annotate(
            label(head), (0, row), xycoords=("axes fraction", "data"), xytext=(-150, 0), textcoords="offset points",
            va="center", weight="bold", annotation_clip=False,
        )  # fmt: skip
    for row, end in zip(y, ends, strict=True):
        axis.annotate(
            label(end),
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=letters(8),
            annotation_clip=False,
        )
    return [points(axis, [0.0] * len(y), y, said, model=model)]


def _case(axis: Axes, place: int, case: dict[str, Any], colour: str) -> str:
    """Draw one, and say its numbers."""
    verdict = str(case["verdict"])
    if isnan(case["effect"]):
        return verdict
    row, look = placed(case), {"color": colour, **LOOKS[word(verdict)]}
    if not isnan(row.low):
        axis.plot([row.low, row.high], [place, place], color=look["color"], linewidth=1.6, solid_capstyle="butt")
    axis.plot([row.value], [place], ls="", ms=5, **look)
    reach = interval(case["low"], case["high"], case["scale"])
    return f"{say(case['effect'], case['scale'])}{f' ({reach})' if reach else ''} · {verdict}"


def legend(measurement: Measurement) -> list[Entry]:
    """What markers, bars and shade mean."""
    return [
        *(Entry(Line2D([], [], ls="", **{"color": FAINT, **look}), name) for name, look in LOOKS.items()),
        Entry(Line2D([], [], color=FAINT, linewidth=1.6), "95 % interval, each row in units of its own"),
    ]


def sentences(measurement: Measurement) -> list[str]:
    """For each body of evidence, how many verdicts of each sort."""
    said = []
    for model in measurement.models:
        table = measurement.of(model).table
        against = [row for row in records(table) if word(row["verdict"]) == "contradicted"]
        names = "; ".join(f"{row['claim']} ({row['case']})" for row in against)
        said.append(f"{model}: {summed_up(table)}." + (f" Contradicted: {names}." if names else ""))
    return said


def draw(measurement: Measurement) -> Drawing:
    """All topics, one above the other."""
    return stacked(panels(measurement), legend(measurement), columns=4)


SPEC = Spec(
    name="claims",
    order=2,
    title="Claims",
    question="Do the paper's claims hold, here?",
    caution=(
        "A verdict is that of the 95 % interval alone; of several dozen cases a few lie on the wrong side of zero by "
        "chance, which is what the p-values corrected after Holm are for. Over images of one run it speaks of these "
        "networks, not of others trained likewise. Undecided is no evidence against a claim."
    ),
    tables={
        "table": {
            "claim": text("short name of the claim"),
            "topic": text("what it is about"),
            "text": text("the claim"),
            "source": text("where the paper says so", drawn=False),
            "case": text("what is compared"),
            "figure": text("where the evidence is"),
            "quantity": text("what is compared of it", drawn=False),
            "effect": number("the difference or ratio", missing=True),
            "low": number("low end of its 95 % interval", missing=True),
            "high": number("high end", missing=True),
            "null_low": number("the claim is that the effect is above this", missing=True),
            "null_high": number("and below this", missing=True),
            "scale": text("ratio, points (a difference of fractions) or plain"),
            "unit": text("over what the interval is taken; – where nothing is to judge"),
            "left_out": integer("runs without a defined number", drawn=False),
            "verdict": text("supported, contradicted, undecided, undefined, not measured, not published"),
            "p": number("two-sided p at the nearest end of what is claimed", missing=True, drawn=False),
            "p_holm": number("the same, corrected after Holm for all cases of the table", missing=True, drawn=False),
        },
    },
)
"""Verdicts are shown like an instrument, though they measure nothing themselves."""

EXHIBIT = Exhibit(spec=SPEC, panels=panels, legend=legend, sentences=sentences, draw=draw)
