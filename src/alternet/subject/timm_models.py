"""timm's models and ours by name, with random or published weights or those of a file."""

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from alternet.errors import Doubt, first_line
from alternet.hub import one_try
from alternet.models import NAMES, load_released
from alternet.models.alternet import AlterNet
from alternet.models.released import CLASSIFIERS, implied
from alternet.seeding import random_state_kept
from alternet.storage import sha256_of
from alternet.subject.creating import create, require_known
from alternet.subject.subject import ASSUMED
from alternet.subject.weight_checks import require_fitting
from alternet.subject.weight_facts import CONFIG, WeightFacts, facts_of, folder_facts, read_config
from alternet.subject.weights import PREFIXES, fill, find_weights, number_of_classes, of_network, path_of, read_weights

Built = tuple[nn.Module, dict[str, Any]]
"""A model and what a Subject is told of it."""

Side = int | tuple[int, int] | None
"""Side of the images, or their height and width; None for the model's own."""


def from_timm(name: str, img_size: Side, num_classes: int | None, given: Mapping[str, Any]) -> Built:
    name, _, weights = name.partition("@")
    if not weights:
        return _create_timm(name, img_size, num_classes, given), {}
    if weights == "pretrained":
        model = _create_timm(name, img_size, num_classes, {**given, "pretrained": True})
        return model, {"origin": {"weights": _published_by_timm(name, model)}}
    return _of_weights(name, path_of(weights), img_size, num_classes, given)


def _of_weights(name: str, path: Path, img_size: Side, num_classes: int | None, given: Mapping[str, Any]) -> Built:
    """A model with the weights of a file, built as the file or the shapes of its weights say."""
    state, known = read_weights(path), facts_of(path)
    facts = of_file(path, known, name)
    same = known is not None and known.model.partition(".")[0] == name.partition(".")[0]
    arguments = {**(known.model_args if known and same else {}), **given}
    facts["origin"]["model_args"] = arguments
    if known and same:
        build = partial(_create_timm, name, None, num_classes or known.num_classes, arguments)
        require_fitting(build, state, known.source)
    if any(key.startswith(PREFIXES) for key in state):
        state = of_network(state, _names_in(name, arguments), name)
    state, classes = _for_classes(state, num_classes or (known.num_classes if known else None), name, num_classes == 0)
    if known and same and known.ours:
        model = _create_timm(name, None, classes, arguments)
        return resized(fill(model, state, name), facts.get("input_size"), img_size), facts
    if name in NAMES:
        model = _create_timm(name, None, classes, arguments)
        if isinstance(model, AlterNet) and (more := _shaped(model, state, given)):
            line = ", ".join(f"{key}={value}" for key, value in more.items())
            warnings.warn(f"{name} is built with {line}, as the shapes in {path} say.", Doubt, stacklevel=5)
            arguments = facts["origin"]["model_args"] = arguments | more
            model = _create_timm(name, None, classes, arguments)
        if not set(state) & set(model.state_dict()):  # the names are not ours, but those of the authors' released code
            load_released(model, state)
            return model, facts
    model = _as_timm_loads(name, state, img_size, classes, arguments)
    if getattr(getattr(model, "patch_embed", None), "img_size", None):
        facts.pop("input_size", None)  # it was built for the size of its position embeddings
    return model, facts


def _as_timm_loads(
    name: str, state: dict[str, Tensor], img_size: Side, classes: int | None, arguments: Mapping[str, Any]
) -> nn.Module:
    """A model with weights that timm loads as it would load its own, which adapts names and position embeddings."""
    try:
        overlay = {"state_dict": state, **({} if classes is None else {"num_classes": classes})}
        options = {**arguments, "pretrained": True, "pretrained_cfg_overlay": overlay}
        return _create_timm(name, img_size, classes, options)
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        try:
            fill(_create_timm(name, img_size, classes, arguments), state, name)  # says in one line what does not fit
        except ValueError as misfit:
            near = [other for other in _alike(name) if _fits(other, state)]
            raise ValueError(f"{misfit} They fit {', '.join(near[:3])}." if near else str(misfit)) from error
        raise ValueError(f"The weights do not fit {name}: {first_line(error)}.") from error


def of_folder(folder: str) -> tuple[str, Path]:
    """The architecture and the weight file of a folder as timm and `alternet export` write it.

    Raises:
        ValueError: It is none, or its architecture is not known here.
    """
    file = path_of(folder) / "model.safetensors"
    find_weights(file)
    content = read_config(file)
    if content is None:
        raise ValueError(f"{folder} says no architecture: expected timm's {CONFIG} in it. Give NAME@{file} instead.")
    require_known(content["architecture"])
    return content["architecture"], file


def from_folder(folder: str, img_size: Side, num_classes: int | None, given: Mapping[str, Any]) -> Built:
    """The model of a folder as timm and `alternet export` write it."""
    name, file = of_folder(folder)
    model: Any
    model, facts = from_timm(f"{name}@{file}", img_size, num_classes, given)
    content: dict[str, Any] = read_config(file) or {}
    said = {**(content.get("pretrained_cfg") or {}), **content}
    told = {key: said[key] for key in ("interpolation", "crop_pct", "label_names") if key in said}
    model.pretrained_cfg = {**model.pretrained_cfg, **told}
    facts["origin"]["model"] = name
    known = folder_facts(file)
    drawn = known.get("drawn")
    still = (
        {"drawn": [str(one) for one in drawn], "seed": known.get("seed")} if isinstance(drawn, list) and drawn else {}
    )
    facts["origin"]["weights"] |= {"from": "folder", **still}
    return model, facts


