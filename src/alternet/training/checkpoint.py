"""Checkpoints: any nest of dictionaries, lists, numbers and tensors in one safetensors file, without pickle.

The tensors are stored as safetensors; how they hang together is JSON in the header of the same file. One file is
written whole or not at all, so weights, optimiser and log rows can never be of different epochs.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from struct import pack, unpack
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from alternet.files import open_file
from alternet.runs import HEADER
from alternet.storage import write_atomically

FORMAT = "alternet-checkpoint-1"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Store a state; tensors come back bit for bit, on the CPU.

    Args:
        path: The file to write, atomically.
        state: Dictionaries (with keys that JSON holds), lists, tuples, numbers, strings, None and tensors.

    Raises:
        TypeError: The state holds something else.
        OSError: The disk is full or the folder cannot be written; an older file at `path` is still there.

    Examples:
        >>> import torch
        >>> path = getfixture("tmp_path") / "state.safetensors"
        >>> write_checkpoint(path, {"epoch": 3, "state": {0: {"exp_avg": torch.ones(2)}}, "betas": (0.9, 0.999)})
        >>> read_checkpoint(path)
        {'epoch': 3, 'state': {0: {'exp_avg': tensor([1., 1.])}}, 'betas': (0.9, 0.999)}
    """
    tensors: dict[str, Tensor] = {}
    plan = _pack(state, tensors, "")
    write_atomically(path, _saved(tensors, {"format": FORMAT, "plan": json.dumps(plan)}))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read back what `write_checkpoint` stored.

    Raises:
        ValueError: The file is damaged or something else.
    """
    try:
        open_file(path).close()  # says if it is no file, for which the library would wait
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"its header does not say {FORMAT}")
            state = _unpack(json.loads(header["plan"]), file)
            if not isinstance(state, dict):
                raise ValueError(f"it holds a {type(state).__name__}, expected a state by names")
            return state
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a readable checkpoint ({error}). Delete it to train again from the start."
        ) from error


def write_weights(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a state dict as a plain safetensors file that timm and others read, atomically.

    Args:
        path: The file.
        weights: The tensors by name.
        facts: What is needed to load them, plain values, for the header: files are moved, and so it moves with them.
    """
    tensors = {name: _stored(tensor) for name, tensor in weights.items()}
    write_atomically(path, _saved(tensors, {"format": "pt", HEADER: json.dumps(facts)}))


def _saved(tensors: dict[str, Tensor], header: Mapping[str, str]) -> bytes:
    """A safetensors file, the same bytes for the same values: the library shuffles a header of several entries."""
    whole = save(tensors, metadata={"format": header["format"]})
    (length,) = unpack("<Q", whole[:8])
    entries = {**json.loads(whole[8 : 8 + length]), "__metadata__": dict(header)}
    described = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    described += b" " * (-len(described) % 8)  # the tensors begin at a multiple of 8
    return b"".join((pack("<Q", len(described)), described, memoryview(whole)[8 + length :]))


def _stored(tensor: Tensor) -> Tensor:
    """A copy of its own: safetensors refuses tensors that share memory, as tied weights do."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _pack(value: Any, tensors: dict[str, Tensor], path: str) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = _stored(value)
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, tensors, f"{path}/{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_pack(item, tensors, f"{path}/{i}") for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"A checkpoint holds numbers, strings, tensors and nests of them, got a {type(value).__name__} at {path}. "
        "Train with another optimiser."
    )


def _unpack(plan: Any, file: Any) -> Any:
    if not isinstance(plan, dict):
        return plan
    (kind, content), *_ = plan.items()
    if kind == "tensor":
        return file.get_tensor(content)
    if kind == "dict":
        return {key: _unpack(item, file) for key, item in content}
    items = [_unpack(item, file) for item in content]
    return tuple(items) if kind == "tuple" else items
