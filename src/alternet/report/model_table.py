"""The table of models, to take away: what stands at the front of a report, as numbers and as texts."""

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd

from alternet.measurement import Measurement
from alternet.report.contents import in_order
from alternet.report.front import Front, front

COLUMNS = ("model", "runs", "number", "what", "value", "low", "high")


def model_table(measurements: Iterable[Measurement]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The key numbers of all models and groups of runs: a row a number, and the same as one reads it, a row a model.

    Args:
        measurements: One an instrument, as a report shows them.

    Returns:
        `model`, `runs` (of a group, else 0), `number` (the head of its column), `what` it is, `value`, and the ends of
        its 95 % interval, nan where none is known; and a table of texts.

    Examples:
        >>> table = pd.DataFrame({"model": ["a"], "epoch": [1], "train_loss": [2.0], "test_accuracy": [0.5]})
        >>> facts = {"instrument": "training", "model": {"name": "a", "parameters": 1500}}
        >>> log = Measurement(instrument="training", tables={"table": table}, provenances=(facts,))
        >>> numbers, texts = model_table([log])
        >>> numbers[["model", "number", "value"]].values.tolist()
        [['a', 'Accuracy', 0.5], ['a', 'Parameters', 1500.0]]
        >>> texts.to_dict("records")
        [{'': 'a', 'Accuracy': '50.0 %', 'Parameters': '1,500'}]
    """
    made = front(in_order(measurements), (), defaultdict(str))
    if made is None:
        return pd.DataFrame(columns=list(COLUMNS)), pd.DataFrame()
    return _numbers(made), _texts(made)


def _numbers(made: Front) -> pd.DataFrame:
    """Every run of a group too, under its own name."""
    rows = [
        (row.name, row.runs, column.title, column.says, float(cell.number.value), cell.number.low, cell.number.high)
        for row in made.rows
        for column, cell in zip(made.columns, row.cells, strict=True)
        if cell is not None
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _texts(made: Front) -> pd.DataFrame:
    """Models and groups, each number with its interval in brackets."""
    rows = []
    for row in made.rows:
        if row.of:
            continue
        cells = {"": f"{row.name} ({row.runs} runs)" if row.runs else row.name}
        for column, cell in zip(made.columns, row.cells, strict=True):
            cells[column.title] = "–" if cell is None else cell.text + (f" ({cell.interval})" if cell.interval else "")
        rows.append(cells)
    return pd.DataFrame(rows)
