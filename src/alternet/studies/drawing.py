"""Drawing: the panels of a study's figure from evidence alone, what the paper published beside what was measured."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from alternet.kinds import KINDS, kind_of
from alternet.plotting.legend import Entry, models
from alternet.plotting.panel import Panel, Points, Targets, belongs_to, points
from alternet.plotting.style import COLOURS, FAINT, INK, letters, model_styles, short
from alternet.studies.declaration import Show, Study
from alternet.studies.evidence import PUBLISHED_SEED, QUANTITIES

PAPER = "the paper"


def panels(study: Study, evidence: pd.DataFrame, ours: str) -> list[Panel]:
    """The panels of a study: each quantity as the paper has it and as ours is, then what one side alone has.

    Args:
        study: Which quantities, and against what.
        evidence: Rows of this study alone, published ones by their seed.
        ours: What stands behind the title of our panels, as `smoke, photos`.
    """
    looks = model_styles(arms(evidence), points=True)
    published = evidence["seed"] == PUBLISHED_SEED
    sides = {PAPER: evidence[published], ours: evidence[~published]}
    made: list[list[Panel]] = []
    for show in study.shows:
        shown = {show.y, show.over} - {""}
        made.append(
            [
                Panel(
                    title=f"{_title(show)}: {side}",
                    draw=partial(_panel, rows=summarised(rows), show=show, looks=looks),
                    size=(4.2, 3.2),
                )
                for side, rows in sides.items()
                if shown <= set(rows["quantity"])
            ]
        )
    return [panel for pair in sorted(made, key=len, reverse=True) for panel in pair]


def arms(evidence: pd.DataFrame) -> tuple[str, ...]:
    """Names of the arms, those that were measured first, in the order of the study."""
    own = evidence["seed"] != PUBLISHED_SEED
    return tuple(dict.fromkeys([*evidence[own]["arm"], *evidence["arm"]]))


def legend(evidence: pd.DataFrame) -> list[Entry]:
    """The arms."""
    return models(model_styles(arms(evidence), points=True))


def summarised(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of every quantity at every place, with its standard error.

    It is that over seeds where there are two or more; of one seed it is the stored one, over images, if it is known.

    Examples:
        >>> rows = pd.DataFrame({"arm": "a", "quantity": "nep", "x": np.nan, "seed": [0, 1], "value": [1.0, 3.0],
        ...                      "standard_error": np.nan})
        >>> summarised(rows)[["value", "error", "seeds"]].to_numpy().tolist()
        [[2.0, 1.0, 2.0]]
    """
    groups = rows.groupby(["arm", "quantity", "x"], dropna=False, sort=False)
    table = groups.agg(value=("value", "mean"), error=("value", "sem"), seeds=("value", "size"))
    table["error"] = table["error"].where(table["seeds"] > 1, groups["standard_error"].first())
    return table.reset_index()


def sentences(evidence: pd.DataFrame) -> list[str]:
    """What error bars and empty places mean, as far as a reader of the figure needs it."""
    own = evidence[evidence["seed"] != PUBLISHED_SEED]
    seeds = own["seed"].nunique()
    if own.empty:
        return ["Nothing of it was measured."]
    if seeds > 1:
        return [
            f"Ours are means over {seeds} seeds; bars are one standard error over seeds. The paper's are single runs."
        ]
    return [
        "Ours are one seed; bars, where there are some, are one standard error over images and say nothing of seeds."
    ]


def _title(show: Show) -> str:
    return QUANTITIES[show.y].title + (f" against {QUANTITIES[show.over].title}" if show.over else "")


def _axis_name(quantity: str) -> str:
    named = QUANTITIES[quantity]
    return f"{named.title} ({named.unit})" if named.unit else named.title


def _panel(axis: Axes, *, rows: pd.DataFrame, show: Show, looks: Mapping[str, Mapping[str, Any]]) -> Targets:
    if show.over:
        return _scatter(axis, rows, show, looks)
    mine = rows[rows["quantity"] == show.y]
    return _curves(axis, mine, show, looks) if mine["x"].notna().any() else _levels(axis, mine, show, looks)


def _scatter(axis: Axes, rows: pd.DataFrame, show: Show, looks: Mapping[str, Mapping[str, Any]]) -> Targets:
    """One point an arm, named where it stands."""
    up, right = (
        {str(row["arm"]): row for _, row in rows[rows["quantity"] == name].iterrows()} for name in (show.y, show.over)
    )
    found: Targets = []
    for arm in [arm for arm in looks if arm in up and arm in right]:
        x, y = right[arm], up[arm]
        with belongs_to(arm, axis):
            bars = {"xerr": _bar(x["error"]), "yerr": _bar(y["error"])}
            look = {"color": looks[arm]["color"], "marker": looks[arm]["marker"]}
            axis.errorbar(x["value"], y["value"], **bars, linestyle="none", elinewidth=0.9, **look)
        text = f"{QUANTITIES[show.over].title}: {_with_error(x)}\n{QUANTITIES[show.y].title}: {_with_error(y)}"
        found.append(points(axis, [x["value"]], [y["value"]], [text], name=arm))
    axis.margins(0.15)
    axis.set(xlabel=_axis_name(show.over), ylabel=_axis_name(show.y))
    _name(axis, {arm: (right[arm]["value"], up[arm]["value"]) for arm in looks if arm in up and arm in right})
    return found


