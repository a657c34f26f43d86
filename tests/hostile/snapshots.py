"""Snapshots of training runs: their list, their names, and what lies at their places."""

import json
from pathlib import Path

import safetensors.torch
import torch
from tests.hostile import runs
from tests.hostile.battery import Case, said
from tests.hostile.values import PLACES, TEXTS, VALUES, WORDS

from alternet.runs import TrainingRun
from alternet.subject.weights import read_weights
from alternet.training.checkpoint import FORMAT, read_checkpoint

REFUSED = r"snapshots\.json is damaged|lists no snapshot|lists the same step twice|has no snapshot|holds no weights on the way|is no training run"
CANNOT = "cannot be read as weights|holds no weights"
GOOD = [{"file": "init.safetensors", "epoch": 0, "step": 0}, {"file": "warmup.safetensors", "epoch": 1, "step": 5}]


def checkpoint(plan: bytes) -> bytes:
    """A checkpoint whose plan is any text."""
    header = {"format": FORMAT, "plan": plan.decode("utf-8", "replace")}
    return safetensors.torch.save({"a": torch.ones(1)}, header)


CASES = [
    Case("snapshots as they were", ("list", GOOD), "^read"),
    *(Case(f"a list of {name}", ("list", text), REFUSED) for name, text in TEXTS.items()),
    *(Case(f"a list that is {name}", ("list", make), f"{REFUSED}|^read" if name == "a file that is not there" else REFUSED) for name, make in PLACES.items()),
    *(Case(f"a list: {name}", ("list", value), REFUSED) for name, value in VALUES.items()),
    *(Case(f"{key}: {name}", ("list", [GOOD[0], {**GOOD[1], key: value}]), f"{REFUSED}|^read") for key in ("file", "step") for name, value in VALUES.items()),
    *(Case(f"a snapshot called {name}", ("name", word), f"{REFUSED}|has no snapshot") for name, word in WORDS.items()),
    *(Case(f"weights that are {name}", ("weights", make), f"{REFUSED}|{CANNOT}|There is no weight file") for name, make in PLACES.items()),
    *(Case(f"weights of {name}", ("weights", text), CANNOT) for name, text in TEXTS.items()),
    *(Case(f"a checkpoint that is {name}", ("checkpoint", make), "is not a readable checkpoint") for name, make in PLACES.items()),
    *(Case(f"a checkpoint of {name}", ("checkpoint", text), "is not a readable checkpoint") for name, text in TEXTS.items()),
    *(Case(f"a checkpoint that holds {name}", ("checkpoint", checkpoint(text)), "is not a readable checkpoint|^resumed") for name, text in TEXTS.items()),
    Case("the same step twice", ("list", [GOOD[0], {**GOOD[1], "step": 0}]), "lists the same step twice"),
    Case("a file elsewhere", ("list", [GOOD[0], {**GOOD[1], "file": "../../../etc/passwd"}]), "has no snapshot 'warmup'"),
]  # fmt: skip
"""All snapshots."""


def met(case: Case, folder: Path) -> str:
    """What comes of a snapshot, asked for as `run:DIR@warmup` asks."""
    kind, content = case.content
    if kind == "checkpoint":
        file = folder / "checkpoint.safetensors"
        content(file) if callable(content) else file.write_bytes(content)
        return said(lambda: f"resumed {read_checkpoint(file)}"[:100])
    run = folder / "run"
    (run / "snapshots").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(runs.GOOD))
    for name in ("weights", "snapshots/init", "snapshots/warmup"):
        (run / f"{name}.safetensors").write_bytes(runs.weights())
    listed, weights = run / "snapshots" / "snapshots.json", run / "snapshots" / "warmup.safetensors"
    listed.write_text(json.dumps(GOOD))
    place = weights if kind == "weights" else listed
    if kind != "name":
        place.unlink()
        if callable(content):
            content(place)
        else:
            place.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    wanted = content if kind == "name" else "warmup"
    return said(lambda: f"read {len(read_weights(TrainingRun(run).at(wanted)))} tensors")
