"""A training run on the disk: what identifies it, whether it is finished, and the result that `train` hands back."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from alternet.storage import write_json
from alternet.training.recipe import Recipe

RUN, WEIGHTS, AVERAGED, LOG = "run.json", "weights.safetensors", "ema.safetensors", "log.csv"
CHECKPOINT, SNAPSHOTS = "checkpoint.safetensors", "snapshots"
VERSIONED = ("alternet", "torch", "timm", "numpy")


@dataclass(frozen=True)
class TrainingRun:
    """A finished run: `alternet.load(run.name)` gives the trained model.

    Attributes:
        folder: Where everything lies; `docs/training.md` lists the files.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The run as MODEL on the command line and in `alternet.load`."""
        return f"run:{self.folder}"

    @cached_property
    def log(self) -> pd.DataFrame:
        """One row an epoch; the columns are those of `log.csv`."""
        rows = csv.DictReader((self.folder / LOG).read_text(encoding="utf-8").splitlines())
        table = pd.DataFrame([{name: float(text or "nan") for name, text in row.items()} for row in rows])
        return table.astype({"epoch": int, "step": int})

    @property
    def test_accuracy(self) -> float:
        """Accuracy of the final weights (not of their average) on the test images, a fraction."""
        return float(self.log["test_accuracy"].iloc[-1])


def finished(folder: Path) -> bool:
    """Whether the training in a folder has come to its end."""
    return (folder / WEIGHTS).exists() and bool((_stored(folder) or {}).get("finished"))


def require_same(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds the training of something else.

    Raises:
        ValueError: It does; the first fact that differs is named.
    """
    stored = _stored(folder)
    if stored is None:
        return
    defaults = {"recipe": Recipe().as_dict()}  # an option that is newer than the run had this effect then
    for fact, now in identity.items():
        before = stored.get(fact)
        if isinstance(before, dict):
            before = defaults.get(fact, {}) | before
        if before != now:
            raise ValueError(
                f"{folder} holds a training with another {fact} ({_difference(before, now)}). "
                "Give another --out, or delete that folder to train anew."
            )


def record(folder: Path, identity: Mapping[str, Any], **circumstances: Any) -> None:
    """Write `run.json`: the identity, the circumstances and the versions of the libraries."""
    versions = {name: version(name) for name in VERSIONED}
    write_json(folder / RUN, {**identity, "versions": versions, **circumstances})


def _stored(folder: Path) -> dict[str, Any] | None:
    path = folder / RUN
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise ValueError(f"it holds a {type(facts).__name__}")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Give another --out, or delete that folder.") from error
    return facts


def _difference(before: Any, now: Any) -> str:
    """Where two values part, down to the option of a recipe."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                return f"{key}: {before.get(key)!r}, now {now.get(key)!r}"
    return f"{before!r}, now {now!r}"
