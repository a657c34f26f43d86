"""What is known of a weight file beside its tensors: from its header, or a `run.json` or timm `config.json` beside it.

Nothing of it is executed or fetched. A name is only compared with the one that was asked for, and arguments are names
and numbers that a model's constructor takes.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError, safe_open
from timm.models import build_model_with_cfg

from alternet.errors import damage, shortened
from alternet.files import read_json
from alternet.runs import AVERAGED, HEADER, RUN, SNAPSHOTS, WEIGHTS
from alternet.storage import is_file, sha256_of

CONFIG = "config.json"
OURS = "alternet"
"""Where, in that file, `export` says what it knows of the weights beside it."""

LOADING = {
    *inspect.signature(timm.create_model).parameters,
    *inspect.signature(build_model_with_cfg).parameters,
    "features_only",
    "out_indices",
}
"""Arguments of timm that say where weights come from, or what is made of the model: none is the model's own."""

LARGEST = 2**16
"""What no size of a network exceeds; larger ones would be built for hours."""

MOST_CLASSES = 2**20
"""More than any data set has."""

NAME = re.compile(r"[\w+-][\w.+-]*|")
"""Text that an argument may be: a name, and no path or address."""


@dataclass(frozen=True, kw_only=True)
class WeightFacts:
    """What a weight file says.

    Attributes:
        source: Where it is said, in words.
        ours: Whether it is a run of ours that says so, so that the weights fit the model just as they are.
        model: Name of the architecture.
        model_args: Arguments that build it.
        num_classes: Number of classes.
        input: Input size, mean and std, as far as they are said, as a Subject takes them.
    """

    source: str
    ours: bool
    model: str = ""
    model_args: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int | None = None
    input: Mapping[str, Any] = field(default_factory=dict)


def facts_of(path: Path) -> WeightFacts | None:
    """What is known of a weight file; None where nothing is.

    Raises:
        ValueError: What is said is damaged, or more than names and numbers.
    """
    for source, content, ours in _sources(path):
        try:
            return _read(source, content, ours)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(
                f"What {source} says of {path} cannot be used ({damage(error)}). Take it away to load "
                "the weights without it."
            ) from error
    return None


def require_plain(arguments: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Arguments of a model that a file states, if they are names and numbers that say nothing of loading.

    Raises:
        ValueError: They are something else.

    Examples:
        >>> require_plain({"stem": "imagenet", "depths": [2, 2]}, "run.json")
        {'stem': 'imagenet', 'depths': [2, 2]}
    """
    require_own(arguments, source)
    for name, value in arguments.items():
        grafts = value if name == "plan" and isinstance(value, list) else []  # of a transplant
        if strange := [graft for graft in grafts if not isinstance(graft, dict)]:
            raise ValueError(f"{source} states a plan with {shortened(strange[0], 100)}, expected grafts as mappings")
        parts = [part for graft in grafts for part in dict(graft).values()] if grafts else [value]
        if not all(_plain(part, 2**32 if name.endswith("seed") else LARGEST) for part in parts):
            raise ValueError(
                f"{source} states {name}={shortened(value, 100)}, expected a name or numbers of a usual size"
            )
    return dict(arguments)


def require_own(arguments: Mapping[str, Any], source: str) -> None:
    """Refuse arguments that are not the model's own but say what is loaded, or into what it is made."""
    if strange := sorted(str(name) for name in arguments if name in LOADING or not str(name).isidentifier()):
        raise ValueError(f"{source} states {', '.join(strange)}, which is no argument of a model's own.")


def _plain(value: Any, most: int) -> bool:
    if isinstance(value, list | tuple):
        return all(_plain(part, most) for part in value)
    if isinstance(value, int | float):
        return abs(value) <= most  # not so for NaN
    return value is None or bool(isinstance(value, str) and NAME.fullmatch(value))


def _sources(path: Path) -> Iterator[tuple[str, Any, bool]]:
    """Where something is said of a file, what, and whether a run of ours says it; the nearest first."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
        except (OSError, SafetensorError):  # whoever reads the tensors says what is wrong
            header = {}
        if HEADER in header:
            yield "its header", _parsed(header[HEADER], path), True
    folder = path.parent.parent if path.parent.name == SNAPSHOTS else path.parent
    of_run = path.suffix == ".safetensors" and (folder != path.parent or path.name in (WEIGHTS, AVERAGED))
    if of_run and is_file(folder / RUN):
        yield str(folder / RUN), _read_json(folder / RUN), True
    if content := read_config(path):
        cfg = content.get("pretrained_cfg") or {}
        known = {key: value for key, value in (cfg | content).items() if key in ("input_size", "mean", "std")}
        yield str(path.parent / CONFIG), {**content, **known, "model": content["architecture"]}, False


def read_config(path: Path) -> dict[str, Any] | None:
    """The `config.json` of timm beside a weight file; None where there is none, or one that others wrote.

    Raises:
        ValueError: It is damaged.
    """
    config = path.parent / CONFIG
    content = _read_json(config) if is_file(config) else None
    if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
        return None
    if not isinstance(content.get("pretrained_cfg") or {}, dict):
        got = shortened(content["pretrained_cfg"], 100)
        raise ValueError(f"{config} states pretrained_cfg={got}, expected facts by name. Take it away to load without.")
    return content


def folder_facts(path: Path) -> dict[str, Any]:
    """What `export` said of a weight file, if it is still the one that it wrote."""
    facts = (read_config(path) or {}).get(OURS)
    return facts if isinstance(facts, dict) and facts.get("file_sha256") == sha256_of(path) else {}


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}). Take it away to load the weights without it.") from error


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}). Take it away to load the weights without it.") from error


def _read(source: str, content: Any, ours: bool) -> WeightFacts:
    classes, size = content.get("num_classes"), content.get("input_size")
    facts: dict[str, Any] = {}
    if size is not None:
        channels, height, width = map(int, size)
        facts["input_size"] = channels, height, width
    for name in ("mean", "std"):
        if content.get(name) is not None:
            facts[name] = tuple(map(float, content[name]))
    if classes is not None and not 0 <= int(classes) <= MOST_CLASSES:
        raise ValueError(f"it states {shortened(classes, 100)} classes, expected at most {MOST_CLASSES}")
    if ("mean" in facts) != ("std" in facts):
        raise ValueError("it states only one of mean and std")
    return WeightFacts(
        source=source,
        ours=ours,
        model=str(content.get("model", "")),
        model_args=require_plain(content.get("model_args") or {}, source),
        num_classes=None if classes is None else int(classes),
        input=facts,
    )
