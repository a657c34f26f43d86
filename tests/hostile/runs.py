"""`run.json` and what it may say: of another model, of a network of gigabytes, of the hub."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
from tests.hostile.battery import Case, said
from tests.hostile.values import PLACES, TEXTS, VALUES

from alternet.subject.loading import load

NAME = "vit_mini"
GOOD: dict[str, Any] = {
    "model": NAME,
    "model_args": {},
    "num_classes": 5,
    "input_size": [3, 32, 32],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "recipe": {},
    "finished": True,
}
DAMAGED = r"run\.json is damaged"
REFUSED = rf"{DAMAGED}|states .*|names a model that cannot be built|names no model|do not fit|describes a network|got mean|cannot take|has no|expected"

ARGUMENTS: dict[str, Any] = {
    "a hub": {"pretrained": "hf-hub:somebody/something"},
    "what is pretrained": {"pretrained": True},
    "a configuration": {"pretrained_cfg": {"url": "https://example.org/w.pth"}},
    "an overlay": {"pretrained_cfg_overlay": {"file": "/etc/passwd"}},
    "a checkpoint": {"checkpoint_path": "/etc/passwd"},
    "a cache": {"cache_dir": "/tmp"},
    "features": {"features_only": True},
    "an address": {"act_layer": "https://example.org"},
    "a path": {"norm_layer": "../x"},
    "a scheme": {"act_layer": "hf-hub:x"},
    "an argument of nobody's": {"nonsense": 1},
    "a name that is none": {"a b": 1},
    "a mapping": {"depth": {"a": 1}},
    "a class": {"__class__": 1},
    "self": {"self": 1},
    "a network of petabytes": {"embed_dim": 65536},
    "a network of a million layers": {"depth": 10**6},
    "a network of many layers": {"depth": 65536},
    "no layer": {"depth": 0},
    "less than no layer": {"depth": -1},
    "a list for a number": {"depth": [1, 2]},
    "heads that do not divide": {"num_heads": 7},
    "NaN": {"drop_rate": float("nan")},
    "infinity": {"drop_rate": float("inf")},
    "a text of 100 kB": {"norm_layer": "x" * 100_000},
    "base": {"base": "hf-hub:x/y"},
}  # fmt: skip
"""Arguments that would load, fetch or build what nobody asked for."""

MODELS = {
    "of the hub": "hf-hub:somebody/something",
    "of a folder": "local-dir:/tmp",
    "with weights": f"{NAME}@pretrained",
    "with a tag": "resnet18.a1_in1k",
    "an ensemble": f"ensemble({NAME},{NAME})",
    "a run": "run:.",
    "of torchvision": "tv:resnet18",
    "another": "resnet18",
    "transplanted": "transplanted",
    "transplanted by name": f"{NAME}+msa(blocks.0)",
}

CASES = [
    Case("a good run", GOOD, "^loaded 5 classes"),
    *(Case(f"a run.json of {name}", text, f"{DAMAGED}|lacks", "run.json") for name, text in TEXTS.items()),
    *(Case(f"a run.json that is {name}", make, f"is no training run|{DAMAGED}", "run.json") for name, make in PLACES.items()),
    *(Case(f"without {key}", {name: value for name, value in GOOD.items() if name != key}, f"lacks '{key}'", "run.json") for key in list(GOOD)[:6]),
    *(Case(f"{key}: {name}", GOOD | {key: value}, f"{REFUSED}|^loaded", "run") for key in list(GOOD)[:6] for name, value in VALUES.items()),
    *(Case(f"an input size of {size}", GOOD | {"input_size": size}, f"{REFUSED}|^loaded", "run") for size in ([3], [3, 32], [3, 32, 32, 32], [4, 32, 32], [3, 0, 0], [3, -32, -32], [3, 10**9, 10**9], ["3", "32", "32"])),
    *(Case(f"classes: {count}", GOOD | {"num_classes": count}, REFUSED, "run") for count in (0, 4, 6, 10**9, 10**15)),
    *(Case(f"a mean of {len(mean)} and a std of {std}", GOOD | {"mean": mean, "std": std}, "got mean|only one of|expected|damaged", "run") for mean, std in (([0.5] * 2, [0.5] * 2), ([0.5] * 4, [0.5] * 4), ([0.5] * 3, [0.5]), ([0.5] * 3, [0.0] * 3), ([0.5] * 3, [-1.0] * 3), ([], []))),
    *(Case(f"arguments: {name}", GOOD | {"model_args": value}, REFUSED, "run") for name, value in ARGUMENTS.items()),
    *(Case(f"a model {name}", GOOD | {"model": value}, REFUSED, "run.json" if name in ("with a tag", "another") else value) for name, value in MODELS.items()),
]  # fmt: skip
"""All runs."""


@cache
def weights() -> bytes:
    return safetensors.torch.save(timm.create_model(NAME, num_classes=5, img_size=32).state_dict())


def met(case: Case, folder: Path) -> str:
    """What comes of a run whose weights are good, when its model is asked for."""
    run = folder / "run"
    run.mkdir()
    (run / "weights.safetensors").write_bytes(weights())
    if isinstance(case.content, dict):
        (run / "run.json").write_text(json.dumps(case.content))
    elif isinstance(case.content, bytes):
        (run / "run.json").write_bytes(case.content)
    else:
        case.content(run / "run.json")

    def loaded() -> str:
        subject = load(f"run:{run}")
        return f"loaded {subject.model.num_classes} classes, {subject.input_size}, {subject.mean} run"

    return said(loaded)
