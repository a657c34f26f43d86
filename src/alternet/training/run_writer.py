"""Writing a run: everything that training stores, in an order in which a kill at any moment loses one epoch at most."""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from alternet.circumstances import circumstances
from alternet.distributed import world_size
from alternet.runs import AVERAGED, AVERAGES, CHECKPOINT, EVENTS, INDEX, INIT, LOG, RUN, SNAPSHOTS, WEIGHTS, Row
from alternet.storage import versions, write_atomically, write_json
from alternet.training.checkpoint import write_checkpoint, write_weights
from alternet.training.recipe import Recipe
from alternet.training.trainer import Trainer

FILES = {"ema": AVERAGED, "model": WEIGHTS}
"""In the order in which they are written: a folder that has the weights is complete."""


class RunWriter:
    """Writes the folder of a run; one process of it does.

    Args:
        folder: The run's folder.
        identity: The facts that decide the trained weights, for `run.json`.
        facts: What else it says, which decides nothing.
        rows: The log of the epochs that an interrupted run has finished.

    Raises:
        OSError: The folder cannot be written; so do all methods. What was stored before is intact.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], facts: Mapping[str, Any], rows: Sequence[Row]
    ) -> None:
        self.folder, self.identity, self.facts = folder, identity, facts
        with disk_errors_told(folder):
            for cut_off in folder.glob(f".{CHECKPOINT}.*"):
                cut_off.unlink()
            self._record(finished=False)
            self.log = Log(folder, rows)

    def keep_epoch(self, trainer: Trainer, rows: Sequence[Row]) -> None:
        """Store an epoch: first what may be written twice, then the checkpoint, then the log that belongs to it."""
        with disk_errors_told(self.folder):
            self.log.watch(rows[-1])
            self._snapshot(trainer, len(rows))
            write_checkpoint(self.folder / CHECKPOINT, {"rows": [dict(row) for row in rows], **trainer.state()})
            self.log.write(rows)

    def keep_start(self, trainer: Trainer, done: int) -> None:
        """Store the weights that training begins with, and those that a longer one begins with as a snapshot as well.

        What such a run came to before is `last` no more: from now on it is unfinished, and later has other weights.
        """
        with disk_errors_told(self.folder):
            if done in {0, *self._grew}:
                self._snapshot(trainer, done)
            if done in self._grew:
                for file in FILES.values():
                    (self.folder / file).unlink(missing_ok=True)

    def finish(self, trainer: Trainer, rows: Sequence[Row], skipped: Sequence[str]) -> None:
        """Store the weights, then that they are final. The checkpoint stays, for a training of more epochs."""
        networks = trainer.networks()
        with disk_errors_told(self.folder):
            for name, file in FILES.items():
                if name in networks:
                    write_weights(self.folder / file, networks[name].state_dict(), self._facts)
            self._record(
                finished=True,
                seconds=round(sum(row["seconds"] for row in rows), 3),
                **circumstances(f"train({self.identity['model']!r}, out={str(self.folder)!r})", trainer.device),
                processes=world_size(),
                skipped=list(skipped),
            )

    def _snapshot(self, trainer: Trainer, done: int) -> None:
        """Store the weights in `snapshots/` if this is the time for it, then list them in `snapshots.json`."""
        names, folder = snapshot_names(trainer.recipe, self._grew), self.folder / SNAPSHOTS
        if done not in names:
            return
        files = {epoch: f"{name}.safetensors" for epoch, name in names.items()}
        write_weights(folder / files[done], trainer.model.state_dict(), self._facts)
        if trainer.ema is not None and done:  # before the first step it is that of the weights
            write_weights(folder / AVERAGES / files[done], trainer.ema.module.state_dict(), self._facts)
        index = [
            {"file": file, "epoch": epoch, "step": epoch * trainer.steps_per_epoch}
            for epoch, file in files.items()
            if epoch <= done and (folder / file).exists()  # a run that began by an older recipe may lack some
        ]
        write_json(folder / INDEX, index)

    @property
    def _grew(self) -> list[int]:
        """Epochs done whenever the run became longer."""
        return [part["done"] for part in self.facts.get("grown", ())]

    @property
    def _facts(self) -> dict[str, Any]:
        """What a weight file must say to be loaded alone: all but how it was trained."""
        return {key: value for key, value in self.identity.items() if key not in ("recipe", "start")}

    def _record(self, **circumstances: Any) -> None:
        write_json(self.folder / RUN, {**self.identity, **self.facts, "versions": versions(), **circumstances})

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.close()


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
        self._events = SummaryWriter(str(folder / EVENTS), purge_step=len(rows) + 1)
        if rows:
            self.write(rows)

    def watch(self, row: Row) -> None:
        """Put one row into the events."""
        scalars: dict[str, Any] = {}
        for name, value in row.items():
            if value is not None and name != "epoch":
                # TensorBoard groups by what is left of the slash: test_nll is drawn as test/nll
                group, _, rest = name.partition("_")
                tag = f"{group}/{rest}" if group in ("train", "test", "validation", "ema") else f"run/{name}"
                scalars[tag] = value
        self.note(scalars, row["epoch"])

    def note(self, numbers: Mapping[str, float], epoch: int) -> None:
        """Put what is known after an epoch, of the training or by callbacks, into the events.

        A run of Weights & Biases that the process has begun gets the same.
        """
        for name, value in numbers.items():
            self._events.add_scalar(name, value, epoch)
        self._events.flush()
        if (wandb := sys.modules.get("wandb")) is not None and wandb.run is not None:
            wandb.run.log({"epoch": epoch, **numbers}, step=epoch)

    def write(self, rows: Sequence[Row]) -> None:
        """Put all rows into the CSV file."""
        table = pd.DataFrame(rows, columns=[name for name in Row.__annotations__ if name in rows[0]])
        write_atomically(self.path, table.to_csv(index=False, lineterminator="\n"))

    def close(self) -> None:
        """Close the events."""
        self._events.close()


def snapshot_names(recipe: Recipe, grew: Collection[int] = ()) -> dict[int, str]:
    """The snapshots of a run: epochs done -> name. The final weights are not among them, they are a file of their own.

    Args:
        recipe: Its recipe.
        grew: Epochs done whenever the run became longer.

    Examples:
        >>> snapshot_names(Recipe(epochs=6, warmup_epochs=1, snapshot_every=2))
        {0: 'init', 1: 'warmup', 2: 'epoch-0002', 4: 'epoch-0004'}
        >>> snapshot_names(Recipe(epochs=6, warmup_epochs=3, snapshot_warmup=True))
        {0: 'init', 1: 'epoch-0001', 2: 'epoch-0002', 3: 'warmup'}
    """
    epochs = {*range(0, recipe.total_epochs, recipe.snapshot_every)} if recipe.snapshot_every else set()
    if recipe.snapshot_warmup:
        epochs |= {*range(recipe.warmup_epochs)}
    epochs |= {*grew}
    names = {epoch: f"epoch-{epoch:04d}" for epoch in epochs} | {0: INIT}
    if recipe.warmup_epochs:
        names[recipe.warmup_epochs] = "warmup"
    return dict(sorted(names.items()))


@contextmanager
def disk_errors_told(folder: Path) -> Iterator[None]:
    """Say in one line which folder could not be written, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        line = f"The training folder cannot be written ({reason}); finished epochs are kept. Make room and start again"
        raise OSError(error.errno, line, str(folder)) from error
