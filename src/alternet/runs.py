"""Training runs on the disk: the files that `train` leaves in a folder, their names, and how they are read."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from alternet.storage import is_file, require_same

RUN = "run.json"
"""What decides the trained weights and what is needed to load them; versions; at the end, that it is finished."""
HEADER = "alternet"
"""Where, in the header of a weight file that we write, what is needed to load it stands: JSON, a part of `run.json`."""
LOG = "log.csv"
WEIGHTS = "weights.safetensors"
AVERAGED = "ema.safetensors"
CHECKPOINT = "checkpoint.safetensors"
EVENTS = "events"
SNAPSHOTS = "snapshots"
INDEX = "snapshots.json"
"""In the folder of snapshots: file, epoch and step of each."""


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


@dataclass(frozen=True)
class ModelFacts:
    """What builds the model of a run again."""

    model: str
    model_args: dict[str, Any]
    num_classes: int
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class TrainingRun:
    """A training run: `alternet.load(run.name)` gives the trained model.

    Whatever is read is read when it is asked for; a file that is missing or damaged is a ValueError of one line.

    Attributes:
        folder: Where everything lies; `docs/training.md` lists the files.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The run as MODEL on the command line and in `alternet.load`."""
        return f"run:{self.folder}"

    @property
    def begun(self) -> bool:
        """Whether the folder holds a training, finished or not."""
        return is_file(self.folder / RUN)

    @property
    def finished(self) -> bool:
        """Whether the training has come to its end."""
        return is_file(self.folder / WEIGHTS) and self.begun and bool(self.facts.get("finished"))

    @property
    def facts(self) -> dict[str, Any]:
        """All of `run.json`."""
        if not self.begun:
            raise ValueError(
                f"{self.folder} is no training run: it has no {RUN}. Train one: alternet train --out {self.folder}."
            )
        try:
            facts = json.loads((self.folder / RUN).read_text(encoding="utf-8"))
            if not isinstance(facts, dict):
                raise ValueError(f"it holds a {type(facts).__name__}")
        except (OSError, ValueError) as error:
            raise self._damaged(RUN, error) from error
        return facts

    @property
    def model(self) -> ModelFacts:
        """The model's part of `run.json`."""
        facts = self.facts
        try:
            channels, height, width = map(int, facts["input_size"])
            return ModelFacts(
                model=str(facts["model"]),
                model_args=dict(facts["model_args"]),
                num_classes=int(facts["num_classes"]),
                input_size=(channels, height, width),
                mean=tuple(map(float, facts["mean"])),
                std=tuple(map(float, facts["std"])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(RUN, error) from error

    @property
    def weights(self) -> Path:
        """The file of the weights that the run came to: the averaged ones where it averaged."""
        self.require_weights()
        averaged = self.folder / AVERAGED
        return averaged if averaged.is_file() else self.folder / WEIGHTS

    def require_weights(self) -> None:
        """Refuse a folder that is no training run, or whose training has not come to its end."""
        if not self.begun:
            _ = self.facts  # says what is missing
        if not is_file(self.folder / WEIGHTS):
            raise ValueError(
                f"The training in {self.folder} is not finished. Start the same alternet train again to go on."
            )

    @cached_property
    def log(self) -> pd.DataFrame:
        """One row an epoch; the columns are those of `log.csv`."""
        try:
            # pandas' own reader of numbers is a bit off in the last place, by version
            rows = csv.DictReader((self.folder / LOG).read_text(encoding="utf-8").splitlines())
            table = pd.DataFrame([{name: float(text or "nan") for name, text in row.items()} for row in rows])
            return table.astype({"epoch": int, "step": int})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(LOG, error) from error

    @property
    def test_accuracy(self) -> float:
        """Accuracy of the final weights (not of their average) on the test images, a fraction."""
        return float(self.log["test_accuracy"].iloc[-1])

    @property
    def steps(self) -> int:
        """Optimisation steps that were done."""
        try:
            return int(self.log["step"].iloc[-1])
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f"{self.folder / LOG} does not say how many steps were done ({error}). Train again there."
            ) from error

    @property
    def snapshots(self) -> dict[int, Path]:
        """Weights on the way: steps done → file, by rising step; the final weights are not among them."""
        index = self.folder / SNAPSHOTS / INDEX
        if not index.exists():
            raise ValueError(f"{self.folder} holds no weights on the way: {index} is missing. Train again there.")
        try:
            read = json.loads(index.read_text(encoding="utf-8"))
            entries = [(int(entry["step"]), str(entry["file"])) for entry in read]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"{SNAPSHOTS}/{INDEX}", error) from error
        if not entries or len(dict(entries)) < len(entries):
            found = "lists the same step twice" if entries else "lists no snapshot"
            raise ValueError(f"{index} {found}, expected one file for each step. Train again into another folder.")
        return {step: index.parent / Path(file).name for step, file in sorted(entries)}

    def require_same(self, identity: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        """Refuse a folder that holds the training of something else.

        Args:
            identity: The facts that decide the trained weights.
            defaults: What recipes say of options that a run may be older than, since they had this effect then.

        Raises:
            ValueError: It does; the first fact that differs is named.
        """
        if not self.begun:
            return
        stored = self.facts
        if isinstance(recipe := stored.get("recipe"), dict):
            stored["recipe"] = {**defaults, **recipe}
        require_same(self.folder, stored, identity, holds="training", again="train anew")

    def _damaged(self, file: str, error: Exception) -> ValueError:
        reason = " ".join(str(error).split())
        return ValueError(f"{self.folder / file} is damaged ({reason}). Train again into another folder.")
