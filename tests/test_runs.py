"""Training runs on the disk: which weights they keep, by which names, and of which kind they are."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.fixtures import tiny
from torch import Tensor

import alternet as an
from alternet.loss.snapshots import WeightPath
from alternet.runs import TrainingRun
from alternet.subject.loading import check

OPTIONS: dict[str, Any] = {
    "epochs": 3,
    "warmup_epochs": 2,
    "warmup_prefix": True,
    "lr": 1e-2,
    "batch_size": 18,
    "hflip": 0.5,
}
AVERAGED = an.Recipe(**OPTIONS, model_ema=True, model_ema_decay=0.6, snapshot_every=1, snapshot_warmup=True)
FIXTURES = Path(__file__).parent / "fixtures" / "0.1.0"
NAMES = ["init", "epoch-0001", "warmup", "epoch-0003", "epoch-0004", "last"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """A run of one step an epoch, which averages its weights, in a folder with an @ in its name."""
    folder = tmp_path_factory.mktemp("runs") / "one@home"
    call: Any = {"img_size": tiny.SIDE, "device": "cpu", "model_args": tiny.MODEL_ARGS}
    return an.train(tiny.MODEL, str(FIXTURES / tiny.IMAGES), AVERAGED, folder, **call)


def vector(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([weights[name].double().flatten() for name in sorted(weights)])


def weights_of(model: str) -> Tensor:
    return vector(dict(an.load(model, device="cpu").model.state_dict()))


def images() -> an.Batches:
    return an.batches(str(FIXTURES / tiny.IMAGES), split="train", img_size=tiny.SIDE, batch_size=6)


def test_every_snapshot_is_a_model(run: TrainingRun) -> None:
    assert list(run.kept) == [name for one in NAMES for name in (one, f"{one}-raw")]
    for name in NAMES:
        raw, file = weights_of(f"{run.name}@{name}-raw"), run.folder / "snapshots" / f"{name}.safetensors"
        assert torch.equal(raw, vector(load_file(run.folder / "weights.safetensors" if name == "last" else file)))
        subject = an.load(f"{run.name}@{name}", name="net")
        assert (subject.history, subject.averaged, subject.name) == (run.folder, True, "net")
        assert not an.load(f"{run.name}@{name}-raw").averaged
    assert torch.equal(weights_of(run.name), weights_of(f"{run.name}@last"))
    assert torch.equal(weights_of(f"{run.name}@init"), weights_of(f"{run.name}@init-raw"))


def test_the_averages_are_those_of_the_weights_on_the_way(run: TrainingRun) -> None:
    """With one step an epoch: ā_t = 0.6 ā_(t−1) + 0.4 w_t."""
    average = weights_of(f"{run.name}@init-raw")
    for name in NAMES[1:-1]:
        average = 0.6 * average + 0.4 * weights_of(f"{run.name}@{name}-raw")
        torch.testing.assert_close(weights_of(f"{run.name}@{name}"), average, rtol=1e-5, atol=1e-7)


def test_what_there_is_is_listed_where_a_snapshot_is_not(run: TrainingRun) -> None:
    there = "It has init, init-raw, epoch-0001, .*, last, last-raw"
    for call in (check, an.load, lambda model: an.Interpolation(towards=model)):
        with pytest.raises(ValueError, match=f"one@home has no snapshot 'epoch-0300'. {there}"):
            call(f"{run.name}@epoch-0300")
    with pytest.raises(ValueError, match="nowhere is no training run"):
        check("run:nowhere@init")
    with pytest.raises(
        ValueError, match=r"half has no snapshot 'epoch-0003'. It has init, init-raw, warmup-raw, epoch-"
    ):
        check(f"run:{FIXTURES / tiny.HALF}@epoch-0003")
    assert an.load(f"run:{FIXTURES / tiny.HALF}@warmup-raw").history == FIXTURES / tiny.HALF
    with pytest.raises(ValueError, match="not finished"):
        check(f"run:{FIXTURES / tiny.HALF}")


def test_a_snapshot_stands_wherever_a_model_does(run: TrainingRun) -> None:
    net, first = an.load(run.name, name="net"), an.load(f"{run.name}@init", name="first")
    assert len(an.Similarity(other=f"{run.name}@init").measure(net, images()).table)
    settings: Any = {"steps": 2, "beyond": 0, "augment": "none", "objective": "stated"}
    lines = [
        an.Interpolation(**settings, towards=f"{run.name}@{name}").measure(net, images()) for name in ("init", "warmup")
    ]
    assert lines[0].table.equals(an.Interpolation(**settings).measure(net, images()).table)
    assert lines[1].table["nll"].iloc[-1] != lines[0].table["nll"].iloc[-1]
    ends = [an.Interpolation(**settings, towards=f"{run.name}@warmup").measure(first, images()).table["nll"].iloc[-1]]
    assert ends[0] == pytest.approx(lines[1].table["nll"].iloc[-1], rel=1e-5)


@pytest.mark.parametrize("raw", ["", "-raw"])
def test_a_path_is_of_the_kind_of_its_end(run: TrainingRun, raw: str) -> None:
    subject = an.load(f"{run.name}@last{raw}", device="cpu")
    states = [weights_of(f"{run.name}@{name}{raw}") for name in NAMES]
    differences = torch.stack([state - states[-1] for state in states])
    table = an.Trajectory().measure(subject, images()).table
    expected = differences.norm(dim=1) / differences[0].norm()
    torch.testing.assert_close(torch.tensor(table["radius"]), expected, rtol=1e-5, atol=1e-7)
    # the model itself lies at the end of the path, so it lies in the plane
    with WeightPath(subject) as path:
        own = path.space.join({name: p.detach().double() for name, p in subject.model.named_parameters()})
        end = path.combination(torch.eye(len(path.files))[:, -1:])[0]
    torch.testing.assert_close(own, end, rtol=0, atol=0)


def test_a_run_that_kept_no_averages_on_the_way_has_no_path_of_them(tmp_path: Path) -> None:
    folder = copytree(FIXTURES / tiny.FINISHED, tmp_path / "run")
    with pytest.raises(
        ValueError, match="which kept none on the way: .*warmup.safetensors is missing. Take .*@last-raw"
    ):
        an.Trajectory().measure(an.load(f"run:{folder}"), images())
    assert len(an.Trajectory().measure(an.load(f"run:{folder}@last-raw"), images()).table) == 5
    line = an.Interpolation(steps=2, beyond=0).measure(an.load(f"run:{folder}"), images())
    assert len(line.table) == 3  # to the initial weights, which are their own average


def test_the_end_of_the_average_is_not_the_weights_where_its_file_is_gone(tmp_path: Path) -> None:
    folder = copytree(FIXTURES / tiny.FINISHED, tmp_path / "run")
    (folder / "ema.safetensors").unlink()
    with pytest.raises(ValueError, match="no weight file .*ema.safetensors"):
        an.load(f"run:{folder}")


def test_a_run_that_is_older_than_an_option_of_what_is_kept_goes_on(tmp_path: Path) -> None:
    folder = copytree(FIXTURES / tiny.FINISHED, tmp_path / "run")
    run, recipe = TrainingRun(folder), replace(tiny.RECIPE, snapshot_warmup=True)
    call: Any = {"img_size": tiny.SIDE, "device": "cpu", "model_args": tiny.MODEL_ARGS}
    assert "snapshot_warmup" not in run.facts["recipe"]
    an.train(tiny.MODEL, str(FIXTURES / tiny.IMAGES), recipe, folder, **call)
    facts = run.facts
    (folder / "run.json").write_text(json.dumps(facts | {"recipe": facts["recipe"] | {"snapshot_warmup": False}}))
    with pytest.raises(ValueError, match="another recipe .snapshot_warmup: False, now True"):
        an.train(tiny.MODEL, str(FIXTURES / tiny.IMAGES), recipe, folder, **call)
