"""The model to train: built by name with the data's facts, from random weights that the recipe's seed decides."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import timm
import torch
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

    Examples:
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
    model = _create(name, recipe.seed, num_classes, arguments)
    _require_fit(model, name, input_size, num_classes)
    return model, arguments


def _create(name: str, seed: int, num_classes: int, arguments: dict[str, Any]) -> nn.Module:
    """The model; `img_size` is taken out of the arguments if it does not take it, as convolutional networks do not."""
    with random_state_kept(seed=seed):
        try:
            return timm.create_model(name, num_classes=num_classes, **arguments)
        except TypeError as error:
            if "'img_size'" in str(error) and arguments.pop("img_size", None) is not None:
                return _create(name, seed, num_classes, arguments)
            raise ValueError(_refused(name, error)) from error
        except (AssertionError, RuntimeError) as error:
            raise ValueError(_refused(name, error)) from error


@torch.no_grad()
def _require_fit(model: nn.Module, name: str, input_size: tuple[int, int, int], num_classes: int) -> None:
    """One forward pass of one image, before anything is stored."""
    try:
        logits = model.eval()(torch.zeros(1, *input_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{name} cannot take images of size {list(input_size)} ({reason}). "
            "Give another --img-size, or model arguments such as a smaller patch_size."
        ) from error
    if logits.shape != (1, num_classes):
        raise ValueError(f"{name} gives {list(logits.shape)} for one image, expected logits [1, {num_classes}].")


def _refused(name: str, error: Exception) -> str:
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
