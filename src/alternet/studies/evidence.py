"""Evidence: the one table that the studies' figures draw and their claims judge.

A row is one number of one run at one place: `figure`, `arm`, `quantity`, `x`, `seed`, `value`, `standard_error`. An arm
is what a figure compares, as the paper calls it; its settings along an axis (share of the data, heads, epochs) stand in
`x`. Numbers are fractions, never per cent. What was measured and what was published have the same columns, so that the
same code draws and judges both.
"""

import io
from collections.abc import Iterable
from importlib.resources import files as resources
from math import nan
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from alternet.errors import unknown
from alternet.files import read_file
from alternet.storage import write_atomically

COLUMNS = ("figure", "arm", "quantity", "x", "seed", "value", "standard_error")
"""The columns, in their order. `x` is empty of a scalar, `seed` of what was published, `standard_error` (over images,
of one run) where it is not known."""

PUBLISHED_SEED = -1

Better = Literal["higher", "lower", ""]


Scale = Literal["points", "ratio", "plain"]
Summary = Literal[
    "value", "first", "second", "middle", "last", "low", "high", "edge", "per doubling", "exponent", "per nat"
]


class Quantity(NamedTuple):
    """What a number is.

    Attributes:
        title: Name on an axis.
        unit: Of the value; empty of fractions, correlations and logarithms.
        better: Which end is the better one, if either is.
        x: What `x` is, where the quantity is always a series; an axis of a study (heads, epochs) needs no word here.
        scale: How two of them are said to differ: in percentage `points`, by their `ratio`, or `plain`.
        compared: By which summaries (`claim.Reading`) `alternet compare` reads it; none where two networks cannot be
            compared by it, or another quantity says the same.
        over: What a standard error of one network is taken over.
    """

    title: str
    unit: str = ""
    better: Better = ""
    x: str = ""
    scale: Scale = "plain"
    compared: tuple[Summary, ...] = ("value",)
    over: str = "images"


