"""Comparison: two networks over everything that was measured of both, effects with intervals, corrected after Holm.

The effect of a key number is that of B less that of A. Several runs of a network are its unit of replication, paired
seed by seed where both were trained from the same seeds; of one run each the interval is over what the instrument's
standard errors are over. Only pairings that are stored are made: eigenvalues of the same batches. How answers to the
same images vary together is not stored, so those intervals are those of independent samples, which are too wide rather
than too narrow where both networks find the same images hard.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from math import exp, isnan, nan
from typing import Any

import pandas as pd

from alternet.instruments.differences import CLEAR, NONE, SPEC
from alternet.measurement import Measurement
from alternet.student import LEVEL
from alternet.studies.claim import Reading, runs_of
from alternet.studies.evidence import QUANTITIES, Quantity
from alternet.studies.key_numbers import Network, evidence_of, networks, title
from alternet.studies.over_batches import over_batches
from alternet.studies.statistics import Estimate, Runs, holm
from alternet.studies.statistics import compare as compared


def compare(measurements: Iterable[Measurement], a: str = "", b: str = "") -> Measurement:
    """Two networks over every instrument that measured both: effects, B less A, with 95 % intervals.

    Args:
        measurements: Of one or more models each, as `find_measurements` gives them.
        a: The first network: the name of a model, or of a group of runs that differ by their seed.
        b: The second one; both may be left out where there are two.

    Returns:
        A measurement of the instrument `comparison`, which can be drawn, saved and reported like any other, and whose
        table has a row a key number. `unit` says over what the interval is and whether it is paired, `p_holm` is
        corrected for all rows, `better` names the network that is better where `p_holm` is below 0.05, and `remark`
        says what stands in the way: other settings, other images, an error that is not stored.

    Raises:
        ValueError: There is no network of such a name, there are more or fewer than two and none is named, or no
            instrument measured both.

    Examples:
        >>> def calibrated(name, accuracy):
        ...     rows = {"accuracy": accuracy, "nll": 1.0, "ece": 0.1}
        ...     table = pd.DataFrame({"model": name, "metric": list(rows), "value": list(rows.values())})
        ...     bins = {"bin": [0], "low": [0.0], "high": [1.0], "count": [9], "accuracy": accuracy, "confidence": 0.9}
        ...     tables = {"table": table.assign(standard_error=[0.02, 0.1, nan])}
        ...     tables["reliability"] = pd.DataFrame({"model": name, **bins})
        ...     facts = {"instrument": "calibration", "model": {"name": name}}
        ...     return Measurement(instrument="calibration", tables=tables, provenances=(facts,))
        >>> table = compare([calibrated("cnn", 0.6), calibrated("vit", 0.7)]).table.set_index("quantity")
        >>> table.loc["accuracy", ["effect", "low", "high"]].astype(float).round(3).tolist()
        [0.1, 0.045, 0.155]
        >>> table.loc["accuracy", "better"], table.loc["ece", "remark"]
        ('vit', 'no error is stored')
    """
    if bool(a) != bool(b):
        raise ValueError(f"compare got {a or b!r} alone. Name two networks, or none where there are only two.")
    found = networks(measurements, (a, b) if a else ())
    if len(found) != 2:
        names = ", ".join(one.name for one in found) or "none"
        raise ValueError(f"compare takes two networks, got {names}. Name two: compare(measurements, 'A', 'B').")
    return between(*found)


def between(a: Network, b: Network) -> Measurement:
    """The same of two networks that were read already."""
    if a.called == b.called:
        raise ValueError(f"Both networks are called {a.called!r}. Give one a name of its own: NAME=FOLDER/MODEL.")
    both = [instrument for instrument in a.measured if instrument in b.measured]
    evidence = {"a": evidence_of(a), "b": evidence_of(b)}
    rows = [
        {"instrument": instrument, **row}
        for instrument in both
        for row in _of_instrument(
            instrument, a, b, {side: part[part["figure"] == instrument] for side, part in evidence.items()}
        )
    ]
    if not rows:
        raise ValueError(
            f"Nothing to compare: {a.name} has {', '.join(a.measured) or 'nothing'}, {b.name} has "
            f"{', '.join(b.measured) or 'nothing'}. Measure both with the same instruments."
        )
    table = _once(pd.DataFrame(rows))
    table["p_holm"] = holm(table["p"].tolist())
    table["better"] = [_better(row, a.called, b.called) for _, row in table.iterrows()]
    name = f"{b.called} − {a.called}"
    table = table.assign(model=name, a=a.called, b=b.called)[[*SPEC.columns("table")]]
    compared_alone = {one.called: sorted(set(one.measured) - set(both)) for one in (a, b)}
    provenance: dict[str, Any] = {
        "instrument": "comparison",
        "settings": {"level": LEVEL, "correction": "Holm"},
        "model": {"name": name},
        "compared": {one.called: _weights(one) for one in (a, b)},
        "left_out": {called: alone for called, alone in compared_alone.items() if alone},
    }
    return Measurement(instrument="comparison", tables={"table": table}, provenances=(provenance,))


def _of_instrument(
    instrument: str, a: Network, b: Network, evidence: Mapping[str, pd.DataFrame]
) -> Iterable[dict[str, Any]]:
    """A row a key number that either network has by one instrument."""
    first, second = (next(iter(one.measured[instrument].values())) for one in (a, b))
    differing = _differing(first, second)
    paired = {}
    if instrument == "hessian" and len(a.measured[instrument]) == len(b.measured[instrument]) == 1:
        paired = over_batches(second, first)
    for quantity in dict.fromkeys(quantity for part in evidence.values() for quantity in part["quantity"]):
        what = QUANTITIES[quantity]
        for summary in what.compared:
            ratio = what.scale == "ratio"
            runs, missing = runs_of(evidence["b"], Reading(b.name, quantity, summary), ratio)
            others, more = runs_of(evidence["a"], Reading(a.name, quantity, summary), ratio)
            if not runs and not others and not missing + more:
                continue
            if not (a.seeds_known and b.seeds_known):  # then equal numbers are no pairs
                others = {-1000 + seed: number for seed, number in others.items()}
            estimate = paired.get(quantity) or (compared(runs, others) if runs and others else None)
            estimate = _of_few(estimate, what, (first, second), (others, runs))
            remarks = [*differing, *_missing(instrument, estimate, a, b, others, runs)]
            yield {
                "quantity": quantity,
                "what": title(quantity, summary),
                "value_a": _mean(others, ratio),
                "value_b": _mean(runs, ratio),
                **_shown(estimate, what),
                "measured_in": what.unit or NONE,
                "left_out": missing + more,
                "remark": "; ".join(remarks) or NONE,
            }


FEW: dict[str, Callable[[Measurement], int]] = {
    "directions": lambda one: int(one.tables["flatness"]["finite"].min()),
    "random vectors": lambda one: int(one.table["draw"].nunique()),
}
"""How many a standard error is over, where they are few."""


def _of_few(
    estimate: Estimate | None, what: Quantity, pair: tuple[Measurement, Measurement], sides: tuple[Runs, Runs]
) -> Estimate | None:
    """The estimate of one run each with Welch's degrees of freedom, where its errors are over a few directions."""
    if estimate is None or what.over not in FEW or not estimate.single or isnan(estimate.error):
        return estimate
    errors = [error for side in sides for _, error in side.values()]
    parts = [(error**4, FEW[what.over](one) - 1) for one, error in zip(pair, errors, strict=True)]
    if min(freedom for _, freedom in parts) < 1:
        return estimate._replace(error=nan)
    return estimate._replace(freedom=estimate.error**4 / sum(part / freedom for part, freedom in parts))


