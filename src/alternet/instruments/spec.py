"""Spec: what an instrument says of itself, once, for runner, command line, figures, report and docs; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from alternet.kinds import KINDS

Type = Literal["text", "integer", "number"]
Need = Literal["labels", "features", "gradients", "run"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        type: What it holds.
        says: What a value means, with its unit, in a line.
        missing: Whether a value may be undefined by its definition, as the standard error of a single image is.
        drawn: Whether the figure reads it; a stored table without a column that is not drawn is still shown.
        of: The column whose standard error, or end of a 95 % interval, this is; empty where it is that of the number
            ahead of it, or where its name says it, as `step_error` does.
        counted: The column that says how many the value is a mean of, where that differs from run to run.
    """

    type: Type
    says: str
    missing: bool = False
    drawn: bool = True
    of: str = ""
    counted: str = ""


def text(says: str, *, missing: bool = False, drawn: bool = True) -> Column:
    """A column of words."""
    return Column(type="text", says=says, missing=missing, drawn=drawn)


def integer(says: str, *, drawn: bool = True) -> Column:
    """A column of whole numbers."""
    return Column(type="integer", says=says, drawn=drawn)


def number(says: str, *, missing: bool = False, drawn: bool = True, of: str = "", counted: str = "") -> Column:
    """A column of numbers."""
    return Column(type="number", says=says, missing=missing, drawn=drawn, of=of, counted=counted)


MODEL = {"model": text("name of the model")}
"""What leads every table; the runner fills it."""

UNIT = {
    "unit": integer("number of the unit, from 0 in forward order"),
    "tap": text("where its feature map is read, as `alternet taps` names it"),
    "kind": text(f"what acts in it: {', '.join(KINDS)}"),
    "depth": number("0 at the first unit to 1 at the last"),
}
"""The columns of a table with a row a unit."""


INTERVAL = {
    "low": number(
        "low end of the 95 % interval of delta_accuracy; where no answer changed, it is exact",
        drawn=False,
        of="delta_accuracy",
    ),
    "high": number("high end", drawn=False, of="delta_accuracy"),
}
"""The columns of how far a change of accuracy may be off."""

STEP = {
    "step": number("the value less that of the unit before, which the claim is about", missing=True, drawn=False),
    "step_error": number("standard error of the step, over the images' own steps", missing=True, drawn=False),
    "step_low": number("low end of its 95 % interval; empty for too few images", missing=True, drawn=False),
    "step_high": number("high end", missing=True, drawn=False),
}
"""The columns of what a unit changes, image by image."""


CLEARLY = "A unit's step is called clear where its 95 % interval, paired image by image, leaves 0 out."
"""What sentences about steps mean by clearly."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What the rest of the package knows of an instrument.

    Attributes:
        name: Stem of its folder, its files and its command.
        order: Where it stands in lists and in the report.
        title: Heading of its section in a report.
        question: What it answers, in one line.
        caution: What one may not conclude from it.
        paper: Where the paper, or another source, has it.
        cost: What a measurement costs, in passes.
        example: The command line that answers the question.
        tables: Every table that it fills, by name, with its columns but for the leading `model`; `table` is the main.
        needs: What it cannot do without: labels, feature maps, gradients, a training run.
        split: Which part of the data it asks about: `train` where the question is about what was trained on.
        joins_classes: Whether it joins the classes of model and data by their names, so that their numbers may differ.
        pools: Whether the mean over several runs of its tables, row by row, says what one run's says; where it does
            not, as of eigenvalues, each run is drawn by itself.
        exact: Whether it takes derivatives, or makes no pass at all, so that the precision of a Subject is left out.
        extra: The optional dependencies of this package that it needs, if any.
        version: Raised when the same settings give other numbers; a stored result of another version is refused.
    """

    name: str
    order: int
    title: str
    question: str
    caution: str
    tables: Mapping[str, Mapping[str, Column]]
    paper: str = ""
    cost: str = ""
    example: str = ""
    needs: frozenset[Need] = frozenset()
    split: Literal["test", "train"] = "test"
    joins_classes: bool = False
    pools: bool = True
    exact: bool = False
    extra: str = ""
    version: int = 1

    def columns(self, table: str) -> tuple[str, ...]:
        """Names of a table's columns, the leading `model` included."""
        return (*MODEL, *self.tables[table])