IN_POINTS: Any = {"scale": "points"}
NOT_COMPARED: Any = {"compared": ()}
UNIT_BY_UNIT: Any = {"x": "depth", **NOT_COMPARED}
RISE: Any = {"unit": "nat", "better": "lower", "x": "radius", "over": "directions"}
QUANTITIES = {
    "accuracy": Quantity("Accuracy", better="higher", **IN_POINTS),
    "test_error": Quantity("Test error", better="lower", **IN_POINTS, **NOT_COMPARED),
    "nll_train": Quantity("NLL on augmented training data", "nat", "lower"),
    "nll_test": Quantity("NLL on test data", "nat", "lower"),
    "ece": Quantity("Expected calibration error", better="lower", **IN_POINTS),
    "confidence": Quantity("Accuracy at a confidence", x="confidence", **IN_POINTS, **NOT_COMPARED),
    "overconfidence": Quantity("Mean confidence less accuracy", **IN_POINTS),
    "corruption_accuracy": Quantity("Mean accuracy on corrupted images", better="higher", **IN_POINTS),
    "noise_drop": Quantity(
        "Change of accuracy under noise of one band",
        better="higher",
        x="frequency / π",
        compared=("low", "high"),
        **IN_POINTS,
    ),
    "wave_drop": Quantity("Change of accuracy under one wave, mean over waves", better="higher", **IN_POINTS),
    "shape_bias": Quantity("Shape bias", **IN_POINTS),
    "nep": Quantity("Negative eigenvalue proportion", better="lower", **IN_POINTS),
    "ape": Quantity("Average positive eigenvalue", better="lower", scale="ratio"),
    "hessian_trace": Quantity("Trace of the Hessian", better="lower", scale="ratio", over="random vectors"),
    "mean_positive": Quantity("Mean of the plotted positive spectrum", better="lower", scale="ratio"),
    "mode_positive": Quantity("Mode of the plotted positive spectrum", scale="ratio"),
    "rise_nll": Quantity("Rise of the NLL", compared=("edge",), **RISE),
    "rise_l2": Quantity("Rise of the L2 part", **RISE, **NOT_COMPARED),  # the weights' length, by identity
    "rise_loss": Quantity("Rise of NLL + L2", **RISE, **NOT_COMPARED),
    "barrier": Quantity("Barrier of the NLL on a line", "nat"),
    "trajectory_r": Quantity("Distance to the final weights, relative", x="epoch", **NOT_COMPARED),
    "trajectory_angle": Quantity("Angle to the initial weights", "degree", x="epoch", **NOT_COMPARED),
    "high_frequency": Quantity("Δ log amplitude at 1.0 π", **UNIT_BY_UNIT),
    "attention_high_step": Quantity("Δ log amplitude at 1.0 π, mean step of attention"),
    "mlp_high_step": Quantity("Δ log amplitude at 1.0 π, mean step of MLPs"),
    "conv_high_step": Quantity("Δ log amplitude at 1.0 π, mean step of convolutions"),
    "attention_high_lowered": Quantity("Share of attention units that lower the high frequencies"),
    "mlp_high_raised": Quantity("Share of MLPs that raise the high frequencies"),
    "conv_high_raised": Quantity("Share of convolutional units that raise the high frequencies"),
    "variance": Quantity("Feature map variance", **UNIT_BY_UNIT),
    # the scale of feature maps is each network's own, so their steps are compared within one network alone
    "attention_variance_step": Quantity("Feature map variance, mean step of attention", **NOT_COMPARED),
    "mlp_variance_step": Quantity("Feature map variance, mean step of MLPs", **NOT_COMPARED),
    "conv_variance_step": Quantity("Feature map variance, mean step of convolutions", **NOT_COMPARED),
    "attention_variance_lowered": Quantity("Share of attention units that lower the variance"),
    "mlp_variance_raised": Quantity("Share of MLPs that raise the variance"),
    "conv_variance_raised": Quantity("Share of convolutional units that raise the variance"),
    "lesion": Quantity("Change of accuracy without a unit", **IN_POINTS, **UNIT_BY_UNIT),
    "lesion_attention_end": Quantity("Change of accuracy without a stage's last attention", **IN_POINTS),
    "lesion_attention_start": Quantity("Change of accuracy without a stage's first attention", **IN_POINTS),
    "lesion_conv_end": Quantity("Change of accuracy without a stage's last convolution", **IN_POINTS),
    "lesion_conv_start": Quantity("Change of accuracy without a stage's first convolution", **IN_POINTS),
    "cka_first_last": Quantity("CKA of the first and the last unit"),
    "block_structure": Quantity("CKA within stages less that across, at equal distance"),
    "images_per_second": Quantity("Training throughput", "images / s", "higher", **NOT_COMPARED),
}
"""The vocabulary. A step is the change that units of one kind make, in the mean over such units; its standard error is
paired over images. `*_start` and `*_end` are means over the stages that have both."""