def _name(axis: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """Write names beside their points, on the side where no other point lies so near that names would meet."""
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    for arm, (x, y) in places.items():
        others = [place for name, place in places.items() if name != arm]
        near = [(a - x) / (right - left) for a, b in others if abs(b - y) / (high - low) < 0.07]
        free = not any(0 <= away < 0.25 for away in near)
        at, side = ((5, 4), "left") if free else ((-5, 4), "right")
        with belongs_to(arm, axis):
            axis.annotate(
                arm, (x, y), at, textcoords="offset points", horizontalalignment=side, fontsize=letters(8), color=INK
            )


def _curves(axis: Axes, rows: pd.DataFrame, show: Show, looks: Mapping[str, Mapping[str, Any]]) -> Targets:
    """One curve an arm; one that has no abscissa is a level line."""
    found: Targets = []
    for arm, look in looks.items():
        mine = rows[rows["arm"] == arm].sort_values("x", kind="stable")
        if mine.empty:
            continue
        with belongs_to(arm, axis):
            if mine["x"].isna().any():
                axis.axhline(mine["value"].iloc[0], color=look["color"], linestyle=look["linestyle"], linewidth=1)
                continue
            axis.errorbar(mine["x"], mine["value"], yerr=mine["error"].fillna(0), elinewidth=0.9, markersize=4, **look)
        texts = [f"{one['x']:.4g}: {_with_error(one)}" for _, one in mine.iterrows()]
        found.append(points(axis, mine["x"], mine["value"], texts, name=arm))
    if show.log:
        axis.set_xscale("log", base=2)
    axis.set(xlabel=show.along, ylabel=_axis_name(show.y))
    if rows["value"].lt(0).any():
        axis.axhline(0, color=FAINT, linewidth=0.9, zorder=0)
    if show.y == "confidence":
        axis.axline((0, 0), (1, 1), color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    return found


def _levels(axis: Axes, rows: pd.DataFrame, show: Show, looks: Mapping[str, Mapping[str, Any]]) -> Targets:
    """One level an arm, the first on top."""
    shown = [arm for arm in looks if arm in set(rows["arm"])]
    found: Targets = []
    for place, arm in enumerate(shown):
        one = rows[rows["arm"] == arm].iloc[0]
        look = {"color": looks[arm]["color"], "marker": looks[arm]["marker"]}
        with belongs_to(arm, axis):
            axis.errorbar(one["value"], place, xerr=_bar(one["error"]), linestyle="none", elinewidth=0.9, **look)
        found.append(points(axis, [one["value"]], [place], [_with_error(one)], name=arm))
    axis.set_yticks(range(len(shown)), shown)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.margins(x=0.12)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(QUANTITIES[show.y].unit)  # what it is stands above
    axis.grid(axis="y")
    axis.set_axisbelow(True)
    if rows["value"].lt(0).any() and rows["value"].gt(0).any():
        axis.axvline(0, color=FAINT, linewidth=0.9, zorder=0)
    return found


def _bar(error: float) -> float:
    return 0.0 if np.isnan(error) else error


def _with_error(one: "pd.Series[Any]") -> str:
    error = "" if np.isnan(one["error"]) else f" ± {short(one['error'])}"
    return f"{short(one['value'])}{error}"


def units_panel(units: pd.DataFrame, title: str) -> Panel:
    """The units of networks as boxes in forward order, a row a network, coloured by what acts in them.

    Args:
        units: Rows of `arm`, `unit`, `tap`, `kind`, `stage`, `channels`, `height`, `width`.
        title: Of the panel.
    """
    size = (10.0, 0.8 + 0.55 * units["arm"].nunique())
    return Panel(title=title, draw=partial(_boxes, units=units), size=size, wide=True)


def _boxes(axis: Axes, units: pd.DataFrame) -> Targets:
    colours, found = kind_colours(units["kind"]), []
    names = list(dict.fromkeys(units["arm"]))
    for row, arm in enumerate(names):
        mine = units[units["arm"] == arm].sort_values("unit").reset_index(drop=True)
        left = mine.index.to_numpy() + 0.8 * mine["stage"].to_numpy(float)  # a gap where the resolution changes
        for place, one in zip(left, mine.itertuples(), strict=True):
            axis.add_patch(Rectangle((place, row - 0.3), 0.86, 0.6, facecolor=colours[str(one.kind)], linewidth=0))
        ends = mine.assign(left=left).groupby("stage", sort=False).first()
        for one in ends.itertuples():
            axis.annotate(f"{one.height}²", (float(one.left), row + 0.46), fontsize=letters(7), color=FAINT, va="top")  # pyright: ignore[reportArgumentType]
        texts = [
            f"{one.tap}: {kind_of(str(one.kind)).words}\n{one.channels} × {one.height} × {one.width}"
            for one in mine.itertuples()
        ]
        boxes = np.stack([left, np.full(len(left), row - 0.3), left + 0.86, np.full(len(left), row + 0.3)], axis=1)
        found.append(Points(axis, boxes, texts, arm, arm))
    axis.set_yticks(range(len(names)), names)
    axis.set_xticks([])
    axis.set_xlim(-0.5, 0.5 + max(float(b.boxes[:, 2].max()) for b in found))
    axis.set_ylim(len(names) - 0.35, -0.6)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
    return list(found)


def kind_colours(kinds: Sequence[str] | pd.Series) -> dict[str, str]:
    """A colour for each kind of unit, the same in every figure; kinds that are rare share grey."""
    palette = {"conv": COLOURS[1], "msa": COLOURS[0], "mlp": COLOURS[2], "mixer": COLOURS[3], "pool": "#444444"}
    return {kind: palette.get(kind, "#A8A8A8") for kind in dict.fromkeys((*KINDS, *kinds))}


def units_legend(units: pd.DataFrame) -> list[Entry]:
    """What the colours of the boxes mean."""
    present = [kind for kind in dict.fromkeys((*KINDS, *units["kind"])) if kind in set(units["kind"])]
    colours = kind_colours(present)
    return [Entry(Patch(color=colours[kind], linewidth=0), kind_of(kind).words) for kind in present]