def _create_timm(name: str, img_size: Side, num_classes: int | None, options: Mapping[str, Any]) -> nn.Module:
    wanted = {"num_classes": num_classes, "img_size": img_size}
    options = {**options, **{key: value for key, value in wanted.items() if value is not None}}
    published = bool(options.get("pretrained")) and "pretrained_cfg_overlay" not in options
    try:
        with one_try(asked=published):
            return create(name, **options)[0]
    except TypeError as error:
        own = [key for key in options if key not in ("pretrained", "pretrained_cfg_overlay", *wanted)]
        if not own:
            raise
        raise ValueError(f"{name} cannot be built with {', '.join(own)} ({error}). Look at its arguments.") from error
    except (OSError, RuntimeError) as error:
        if published:
            raise ValueError(unreachable(name, error)) from error
        raise


def _published_by_timm(name: str, model: nn.Module) -> dict[str, Any]:
    """Where timm had weights from, and whether it drew another classifier."""
    cfg: Any = model.pretrained_cfg
    at: dict[str, Any] = {"id": cfg["hf_hub_id"]} if cfg.get("hf_hub_id") else {"url": cfg.get("url")}
    if "id" in at:
        at["revision"] = _revision(at["id"], cfg.get("hf_hub_filename"))
    published = timm.get_pretrained_cfg(name)
    classes = getattr(model, "num_classes", None)
    drawn = classes and published is not None and classes != published.num_classes
    return {"from": "hub", **at, **({"drawn": list(classifier_of(name)) or ["classifier"]} if drawn else {})}


def _revision(repository: str, file: str | None) -> str | None:
    """The commit that a file of the hub was taken at, as the folder of its cache says; nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache

    for name in (file, "model.safetensors", "pytorch_model.bin"):
        path = try_to_load_from_cache(repository, name) if name else None
        if name and isinstance(path, str):
            return Path(path).relative_to(Path(path).parents[name.count("/") + 1]).parts[0]
    return None


def of_file(path: Path, known: WeightFacts | None, name: str) -> dict[str, Any]:
    """What a Subject is told of a weight file: what is known of its input, and where all of it comes from."""
    weights = {"from": "file", "file": str(path), "sha256": sha256_of(path)}
    said = known is not None and "mean" in known.input
    source = known.source if known is not None and said else f"{ASSUMED}{name}"
    return {**(known.input if known else {}), "origin": {"weights": weights, "normalisation": source}}


def resized(model: nn.Module, size: tuple[int, int, int] | None, img_size: Side) -> nn.Module:
    """A model with its weights for images of another side, if it must be told."""
    resize = getattr(model, "set_input_size", None)
    if img_size is not None and (size is None or img_size != size[-1]) and callable(resize):
        resize(img_size=img_size)
    return model


def _names_in(name: str, arguments: Mapping[str, Any]) -> set[str]:
    """Names of the weights of a model, which is built without any."""
    with random_state_kept():
        try:
            with torch.device("meta"):
                return set(_create_timm(name, None, None, arguments).state_dict())
        except RuntimeError:  # some look at values as they are built
            return set(_create_timm(name, None, None, arguments).state_dict())


def _shaped(model: nn.Module, state: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an AlterNet that its weights' shapes say otherwise than it was built, and nobody gave."""
    built, said = implied(model.state_dict()), implied(state)
    return {key: value for key, value in said.items() if key not in given and built.get(key) != value}


def _alike(name: str) -> list[str]:
    """Other models of timm with a name like this one, the nearest first: those of its family."""
    family = [other for other in timm.list_models(f"{name.partition('_')[0].rstrip('0123456789')}*") if other != name]
    return get_close_matches(name, family, n=24, cutoff=0.3)


def _fits(name: str, state: Mapping[str, Tensor]) -> bool:
    """Whether weights are those of a model, whatever its classifier is."""
    layers = classifier_of(name)
    try:
        with torch.device("meta"), random_state_kept():
            own = {key: value.shape for key, value in timm.create_model(name).state_dict().items()}
    except Exception:  # some cannot be built without memory
        return False
    shapes = {key: value.shape for key, value in state.items()}
    parts = [{key: shape for key, shape in one.items() if not key.startswith(layers or "\0")} for one in (own, shapes)]
    return parts[0] == parts[1]


def _for_classes(
    state: dict[str, Tensor], said: int | None, name: str, features_alone: bool
) -> tuple[dict[str, Tensor], int | None]:
    """Weights, and how many classes the model is to tell apart: none, 0, where they lack the classifier that it has."""
    layers = classifier_of(name)
    outer = tuple(dict.fromkeys(layer.partition(".")[0] for layer in layers))  # older versions of timm stopped there
    without = {key: value for key, value in state.items() if not layers or not key.startswith(layers)}
    if features_alone:
        return without, 0
    if said is None and layers and not any(key.partition(".")[0] in outer for key in state):
        return state, 0
    return state, number_of_classes(state, (*layers, *outer)) if said is None else said


def classifier_of(name: str) -> tuple[str, ...]:
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    classifier = getattr(config, "classifier", None) or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return (*names, *CLASSIFIERS) if name in NAMES else names


def unreachable(name: str, error: Exception) -> str:
    reason = first_line(error, most=120)
    if reason.startswith("No pretrained weights exist"):
        return f"Nobody published pretrained weights of {name}. Give a file: {name}@weights.safetensors."
    way = "the folder of a saved model: hf:PATH" if name.startswith("hf:") else "a file: NAME@weights.safetensors"
    return f"The weights of {name} cannot be fetched ({reason}). Check the name and the network, or give {way}."
