"""Small frictions of a new user, each a line or a file that reads as it should."""

import csv
import io
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from tests.figures.crafted import calibration, several
from torch import nn

import alternet as an
from alternet.cli import run
from alternet.errors import Doubt
from alternet.instruments.frequency_noise.figure import sentences
from alternet.measurement import Measurement
from alternet.report import render

DIGITS = ["--data", "digits", "--limit", "4", "--img-size", "32"]


def test_a_report_of_training_runs_alone(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        facts = {"model": f"net {name}", "num_classes": 18, "finished": True}
        (tmp_path / name / "run.json").write_text(json.dumps(facts))
        (tmp_path / name / "log.csv").write_text("epoch,step,train_loss,test_accuracy\n1,84,2.5,0.3\n")
    page = render([tmp_path], tmp_path / "report.html").read_text()
    assert "How net a and net b were trained" in page


def test_taps_are_as_wide_as_their_names_in_a_pipe_and_can_be_read_by_a_script(capsys):
    name = "x" * 90
    assert run(["taps", "-m", f"{name}=test_resnet"]) == 0
    shown = capsys.readouterr().out
    assert f"Taps of {name}" in shown and all(tap.name in shown for tap in an.load("test_resnet").taps)
    assert run(["taps", "-m", "test_resnet", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert run(["taps", "-m", "test_resnet", "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    taps = an.load("test_resnet").taps
    assert [row["tap"] for row in rows] == [row["tap"] for row in table] == [tap.name for tap in taps]
    assert (rows[0]["channels"], rows[0]["height"], rows[0]["width"]) == taps[0].shape
    assert run(["taps", "-m", "test_resnet", "--csv", "--json"]) == 2


def test_a_table_of_taps_is_not_cut(capsys):
    from alternet.cli.taps import _show

    path = ".".join(["stages"] * 20)
    sides = {"channels": 1, "height": 2, "width": 3}
    _show([{"unit": 0, "tap": path, "kind": "conv", "stage": 0, "depth": 0.0, **sides}], "Taps")
    assert path in capsys.readouterr().out


def test_lists_are_found(capsys):
    assert run(["list", "data"]) == 2
    assert "data sets: alternet list datasets" in capsys.readouterr().err
    assert run(["list", "recipe"]) == 2
    assert "Did you mean recipes" in capsys.readouterr().err


def test_a_measurement_is_short_to_print():
    measured = calibration("ViT")
    rows = {name: len(table) for name, table in measured.tables.items()}
    told = ", ".join(f"{name}: {count} rows" for name, count in rows.items())
    assert repr(measured) == f"Measurement(calibration of ViT; {told})"


def test_a_figure_takes_names_order_colours_and_axes():
    measured = several("variance", "ResNet", "ViT")
    figure = measured.draw(order=["ViT"], names={"ViT": "mine"}, colours={"ViT": "#123456"})
    both = measured.draw(order=["ViT", "ResNet"], names={"ViT": "mine"})
    texts = [text.get_text() for text in both.findobj(Text) if text.get_text() in ("mine", "ResNet", "ViT")]
    assert list(dict.fromkeys(texts)) == ["mine", "ResNet"]
    assert any(line.get_color() == "#123456" for axis in figure.axes for line in axis.get_lines())
    with pytest.raises(ValueError, match="No model Swin in this variance measurement; it holds ResNet, ViT"):
        measured.draw(order=["Swin"])
    own = Figure()
    axis = own.subplots()
    assert measured.draw(axis) is own and axis.get_lines()
    assert not plt.get_fignums()


@pytest.mark.parametrize(("change", "says"), [(0.059, "gains 5.9 below"), (-0.02, "loses 2.0 below")])
def test_a_gain_is_called_one(change: float, says: str):
    frequencies = [0.1, 0.3, 0.7, 0.9]
    table = pd.DataFrame({"model": "a", "frequency": frequencies, "accuracy": 0.5, "delta_accuracy": change})
    table = table.assign(standard_error=0.01, low=change - 0.02, high=change + 0.02, amplitude=0.1, band_error=0.0)
    facts = {"model": {"name": "a"}}
    (line,) = sentences(Measurement(instrument="frequency_noise", tables={"table": table}, provenances=(facts,)))
    assert says in line and "−" not in line.partition("95 %")[0]


def images(channels: int, side: int) -> an.Batches:
    values = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    return an.Batches.of(values, torch.tensor([0, 1]), name="mine")


def test_images_of_other_channels_or_another_size_are_refused_in_our_words():
    grey = an.load("test_resnet", model_args={"in_chans": 1})
    with pytest.raises(ValueError, match=r"takes 1 channel, but the images of 'mine' have 3.*colour=False"):
        an.Variance().measure(grey, images(3, 32))
    fixed = an.load("vit_mini")
    with pytest.raises(ValueError, match=r"takes images of 32 x 32 and cannot take 'mine' at 48 x 48 \(.*img_size=32"):
        an.Variance().measure(fixed, images(3, 48))
    assert len(an.Variance().measure(an.load("test_resnet"), images(3, 48)).table)


def test_python_is_told_what_the_command_line_is_told():
    data = an.Batches.of(torch.rand(4, 3, 32, 32), torch.arange(4), name="mine")
    with pytest.warns(Doubt) as said:
        an.Calibration().measure(an.load("test_resnet", num_classes=9, name="net"), data)
    lines = [str(one.message) for one in said]
    assert any("net has random weights; name a file, test_resnet@FILE" in line for line in lines)
    assert "mine has 4 classes and net has 9; calibration takes class k of the one for class k of the other." in lines


def test_an_end_of_a_line_that_is_not_known_is_asked_for():
    net = an.Subject(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), name="net", input_size=(3, 2, 2))
    data = an.Batches.of(torch.rand(4, 3, 2, 2), torch.arange(4) % 2)
    with pytest.raises(ValueError, match="comes from no training run.*towards"):
        an.Interpolation().measure(net, data)


def test_what_is_refused_leaves_no_folder_and_is_refused_before_a_model_is_built(tmp_path: Path, capsys, monkeypatch):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    monkeypatch.setattr("alternet.subject.loading.load", lambda *_, **__: pytest.fail("a model is built"))
    call = ["measure", "calibration", "-m", "test_resnet", "--data", f"{tmp_path}", "--out", f"{tmp_path}/new/out"]
    assert run(call) == 2
    assert "labels are needed" in capsys.readouterr().err
    train = ["train", "-m", "tv:resnet18", "--data", "digits", "--recipe", "quick", "--out", f"{tmp_path}/new/run"]
    assert run(train) == 2
    assert not (tmp_path / "new").exists()


def test_training_takes_a_part_of_the_images(tmp_path: Path, capsys):
    call = ["train", "-m", "test_resnet", "--data", "digits", "--recipe", "quick", "--set", "epochs=1", "--limit", "8"]
    call += ["--set", "batch_size=4", "--out", f"{tmp_path}/run", "--device", "cpu"]
    assert run(call) == 0, capsys.readouterr().err
    assert an.training.Recipe and pd.read_csv(tmp_path / "run/log.csv")["step"].tolist() == [2]
