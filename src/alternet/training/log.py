"""The log of a run: one row an epoch, as CSV for analysis and as TensorBoard events to watch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import pandas as pd

from alternet.storage import write_atomically
from alternet.training.run import LOG


class Row(TypedDict):
    """What is known after an epoch; the columns of `log.csv`."""

    epoch: int
    step: int
    lr: float
    train_loss: float
    test_accuracy: float
    test_nll: float
    ema_test_accuracy: float | None
    ema_test_nll: float | None
    seconds: float
    data_seconds: float
    images_per_second: float


class Log:
    """Writes `log.csv` whole after every epoch, and TensorBoard events in `events/`.

    Args:
        folder: The run's folder.
        rows: The rows of the epochs that an interrupted run has finished. Events of later ones, which a kill may
            have left behind, are marked as void.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

        self.path = folder / LOG
        self._events = SummaryWriter(str(folder / "events"), purge_step=len(rows) + 1)
        if rows:
            self.write(rows)

    def watch(self, row: Row) -> None:
        """Put one row into the events."""
        for name, value in row.items():
            if value is not None and name != "epoch":
                self._events.add_scalar(_tag(name), value, row["epoch"])
        self._events.flush()

    def write(self, rows: Sequence[Row]) -> None:
        """Put all rows into the CSV file."""
        table = pd.DataFrame(rows, columns=list(Row.__annotations__))
        write_atomically(self.path, table.to_csv(index=False, lineterminator="\n"))

    def close(self) -> None:
        """Close the events."""
        self._events.close()


def _tag(name: str) -> str:
    """TensorBoard groups by what is left of the slash: `test_nll` is drawn as `test/nll`."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("train", "test", "ema") else f"run/{name}"
