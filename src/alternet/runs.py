"""Training runs on the disk: the files that `train` leaves in a folder, their names, and how they are read."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from os.path import expanduser
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

import pandas as pd

from alternet.errors import damage
from alternet.files import read_json, read_text
from alternet.storage import is_file, require_same

PREFIX = "run:"
"""How the name of a MODEL begins that is a training run."""
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
AVERAGES = "ema"
"""In the folder of snapshots: the moving average at each, under the same name."""
INIT = "init"
"""How the snapshot is called that holds what a run began with."""
LAST = "last"
"""How the snapshot is called that holds what a run came to."""
RAW = "-raw"
"""How names end that mean the weights themselves where a run averaged them."""


class Row(TypedDict):
    """What is known after an epoch; the columns of `log.csv`.

    A run tests either the test split or, by its recipe, validation images; the columns of the other are not there.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    test_accuracy: NotRequired[float]
    test_nll: NotRequired[float]
    ema_test_accuracy: NotRequired[float | None]
    ema_test_nll: NotRequired[float | None]
    validation_accuracy: NotRequired[float]
    validation_nll: NotRequired[float]
    ema_validation_accuracy: NotRequired[float | None]
    ema_validation_nll: NotRequired[float | None]
    seconds: float
    data_seconds: float
    images_per_second: float


def logged(row: "Mapping[str, Any] | pd.Series[Any]", column: str) -> float:
    """A number of a row of the log, of the weights that `run:DIR` is: of their moving average where one was kept.

    Examples:
        >>> logged({"test_accuracy": 0.5, "ema_test_accuracy": 0.75}, "test_accuracy")
        0.75
        >>> logged({"test_accuracy": 0.5, "ema_test_accuracy": None}, "test_accuracy")
        0.5
    """
    averaged = row.get(f"ema_{column}")
    return float(row.get(column, nan) if averaged is None or isnan(averaged) else averaged)


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

    @classmethod
    def named(cls, text: str) -> tuple[Self, str]:
        """What `DIR[@SNAPSHOT]` means: a run, and one of its snapshots; `~` is the user's home.

        Examples:
            >>> TrainingRun.named("runs/vit")[1], TrainingRun.named("runs/vit@warmup")[1]
            ('last', 'warmup')
        """
        whole, (folder, at, snapshot) = cls(Path(expanduser(text))), text.rpartition("@")
        if whole.begun or not at:  # a folder may have an @ in its own name
            return whole, LAST
        return cls(Path(expanduser(folder))), snapshot

    @property
    def name(self) -> str:
        """The run as MODEL on the command line and in `alternet.load`."""
        return f"{PREFIX}{self.folder}"

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
            facts = read_json(self.folder / RUN)
            if not isinstance(facts, dict):
                raise ValueError(f"it holds a {type(facts).__name__}, expected facts by name")
        except (OSError, ValueError) as error:
            raise self._damaged(RUN, error) from error
        return facts

    @property
    def grown(self) -> list[dict[str, int]]:
        """Each time that it became longer: `epochs` of its recipe before, and how many were `done`."""
        stored = self.facts.get("grown", []) if self.begun else []
        try:
            return [{"epochs": int(part["epochs"]), "done": int(part["done"])} for part in stored]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(RUN, error) from error

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
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise self._damaged(RUN, error) from error

    @property
    def averaging(self) -> bool:
        """Whether the run keeps a moving average of its weights."""
        recipe = self.facts.get("recipe") if self.begun else None
        return is_file(self.folder / AVERAGED) or (isinstance(recipe, dict) and bool(recipe.get("model_ema")))

    @property
    def weights(self) -> Path:
        """The file of the weights that the run came to: the averaged ones where it averaged."""
        return self.at(LAST)

    def at(self, snapshot: str) -> Path:
        """The file of the weights at a snapshot: `init`, `warmup`, `epoch-0010`, ..., `last`.

        Where the run averaged its weights it is the average at that moment; `epoch-0010-raw` means the weights
        themselves.

        Raises:
            ValueError: There is no such snapshot; the line lists those that there are.
        """
        if snapshot == LAST:
            self.require_weights()
            return self.folder / (AVERAGED if self.averaging else WEIGHTS)
        kept = self.kept
        if snapshot not in kept:
            raise ValueError(f"{self.name} has no snapshot {snapshot!r}. It has {', '.join(kept) or 'none yet'}.")
        return kept[snapshot]

    @property
    def kept(self) -> dict[str, Path]:
        """All weights that are there, by the name that `at` finds them under, in the order of training."""
        _ = self.facts  # says if this is no run
        snapshots = self.snapshots if (self.folder / SNAPSHOTS / INDEX).exists() else {}
        found = {file.stem: file for file in snapshots.values()} | {LAST: self.folder / WEIGHTS}
        if self.averaging:
            averages = [*(self.averages.values() if snapshots else ()), self.folder / AVERAGED]
            pairs = zip(found.items(), averages, strict=True)
            found = {key: file for (name, raw), mean in pairs for key, file in ((name, mean), (f"{name}{RAW}", raw))}
        return {name: file for name, file in found.items() if is_file(file)}

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
            rows = csv.DictReader(read_text(self.folder / LOG).splitlines())
            table = pd.DataFrame([{name: float(text or "nan") for name, text in row.items()} for row in rows])
            return table.astype({"epoch": int, "step": int})
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise self._damaged(LOG, error) from error

    @property
    def test_accuracy(self) -> float:
        """Accuracy on the test images, a fraction, of what `run:DIR` is: the final weights, or their moving average.

        Raises:
            ValueError: The run tested validation images in their place.
        """
        return self._tested("test")

    @property
    def validation_accuracy(self) -> float:
        """The same on the validation images, of a run whose recipe takes some out of training.

        Raises:
            ValueError: The run tested the test split.
        """
        return self._tested("validation")

    def _tested(self, what: str) -> float:
        if (column := f"{what}_accuracy") not in self.log:
            other = "test" if what == "validation" else "validation"
            raise ValueError(
                f"{self.name} was tested on {other} images alone, so its {what} accuracy is not known. "
                f"Ask for {other}_accuracy, or measure it: alternet measure calibration -m {self.name}."
            )
        return logged(self.log.iloc[-1], column)

    def tested(self, snapshot: str) -> dict[str, Any] | None:
        """The row of the log that belongs to a snapshot, named as `at` names it; None ahead of the first epoch."""
        log, name = self.log, snapshot.removesuffix(RAW)
        if name != LAST:
            steps = [step for step, file in self.snapshots.items() if file.stem == name]
            log = log[log["step"].isin(steps)]
        return None if log.empty else {str(key): value for key, value in log.iloc[-1].items()}

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
            read = read_json(index)
            entries = [(int(entry["step"]), str(entry["file"])) for entry in read]
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise self._damaged(f"{SNAPSHOTS}/{INDEX}", error) from error
        if not entries or len(dict(entries)) < len(entries):
            found = "lists the same step twice" if entries else "lists no snapshot"
            raise ValueError(f"{index} {found}, expected one file for each step. Train again into another folder.")
        return {step: index.parent / Path(file).name for step, file in sorted(entries)}

    @property
    def averages(self) -> dict[int, Path]:
        """Moving averages on the way: steps done → file; before the first step it is that of the weights."""
        return {step: file.parent / AVERAGES / file.name if step else file for step, file in self.snapshots.items()}

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
        return ValueError(f"{self.folder / file} is damaged ({damage(error)}). Train again into another folder.")
