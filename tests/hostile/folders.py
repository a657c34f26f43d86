"""Folders of saved models as timm and transformers write them: what they say of a network, and what lies in them."""

import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from tests.hostile.battery import EXECUTED, Case, said
from tests.hostile.values import PLACES, TEXTS, VALUES
from torch import Tensor

from alternet.errors import Doubt
from alternet.subject.loading import load

NAME = "vit_mini"
OURS: dict[str, Any] = {
    "architecture": NAME,
    "num_classes": 5,
    "model_args": {"img_size": 32},
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 5},
}
THEIRS: dict[str, Any] = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
REFUSED = (
    r"cannot be (used|fetched|loaded|built|taken)|is damaged|says no architecture|There is no|states |describes a|"
    r"do not fit|got mean|cannot take|expected|mean and std"
)
OF_OURS = ("architecture", "num_classes", "model_args", "pretrained_cfg", "input_size", "mean", "std", "alternet")
OF_THEIRS = ("model_type", "hidden_size", "num_hidden_layers", "image_size", "num_labels", "architectures", "dtype")

HOSTILE: dict[str, dict[str, Any]] = {
    "a network of petabytes": {"hidden_size": 2**20, "intermediate_size": 2**20},
    "a network of a million layers": {"num_hidden_layers": 10**6},
    "code of its own": {"auto_map": {"AutoModelForImageClassification": "code.Net"}, "model_type": "nobodys"},
    "attention from the hub": {"attn_implementation": "somebody/kernel", "_attn_implementation": "somebody/kernel"},
    "another network of the hub": {"_name_or_path": "somebody/something", "backbone": "somebody/something"},
    "a quantisation": {"quantization_config": {"quant_method": "nobodys"}},
    "a network of timm": {"model_type": "timm_wrapper", "architecture": "hf-hub:somebody/something"},
}
"""What transformers reads in a `config.json`."""

INDEX = "model.safetensors.index.json"
ELSEWHERE: dict[str, Any] = {
    "a path upwards": {"weight_map": {"a": "../../etc/passwd"}},
    "zeros without end": {"weight_map": {"a": "/dev/zero"}},
    "a file that is not there": {"weight_map": {"a": "missing.safetensors"}},
    "no list": {"weight_map": 7},
    "an address": {"weight_map": {"a": "https://example.org/w.safetensors"}},
}


def nan(tensor: Tensor) -> Tensor:
    return torch.full_like(tensor, float("nan"))


WEIGHTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "NaN": (nan, "NaN or infinite values in"),
    "integers": (lambda tensor: tensor.to(torch.int8), "expected floating-point numbers"),
    "truths": (lambda tensor: tensor > 0, "expected floating-point numbers"),
}

CASES = [
    Case("a good folder of timm's", ("ours", OURS), "^loaded"),
    Case("a good folder of transformers'", ("theirs", THEIRS), "^loaded"),
    *(Case(f"a config.json of timm's of {name}", ("ours", text), REFUSED) for name, text in TEXTS.items()),
    *(Case(f"a config.json of transformers' of {name}", ("theirs", text), REFUSED) for name, text in TEXTS.items()),
    *(Case(f"{file} of transformers that is {name}", ("place", file, make), f"{REFUSED}|^loaded" if name == "a file that is not there" else REFUSED) for file in ("config.json", "model.safetensors", "preprocessor_config.json") for name, make in PLACES.items()),
    *(Case(f"{key} in timm's: {name}", ("ours", OURS | {key: value}), f"{REFUSED}|^loaded") for key in OF_OURS for name, value in VALUES.items()),
    *(Case(f"{key} in transformers': {name}", ("theirs", THEIRS | {key: value}), f"{REFUSED}|^loaded") for key in OF_THEIRS for name, value in VALUES.items()),
    *(Case(f"in timm's: {name} in input_size", ("ours", OURS | {"input_size": [3, value, 32]}), f"{REFUSED}|^loaded") for name, value in VALUES.items()),
    *(Case(f"in transformers': {name}", ("theirs", THEIRS | more), f"{REFUSED}|^loaded" if name in ("another network of the hub", "attention from the hub", "a quantisation") else REFUSED) for name, more in HOSTILE.items()),
    *(Case(f"an index with {name}", ("index", content), "cannot be taken for a part of a saved model") for name, content in ELSEWHERE.items()),
    *(Case(f"weights of {name} in transformers'", ("weights", change), line) for name, (change, line) in WEIGHTS.items()),
]  # fmt: skip
"""All folders."""


@cache
def weights(kind: str) -> bytes:
    if kind == "ours":
        return safetensors.torch.save(timm.create_model(NAME, num_classes=5, img_size=32).state_dict())
    return safetensors.torch.save(_theirs())


@cache
def _theirs() -> dict[str, Tensor]:
    import transformers

    config = transformers.ViTConfig(**{key: value for key, value in THEIRS.items() if key != "model_type"})
    return transformers.ViTForImageClassification(config).state_dict()


def met(case: Case, folder: Path) -> str:
    """What comes of a folder whose weights are good, when its model is asked for; a note counts as what is said."""
    kind, *content = case.content
    ours = kind == "ours"
    place = folder / "saved"
    place.mkdir()
    (place / "code.py").write_text(f"open({EXECUTED!r}, 'w')")
    (place / "model.safetensors").write_bytes(weights("ours" if ours else "theirs"))
    (place / "config.json").write_text(json.dumps(THEIRS, default=str))
    if kind == "place":
        file, make = content
        (place / file).unlink(missing_ok=True)
        make(place / file)
    elif kind == "index":
        (place / "model.safetensors").rename(place / "model-00001-of-00001.safetensors")
        (place / INDEX).write_text(json.dumps(content[0]))
    elif kind == "weights":
        changed = {key: content[0](value) for key, value in _theirs().items()}
        (place / "model.safetensors").write_bytes(safetensors.torch.save(changed))
    elif isinstance(content[0], bytes):
        (place / "config.json").write_bytes(content[0])
    else:
        (place / "config.json").write_text(json.dumps(content[0]))
    name = f"local-dir:{place}" if ours else f"hf:{place}"
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        line = said(lambda: f"loaded {load(name).name}")
    notes = [str(note.message) for note in noted if issubclass(note.category, Doubt)]
    return " ".join([line, *notes])[:900]
