"""A claim as a statement over evidence: what is read, what effect it makes, and what the rule says of it."""

from collections.abc import Iterable
from hashlib import sha256
from math import exp, inf, log, nan
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from alternet.measurement import Measurement
from alternet.student import LEVEL
from alternet.studies.evidence import PUBLISHED_SEED, QUANTITIES, Summary, as_csv
from alternet.studies.statistics import Estimate, Runs, compare, holm, judge

ALL = "*"
"""As an arm: all arms of a figure, in place of an axis."""

Topic = Literal["feature maps", "loss landscape", "accuracy and robustness"]

OVER = "nll_train"
"""Against it goes the summary `per nat`."""


class Reading(NamedTuple):
    """One number of each run.

    Attributes:
        arm: Whose.
        quantity: Of what.
        summary: How a series becomes a number: its only value; that of the `first`, `second`, `middle` or `last` x; the
            mean over the `low` (x up to 1/3) or `high` (x from 2/3) end of an axis from 0 to 1; the value at the
            `edge`, x = 1; the least-squares slope over log2(x) (`per doubling`), of the logarithm over that of x
            (`exponent`), or over the training NLL at the same x or arm (`per nat`).
    """

    arm: str
    quantity: str
    summary: Summary = "value"


class Case(NamedTuple):
    """One effect that a claim speaks of.

    Attributes:
        name: What is compared, for the table.
        figure: Where the evidence is.
        of: What is read.
        less: What is taken from it, if anything.
        low: The claim is that the effect is above this,
        high: and below this.
        ratio: Whether the effect is `of` over `less`, whose intervals are symmetric in the logarithm.
    """

    name: str
    figure: str
    of: Reading
    less: Reading | None
    low: float
    high: float
    ratio: bool = False


class Claim(NamedTuple):
    """A sentence of the paper, or of those who asked about it.

    Attributes:
        name: Short and unique.
        topic: Under which heading it stands.
        text: The sentence.
        source: Where it stands.
        cases: What it says of what; each has a verdict.
    """

    name: str
    topic: Topic
    text: str
    source: str
    cases: tuple[Case, ...]


ALSO = {"C.1a": "C.1"}
"""Figures of the paper whose study bears another name: C.1 is what it shows, on whatever second data set there is."""


def above(name: str, figure: str, of: Reading, less: Reading | None = None, *, null: float = 0.0) -> Case:
    """The effect is above `null`."""
    return Case(name, figure, of, less, null, inf)


def below(name: str, figure: str, of: Reading, less: Reading | None = None) -> Case:
    """The effect is negative."""
    return Case(name, figure, of, less, -inf, 0.0)


def smaller(name: str, figure: str, of: Reading, less: Reading) -> Case:
    """The ratio is below one."""
    return Case(name, figure, of, less, 0.0, 1.0, ratio=True)


def alike(name: str, figure: str, of: Reading, less: Reading, *, margin: float) -> Case:
    """The two differ by less than `margin`."""
    return Case(name, figure, of, less, -margin, margin)


JUDGED = (
    "claim",
    "topic",
    "text",
    "source",
    "case",
    "figure",
    "quantity",
    "effect",
    "low",
    "high",
    "null_low",
    "null_high",
    "scale",
    "unit",
    "left_out",
    "verdict",
    "p",
    "p_holm",
)
"""Columns of the table of verdicts. `low` and `high` are the ends of the 95 % interval; a claim holds if the effect
lies between `null_low` and `null_high`, of which one may be missing; `left_out` counts runs that lack a number; `scale`
says how to read an effect: `ratio`, `points` (a difference of fractions) or `plain`."""


def judge_claims(claims: Iterable[Claim], evidence: pd.DataFrame) -> pd.DataFrame:
    """The verdict on every case of some claims.

    Evidence without a seed is published: where all of it is, that is what is judged; elsewhere it is not looked at.

    Args:
        claims: The claims.
        evidence: As `read_evidence` gives it.

    Returns:
        A row a case, with the columns `JUDGED`; what is not in the evidence says so as its verdict.

    Raises:
        ValueError: A series stands where one number is expected.
    """
    printed = evidence["seed"] == PUBLISHED_SEED
    absent = "not published" if len(evidence) and printed.all() else "not measured"
    found = evidence if printed.all() else evidence[~printed]
    by_figure: dict[object, pd.DataFrame] = dict(iter(found.groupby("figure")))
    for printed_as, ours in ALSO.items():
        if printed_as not in by_figure and ours in by_figure:
            by_figure[printed_as] = by_figure[ours]
    rows = [
        {**claim._asdict(), "claim": claim.name, **_judged(case, by_figure.get(case.figure, found.iloc[:0]), absent)}
        for claim in claims
        for case in claim.cases
    ]
    table = pd.DataFrame(rows).reindex(columns=list(JUDGED))
    table["p_holm"] = holm(table["p"].tolist())
    return table


def as_measurement(table: pd.DataFrame, name: str, evidence: pd.DataFrame) -> Measurement:
    """Verdicts as a measurement, which can be saved, drawn and reported like any other.

    Args:
        table: As `judge_claims` gives it.
        name: What the evidence is called where a model's name stands.
        evidence: What was judged, for its checksum.
    """
    table = table.copy()
    table.insert(0, "model", name)
    provenance = {
        "instrument": "claims",
        "settings": {"level": LEVEL},
        "model": {"name": name},
        "evidence": {"rows": len(evidence), "sha256": sha256(as_csv(evidence).encode()).hexdigest()},
    }
    return Measurement(instrument="claims", tables={"table": table}, provenances=(provenance,))


