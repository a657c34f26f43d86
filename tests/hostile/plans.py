"""Plans of transplants: as text in a model's name, and as data in a run."""

import json
from pathlib import Path
from typing import Any

from tests.hostile import runs
from tests.hostile.battery import Case, said
from tests.hostile.values import VALUES, WORDS

from alternet.subject.loading import load

BASE = "preresnet_mini"
GRAFT: dict[str, Any] = {"module": "stages.0.0.conv1", "form": "conv", "channels": [32, 32], "heads": 1, "head_dim": 8}
REFUSED = "expected|has no|cannot|got|There is no|states|Did you mean|do not fit|is made for|Name all units|describes"

SETTINGS = ("heads", "head_dim", "window_size", "attention", "zero_init", "module", "form")

CASES = [
    *(Case(f"+msa({name})", f"{BASE}+msa({word})", REFUSED) for name, word in WORDS.items()),
    *(Case(f"+msa of a unit with {key}={name}", f"{BASE}+msa(stages.0.0:{key}={word})", f"{REFUSED}|^loaded") for key in ("heads", "form") for name, word in WORDS.items()),
    *(Case(f"a graft with {key}: {name}", {"base": BASE, "plan": [GRAFT | {key: value}]}, f"{REFUSED}|damaged") for key in SETTINGS for name, value in VALUES.items()),
    *(Case(f"a plan: {name}", {"base": BASE, "plan": value}, f"{REFUSED}|damaged") for name, value in VALUES.items()),
    *(Case(f"a base: {name}", {"base": value, "plan": [GRAFT]}, f"{REFUSED}|damaged") for name, value in VALUES.items()),
    *(Case(f"a seed: {name}", {"base": BASE, "plan": [GRAFT], "graft_seed": value}, f"{REFUSED}|damaged") for name, value in VALUES.items()),
    Case("a thousand grafts of one place", {"base": BASE, "plan": [GRAFT] * 1000}, REFUSED),
    Case("a window of 60 000", {"base": BASE, "plan": [GRAFT | {"window_size": 60_000}]}, REFUSED),
]  # fmt: skip
"""All plans."""


def met(case: Case, folder: Path) -> str:
    """What comes of a plan when the model is asked for."""
    if isinstance(case.content, str):
        return said(lambda: f"loaded {load(case.content).name}")
    run = folder / "run"
    run.mkdir()
    (run / "weights.safetensors").write_bytes(runs.weights())
    (run / "run.json").write_text(json.dumps(runs.GOOD | {"model": "transplanted", "model_args": case.content}))
    return said(lambda: f"loaded {load(f'run:{run}').name}")
