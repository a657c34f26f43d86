"""torchvision's models by name, with random or published weights or those of a file."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from alternet.errors import unknown
from alternet.subject.timm_models import Built, of_file, unreachable
from alternet.subject.weight_checks import require_fitting
from alternet.subject.weight_facts import facts_of
from alternet.subject.weights import PREFIXES, fill, number_of_classes, of_network, path_of, read_weights

POSITIONED = "vit_"
"""How the names of those torchvision networks begin that are made for one image size: they have position embeddings."""


def check_torchvision(name: str) -> None:
    """Refuse a name that torchvision has no classifier for.

    Raises:
        ValueError: There is none; near names are told.
    """
    if name not in (known := torchvision.models.list_models(module=torchvision.models)):
        raise unknown("There is no torchvision classifier", name, known, see="alternet list models")


def from_torchvision(name: str, img_size: int | None, num_classes: int | None, given: Mapping[str, Any]) -> Built:
    name, _, weights = name.partition("@")
    best = torchvision.models.get_model_weights(name).DEFAULT  # pyright: ignore[reportAttributeAccessIssue]
    preset = best.transforms()
    own = preset.crop_size[0]
    facts: dict[str, Any] = {"input_size": (3, own, own), "mean": tuple(preset.mean), "std": tuple(preset.std)}
    state: Mapping[str, Tensor] = {}
    if weights == "pretrained":
        if given:
            raise ValueError(f"The published weights of tv:{name} take no arguments, got {', '.join(given)}.")
        model = _published(name, best, num_classes)
        facts["origin"] = {"weights": {"from": "hub", "id": str(best), "url": best.url}}
        if img_size in (None, own) or not name.startswith(POSITIONED):
            return model, facts
        state = model.state_dict()
    elif weights:
        state = read_weights(path_of(weights))
        facts |= of_file(path_of(weights), facts_of(path_of(weights)), f"tv:{name}")
        if name.startswith(POSITIONED) and img_size is None:  # then the size is what is said beside the file
            side = {"image_size": facts["input_size"][-1]}
            require_fitting(lambda: torchvision.models.get_model(name, weights=None, **side), state, weights)
    model = _network(name, img_size or facts["input_size"][-1], num_classes, state, given)
    return model, facts


def _network(
    name: str, side: int, num_classes: int | None, state: Mapping[str, Tensor], given: Mapping[str, Any]
) -> nn.Module:
    """A network of torchvision with these weights, or with random ones where there are none."""
    # GoogLeNet and Inception warn unless they are told to initialise themselves
    options = {**({"init_weights": True} if name in ("googlenet", "inception_v3") else {}), **given}
    classes = num_classes
    try:
        if state and (not classes or any(key.startswith(PREFIXES) for key in state)):
            # all of torchvision's networks define the layer that makes the logits last
            net = torchvision.models.get_model(name, weights=None, **options)
            state = of_network(dict(state), net.state_dict(), f"tv:{name}")
            layers = [path for path, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
            classes = classes or number_of_classes(state, tuple(layers[-1:]))
        options |= {"num_classes": classes} if classes else {}
        if name.startswith(POSITIONED):
            options["image_size"] = side
            if "encoder.pos_embedding" in state:
                state = interpolate_embeddings(side, int(name.rpartition("_")[2]), OrderedDict(state))
        model = torchvision.models.get_model(name, weights=None, **options)
    except TypeError as error:
        if not given:
            raise
        raise ValueError(f"tv:{name} cannot be built with {', '.join(given)} ({error}).") from error
    return fill(model, state, f"tv:{name}") if state else model


def _published(name: str, weights: Any, num_classes: int | None) -> nn.Module:
    known = len(weights.meta["categories"])
    if num_classes not in (None, known):
        raise ValueError(
            f"The published weights of tv:{name} tell {known} classes apart, got num_classes={num_classes}. "
            "Leave it out, or train the model on your classes and give its weights as a file."
        )
    try:
        return torchvision.models.get_model(name, weights=weights)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(unreachable(f"tv:{name}", error)) from error
