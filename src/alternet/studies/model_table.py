"""The table of models: the few numbers by which networks are compared at a glance, each with its error."""

from collections.abc import Iterable
from math import isnan, nan
from typing import Any

import pandas as pd

from alternet.instruments.differences import number_of
from alternet.measurement import Measurement
from alternet.studies.claim import Reading, runs_of
from alternet.studies.evidence import QUANTITIES
from alternet.studies.key_numbers import Network, evidence_of, networks, title
from alternet.studies.statistics import compare as estimated

PARAMETERS = "parameters"


def model_table(measurements: Iterable[Measurement]) -> pd.DataFrame:
    """The key numbers of all models and groups of runs, a row a number.

    Args:
        measurements: Of one or more models each.

    Returns:
        `model`, `quantity`, `what`, `heading`, `value`, `standard_error` (over runs of a group, else as the instrument
        gives it, nan where it gives none), `unit` (over what), and `runs`.

    Examples:
        >>> table = pd.DataFrame({"model": ["a"], "epoch": [1], "train_loss": [2.0], "test_accuracy": [0.5]})
        >>> facts = {"instrument": "training", "model": {"name": "a", "parameters": 1500}}
        >>> log = Measurement(instrument="training", tables={"table": table}, provenances=(facts,))
        >>> model_table([log])[["model", "quantity", "value"]].values.tolist()
        [['a', 'accuracy', 0.5], ['a', 'nll_train', 2.0], ['a', 'parameters', 1500.0]]
    """
    rows = [row for network in networks(measurements) for row in _of(network)]
    columns = ["model", "quantity", "what", "heading", "value", "standard_error", "unit", "runs"]
    return pd.DataFrame(rows, columns=columns)


def _of(network: Network) -> Iterable[dict[str, Any]]:
    evidence, count = evidence_of(network), len(network.models)
    for quantity, what in QUANTITIES.items():
        mine = evidence[evidence["quantity"] == quantity]
        known = sorted(
            mine["figure"].unique(), key=lambda one: mine.loc[mine["figure"] == one, "standard_error"].isna().all()
        )
        for summary in what.compared if known else ():
            runs, _ = runs_of(mine[mine["figure"] == known[0]], Reading(network.name, quantity, summary), False)
            if not runs:
                continue
            found = estimated(runs)
            yield {
                **{"model": network.called, "quantity": quantity, "what": title(quantity, summary)},
                **{"heading": what.heading, "value": found.value, "standard_error": found.error},
                **{"unit": found.unit.replace("images", what.over), "runs": len(runs)},
            }
    counts = [one.provenance["model"].get("parameters") for by in network.measured.values() for one in by.values()]
    if known := [count for count in counts if isinstance(count, int)]:
        said = {"model": network.called, "quantity": PARAMETERS, "what": "Parameters", "heading": PARAMETERS}
        yield said | {"value": float(known[0]), "standard_error": nan, "unit": "–", "runs": count}


def in_columns(table: pd.DataFrame) -> pd.DataFrame:
    """That table as one reads it: a row a model, the columns that any model has a number for, every cell a text.

    Examples:
        >>> rows = {"model": "a", "heading": "ECE", "quantity": "ece", "value": 0.123, "standard_error": 0.011}
        >>> in_columns(pd.DataFrame([rows])).to_dict("records")
        [{'model': 'a', 'ECE': '12.3% ± 1.1%'}]
    """
    order = [what.heading for what in QUANTITIES.values() if what.heading] + [PARAMETERS]
    cells: dict[str, dict[str, str]] = {}
    for row in table.itertuples():
        cells.setdefault(str(row.model), {})[str(row.heading)] = _cell(str(row.quantity), row.value, row.standard_error)
    there = [heading for heading in order if any(heading in one for one in cells.values())]
    return pd.DataFrame([{"model": model, **{h: one.get(h, "–") for h in there}} for model, one in cells.items()])


def _cell(quantity: str, value: Any, error: Any) -> str:
    if quantity == PARAMETERS:
        return f"{value / 1e6:.2f} M"
    scale = QUANTITIES[quantity].scale
    return number_of(value, scale) + ("" if isnan(error) else f" ± {number_of(error, scale)}")