def _mean(runs: Mapping[int, tuple[float, float]], ratio: bool) -> float:
    value = sum(value for value, _ in runs.values()) / len(runs) if runs else nan
    return exp(value) if ratio and runs else value


def _shown(estimate: Estimate | None, what: Quantity) -> dict[str, Any]:
    """Effect and interval on their scale, over what, and p that there is none."""
    if estimate is None:
        return {"effect": nan, "low": nan, "high": nan, "scale": what.scale, "unit": NONE, "p": nan}
    numbers = [estimate.value, *estimate.interval()]
    effect, low, high = map(exp, numbers) if what.scale == "ratio" else numbers
    unit = estimate.unit
    if estimate.unit == "images (one run)":
        unit = f"{what.over}, unpaired"
    elif "paired" not in unit and not isnan(estimate.error):
        unit = f"{unit}, unpaired"
    p = nan if isnan(estimate.error) else estimate.p_value(0.0)
    return {"effect": effect, "low": low, "high": high, "scale": what.scale, "unit": unit, "p": p}


def _missing(
    instrument: str, estimate: Estimate | None, a: Network, b: Network, others: Runs, runs: Runs
) -> Iterable[str]:
    """Why there is no effect, no interval, or no pairing."""
    if estimate is None:
        lacking = [one.called for one, has in ((a, others), (b, runs)) if not has]
        yield f"undefined for {' and '.join(lacking)}"
    elif isnan(estimate.error) and estimate.unit.endswith("all equal"):
        yield f"{'batches' if estimate.single else 'runs'} do not differ, so there is no spread to judge by"
    elif isnan(estimate.error) and not estimate.single:
        yield "one run of one of the two has no spread"
    elif isnan(estimate.error):
        yield "other batches, or too few" if instrument == "hessian" else "no error is stored"
    elif len(runs) > 1 and "paired" not in estimate.unit:
        known = a.seeds_known and b.seeds_known
        yield "trained with other seeds" if known else "seeds are not known, so runs are not paired"


