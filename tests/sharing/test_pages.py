"""The pages on sharing and on backbones, run as they stand."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from alternet import Calibration, batches
from alternet.cli import run as command
from alternet.subject.loading import load

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.slow


def run(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, f"docs/{page}", "exec"), names)
    return names


def test_a_backbone_learns_to_find_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("backbone.md")
    photograph, zeros, ones = names["iou"]
    assert photograph > 0.8 and zeros > 0.1 and ones > 0.3  # one class everywhere gives 0 for the others
    assert names["found"].shape == (24, 96, 160)
    assert (tmp_path / "backbone.png").stat().st_size > 10_000


def test_a_folder_is_used_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_file(timm.create_model("preresnet_mini", num_classes=18).state_dict(), "weights.safetensors")
    made = "preresnet_mini@weights.safetensors+msa(stages.2.0.branch)"
    given = ["export", made, "--recalibrate", "photos", "--limit", "64", "--to", "hub/mini", "--device", "cpu"]
    assert command(given) == 0
    Calibration().measure(load("local-dir:hub/mini", device="cpu"), batches("photos", limit=36)).save("out")
    names = run("sharing.md")
    assert names["other"].num_classes == 5
    assert [tuple(one.shape[1:]) for one in names["maps"](torch.zeros(1, 3, 32, 32))][-1] == (128, 4, 4)
    assert "Expected calibration error" in Path("hub/again/README.md").read_text(encoding="utf-8")
