"""An ONNX file of a classifier, checked against it with onnxruntime."""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alternet.subject.subject import Subject, logits_of

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""How far the logits of the file may be off, over the largest of the network's (or 1, if that is less)."""
LARGEST = 2**31 - 2**24
"""Bytes that one ONNX file holds; the weights of larger networks lie beside it."""
BATCHES = (1, 2, 5)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found when an ONNX file was compared with its network.

    Attributes:
        free: Axes of the images that may have any length.
        shapes: Shapes of the images that it was compared on.
        difference: The largest difference between logits.
        tolerance: The largest that was allowed, which hangs on how large the logits are.
    """

    free: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    difference: float
    tolerance: float

    def __str__(self) -> str:
        shapes = ", ".join(" × ".join(map(str, shape)) for shape in self.shapes)
        return (
            f"model.onnx takes normalised images, as the transform above gives them; free are: {', '.join(self.free)}. "
            f"On noise of {shapes} onnxruntime gave logits that differ from those of PyTorch by at most "
            f"{self.difference:.1e}; allowed was {self.tolerance:.1e}."
        )


def require_onnx() -> None:
    """Refuse where the packages of the extra are not installed.

    Raises:
        ValueError: They are not.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ValueError(f"--onnx needs {', '.join(missing)}. Install it with: pip install 'alternet[onnx]'")


def write_onnx(subject: Subject, path: Path) -> Checked:
    """Write the network of a Subject as ONNX, for any number of images and, if it takes them, images of any size.

    Args:
        subject: The model, which stays as it is.
        path: The file.

    Returns:
        How it compares with the network; a file that does not compare is not left there.

    Raises:
        ValueError: The network cannot be exported, or the file gives other logits than it.
    """
    require_onnx()
    network = _Logits(deepcopy(subject.model).cpu().float().eval())
    channels, height, width = subject.example().shape[1:]
    # sides that no window divides: where one does, the trace takes it that it always will
    larger = (channels, 2 * height + 3, 2 * width + 5)
    sizes = [(channels, height, width), larger, (channels, height, 2 * width + 1)]
    reasons = []
    for free, example in ((("batch", "height", "width"), larger), (("batch",), sizes[0])):
        if "height" in free and not _takes(network, sizes):
            continue
        try:
            _write(network, _noise((2, *example)), free, path)
            shapes = [(n, *sizes[0]) for n in BATCHES] + [(2, *size) for size in sizes[1:] if "height" in free]
            return _compared(network, path, free, shapes)
        except Exception as error:  # torch.export fails in many ways at what it cannot follow
            reasons.append(" ".join(str(error).split())[:200] or type(error).__name__)
            for file in (path, _beside(path)):
                file.unlink(missing_ok=True)
    raise ValueError(f"{subject.name} cannot be written as ONNX ({reasons[-1]}). Export it without --onnx.")


class _Logits(nn.Module):
    """A network that gives its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(self.model(images))


def _noise(shape: Sequence[int]) -> Tensor:
    """Like normalised images: some standard deviations to either side of zero."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


def _takes(network: nn.Module, sizes: Sequence[tuple[int, int, int]]) -> bool:
    try:
        with torch.no_grad():
            for size in sizes:
                network(_noise((1, *size)))
    except Exception:  # each network refuses a size in its own way
        return False
    return True


def _write(network: nn.Module, example: Tensor, free: Sequence[str], path: Path) -> None:
    axes = {{"batch": 0, "height": 2, "width": 3}[name]: torch.export.Dim.AUTO for name in free}
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=(axes,),
            dynamo=True,
            external_data=weights > LARGEST,
            verbose=False,
        )


def _beside(path: Path) -> Path:
    """Where the weights lie that one file cannot hold."""
    return path.with_name(f"{path.name}.data")


def _compared(network: nn.Module, path: Path, free: tuple[str, ...], shapes: Sequence[tuple[int, ...]]) -> Checked:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised as well
    session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    difference, largest = 0.0, 1.0
    for shape in shapes:
        images = _noise(shape)
        with torch.no_grad():
            expected = network(images)
        given = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        difference = max(difference, (given - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())
    if not difference <= TOLERANCE * largest:  # nor where it is no number
        raise ValueError(
            f"its logits differ from the network's by {difference:.1e}, allowed is {TOLERANCE * largest:.1e}"
        )
    return Checked(free=free, shapes=tuple(shapes), difference=difference, tolerance=TOLERANCE * largest)
