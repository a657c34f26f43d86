"""Similarity figure: CKA of every pair of units, one heat map a model or pair of models (Fig 10a and D.3)."""

from functools import partial

import numpy as np

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.similarity import Similarity
from alternet.measurement import Measurement
from alternet.plotting import heat_map
from alternet.plotting.heat_map import Heat, Side
from alternet.plotting.legend import Entry, put
from alternet.plotting.panel import Panel, lay
from alternet.plotting.style import Drawing, elide, grid, label, title
from alternet.plotting.units import signed

VALUE, ERROR = "cka", "standard_error"


def heat(one: Measurement) -> Heat:
    """The pairs of a measurement of one model, alone or beside another."""
    units = one.tables["units"].sort_values("unit", kind="stable")
    first, second = (units[units["side"] == side] for side in "ab")
    down = Side(one.models[0], first)
    across = Side(str(one.table["model_b"].iloc[0]), second) if len(second) else down
    values, errors = (
        one.table.pivot(index="unit_a", columns="unit_b", values=column)
        .reindex(index=down.units["unit"], columns=across.units["unit"])
        .to_numpy(dtype=float)
        for column in (VALUE, ERROR)
    )
    return Heat(down, across, values, errors)


def panels(measurement: Measurement) -> list[Panel]:
    """One heat map a model, all in one scale of colours from 0 to 1."""
    heats = _heats(measurement)
    below = min(one.lowest for one in heats)
    bar = heat_map.colour_bar(below, 1.0, "CKA", below=" (black: below 0)")
    return [
        Panel(title=_name(one), draw=partial(heat_map.draw, heat=one, quantity="CKA"), size=(4.2, 3.4), bar=bar)
        for one in heats
    ]


def _heats(measurement: Measurement) -> list[Heat]:
    return [heat(measurement.of(model)) for model in measurement.models]


def draw(measurement: Measurement) -> Drawing:
    """The heat maps in rows, with one scale beside them."""
    drawn = panels(measurement)
    rows, across = grid(len(drawn))
    side = {1: 5.0, 2: 4.4, 3: 3.4}[across]
    figure = Drawing(figsize=(side * across + 0.9, (side + 0.5) * rows + 0.4), layout="constrained")
    for (axis,), one in zip(lay(figure, drawn), _heats(measurement), strict=True):
        width = int(9 * side)
        name = title(one.down.model, width)
        if not one.alone:
            name = f"{label(elide(one.down.model, width))}\nbeside {label(elide(one.across.model, width - 7))}"
        axis.set_title(name)
    put(figure, legend(measurement), columns=5 if across > 1 else 3)
    return figure


def legend(measurement: Measurement) -> list[Entry]:
    """What strips and lines mean."""
    return heat_map.entries(_heats(measurement))


def sentences(measurement: Measurement) -> list[str]:
    """For a model, how much more alike units of one stage are; for two of them, which units are most alike."""
    said = []
    for model in measurement.models:
        one = heat(measurement.of(model))
        if np.isnan(one.values).all():
            said.append(f"{model}: no similarity is defined.")
        elif not one.alone:
            row, column = (int(i) for i in np.unravel_index(np.nanargmax(one.values), one.values.shape))
            taps = one.down.units["tap"].iloc[row], one.across.units["tap"].iloc[column]
            said.append(
                f"{_name(one)}: most alike are {taps[0]} and {taps[1]}, with a CKA of {_at(one, row, column)}; "
                f"the two stems {_at(one, 0, 0)}, the two last units {_at(one, -1, -1)}."
            )
        elif len(one.down.units) == 1:
            said.append(f"{model}: only one unit, so nothing to compare.")
        else:
            said.append(f"{model}: {_blocks(one)}; stem and last unit {_at(one, 0, -1)}.")
    return said + chance(measurement)


def chance(measurement: Measurement) -> list[str]:
    """How far from 0 shuffled images are, where that was measured, and whether there are too few for intervals."""
    table, said = measurement.table, []
    if "null_cka" in table and (null := table["null_cka"].dropna().abs()).size:
        said.append(f"With the images shuffled, |CKA| is {null.mean():.3f} on average and at most {null.max():.3f}.")
    if "low" in table and table["low"].isna().all() and table[VALUE].notna().any():
        said.append("There are too few images for intervals of the CKA.")
    return said


def block_structure(one: Heat) -> tuple[float, float]:
    """Mean similarity of two units of one stage, and of units of different stages; nan where there are no such pairs.

    Pairs of a unit with itself are left out, and so are undefined ones.
    """
    stages = one.down.units["stage"].to_numpy()
    same, counted = stages[:, None] == stages, ~np.eye(len(stages), dtype=bool) & ~np.isnan(one.values)
    means = [one.values[mask & counted] for mask in (same, ~same)]
    within, between = (float(values.mean()) if len(values) else float("nan") for values in means)
    return within, between


def _name(one: Heat) -> str:
    return one.down.model if one.alone else f"{one.down.model} beside {one.across.model}"


def _blocks(one: Heat) -> str:
    same, different = block_structure(one)
    if np.isnan(same) and np.isnan(different):
        return "no similarity of two different units is defined"
    if np.isnan(different):
        return f"all pairs are of one stage, with a mean CKA of {same:.2f}, so there are no blocks to compare"
    if np.isnan(same):
        return f"all pairs are of different stages, with a mean CKA of {different:.2f}"
    return (
        f"units of one stage have a mean CKA of {same:.2f}, those of different stages {different:.2f} "
        f"(block structure {signed(same - different)})"
    )


def _at(one: Heat, row: int, column: int) -> str:
    value, error = one.values[row, column], one.errors[row, column]
    if np.isnan(value):
        return "undefined"
    number = f"{value:.3f}".replace("-", "−")
    return number if np.isnan(error) else f"{number} ± {error:.3f}"


def numbers(measurement: Measurement) -> dict[str, float]:
    """The mean CKA of each unit with the same unit of the other model, where there is one."""
    table, (model,) = measurement.table, measurement.models
    same = table[(table["unit_a"] == table["unit_b"]) & (table["model_b"] != model)]
    return {f"CKA with {other}": rows["cka"].mean() for other, rows in same.groupby("model_b", sort=False)}


EXHIBIT = Exhibit(
    spec=Similarity.spec,
    panels=panels,
    legend=legend,
    draw=draw,
    sentences=sentences,
    numbers=numbers,
)
