"""What timm's `config.json` says of a model, so that `timm.create_model` builds it again wherever the folder lies."""

from collections.abc import Mapping
from typing import Any

import timm
from timm.models import is_model, split_model_name_tag

from alternet.models.transplanted import joined
from alternet.runs import TrainingRun
from alternet.subject.subject import Subject

INPUT = ("fixed_input_size", "min_input_size", "interpolation", "crop_pct", "crop_mode")
"""What timm's configuration of a model says of images and what stays true of other weights."""


def architecture(subject: Subject) -> tuple[str, dict[str, Any]]:
    """The name that timm knows a network by, and the arguments that build it.

    Args:
        subject: A model that `alternet.load` has built.

    Raises:
        ValueError: timm does not build it.

    Examples:
        >>> from alternet.subject.loading import load
        >>> architecture(load("preresnet_mini+msa(stages.3.1.branch,heads=2)"))[0]
        'transplanted'
    """
    name = split_model_name_tag(str(subject.origin.get("model", "")))[0]
    if not name or not is_model(name):
        kind = name.partition(":")[0]
        way = {"hf": "Save it with its own save_pretrained", "tv": "Of torchvision's networks timm has its own"}
        raise ValueError(
            f"{subject.name} cannot be exported: the folder is for timm, which does not build {name or 'it'}. "
            f"{way.get(kind, 'Give a MODEL by name')}, or give a timm name, NAME@WEIGHTS or run:DIR."
        )
    arguments = dict(subject.origin.get("model_args") or {})
    arguments.pop("graft_seed", None)  # all weights come from the file
    if plan := subject.origin.get("plan"):
        return joined(name, arguments, plan)
    return name, arguments


def configuration(subject: Subject) -> dict[str, Any]:
    """The content of `config.json`.

    Args:
        subject: A model that `alternet.load` has built.

    Raises:
        ValueError: timm does not build it, or the input size is not known.
    """
    name, arguments = architecture(subject)
    model: Any = subject.model
    declared: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    channels = subject.example().shape[1]
    cut = {"interpolation": "bicubic", "crop_pct": 1.0} | _cut(subject)
    known = {key: declared[key] for key in INPUT if declared.get(key) is not None} | cut
    layers = {key: _still(model, declared.get(key)) for key in ("first_conv", "classifier")}
    labels = class_names(subject)
    pretrained = {
        **known,
        "custom_load": False,
        "input_size": list(subject.input_size or ()),
        "mean": list(subject.mean or (0.0,) * channels),  # images as they are, where no normalisation is known
        "std": list(subject.std or (1.0,) * channels),
        "num_classes": model.num_classes,
        "pool_size": None,
        **layers,
    }
    return {
        "architecture": name,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        **({"label_names": labels} if labels else {}),
        "model_args": arguments,
        "pretrained_cfg": pretrained,
    }


def class_names(subject: Subject) -> list[str]:
    """Names of the classes, as far as the run or timm's configuration of the weights says them."""
    known = None
    if subject.history is not None:
        known = TrainingRun(subject.history).facts.get("classes")
    elif subject.origin["weights"].get("from") in ("hub", "folder"):
        known = (getattr(subject.model, "pretrained_cfg", None) or {}).get("label_names")
    names = [str(name) for name in known] if isinstance(known, list | tuple) else []
    return names if len(names) == subject.model.num_classes else []


def _cut(subject: Subject) -> dict[str, Any]:
    """How a run has cut its test images; those that had the wanted size already were not cut at all."""
    if subject.history is None:
        return {}
    facts = TrainingRun(subject.history).facts
    tested = facts.get("test") or facts.get("validation")
    if not isinstance(tested, dict):
        return {}
    how = tested.get("preparation") or {}
    return {"crop_pct": 1.0} | {key: how[key] for key in ("crop_pct", "interpolation") if key in how}


def _still(model: Any, layers: str | tuple[str, ...] | list[str] | None) -> Any:
    """Layers that timm adapts to other channels or classes, as far as attention has not taken their place."""
    names = [layers] if isinstance(layers, str) else list(layers or ())
    modules = dict(model.named_modules())
    return layers if names and all(hasattr(modules.get(name), "weight") for name in names) else None


def is_ours(name: str) -> bool:
    """Whether timm knows an architecture by this package alone.

    Examples:
        >>> is_ours("alternet_50"), is_ours("resnet50")
        (True, False)
    """
    return timm.model_entrypoint(name).__module__.startswith("alternet.")
