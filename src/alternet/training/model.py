"""The model to train: built by name with the data's facts, from random weights that the recipe's seed decides."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import timm
from torch import nn

import alternet.models  # noqa: F401 - registers our models in timm
from alternet.seeding import random_state_kept
from alternet.training.recipe import Recipe


def build_model(
    name: str, recipe: Recipe, input_size: tuple[int, int, int], num_classes: int, model_args: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """Create a timm model for the data.

    Args:
        name: A timm name, ours included.
        recipe: Gives the seed of the weights and the rate of stochastic depth.
        input_size: Channels, height and width of the images.
        num_classes: Number of classes.
        model_args: More keyword arguments of the model; they win over the recipe's and the data's.

    Returns:
        The model, and the keyword arguments that build it again beside `num_classes`.

    Raises:
        ValueError: There is no such model, or it does not take an argument.

    Example:
        >>> build_model("test_vit", Recipe(), (3, 32, 32), 5, {})[1]
        {'in_chans': 3, 'img_size': 32}
    """
    if not timm.is_model(name):
        raise ValueError(_unknown(name))
    channels, height, width = input_size
    arguments: dict[str, Any] = {"in_chans": channels, "img_size": height if height == width else (height, width)}
    if recipe.drop_path > 0:
        arguments["drop_path_rate"] = recipe.drop_path
    arguments |= model_args
    try:
        return _create(name, recipe.seed, num_classes, arguments), arguments
    except TypeError as error:
        if "img_size" not in str(error) or "img_size" in model_args:
            raise ValueError(_refused(name, error)) from error
    del arguments["img_size"]  # a convolutional network takes any size
    try:
        return _create(name, recipe.seed, num_classes, arguments), arguments
    except TypeError as error:
        raise ValueError(_refused(name, error)) from error


def _create(name: str, seed: int, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    with random_state_kept(seed=seed):
        return timm.create_model(name, num_classes=num_classes, **arguments)


def _refused(name: str, error: TypeError) -> str:
    hint = "Set drop_path to 0 in the recipe. " if "drop_path_rate" in str(error) else ""
    return f"{name} cannot be built this way: {error}. {hint}Look at the model's arguments."


def _unknown(name: str) -> str:
    if "@" in name or ":" in name:
        return (
            f"Training starts from random weights of a timm model; got {name!r}. Give a name of: alternet list models."
        )
    near = get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
    return f"There is no timm model {name!r}. " + (
        f"Did you mean {', '.join(near)}?" if near else "See: alternet list models."
    )
