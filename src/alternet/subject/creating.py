"""Models by timm's names, ours included: built in one place for training and for measuring."""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

import alternet.models  # noqa: F401 - registers our models in timm
from alternet.errors import first_line, unknown
from alternet.models.transplanted import as_data, grafted
from alternet.seeding import random_state_kept
from alternet.subject.subject import Subject
from alternet.subject.transplant import Written, plan_transplant


def require_known(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        ValueError: It is none.
    """
    if not timm.is_model(name):
        raise unknown("There is no timm model", name, timm.list_models(), see="alternet list models")


def create(name: str, **arguments: Any) -> tuple[nn.Module, dict[str, Any]]:
    """A timm model, and the arguments that it took: all but an `img_size` where it takes any size, as timm's ResNets.

    Raises:
        Exception: Whatever the model raises at arguments that it does not take.
    """
    try:
        return timm.create_model(name, **arguments), arguments
    except TypeError as error:
        if "img_size" not in arguments or "'img_size'" not in str(error):
            raise
    del arguments["img_size"]
    return timm.create_model(name, **arguments), arguments


def with_attention(
    model: nn.Module, base: str, written: Written, *, input_size: tuple[int, int, int], seed: int
) -> tuple[nn.Module, dict[str, Any]]:
    """Put attention into a network of timm's, in place, and say which arguments of `transplanted` build that again.

    Raises:
        ValueError: A unit cannot be replaced, or attention was put into the network before.
    """
    if base == "transplanted":
        raise ValueError(
            f"{written.base} has attention put into it already, and a transplant of a transplant is not built again "
            "from its base's name. Name all units in one +msa(...) of the base."
        )
    plan = plan_transplant(Subject(model, name=written.base, input_size=input_size), written.units, **written.settings)
    return grafted(model, plan, seed=seed), {"base": base, "plan": as_data(plan), "graft_seed": seed}


def create_for_data(
    name: str, input_size: tuple[int, int, int], num_classes: int, arguments: Mapping[str, Any], *, seed: int
) -> tuple[nn.Module, str, dict[str, Any]]:
    """A timm model with random weights that takes images of a size, which is tried before anything is stored.

    Args:
        name: A timm name, ours included, or one with attention put into it, as in `resnet50+msa(layer4.2)`.
        input_size: Channels, height and width of the images.
        num_classes: Number of classes.
        arguments: Keyword arguments of the model; they win over those that follow from the images.
        seed: Seed of the weights.

    Returns:
        The model, and the timm name and the keyword arguments that build it again beside `num_classes`.

    Raises:
        ValueError: There is no such model, it does not take an argument, or it does not take the images.

    Examples:
        >>> create_for_data("test_vit", (3, 32, 32), 5, {}, seed=0)[1:]
        ('test_vit', {'in_chans': 3, 'img_size': 32})
    """
    if (written := Written.of(name)) and not written.weights:
        model, base, taken = create_for_data(written.base, input_size, num_classes, arguments, seed=seed)
        model, more = with_attention(model, base, written, input_size=input_size, seed=seed)
        return model, "transplanted", taken | more
    if "@" in name or ":" in name:
        raise ValueError(f"Training takes a timm model; got {name!r}. Give a name of: alternet list models.")
    require_known(name)
    channels, height, width = input_size
    wanted = {"in_chans": channels, "img_size": height if height == width else (height, width), **arguments}
    try:
        with random_state_kept(seed=seed):
            model, taken = create(name, num_classes=num_classes, **wanted)
    except (TypeError, AssertionError, RuntimeError) as error:
        hint = "Set drop_path to 0 in the recipe. " if "drop_path_rate" in str(error) else ""
        raise ValueError(f"{name} cannot be built this way: {error}. {hint}Look at the model's arguments.") from error
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(1, *input_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{name} cannot take images of size {list(input_size)} ({first_line(error)}). "
            "Give another --img-size, or model arguments such as a smaller patch_size."
        ) from error
    if logits.shape != (1, num_classes):
        raise ValueError(f"{name} gives {list(logits.shape)} for one image, expected logits [1, {num_classes}].")
    return model, name, {key: value for key, value in taken.items() if key != "num_classes"}
