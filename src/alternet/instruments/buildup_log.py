"""Build-up figure: validation accuracy of every placement that was tried, and what the test images say (Fig. 12a)."""

from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alternet.instruments.exhibit import Exhibit
from alternet.instruments.spec import Spec, integer, number, text
from alternet.instruments.verdicts import records
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel, Targets, belongs_to, points
from alternet.plotting.style import FAINT, elide, label, model_styles
from alternet.plotting.units import counted

NETWORKS = ("no attention", "chosen")


def panels(measurement: Measurement) -> list[Panel]:
    """Two panels a model: the path of its search, and the test of the network that came out."""
    return [
        Panel(
            title=f"{what} · {model}",
            draw=partial(draw, table=measurement.of(model).tables[name], look=look),
            wide=wide,
        )
        for model, look in model_styles(measurement.models).items()
        for what, name, draw, wide in (
            ("Validation accuracy of what was tried", "table", _path, True),
            ("Accuracy on the test images", "test", _test, False),
        )
    ]


def _path(axis: Axes, table: pd.DataFrame, look: dict[str, Any]) -> Targets:
    steps, colour = records(table.sort_values("step")), look["color"]
    model = steps[0]["model"]
    kept = [step for step in steps if step["kept"]]
    said = []
    with belongs_to(model, axis):
        axis.plot([step["step"] for step in kept], [step["accuracy"] for step in kept], color=colour, zorder=1)
        for step in steps:
            bar = {
                "color": colour,
                "marker": "o",
                "mfc": colour if step["kept"] else "white",
                "capsize": 2,
                "zorder": 2,
            }
            axis.errorbar(step["step"], step["accuracy"], yerr=step["standard_error"], **bar)
            gain = (
                f"\n{_signed(step['gain'])} ± {step['gain_error']:.1%}, {'kept' if step['kept'] else 'left out again'}"
            )
            value = f"{step['units']}\n{step['accuracy']:.1%} ± {step['standard_error']:.1%}"
            said.append(value if step["step"] == 0 else value + gain)
    numbers = [step["step"] for step in steps]
    names = ["none", *(label(f"+ {elide(step['unit'], 18)}") for step in steps[1:])]
    axis.set_xticks(numbers, names, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_ylabel("validation accuracy")
    axis.yaxis.set_major_formatter(lambda v, _: f"{v:.1%}")
    axis.margins(x=0.06)
    return [points(axis, numbers, [step["accuracy"] for step in steps], said, name=model)]


def _test(axis: Axes, table: pd.DataFrame, look: dict[str, Any]) -> Targets:
    rows = {row["network"]: row for row in records(table)}
    model, (values, errors) = (
        rows["chosen"]["model"],
        ([rows[name][column] for name in NETWORKS] for column in ("accuracy", "standard_error")),
    )
    places = range(len(NETWORKS))
    with belongs_to(model, axis):
        axis.errorbar(places, values, yerr=errors, ls="", color=look["color"], marker="o", capsize=2)
    axis.set_xticks(places, NETWORKS)
    axis.set_xlim(-0.6, 1.6)
    axis.set_ylabel("test accuracy")
    axis.yaxis.set_major_formatter(lambda v, _: f"{v:.1%}")
    said = [f"{name}: {value:.1%} ± {error:.1%}" for name, value, error in zip(NETWORKS, values, errors, strict=True)]
    return [points(axis, places, values, said, name=model)]


def legend(measurement: Measurement) -> list[Entry]:
    """What markers and bars mean."""
    return [
        Entry(Line2D([], [], ls="", marker="o", color=FAINT), "kept"),
        Entry(Line2D([], [], ls="", marker="o", color=FAINT, mfc="white"), "left out again"),
        Entry(Line2D([], [], color=FAINT), "bars: one standard error over seeds"),
    ]


def sentences(measurement: Measurement) -> list[str]:
    """For each model, what was tried and kept, and what that is worth on the test images."""
    said = []
    for model in measurement.models:
        one = measurement.of(model)
        steps = records(one.table.sort_values("step"))
        kept = [step for step in steps if step["kept"]]
        test = {row["network"]: row for row in records(one.tables["test"])}
        before, change = test["no attention"], test["difference"]
        places, seeds = counted(len(steps) - 1, "place"), counted(change["seeds"], "seed")
        if len(kept) == 1:
            said.append(
                f"{model}: of {places} tried, attention pays nowhere; without it the accuracy on the test images is "
                f"{before['accuracy']:.1%} ({seeds})."
            )
            continue
        said.append(
            f"{model}: of {places} tried, attention stays at {kept[-1]['units']}; on the test images "
            f"{before['accuracy']:.1%} became {test['chosen']['accuracy']:.1%}, {_signed(change['accuracy'])} "
            f"(95 % interval {_signed(change['low'])} to {_signed(change['high'])}, {seeds})."
        )
    return said


def _signed(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{abs(share):.1%}"


SPEC = Spec(
    name="buildup",
    order=1,
    title="Build-up",
    question="Where in this CNN does attention pay?",
    caution=(
        "Placements are compared after a short training on validation images; the best of several looks better there "
        "than it is, which is why the test images were kept for the end. A short budget favours what learns quickly, "
        "and another one may choose otherwise. Intervals are over seeds: of few seeds they are wide."
    ),
    tables={
        "table": {
            "step": integer("number of the placement, in the order of the search"),
            "unit": text("the unit that attends besides those kept before"),
            "stage": number("its stage", missing=True, drawn=False),
            "units": text("all units that attend"),
            "attention": integer("how many"),
            "accuracy": number("validation accuracy, mean over seeds"),
            "standard_error": number("of it, over seeds"),
            "gain": number("mean over seeds of the accuracy less that without the unit", missing=True),
            "gain_error": number("standard error of the gain, seed by seed", missing=True),
            "kept": integer("1 where the gain is above its error, and the unit stays"),
        },
        "test": {
            "network": text("no attention, chosen, or the difference of both, seed by seed"),
            "attention": integer("units that attend", drawn=False),
            "accuracy": number("test accuracy, mean over seeds"),
            "standard_error": number("of it, over seeds"),
            "low": number("low end of its 95 % interval (Student's)"),
            "high": number("high end"),
            "seeds": integer("how many"),
        },
    },
)
"""A search is shown like an instrument, though it trains what it measures."""

EXHIBIT = Exhibit(spec=SPEC, panels=panels, legend=legend, sentences=sentences)
