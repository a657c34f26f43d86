"""Interpolation: a line by hand, both ends, statistics of BatchNorm, and files that are not what they were."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from tests.contract.runs import write_run
from torch import Tensor, nn

from alternet.data.image_batches import Batches
from alternet.errors import Doubt
from alternet.instruments.interpolation import Interpolation
from alternet.loss.risk import Risk
from alternet.subject.subject import Subject

HALF = torch.bfloat16, torch.float32
QUICK: dict[str, Any] = {"steps": 4, "beyond": 1}


def subject(seed: int) -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
        model.get_buffer("2.running_mean").normal_()
        model.get_buffer("2.running_var").uniform_(0.5, 2)
    return Subject(model, name="net", input_size=(3, 2, 2))


def data() -> Batches:
    pictures = torch.rand(9, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    return Batches.of(pictures, torch.arange(9) % 3)


def stored(net: Subject, file: Path) -> str:
    torch.save(net.model.state_dict(), file)
    return str(file)


def test_every_point_is_the_network_with_mixed_weights_and_statistics(tmp_path: Path) -> None:
    net, other = subject(0), subject(1)
    settings = Interpolation(**QUICK, towards=stored(other, tmp_path / "other.pth"))
    table = settings.measure(net, data()).table
    assert table["x"].tolist() == [-0.25, 0, 0.25, 0.5, 0.75, 1, 1.25]
    mixed, frozen = subject(2), settings.open(net, data()).batches
    for row in table.itertuples():
        state = {}
        for (name, a), b in zip(net.model.state_dict().items(), other.model.state_dict().values(), strict=True):
            x = min(1.0, max(0.0, row.x)) if "running" in name else row.x
            state[name] = (1 - x) * a + x * b if a.is_floating_point() else a
        mixed.model.load_state_dict(state)
        with Risk(mixed, frozen) as risk:
            by_hand = risk.value()
        assert (row.nll, row.l2, row.loss) == pytest.approx((by_hand.nll, by_hand.l2, by_hand.loss), rel=1e-5)
        assert row.accuracy == by_hand.accuracy


def test_a_model_in_half_precision_is_measured_in_single_precision(tmp_path: Path) -> None:
    halved, whole = (replace(subject(0), model=subject(0).model.to(torch.bfloat16).to(dtype)) for dtype in HALF)
    pictures = torch.rand(9, 3, 2, 2).bfloat16().float()  # what survives the model's own normalisation
    settings = Interpolation(**QUICK, augment="none", towards=stored(subject(1), tmp_path / "other.pth"))
    found, expected = (settings.measure(net, Batches.of(pictures, torch.arange(9) % 3)) for net in (halved, whole))
    pd.testing.assert_frame_equal(found.table, expected.table)


def test_without_a_file_the_line_leads_to_the_initial_weights(tmp_path: Path) -> None:
    net, first, middle = subject(0), subject(1), subject(2)
    path: list[dict[str, Tensor]] = [dict(one.model.state_dict()) for one in (first, middle, net)]
    from_run = replace(net, history=write_run(tmp_path / "run", path))
    named = Interpolation(**QUICK, towards=stored(first, tmp_path / "first.pth"))
    found = Interpolation(**QUICK, objective="stated").measure(from_run, data())
    assert found.table.equals(named.measure(net, data()).table)
    with pytest.raises(ValueError, match="'net' comes from no training run.*towards="):
        Interpolation(**QUICK).measure(net, data())


def test_the_line_may_lead_to_the_end_of_another_run(tmp_path: Path) -> None:
    net, other, averaged = subject(0), subject(1), subject(2)
    run = write_run(tmp_path / "run", [dict(one.model.state_dict()) for one in (net, other)])
    (run / "run.json").write_text("{}")
    to_run = Interpolation(**QUICK, towards=f"run:{run}").measure(net, data())
    to_file = Interpolation(**QUICK, towards=str(run / "weights.safetensors")).measure(net, data())
    assert to_run.table.equals(to_file.table)
    save_file(averaged.model.state_dict(), run / "ema.safetensors")
    to_average = Interpolation(**QUICK, towards=f"run:{run}").measure(net, data())
    named = Interpolation(**QUICK, towards=stored(averaged, tmp_path / "averaged.pth")).measure(net, data())
    assert to_average.table.equals(named.table)
    with pytest.raises(ValueError, match="nowhere is no training run"):
        Interpolation(towards=f"run:{tmp_path / 'nowhere'}")


def test_a_result_belongs_to_one_content_of_the_file(tmp_path: Path) -> None:
    file = stored(subject(1), tmp_path / "other.pth")
    before = Interpolation(towards=file)
    assert Interpolation.with_settings(before.settings) == before and len(before.towards_sha256) == 64
    before.measure(subject(0), data(), out=tmp_path / "out")
    stored(subject(2), Path(file))
    with pytest.raises(ValueError, match="other.pth' is not what it was"):
        Interpolation.with_settings(before.settings)
    with pytest.raises(ValueError, match="towards='' is not what it was: its checksum is none, expected abc"):
        Interpolation(towards_sha256="abc")
    with pytest.raises(ValueError, match="another settings"):
        Interpolation(towards=file).measure(subject(0), data(), out=tmp_path / "out")


def test_what_cannot_be_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read towards='nowhere.pth'"):
        Interpolation(towards="nowhere.pth")
    with pytest.raises(ValueError, match="steps=1, expected a number of at least 2"):
        Interpolation(steps=1)
    with pytest.raises(ValueError, match="beyond=-1, expected a number of at least 0"):
        Interpolation(beyond=-1)
    torch.save({"1.weight": torch.zeros(5, 11)}, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match="foreign.pth do not fit 'net': 1.weight is missing or has another shape"):
        Interpolation(towards=str(tmp_path / "foreign.pth")).measure(subject(0), data())


class Noted(nn.Linear):
    """Notes in its state that are no tensor."""

    def get_extra_state(self) -> str:
        return "notes"

    def set_extra_state(self, state: str) -> None:
        assert state == "notes"


def test_state_that_is_no_tensor_is_no_part_of_the_line(tmp_path: Path) -> None:
    nets = [Subject(nn.Sequential(nn.Flatten(), Noted(12, 3)), name="net", input_size=(3, 2, 2)) for _ in range(2)]
    settings = Interpolation(**QUICK, towards=stored(nets[1], tmp_path / "other.pth"))
    assert settings.measure(nets[0], data()).table["nll"].nunique() > 1


def test_home_is_spelt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    stored(subject(1), tmp_path / "other.pth")
    assert Interpolation(towards="~/other.pth").towards_sha256
    with pytest.raises(ValueError, match=f"{tmp_path}/nowhere is no training run"):
        Interpolation(towards="run:~/nowhere")


def test_an_end_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    broken = subject(1)
    broken.model.get_parameter("1.weight").data[0, 0] = float("nan")
    settings = Interpolation(**QUICK, towards=stored(broken, tmp_path / "broken.pth"))
    with (
        pytest.warns(Doubt, match="NaN or infinite values in 1 tensor"),
        pytest.raises(ValueError, match="The weights of .*broken.pth are not finite"),
    ):
        settings.measure(subject(0), data())


def test_a_pipe_in_place_of_weights_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(ValueError, match="cannot read towards=.*pipe.pth.*it is a pipe, expected a file"):
        Interpolation(towards=str(tmp_path / "pipe.pth"))
