"""What other tools make of AlterNet: `torch.export`, ONNX, `torch.compile` and TorchScript give its logits."""

import subprocess
import sys
from typing import Any

import pytest
import timm
import torch
from torch import nn

from alternet.sharing.onnx_file import write_onnx
from alternet.subject.subject import Subject

pytestmark = pytest.mark.slow

SIZES = ((2, 3, 32, 32), (5, 3, 32, 32), (3, 3, 48, 40), (2, 3, 33, 50))
"""Of images whose maps windows divide, and whose maps they hang over."""


def alternet(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    small: dict[str, Any] = {"widths": (8, 8, 8, 8), "window_size": 3, "num_classes": 5}
    return timm.create_model("alternet_mini", **(small | settings)).eval()


@pytest.mark.parametrize(
    ("times", "settings"), [(1, {}), (3, {"stem": "imagenet", "window_size": 2})], ids=["cifar", "imagenet"]
)
def test_an_export_takes_any_number_and_size_of_images(times, settings):
    """From those on whose last map has more than one window a side, as the example's."""
    net, free = alternet(**settings), torch.export.Dim.AUTO
    sizes = ({0: free, 2: free, 3: free},)
    pool = torch.export.export(nn.MaxPool2d(3, 2, 1), (torch.rand(2, 3, 37, 43),), dynamic_shapes=sizes).module()
    try:
        pool(torch.rand(2, 3, 32, 32))
    except AssertionError:  # torch 2.9 and 2.10
        if "stem" in settings:
            pytest.skip("this torch exports a max pool for odd sides alone, or for even ones, alternet's or any other")
    example = torch.rand(2, 3, 37 * times, 43 * times)
    exported = torch.export.export(net, (example,), dynamic_shapes=sizes)
    for count, channels, height, width in SIZES:
        images = torch.rand(count, channels, height * times, width * times)
        with torch.no_grad():
            torch.testing.assert_close(exported.module()(images), net(images))


def test_an_onnx_file_takes_any_number_and_size_of_images(tmp_path):
    checked = write_onnx(Subject(alternet(), name="alternet", input_size=(3, 32, 32)), tmp_path / "model.onnx")
    assert checked.free == ("batch", "height", "width")
    assert 0 <= checked.difference <= checked.tolerance


def test_five_sizes_are_compiled_twice_at_most():
    """Once for the first size and once for any; in a process where no shapes are checked. (Fewer than 16 windows
    in all are one more case, of PyTorch's convolutions.)"""
    code = """
import torch, timm, alternet
from torch._dynamo.utils import counters
torch.manual_seed(0)
net = timm.create_model("alternet_mini", widths=(8, 8, 8, 8), window_size=3, num_classes=5).eval()
run = torch.compile(net, fullgraph=True, backend="eager")
with torch.no_grad():
    for side in ((32, 32), (48, 40), (33, 50), (64, 64), (56, 39)):
        images = torch.rand(4, 3, *side)
        torch.testing.assert_close(run(images), net(images))
made = counters["stats"]["unique_graphs"]
assert 1 <= made <= 2, f"{made} graphs for five sizes"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchscript_gives_the_logits_of_any_number_of_images():
    """A trace holds for one size of images: `torch.export` is for any."""
    code = """
import warnings
warnings.simplefilter("ignore")  # that a trace holds for what it saw, and that torch has newer ways
import torch, timm, alternet
torch.manual_seed(0)
net = timm.create_model("alternet_mini", widths=(8, 8, 8, 8), window_size=3, num_classes=5).eval()
with torch.no_grad():
    script = torch.jit.trace(net, torch.rand(2, 3, 32, 32))
    for count in (1, 2, 5):
        images = torch.rand(count, 3, 32, 32)
        torch.testing.assert_close(script(images), net(images))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
