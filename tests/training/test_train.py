"""A whole run: what it leaves behind, that it is taken up where it stopped, and that trouble costs nothing stored."""

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file
from tests.training.toy import ToyTrainSet, pictures, toy
from torch import nn

from alternet.storage import sole_writer
from alternet.subject.creating import create_for_data
from alternet.training import Recipe, Row, TrainData, TrainingRun, train
from alternet.training.checkpoint import read_checkpoint

CLOCKED = ["seconds", "data_seconds", "images_per_second"]
RECIPE = Recipe(lr=3e-3, epochs=4, warmup_epochs=1, batch_size=16, snapshot_every=2, drop_path=0.3, seed=5)
AVERAGED = RECIPE.with_settings({"model_ema": True, "model_ema_decay": 0.5})


def run(out: Path, recipe: Recipe = AVERAGED, data: TrainData | None = None, **options: Any) -> TrainingRun:
    data = data or toy(recipe)
    options = {"model_args": {"patch_size": 4}} | options
    return train("test_vit", data, recipe, out, device="cpu", **options)


def results(folder: Path) -> dict[str, Any]:
    weights = {path.name: load_file(path) for path in sorted(folder.glob("**/*.safetensors"))}
    return {"weights": weights, "log": TrainingRun(folder).log.drop(columns=CLOCKED)}


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = results(one), results(other)
    pd.testing.assert_frame_equal(first["log"], second["log"], check_exact=True)
    assert first["weights"].keys() == second["weights"].keys()
    for name, weights in first["weights"].items():
        assert all(torch.equal(tensor, second["weights"][name][key]) for key, tensor in weights.items()), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("whole")).folder


@pytest.mark.slow
def test_the_files_of_a_finished_run(whole: Path) -> None:
    files = sorted(str(path.relative_to(whole)) for path in whole.glob("**/*") if path.is_file())
    events = [name for name in files if name.startswith("events/events.out.tfevents")]
    assert len(events) == 1
    averages = ["ema/epoch-0002.safetensors", "ema/warmup.safetensors"]
    snapshots = [*averages, "epoch-0002.safetensors", "init.safetensors", "snapshots.json", "warmup.safetensors"]
    kept = [
        "checkpoint.safetensors",
        "ema.safetensors",
        "log.csv",
        "run.json",
        "weights.safetensors",
        *(f"snapshots/{name}" for name in snapshots),
    ]
    assert sorted(set(files) - set(events)) == sorted(kept)


@pytest.mark.slow
def test_the_facts_rebuild_the_trained_model_with_its_numbers(whole: Path) -> None:
    facts, log = json.loads((whole / "run.json").read_text()), TrainingRun(whole).log
    model = timm.create_model(facts["model"], num_classes=facts["num_classes"], **facts["model_args"])
    images, classes = pictures(45, 1)
    mean, std = (torch.tensor(facts[name]).view(-1, 1, 1) for name in ("mean", "std"))
    for file, column in (("weights", "test_accuracy"), ("ema", "ema_test_accuracy")):
        model.load_state_dict(load_file(whole / f"{file}.safetensors"))
        right = model.eval()((images - mean) / std).argmax(1) == classes
        assert log[column].iloc[-1] == pytest.approx(right.double().mean().item(), abs=1e-12)
    assert facts["skipped"] == ["unreadable.jpg"]
    assert facts["finished"] and facts["recipe"] == AVERAGED.as_dict()
    assert facts["data"] == {"name": "toy", "fingerprint": "toy-1"} and facts["input_size"] == [3, 8, 8]
    assert {"alternet", "torch", "timm"} <= facts["versions"].keys()


def test_the_log_has_one_row_an_epoch(whole: Path) -> None:
    log = TrainingRun(whole).log
    assert list(log.columns) == [name for name in Row.__annotations__ if "validation" not in name]
    assert list(log.epoch) == [1, 2, 3, 4] and list(log.step) == [4, 8, 12, 16]
    assert log.notna().all(axis=None) and (log[CLOCKED] >= 0).all(axis=None)


def test_validation_images_are_never_called_test_images(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=16, subset="1/4", validation="1/4", model_ema=True)
    data = TrainData.named("digits", recipe, img_size=8)
    rows: list[Row] = []
    done = run(tmp_path, recipe, data, report=rows.append)
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["data"] == {"name": "digits", "fingerprint": data.fingerprint} | data.shares
    assert facts["data"]["tested"] == "validation"
    tested = [name for name in done.log.columns if "accuracy" in name or name.endswith("_nll")]
    assert tested == ["validation_accuracy", "validation_nll", "ema_validation_accuracy", "ema_validation_nll"]
    assert not any("test" in name for name in rows[0])

    model = timm.create_model(facts["model"], num_classes=10, **facts["model_args"]).eval()
    model.load_state_dict(load_file(tmp_path / "ema.safetensors"))  # what run:DIR is
    mean, std = (torch.tensor(facts[name]).view(-1, 1, 1) for name in ("mean", "std"))
    images, classes = (torch.cat(part) for part in zip(*data.test_images, strict=True))
    right = (model((images - mean) / std).argmax(1) == classes).double().mean().item()
    assert done.validation_accuracy == pytest.approx(right, abs=1e-6)
    with pytest.raises(ValueError, match="tested on validation images alone, so its test accuracy is not known"):
        _ = done.test_accuracy
    again = recipe.with_settings({"subset": "1/2"})
    with pytest.raises(ValueError, match="another data.*training_images: 269, now 539"):
        run(tmp_path, again, TrainData.named("digits", again, img_size=8))