def _judged(case: Case, rows: pd.DataFrame, absent: str) -> dict[str, object]:
    """The columns that follow from a case and the rows of its figure."""
    facts: dict[str, object] = {
        "case": case.name,
        "figure": case.figure,
        "quantity": case.of.quantity,
        "null_low": case.low if case.low > -inf else nan,
        "null_high": case.high if case.high < inf else nan,
        "scale": "ratio" if case.ratio else "points" if _in_points(case.of) else "plain",
    }
    none = {"effect": nan, "low": nan, "high": nan, "unit": "–", "left_out": 0, "p": nan}
    runs, left_out = runs_of(rows, case.of, case.ratio)
    others = None
    if case.less is not None:
        others, more = runs_of(rows, case.less, case.ratio)
        left_out += more
        if not (runs and others):  # of two accuracies a paper may state the difference alone, as an arm of its own
            stated = case.of._replace(arm=f"{case.of.arm} − {case.less.arm}")
            runs, others = runs_of(rows, stated, case.ratio)[0], None
    if not runs:
        return facts | none | {"left_out": left_out, "verdict": absent if not left_out else "undefined"}
    estimate = compare(runs, others)
    low, high = (log(end) if end else -inf for end in (case.low, case.high)) if case.ratio else (case.low, case.high)
    verdict = judge(estimate, low, high)
    return facts | _shown(estimate, case.ratio) | {"left_out": left_out, "verdict": verdict.word, "p": verdict.p}


def _shown(estimate: Estimate, ratio: bool) -> dict[str, object]:
    numbers = [estimate.value, *estimate.interval()]
    effect, low, high = map(exp, numbers) if ratio else numbers
    return {"effect": effect, "low": low, "high": high, "unit": estimate.unit}


def runs_of(rows: pd.DataFrame, reading: Reading, logarithm: bool) -> tuple[Runs, int]:
    """The number that is read, of every run that has it, and of how many it is not defined.

    Args:
        rows: Evidence of one figure.
        reading: What is read.
        logarithm: Whether its logarithm is, so that differences are those of ratios.
    """
    series = rows[rows["quantity"] == reading.quantity]
    key = "arm" if reading.arm == ALL else "x"
    if reading.arm != ALL:
        series = series[series["arm"] == reading.arm]
    if reading.summary == "per nat":
        nll = rows[rows["quantity"] == OVER].set_index(["arm", "x", "seed"])["value"]
        series = series.assign(over=nll.reindex(pd.MultiIndex.from_frame(series[["arm", "x", "seed"]])).to_numpy())
    whole = series[key].nunique(dropna=False)
    runs: dict[int, tuple[float, float]] = {}
    for seed, run in series.groupby("seed"):
        value, error = _summary(run.sort_values(key), reading.summary) if len(run) == whole else (nan, nan)
        if logarithm:
            value, error = (log(value), error / value) if value > 0 else (nan, nan)
        if not np.isnan(value):
            runs[int(str(seed))] = (value, error)
    return runs, series["seed"].nunique() - len(runs)


def _summary(run: pd.DataFrame, summary: Summary) -> tuple[float, float]:
    """One number of one run, with the standard error over images that it has at most.

    Values at several x share their images, with unknown correlation; errors are added as if fully correlated, an upper
    bound.
    """
    x, value, error = (run[name].to_numpy(dtype=float) for name in ("x", "value", "standard_error"))
    weights = _weights(x, run, summary)
    if weights is None:
        return nan, nan
    if summary == "exponent":
        if (value <= 0).any():
            return nan, nan
        value, error = np.log(value), error / value
    if summary == "per nat":  # the NLL errs as well, and is not known how far
        error = np.full(len(error), nan)
    used = weights != 0
    return float(weights[used] @ value[used]), float(np.abs(weights[used]) @ error[used])


def _weights(x: np.ndarray, run: pd.DataFrame, summary: Summary) -> np.ndarray | None:
    """What a summary multiplies the values by; all of them are sums."""
    if summary in PLACES:
        return _at(PLACES[summary](len(x)), len(x), summary, run)
    if summary == "edge":
        return _at(next(iter(np.flatnonzero(np.isclose(x, 1.0)).tolist()), None), len(x), summary, run)
    if summary in ("low", "high"):
        chosen = x <= 1 / 3 if summary == "low" else x >= 2 / 3
        return chosen / chosen.sum() if chosen.any() else None
    axis = {"per doubling": np.log2, "exponent": np.log}[summary](x) if summary != "per nat" else run["over"].to_numpy()
    centred = axis - axis.mean()
    spread = centred @ centred
    return centred / spread if np.isfinite(spread) and spread > 0 and len(x) > 1 else None


PLACES = {
    "value": lambda n: 0,
    "first": lambda n: 0,
    "second": lambda n: 1 if n > 1 else None,
    "middle": lambda n: n // 2 if n > 1 else None,
    "last": lambda n: n - 1 if n > 1 else None,
}
"""Which of n values in the order of x; a single one is no end of a series."""


def _at(place: int | None, n: int, summary: Summary, run: pd.DataFrame) -> np.ndarray | None:
    if summary == "value" and n > 1:
        one = run.iloc[0]
        raise ValueError(
            f"Figure {one['figure']} has {n} values of {one['quantity']} of {one['arm']} in one run, expected one: a "
            "claim about it needs a single number."
        )
    return None if place is None else np.eye(n)[place]


def _in_points(reading: Reading) -> bool:
    """Whether a difference is one of fractions, for which people say percentage points."""
    return QUANTITIES[reading.quantity].scale == "points" and reading.summary != "exponent"
