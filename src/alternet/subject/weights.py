"""Weight files, read without trusting them, and put into a model strictly."""

import pickle
import warnings
from collections.abc import Collection, Mapping
from os.path import expanduser
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from alternet.errors import Doubt, first_line
from alternet.storage import is_file
from alternet.subject.declared import head_of
from alternet.subject.weight_checks import require_distinct, require_plain, require_sound, require_stored

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt")
WRAPPERS = ("state_dict_ema", "model_ema", "teacher", "student", "state_dict", "model", "model_state_dict", "net")
"""Under which keys training scripts keep the weights; averaged ones first, of which a teacher's are some."""

PREFIXES = (
    *("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.", "teacher.", "student."),
    *("encoder_q.", "base_encoder.", "online_encoder.", "image_encoder.", "visual.", "vision_model.", "vit.", "ema."),
)
"""What training scripts put ahead of the names of a network that they keep in another one."""


def path_of(text: str) -> Path:
    """A path, with ~ for the user's home, which no shell spells out behind a `:` or an `@`."""
    return Path(expanduser(text))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a weight file, under their plain names.

    Checkpoints of common training scripts are unwrapped (`state_dict`, `model`, `teacher`; the averaged weights first)
    and the prefixes `module.` and `_orig_mod.` removed; for others see `of_network`. Pickles are read with
    `weights_only=True`, so no code in them runs.

    Raises:
        ValueError: The file is missing, damaged, unsafe, or holds no weights.
    """
    find_weights(path)
    try:
        require_sound(path)
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about pickle protocols; what cannot be read raises
                content = torch.load(path, map_location="cpu", weights_only=True)
            require_stored(content, path.stat().st_size)  # before any number in them is looked at
    except Exception as error:  # a damaged file can make its parser fail in any way
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise ValueError(
                f"{path} holds objects other than tensors, which could run code, so it was not opened. "
                "Save only the weights: torch.save(model.state_dict(), ...), or a .safetensors file."
            ) from error
        reason = first_line(error, most=120).partition(". ")[0]
        if isinstance(error, pickle.UnpicklingError):
            reason = "it is damaged, or holds objects other than tensors, which are not opened"
        raise ValueError(f"{path} cannot be read as weights ({reason}). Is the file complete?") from error

    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    held = content.items() if isinstance(content, Mapping) else ()
    tensors = [(str(key), value) for key, value in held if isinstance(value, Tensor)]
    if not tensors:
        raise ValueError(f"{path} holds no weights: expected a dictionary of tensors by name.")
    names = [name for name, _ in tensors]  # of which 1 and "1" would be one
    plain = [name.removeprefix("module.").removeprefix("_orig_mod.") for name in names]
    try:
        require_distinct(names, plain)
        require_plain(state := dict(tensors))
    except ValueError as error:
        raise ValueError(f"{path} cannot be taken for weights: {error}. Save the model's own state_dict.") from error
    return dict(zip(plain, state.values(), strict=True))


def of_network(state: dict[str, Tensor], own: Collection[str], name: str) -> dict[str, Tensor]:
    """The weights of one network among those of a file, without what a training script put ahead of their names.

    Of all prefixes, also several in a row, that is taken off which leaves most of the network's own names. What does
    not begin with it (a decoder, a projection, a loss) is left out, and a warning says so.

    Args:
        state: The weights by name.
        own: Names of the network's own weights.
        name: What the network is called.

    Examples:
        >>> sorted(of_network({"backbone.fc.weight": torch.ones(1)}, {"fc.weight", "fc.bias"}, "net"))
        ['fc.weight']
    """
    known = set(own)
    best, left, prefix = state, 0, ""
    paths = {""}
    for _ in range(3):  # module.model.backbone.
        paths |= {
            path + prefix for path in paths for prefix in PREFIXES if any(k.startswith(path + prefix) for k in state)
        }
    for path in sorted(paths, key=len):
        inside = {key.removeprefix(path): value for key, value in state.items() if key.startswith(path)}
        if len(known & inside.keys()) > len(known & best.keys()):
            best, left = inside, len(state) - len(inside)
            prefix = path
    if left:
        others = [key for key in state if not key.startswith(prefix)]
        warnings.warn(
            f"Of the weights for {name} those under {prefix!r} are taken, {len(best)} tensors; {left} others are left "
            f"out ({', '.join(others[:3])}{', ...' if left > 3 else ''}).",
            Doubt,
            stacklevel=2,
        )
    return best


def find_weights(path: Path) -> None:
    """Refuse a weight file that is missing or of a kind that cannot be read."""
    if not is_file(path):
        raise ValueError(f"There is no weight file {path}. Give a .safetensors or .pth file, or write @pretrained.")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is no weight file that can be read: expected one of {', '.join(SUFFIXES)}.")


def fill(model: nn.Module, state: Mapping[str, Tensor], name: str) -> nn.Module:
    """Put weights into a model; every name and shape must agree.

    Raises:
        ValueError: Some are missing, unexpected or misshaped; the line names a few of each.
    """
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    misfits = {
        "missing": [key for key in own if key not in given],
        "unexpected": [key for key in given if key not in own],
        "of another shape": [f"{k} {given[k]} for {own[k]}" for k in own if k in given and own[k] != given[k]],
    }
    floats = {key for key, value in model.state_dict().items() if value.is_floating_point()}
    misfits["of another kind of numbers"] = [
        f"{key} {str(value.dtype).removeprefix('torch.')}"
        for key, value in state.items()
        if key in own and (key in floats) != value.is_floating_point()
    ]
    if any(misfits.values()):
        told = "; ".join(f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in misfits.items() if keys)
        raise ValueError(f"The weights do not fit {name}: {told}. Are they weights of another model?")
    model.load_state_dict(dict(state))
    return model


def fill_but_head(model: nn.Module, state: Mapping[str, Tensor], name: str) -> dict[str, int]:
    """Put weights into a model that may tell another number of classes apart; its head then stays as it is.

    Returns:
        The tensors of the head that stay as they are, and how many classes the weights had in each.

    Raises:
        ValueError: Anything else does not fit, as for `fill`.

    Examples:
        >>> import timm
        >>> ten, five = (timm.create_model("preresnet_mini", num_classes=k) for k in (10, 5))
        >>> fill_but_head(five, ten.state_dict(), "ten")
        {'head.fc.weight': 10, 'head.fc.bias': 10}
    """
    heads = head_of(model)
    own = {key: value for key, value in model.state_dict().items() if key.rpartition(".")[0].startswith(heads)}
    other = {
        key: len(state[key])
        for key, value in own.items()
        if key in state and state[key].shape != value.shape and state[key].shape[1:] == value.shape[1:]
    }
    fill(model, {**state, **{key: own[key] for key in other}}, name)
    return other


def number_of_classes(state: Mapping[str, Tensor], classifier: tuple[str, ...]) -> int | None:
    """How many classes weights were trained for: the rows of the first of these matrices that they have.

    The order of a file says nothing: safetensors sorts by name.
    """
    matrices = [state[key] for name in classifier if (key := f"{name}.weight") in state]
    return len(matrices[0]) if matrices else None