def test_data_made_of_other_shares_than_the_recipe_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="made with validation 0, the recipe says 1/8"):
        run(tmp_path, RECIPE.with_settings({"validation": "1/8"}), toy(RECIPE))


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    recipe = Recipe(lr=3e-3, epochs=4, warmup_epochs=1, batch_size=16)
    log = train("test_resnet", toy(recipe, images=256), recipe, tmp_path, device="cpu").log
    assert log.train_loss.iloc[-1] < 0.5 * log.train_loss.iloc[0]
    assert log.test_accuracy.iloc[-1] == TrainingRun(tmp_path).test_accuracy > 0.9
    assert log.ema_test_accuracy.isna().all()


def test_the_snapshots_are_the_weights_of_their_time(whole: Path, tmp_path: Path) -> None:
    index = json.loads((whole / "snapshots/snapshots.json").read_text())
    assert [(entry["file"], entry["epoch"], entry["step"]) for entry in index] == [
        ("init.safetensors", 0, 0),
        ("warmup.safetensors", 1, 4),
        ("epoch-0002.safetensors", 2, 8),
    ]
    fresh, *_ = create_for_data("test_vit", (3, 8, 8), 4, {"patch_size": 4, "drop_path_rate": 0.3}, seed=AVERAGED.seed)
    first = load_file(whole / "snapshots/init.safetensors")
    assert all(torch.equal(value, first[name]) for name, value in fresh.state_dict().items())

    def stop(row: Row) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, report=stop)
    at_two = read_checkpoint(tmp_path / "checkpoint.safetensors")["model"]
    second = load_file(whole / "snapshots/epoch-0002.safetensors")
    assert all(torch.equal(value, at_two[name]) for name, value in second.items())


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 3, 4])
def test_an_interrupted_run_ends_with_the_same_bits(whole: Path, tmp_path: Path, after: int) -> None:
    def stop(row: Row) -> None:
        if row["epoch"] == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="Start again with the same folder"):
        run(tmp_path, report=stop)
    seen: list[int] = []
    run(tmp_path, report=lambda row: seen.append(row["epoch"]))
    assert seen == list(range(after + 1, 5))
    assert_same_bits(tmp_path, whole)


class Breaking(ToyTrainSet):
    """Training images that break off in the middle of the third epoch."""

    def batch(self, numbers: Any, seed: Any) -> Any:
        if seed[1:3] == (2, 1):
            raise KeyboardInterrupt
        return super().batch(numbers, seed)


@pytest.mark.slow
def test_an_epoch_broken_off_in_the_middle_is_repeated_whole(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, data=toy(AVERAGED, train_images=Breaking(*pictures(64, 0))))
    assert len(TrainingRun(tmp_path).log) == 2
    run(tmp_path)
    assert_same_bits(tmp_path, whole)


