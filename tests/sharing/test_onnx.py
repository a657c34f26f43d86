"""ONNX files: the same logits as the network's, for any number of images, and of any size where it takes them."""

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from torch import nn

from alternet.models.preresnet import PreResNet
from alternet.sharing import onnx_file
from alternet.sharing.onnx_file import Checked, write_onnx
from alternet.subject.subject import Subject
from alternet.subject.transplant import transplant

pytestmark = pytest.mark.slow


def small() -> Subject:
    """A transplanted network whose map is cut into padded windows of 3 x 3."""
    torch.manual_seed(0)
    net = PreResNet(depths=(1, 1), widths=(8, 8), block="basic", num_classes=5).eval()
    subject = Subject(net, name="small", input_size=(3, 16, 16))
    return Subject(
        transplant(subject, ["stages.1.0.branch"], window_size=3, heads=1), name="small", input_size=(3, 16, 16)
    )


def test_a_transplant_goes_through_with_batch_and_size_free(tmp_path):
    subject = small()
    checked = write_onnx(subject, tmp_path / "model.onnx")
    assert checked.free == ("batch", "height", "width")
    assert 0 <= checked.difference <= checked.tolerance
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 16, 16), (4, 3, 16, 16), (2, 3, 24, 31), (1, 3, 12, 50)):  # maps that windows divide, and not
        images = torch.rand(shape)
        with torch.no_grad():
            expected = subject.model(images).numpy()
        np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], expected, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_network_of_one_size_has_the_batch_free(tmp_path):
    net = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=1)
    assert write_onnx(Subject(net.eval(), name="vit"), tmp_path / "model.onnx").free == ("batch",)


def test_a_file_that_gives_other_logits_is_refused(tmp_path, monkeypatch):
    written, net = onnx_file._write, nn.Sequential(nn.Flatten(), nn.Linear(12, 2))

    def other(network, *rest):
        written(network, *rest)
        nn.init.ones_(network.model[1].weight)

    monkeypatch.setattr(onnx_file, "_write", other)
    with pytest.raises(ValueError, match="net cannot be written as ONNX .its logits differ"):
        write_onnx(Subject(net, name="net", input_size=(3, 2, 2)), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_was_checked_is_said():
    checked = Checked(free=("batch",), shapes=((1, 3, 8, 8), (2, 3, 8, 8)), difference=1e-7, tolerance=1e-4)
    assert "On noise of 1 × 3 × 8 × 8, 2 × 3 × 8 × 8" in str(checked) and "at most 1.0e-07; allowed was 1.0e-04" in str(
        checked
    )
