"""A model of the user's own by file and name, on the command line and in Python."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import alternet as an
from alternet.cli import run
from alternet.subject.loading import check, is_random

SOURCE = """
import timm
from torch import nn
from parts import Block

class Net(nn.Module):
    def __init__(self, num_classes=10, width=8):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, width, 3, padding=1), Block(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.block(x)).mean((2, 3)))

@timm.models.register_model
def own_net(pretrained=False, num_classes=10, width=8, **_):
    return Net(num_classes, width)

def needs(something):
    return Net()

def none():
    return 3

answer = 42
"""
BESIDE = """
from torch import nn

class Block(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What timm registers stays there, so all tests take one file."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "parts.py").write_text(BESIDE)
    (folder / "mine.py").write_text(SOURCE)
    paths = [*sys.path]
    yield folder / "mine.py"
    sys.path[:] = paths


def test_a_class_in_a_file_is_a_model(file: Path):
    subject = an.load(f"mine={file}:Net", num_classes=4, model_args={"width": 6}, img_size=32, seed=1)
    assert (subject.name, subject.model.head.out_features, subject.model.stem.out_channels) == ("mine", 4, 6)
    assert [tap.kind for tap in subject.taps] == ["stem", "conv"]
    assert is_random(f"{file}:Net") and not is_random(f"{file}:Net@a.pth")
    assert subject.origin["code"]["file"] == str(file)
    again = an.load(f"{file}:Net", num_classes=4, model_args={"width": 6}, img_size=32, seed=1)
    assert torch.equal(subject.model.stem.weight, again.model.stem.weight)


def test_weights_behind_the_name_are_its_own(file: Path, tmp_path: Path):
    net = an.load(f"{file}:Net", seed=3).model
    torch.save({"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "a.pth")
    loaded = an.load(f"{file}:Net@{tmp_path / 'a.pth'}", img_size=32)
    assert all(torch.equal(value, loaded.model.state_dict()[key]) for key, value in net.state_dict().items())
    assert loaded.origin["weights"]["from"] == "file"
    with pytest.raises(ValueError, match=r"of another shape"):
        an.load(f"{file}:Net@{tmp_path / 'a.pth'}", model_args={"width": 6})


def test_it_is_measured_and_trained_on_the_command_line(file: Path, tmp_path: Path):
    out, folder = tmp_path / "out", tmp_path / "run"
    recipe = ["--recipe", "quick", "--set", "epochs=1", "--set", "batch_size=16", "--set", "model.width=6"]
    assert (
        run(["train", "-m", f"{file}:own_net", "--data", "digits", *recipe, "--limit", "32", "--out", f"{folder}"]) == 0
    )
    trained = f"trained={file}:own_net@{folder / 'weights.safetensors'}"
    models = ["-m", trained, "-m", f"drawn={file}:Net"]
    images = ["--data", "digits", "--limit", "16", "--img-size", "32"]
    assert run(["measure", "variance", "calibration", *models, *images, "--out", f"{out}"]) == 0
    facts = json.loads((out / "trained/variance/provenance.json").read_text())
    assert facts["origin"]["weights"]["from"] == "file" and facts["input"]["mean"] != [0.0, 0.0, 0.0]
    assert an.load(trained).model.stem.out_channels == 6
    report = tmp_path / "report.html"
    assert run(["report", f"{out}", "--out", f"{report}"]) == 0
    assert "drawn (random weights)" in report.read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nte", r"holds nothing called 'Nte' that makes a model. Did you mean Net"),
        ("answer", r"holds nothing called 'answer'"),
        ("needs", r"cannot be built with no arguments: .*something"),
        ("none", r"gave int, expected a torch.nn.Module"),
        ("Net@", r"names no weights behind the @"),
        ("Net@nothing.pth", r"nothing.pth"),
    ],
)
def test_what_is_no_model_is_said(file: Path, name: str, said: str):
    with pytest.raises(ValueError, match=said):
        an.load(f"{file}:{name}")


def test_files_that_are_none_or_fail_are_said(tmp_path: Path):
    with pytest.raises(ValueError, match=r"There is no Python file .*gone.py. Name the file that holds a model"):
        check(f"{tmp_path / 'gone.py'}:Net")
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(ValueError, match=r"bad.py cannot be run for a model: .*division"):
        check(f"{tmp_path / 'bad.py'}:Net")


def test_what_timm_does_not_know_is_not_trained(file: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"registers no 'Net'. Write @timm.models.register_model"):
        an.train(f"{file}:Net", "digits", an.Recipe(epochs=1, batch_size=16), tmp_path / "run", limit=16)
    assert not (tmp_path / "run").exists()


def test_a_run_never_names_a_file_to_run(file: Path, tmp_path: Path):
    run_folder = tmp_path / "run"
    an.train("test_vit", "digits", an.Recipe(epochs=1, batch_size=16), run_folder, limit=16)
    facts = json.loads((run_folder / "run.json").read_text())
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (run_folder / "run.json").write_text(json.dumps({**facts, "model": f"{tmp_path / 'evil.py'}:Net"}))
    with pytest.raises(ValueError):
        an.load(f"run:{run_folder}")
    assert not (tmp_path / "ran").exists()