def _differing(first: Measurement, second: Measurement) -> list[str]:
    """Settings that are not the same, and whether the images are."""
    one, other = first.provenance, second.provenance
    found = []
    settings = [part.get("settings") or {} for part in (one, other)]
    keys = [key for key in dict.fromkeys([*settings[0], *settings[1]]) if settings[0].get(key) != settings[1].get(key)]
    if keys:
        found.append(
            "other settings: "
            + ", ".join(f"{k} {_word(settings[0].get(k))}, {_word(settings[1].get(k))}" for k in keys)
        )
    if one.get("data") != other.get("data"):
        found.append("other images")
    if one.get("objective") != other.get("objective"):
        found.append("other loss (objective)")
    if one.get("dtype") != other.get("dtype"):
        found.append("other dtype")
    if one.get("version", 1) != other.get("version", 1):
        found.append("other version of the instrument")
    return found


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Each key number once: of what two instruments give, as a log and a calibration the accuracy, one with a p-value.

    Where both have one it is what was measured: the log may be of other test images.
    """
    last = table.assign(unsure=table["p"].isna(), of_log=table["instrument"] == "training")
    known = last.sort_values(["unsure", "of_log"], kind="stable").drop_duplicates("what")
    return known.sort_index().reset_index(drop=True)[[*table]]


def _better(row: Any, a: str, b: str) -> str:
    """Which network is better, where that is clear."""
    end = QUANTITIES[row["quantity"]].better
    if not end or not row["p_holm"] < CLEAR:
        return NONE
    higher = row["effect"] > (1 if row["scale"] == "ratio" else 0)
    return b if higher == (end == "higher") else a


def _weights(network: Network) -> list[str]:
    """Checksums of the weights of its runs."""
    found = {
        str(one.provenance["model"].get("weights_sha256") or "")
        for by in network.measured.values()
        for one in by.values()
    }
    return sorted(found - {""})
