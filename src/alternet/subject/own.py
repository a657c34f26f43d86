"""Models of the user's own, by file and name: `mynet.py:MyNet@weights.pth`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import nn

from alternet.errors import in_one_line, nearest
from alternet.own_file import run_own
from alternet.storage import sha256_of
from alternet.subject.timm_models import Built, Side, of_file, resized
from alternet.subject.weight_facts import facts_of
from alternet.subject.weights import fill, find_weights, of_network, path_of, read_weights

OWN = ".py:"
"""What tells a file and a name in it from all other names of models."""


def parts(model: str) -> tuple[Path, str, str]:
    """File, name in it, and weights, which may be missing.

    Examples:
        >>> parts("nets/mine.py:Net@a.pth")
        (PosixPath('nets/mine.py'), 'Net', 'a.pth')
    """
    place, _, weights = model.partition("@")
    file, _, name = place.rpartition(":")
    return path_of(file), name, weights


def check_own(model: str) -> None:
    """Refuse a file or name that is not there; the file is run."""
    _made_by(model)
    if weights := parts(model)[2]:
        find_weights(path_of(weights))


def registered(model: str) -> str:
    """The same as a name of timm, which builds the network again from the facts of a run.

    Raises:
        ValueError: The file does not register it there.
    """
    (file, name, weights), _ = parts(model), _made_by(model)
    if not timm.is_model(name):
        raise ValueError(
            f"Training builds networks by a name of timm; {file} registers no {name!r}. Write "
            f"@timm.models.register_model above a function {name}(pretrained=False, num_classes=..., **settings)."
        )
    return f"{name}@{weights}" if weights else name


def from_own(model: str, img_size: Side, num_classes: int | None, given: Mapping[str, Any]) -> Built:
    """Build it by what the file calls so: a class or function, which is given what the caller sets and nothing else."""
    file, name, weights = parts(model)
    make, told = _made_by(model), dict(given) | ({} if num_classes is None else {"num_classes": num_classes})
    known = facts_of(path_of(weights)) if weights else None
    if known is not None and known.ours and known.model == name:  # a training here, which says what it was built with
        told = {**known.model_args, "num_classes": known.num_classes, **told}
    try:
        network = make(**told)
    except Exception as error:
        raise ValueError(f"{model} cannot be built with {told or 'no arguments'}: {in_one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"{model} gave {type(network).__name__}, expected a torch.nn.Module. Name what makes one.")
    origin = {"code": {"file": str(file), "sha256": sha256_of(file)}}
    if not weights:
        return resized(network, None, img_size), {"origin": origin}
    state = of_network(read_weights(path_of(weights)), network.state_dict(), model)
    facts = of_file(path_of(weights), known, model)
    fill(network, state, model)
    return resized(network, facts.get("input_size"), img_size), {**facts, "origin": origin | facts["origin"]}


def _made_by(model: str) -> Any:
    """What the file holds under the name."""
    file, name, _ = parts(model)
    found = vars(run_own(file, "a model"))
    if not callable(made := found.get(name)):
        calls = [key for key, value in found.items() if callable(value) and not key.startswith("_")]
        raise ValueError(
            f"{file} holds nothing called {name!r} that makes a model. Did you mean {nearest(name, calls)}? Write "
            f"{file}:NAME, a class or function without required arguments."
        )
    return made