def test_a_finished_run_is_not_repeated(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("**/*")}
    (whole / ".lock").touch()  # whoever trained it was killed before this was gone
    run(whole, report=lambda row: pytest.fail(f"trained epoch {row['epoch']} again"))
    assert {path: path.stat().st_mtime_ns for path in whole.glob("**/*")} == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"recipe": AVERAGED.with_settings({"lr": 1.0})}, r"another recipe \(lr: 0.003, now 1.0\)"),
        ({"data": toy(AVERAGED, fingerprint="toy-2")}, r"another data \(fingerprint: 'toy-1', now 'toy-2'\)"),
        ({"model_args": {"patch_size": 2}}, r"another model_args \(patch_size: 4, now 2\)"),
    ],
)
def test_another_training_in_the_same_folder_is_refused(whole: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run(whole, **changes)


def test_a_run_older_than_an_option_is_taken_up(whole: Path, tmp_path: Path) -> None:
    facts = json.loads((whole / "run.json").read_text())
    before = {name: value for name, value in facts["recipe"].items() if name != "channels_last"}
    identity = {"recipe": AVERAGED.as_dict()}
    (tmp_path / "run.json").write_text(json.dumps(facts | {"recipe": before}))
    TrainingRun(tmp_path).require_same(identity, AVERAGED.as_dict())
    (tmp_path / "run.json").write_text(json.dumps(facts | {"recipe": before | {"strange": 1}}))
    with pytest.raises(ValueError, match=r"another recipe \(strange: 1, now None\)"):
        TrainingRun(tmp_path).require_same(identity, AVERAGED.as_dict())


@pytest.mark.parametrize(
    "added", ["freeze", "layer_decay", "grad_accum_steps", "torchcompile", "sam", "sam_rho", "sync_bn", "global_batch"]
)
def test_a_run_older_than_these_options_is_taken_up_without_them_alone(whole: Path, tmp_path: Path, added: str) -> None:
    facts = json.loads((whole / "run.json").read_text())
    older = {name: value for name, value in facts["recipe"].items() if name != added}
    (tmp_path / "run.json").write_text(json.dumps({**facts, "recipe": older, "start": None}))
    run = TrainingRun(tmp_path)
    run.require_same({"recipe": AVERAGED.as_dict()}, Recipe().as_dict())
    with pytest.raises(ValueError, match=f"another recipe .{added}: "):
        run.require_same({"recipe": AVERAGED.as_dict() | {added: "other"}}, Recipe().as_dict())


def test_a_feed_of_another_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="made with batch_size 16, the recipe says 8"):
        run(tmp_path, AVERAGED.with_settings({"batch_size": 8}), toy(AVERAGED))


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[1, 2")
    with pytest.raises(ValueError, match="is damaged"):
        run(tmp_path)


@pytest.mark.slow
def test_the_seed_decides_everything_and_nothing_else_does(whole: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # pyright: ignore
    run(tmp_path / "same")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]  # pyright: ignore
    assert_same_bits(tmp_path / "same", whole)
    run(tmp_path / "other", AVERAGED.with_settings({"seed": 6}))
    other, same = (load_file(folder / "weights.safetensors") for folder in (tmp_path / "other", whole))
    assert not torch.equal(other["head.weight"], same["head.weight"])


@pytest.mark.slow
def test_stochastic_depth_changes_what_is_learnt(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, AVERAGED.with_settings({"drop_path": 0.0}))
    kept, dropped = (load_file(folder / "weights.safetensors") for folder in (tmp_path, whole))
    assert not torch.equal(kept["head.weight"], dropped["head.weight"])
    first, same = (load_file(folder / "snapshots/init.safetensors") for folder in (tmp_path, whole))
    assert torch.equal(first["head.weight"], same["head.weight"])


def test_the_events_can_be_read_by_tensorboard(whole: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "events")).Reload()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    log = TrainingRun(whole).log
    for tag, column in (
        ("train/loss", "train_loss"),
        ("test/nll", "test_nll"),
        ("ema/test_accuracy", "ema_test_accuracy"),
    ):
        assert scalars[tag] == [
            (epoch, pytest.approx(value)) for epoch, value in zip(log.epoch, log[column], strict=True)
        ]
    assert "run/lr" in scalars


def test_a_run_of_weights_and_biases_that_was_begun_gets_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    active = SimpleNamespace(log=lambda numbers, step: logged.append((step, numbers)))
    wandb = SimpleNamespace(run=None)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    run(tmp_path / "without", RECIPE.with_settings({"epochs": 1}))
    assert logged == []
    wandb.run = active
    recipe = RECIPE.with_settings({"epochs": 2})
    done = run(tmp_path / "with", recipe, callbacks=[lambda moment: {"seen/epoch": float(moment.epoch)}])
    assert [(step, numbers["seen/epoch"]) for step, numbers in logged if "seen/epoch" in numbers] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    losses = [(step, numbers["train/loss"]) for step, numbers in logged if "train/loss" in numbers]
    assert losses == [
        (epoch, pytest.approx(loss)) for epoch, loss in zip(done.log.epoch, done.log.train_loss, strict=True)
    ]


@pytest.mark.parametrize(
    ("model", "recipe", "told"),
    [
        ("test_vitt", RECIPE, "Did you mean test_vit"),
        ("hf:vit", RECIPE, "takes a timm model"),
        ("vgg11", RECIPE, "Set drop_path to 0"),
        ("test_convnext", RECIPE, r"cannot take images of size \[3, 8, 8\]"),
        ("test_vit", RECIPE, r"cannot take images of size \[3, 8, 8\]"),
    ],
)
def test_a_model_that_cannot_be_built_is_told(tmp_path: Path, model: str, recipe: Recipe, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        train(model, toy(recipe), recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_module_is_trained_by_a_name_alone(tmp_path: Path) -> None:
    module: Any = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="got Linear. Register a function that makes yours"):
        train(module, toy(RECIPE), RECIPE, tmp_path / "run", device="cpu")


def test_a_convolutional_network_takes_any_size_and_the_arguments_build_it_again() -> None:
    model, _, arguments = create_for_data("test_resnet", (1, 16, 24), 7, {"drop_path_rate": 0.1}, seed=0)
    assert arguments == {"in_chans": 1, "drop_path_rate": 0.1}
    assert model.eval()(torch.rand(2, 1, 16, 24)).shape == (2, 7)


def test_two_do_not_train_into_one_folder_at_once(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(ValueError, match="is being written by process"):
        run(tmp_path)
    assert not (tmp_path / "run.json").exists()
