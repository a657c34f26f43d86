"""AlterNet as other tools take it: what `torch.export`, ONNX and `torch.compile` need for it, against a ResNet.

AlterNet-18 and timm's ResNet-18, both in evaluation mode, for images of 64 x 64. Exports leave batch, height and width
open; the ONNX file is written by torch's exporter. Compiling is a first call and one with images of another size, with
everything that was compiled before forgotten; where there is no compiler of C++ it stops at the graphs (`aot_eager`).
Both take turns within one run; the numbers are medians.
"""

import shutil
import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
from torch import nn

import alternet.models  # noqa: F401 - registers the models
from benchmarks.turns import in_turns, row

NAMES = ("alternet_18", "resnet18")
SIDES = ((64, 64), (80, 72))
TURNS = 3
TARGET = "<= 2"
BACKEND = "inductor" if shutil.which("g++") or shutil.which("clang++") else "aot_eager"


def rows() -> list[dict[str, Any]]:
    """A row a tool."""
    nets = [timm.create_model(name, num_classes=100, **_like(name)).eval() for name in NAMES]
    ways: dict[str, Callable[[nn.Module], Any]] = {
        "torch.export with any batch and size": exported,
        f"torch.compile ({BACKEND}), a first call and one of another size": compiled,
    }
    if find_spec("onnxscript"):
        ways["an ONNX file for any batch and size"] = written
    lines = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for what, way in ways.items():
            ours, rival = in_turns(TURNS, *(partial(way, net) for net in nets))
            lines.append(row(f"{what}: {NAMES[0]} against {NAMES[1]}", ours, rival, ours / rival, TARGET))
    return lines


def _like(name: str) -> dict[str, Any]:
    """Both with the stem that ResNet-18 has."""
    return {"stem": "imagenet"} if name.startswith("alternet") else {}


def _images(side: tuple[int, int]) -> torch.Tensor:
    return torch.rand(2, 3, *side, generator=torch.Generator().manual_seed(0))


def exported(net: nn.Module) -> Any:
    """Batch, height and width are open."""
    free = torch.export.Dim.AUTO
    return torch.export.export(net, (_images((75, 93)),), dynamic_shapes=({0: free, 2: free, 3: free},))


def written(net: nn.Module) -> None:
    """The same as a file."""
    free = torch.export.Dim.AUTO
    more: dict[str, Any] = {"dynamic_shapes": ({0: free, 2: free, 3: free},), "dynamo": True, "verbose": False}
    with TemporaryDirectory() as folder:
        torch.onnx.export(net, (_images((75, 93)),), str(Path(folder) / "model.onnx"), **more)


def compiled(net: nn.Module) -> None:
    """Forward, in a copy, since a network that was compiled before is not compiled again."""
    torch.compiler.reset()
    run: Any = torch.compile(deepcopy(net), backend=BACKEND)
    with torch.no_grad():
        for side in SIDES:
            run(_images(side))


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())))
