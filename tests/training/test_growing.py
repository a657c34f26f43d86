"""A run whose recipe asks for more epochs than before goes on, and says what that means."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.test_train import assert_same_bits, run
from tests.training.toy import toy

import alternet
from alternet.runs import TrainingRun
from alternet.training import Recipe

CONSTANT = Recipe(lr=3e-3, epochs=1, sched="multistep", batch_size=16, drop_path=0.3, model_ema=True, seed=5)
LONGER = CONSTANT.with_settings({"epochs": 3})


def weights(folder: Path, file: str = "weights.safetensors") -> torch.Tensor:
    return load_file(folder / file)["head.weight"]


def test_where_the_schedule_does_not_know_the_end_a_longer_run_is_the_one_from_the_start(tmp_path: Path) -> None:
    run(tmp_path / "grown", CONSTANT)
    ended = {file: weights(tmp_path / "grown", file) for file in ("weights.safetensors", "ema.safetensors")}
    said: list[str] = []
    run(tmp_path / "grown", LONGER, say=said.append)
    run(tmp_path / "whole", LONGER)
    kept = {"weights.safetensors": "epoch-0001.safetensors", "ema.safetensors": "ema/epoch-0001.safetensors"}
    for file, snapshot in kept.items():
        snapshot = f"snapshots/{snapshot}"
        assert torch.equal(weights(tmp_path / "grown", snapshot), ended[file])
        (tmp_path / "whole" / snapshot).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "whole" / snapshot).write_bytes((tmp_path / "grown" / snapshot).read_bytes())
    assert_same_bits(tmp_path / "grown", tmp_path / "whole")
    assert said == ["The run goes on: 1 of its 1 epochs are done, now it has 3."]
    grown = TrainingRun(tmp_path / "grown")
    assert grown.grown == [{"epochs": 1, "done": 1}] and grown.finished and grown.facts["recipe"] == LONGER.as_dict()
    assert list(grown.kept) == ["init", "init-raw", "epoch-0001", "epoch-0001-raw", "last", "last-raw"]
    assert TrainingRun(tmp_path / "whole").grown == []


class Stopped(Exception):
    pass


def test_one_that_is_stopped_while_it_grows_has_no_final_weights_and_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "grown", CONSTANT)
    run(tmp_path / "whole", CONSTANT)

    def stop(row: Any) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        run(tmp_path / "grown", LONGER, report=stop)
    assert not TrainingRun(tmp_path / "grown").finished
    with pytest.raises(ValueError, match="is not finished"):
        alternet.load(f"run:{tmp_path / 'grown'}")
    alternet.load(f"run:{tmp_path / 'grown'}@epoch-0001")
    for folder in ("grown", "whole"):
        run(tmp_path / folder, LONGER)
    assert_same_bits(tmp_path / "grown", tmp_path / "whole")


def test_a_cosine_that_was_shorter_is_told(tmp_path: Path) -> None:
    short = CONSTANT.with_settings({"sched": "cosine", "epochs": 2})
    run(tmp_path, short)
    said: list[str] = []
    rows: list[float] = []
    longer = short.with_settings({"epochs": 4})
    run(tmp_path, longer, say=said.append, report=lambda row: rows.append(row["lr"]))
    (line,) = said
    assert line.startswith(
        "The run goes on: 2 of its 2 epochs are done, now it has 4. Until now the learning rate fell"
    )
    # of 4 epochs, those after the second are at half the rate and at (1 + cos 3π/4) / 2 of it
    assert rows == pytest.approx([1.5e-3, 3e-3 * (1 - 0.5**0.5) / 2])


@pytest.mark.parametrize(
    ("changes", "message"), [({"epochs": 1}, "epochs: 2, now 1"), ({"epochs": 3, "lr": 1e-3}, "lr: 0.003, now 0.001")]
)
def test_fewer_epochs_or_other_settings_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    recipe = CONSTANT.with_settings({"epochs": 2})
    run(tmp_path, recipe)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        run(tmp_path, recipe.with_settings(changes))
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_finished_run_without_its_checkpoint_says_how_to_train_longer(tmp_path: Path) -> None:
    run(tmp_path, CONSTANT)
    (tmp_path / "checkpoint.safetensors").unlink()
    assert run(tmp_path, CONSTANT).finished
    with pytest.raises(ValueError, match=f"trained for 1 epochs, and its checkpoint.*-m run:{tmp_path}"):
        run(tmp_path, LONGER, toy(LONGER))
