"""The page on one's own model, data and names, run as it stands; and six networks in one report."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import alternet as an
from alternet.cli import run as command
from alternet.report import render

PAGE = Path(__file__).parents[1] / "docs" / "bring-your-own.md"

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("default")  # what the page says is warned of, is
def test_every_line_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, block in re.findall(r"```(python|console)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        if kind == "python":
            exec(compile(block, f"docs/{PAGE.name}", "exec"), names)
            continue
        for line in re.findall(r"^\$ alternet (.*)$", block, re.MULTILINE):
            assert command([*shlex.split(line)]) == 0, (line, capsys.readouterr().err)
    assert [(tap.name, tap.kind) for tap in names["mine"].taps] == [("stem", "stem"), ("block", "conv")]
    assert names["cnn"].model.num_classes == 18 and names["dino"].input_size == (3, 56, 56)
    assert names["measured"].models == ("my CNN", "ViT")
    assert "my CNN" in Path("report.html").read_text() and "cnn (2 runs)" in Path("seeds.html").read_text()


def test_six_networks_go_into_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """A CNN, a ViT, a Swin at an odd size, a DINO-style backbone, one of transformers, and a module of one's own."""
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**small, intermediate_size=32)).save_pretrained("hf")
    dino = timm.create_model("vit_small_patch14_dinov2", depth=2)
    torch.save({"teacher": {f"backbone.{key}": value for key, value in dino.state_dict().items()}}, "dino.pth")
    models = ["CNN=resnet10t", "ViT=vit_mini", "SigLIP=hf:hf"]
    common = ["--data", "photos", "--limit", "4", "--out", "out", "--device", "cpu"]
    call = [part for model in models for part in ("-m", model)]
    assert command(["measure", "fourier", "variance", *call, "--img-size", "56", *common]) == 0, capsys.readouterr().err
    swin = ["-m", "Swin=swin_tiny_patch4_window7_224", "--img-size", "84", "--set", "model.depths=[1,1,1,1]"]
    assert command(["measure", "fourier", "variance", *swin, *common]) == 0, capsys.readouterr().err
    backbone = ["-m", "DINO=vit_small_patch14_dinov2@dino.pth", "--img-size", "56", "--set", "model.depth=2"]
    assert command(["measure", "fourier", "variance", *backbone, *common]) == 0, capsys.readouterr().err
    mine = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU())
    own = an.Subject(mine, name="mine", input_size=(3, 56, 56))
    for instrument in (an.Fourier(), an.Variance()):
        instrument.measure(own, an.batches("photos", limit=4, img_size=56), out="out")
    page = render(["out"], "report.html").read_text()
    named = ("CNN (random weights)", "ViT (random weights)", "SigLIP", "Swin (random weights)", "DINO", "mine")
    places = [page.index(f">{name}<") for name in named]
    assert places == sorted(places) and "How 6 networks work inside" in page