def read_evidence(file: str | Path | IO[str]) -> pd.DataFrame:
    """Read a table of evidence, and refuse what is none.

    Returns:
        The table with the columns `COLUMNS`; `seed` is `PUBLISHED_SEED` where it stands empty.

    Raises:
        ValueError: It is no such table: columns, quantities, or a value that is no finite number.

    Examples:
        >>> file = getfixture("tmp_path") / "evidence.csv"
        >>> write_evidence(file, published())
        >>> read_evidence(file).equals(published())
        True
    """
    name = file if isinstance(file, str | Path) else getattr(file, "name", "The table")
    try:
        source = io.BytesIO(read_file(Path(file))) if isinstance(file, str | Path) else file
        rows = pd.read_csv(source, dtype=dict.fromkeys(COLUMNS, str), keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as evidence: {error}") from error
    return checked(rows, str(name))


def gather_evidence(paths: Iterable[str | Path]) -> pd.DataFrame:
    """The evidence of several studies in one table.

    Args:
        paths: CSV files, or folders with an `evidence.csv`, in themselves or in `figures/FIGURE`.

    Raises:
        ValueError: There is none, a file holds something else, or two give different numbers of one run.
    """
    tables = []
    for path in map(Path, paths):
        whole, parts = path / "evidence.csv", sorted(path.glob("figures/*/evidence.csv"))
        files = [path] if path.is_file() else [whole] if whole.is_file() else parts
        if not files:
            raise ValueError(
                f"There is no evidence in {path}: expected a CSV file or a folder with evidence.csv, which alternet "
                "reproduce writes."
            )
        tables += [read_evidence(file) for file in files]
    if not tables:
        raise ValueError("No evidence is given: name folders that alternet reproduce wrote.")
    return checked(pd.concat(tables, ignore_index=True).drop_duplicates(), "All evidence together")


def checked(rows: pd.DataFrame, name: str = "The table") -> pd.DataFrame:
    """Rows of evidence with their types, in the order of `COLUMNS`.

    Args:
        rows: Texts or numbers; what is missing is empty or nan.
        name: What they are called in an error.

    Raises:
        ValueError: As `read_evidence` does.
    """
    if absent := [column for column in COLUMNS if column not in rows]:
        raise ValueError(f"{name} is no evidence: there is no column {absent[0]}, expected {', '.join(COLUMNS)}.")
    rows = rows.loc[:, list(COLUMNS)].reset_index(drop=True)
    for column in ("x", "seed", "value", "standard_error"):
        empty = rows[column].isna() | (rows[column] == "")
        numbers = rows[column].where(~empty, nan).map(_float).astype(float)
        for row in np.flatnonzero(~empty & ~np.isfinite(numbers)):
            raise ValueError(
                f"{name}, row {row + 1}: {column} is {rows[column].iloc[row]!r}, expected a finite number or nothing."
            )
        rows[column] = numbers
    rows["seed"] = rows["seed"].fillna(PUBLISHED_SEED).astype(int)
    rows = rows.astype({"figure": str, "arm": str, "quantity": str})
    for quantity in rows["quantity"].unique():
        if quantity not in QUANTITIES:
            raise unknown(f"{name} holds an unknown quantity", quantity, QUANTITIES)
    _refuse_impossible(rows, name)
    return rows


def _float(cell: Any) -> float:
    """The number that a cell says, to its last digit, which pandas before 3.1 does not give; nan where it says none."""
    try:
        return float(cell)
    except ValueError:
        return nan


def _refuse_impossible(rows: pd.DataFrame, name: str) -> None:
    for row in np.flatnonzero(rows["standard_error"] < 0):
        raise ValueError(f"{name}, row {row + 1}: the standard error is negative, expected 0 or more.")
    for row in np.flatnonzero((rows["figure"] == "") | (rows["arm"] == "")):
        raise ValueError(f"{name}, row {row + 1} has no figure or no arm: name what was compared.")
    for row in np.flatnonzero(rows.duplicated(["figure", "arm", "quantity", "x", "seed"])):
        one = rows.iloc[row]
        raise ValueError(
            f"{name}, row {row + 1} says again what {one['quantity']} of {one['arm']} is in figure "
            f"{one['figure']}, seed {one['seed']}: keep one of them."
        )


def write_evidence(file: str | Path, rows: pd.DataFrame) -> None:
    """Write a table of evidence, whole or not at all.

    Args:
        file: The CSV file.
        rows: With the columns `COLUMNS`; looked at as `read_evidence` does.

    Raises:
        ValueError: The rows are no evidence.
    """
    write_atomically(Path(file), as_csv(rows))


def as_csv(rows: pd.DataFrame) -> str:
    """Evidence as the text of a CSV file, with floats that round-trip."""
    table = checked(rows)
    table["seed"] = table["seed"].astype("Int64").mask(table["seed"] == PUBLISHED_SEED)
    return table.to_csv(index=False, lineterminator="\n")


def published() -> pd.DataFrame:
    """The series that the paper publishes: one run each, without standard errors.

    Read off the vector figures of arXiv 2202.06709v1, with an error below 0.5 % of an axis; spectra from plotted
    densities, within the plotted range; landscapes from the grids that the authors released. `scripts/published.py`
    makes the table, and says where each number is from.

    Examples:
        >>> table = published()
        >>> table[(table.figure == "5a") & (table.arm == "Swin") & (table.quantity == "test_error")].value.item()
        0.233
    """
    with (resources("alternet.studies") / "published.csv").open(encoding="utf-8") as file:
        return read_evidence(file)
