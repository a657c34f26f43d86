"""Starting from weights: what is taken over, what is drawn anew and said, and that a run needs them only once."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from safetensors.torch import load_file
from tests.training.toy import ToyTrainSet, pictures, toy
from timm.models import _registry
from torch import Tensor

from alternet import load
from alternet.subject.starting import Start, as_json, start
from alternet.training import Recipe, Row, TrainingRun, train
from alternet.training.checkpoint import write_weights

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
RECIPE = Recipe(lr=3e-3, epochs=2, batch_size=16, seed=5)
FIVE = tuple("abcde")


def begun(model: str, classes: int = 5, size: tuple[int, int, int] = (3, 32, 32), **arguments: Any) -> Start:
    return start(model, size, classes, arguments, seed=5)


def weights(path: Path, name: str, classes: int = 3, facts: dict[str, Any] | None = None, **arguments: Any) -> Path:
    """Weights in which every number counts, with or without a header that states facts."""
    torch.manual_seed(1)
    state = {
        key: torch.rand_like(value) if value.is_floating_point() else value
        for key, value in timm.create_model(name, num_classes=classes, **arguments).state_dict().items()
    }
    if facts is None:
        safetensors.torch.save_file(state, path)
    else:
        write_weights(path, state, {"model": name, "num_classes": classes, **facts})
    return path


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    assert one.keys() == other.keys()
    return {key for key, value in one.items() if not torch.equal(value, other[key])}


@pytest.mark.parametrize(("name", "head"), [("preresnet_mini", "head.fc"), ("test_resnet", "fc"), ("test_vit", "head")])
def test_other_classes_draw_the_head_from_the_seed_and_say_so(tmp_path: Path, name: str, head: str) -> None:
    size = {"img_size": 32} if name == "test_vit" else {}
    file = weights(tmp_path / "w.safetensors", name, **size)
    fresh = begun(f"{name}@{file}")
    given = {key: value for key, value in load_file(file).items() if not key.startswith(f"{head}.")}
    random = begun(name).model.state_dict()
    expected = given | {f"{head}.{part}": random[f"{head}.{part}"] for part in ("weight", "bias")}
    assert not differing(dict(fresh.model.state_dict()), expected)
    assert fresh.said[0].endswith(f"tells 3 classes apart, the data 5: its head ({head}) is drawn from seed 5.")
    assert fresh.origin is not None and fresh.origin["drawn"] == [f"{head}.weight", f"{head}.bias"]
    assert (fresh.name, fresh.arguments) == (name, begun(name).arguments)


def test_as_many_classes_keep_the_head(tmp_path: Path) -> None:
    file = weights(tmp_path / "w.safetensors", "preresnet_mini", 5)
    kept = begun(f"preresnet_mini@{file}")
    assert not differing(dict(kept.model.state_dict()), load_file(file))
    assert kept.origin is not None and kept.origin["drawn"] == [] and len(kept.said) == 1


def test_position_embeddings_are_resampled_as_ever(tmp_path: Path) -> None:
    file = weights(tmp_path / "w.safetensors", "test_vit", 5)
    ours = begun(f"test_vit@{file}").model.state_dict()
    assert not differing(dict(ours), dict(load(f"test_vit@{file}", img_size=32, device="cpu").model.state_dict()))
    assert ours["pos_embed"].shape != load_file(file)["pos_embed"].shape


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("test_resnet@{file}", "fit test_resnet"),
        ("preresnet_mini@{file}+msa(stages.9.9)", "has no unit"),
        ("preresnet_mini@nowhere.safetensors", "There is no weight file"),
        ("tv:resnet18@{file}", "takes a timm model"),
        ("run:nowhere", "is no training run"),
        ("alternet_mini@pretrained", "Nobody published"),
    ],
)
def test_what_does_not_fit_is_refused_as_loading_does(tmp_path: Path, model: str, says: str) -> None:
    file = weights(tmp_path / "w.safetensors", "preresnet_mini")
    with pytest.raises(ValueError, match=says):
        begun(model.format(file=file))


def test_training_normalises_as_the_weights_say(tmp_path: Path) -> None:
    facts = {"mean": MEAN, "std": STD, "input_size": [3, 32, 32]}
    file = weights(tmp_path / "w.safetensors", "preresnet_mini", facts=facts)
    told = begun(f"preresnet_mini@{file}")
    assert (told.mean, told.std) == (MEAN, STD)
    assert "images are normalised as its weights say (its header), mean [0.1, 0.2, 0.3]" in told.said[-1]


def test_weights_that_do_not_say_are_normalised_as_their_name_is_and_that_is_said(tmp_path: Path) -> None:
    told = begun(f"test_vit@{weights(tmp_path / 'w.safetensors', 'test_vit')}")
    assert told.mean == (0.5, 0.5, 0.5)
    assert "as those of test_vit, since its weights do not say, mean [0.5, 0.5, 0.5]" in told.said[-1]


def test_grey_images_take_the_summed_filters_and_their_own_normalisation(tmp_path: Path) -> None:
    file = weights(tmp_path / "w.safetensors", "test_resnet")
    grey = begun(f"test_resnet@{file}", size=(1, 32, 32))
    assert grey.mean is None and "the mean and std of the data" in grey.said[-1]
    torch.testing.assert_close(
        grey.model.state_dict()["conv1.0.weight"], load_file(file)["conv1.0.weight"].sum(1, keepdim=True)
    )


def test_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As timm takes them from the network, here from a file that its table of weights names."""
    file = weights(tmp_path / "w.safetensors", "test_resnet", 1000)
    for known in ("test_resnet", "test_resnet.r160_in1k"):
        cfg = replace(_registry._model_pretrained_cfgs[known], file=str(file), mean=MEAN, std=STD)
        monkeypatch.setitem(_registry._model_pretrained_cfgs, known, cfg)
    fresh = begun("test_resnet@pretrained")
    assert differing(dict(fresh.model.state_dict()), dict(begun("test_resnet").model.state_dict())) != set()
    assert torch.equal(fresh.model.state_dict()["layer1.0.conv1.weight"], load_file(file)["layer1.0.conv1.weight"])
    assert fresh.mean == MEAN and "declared by the model" in fresh.said[-1]
    assert fresh.origin is not None and fresh.origin["weights"]["from"] == "hub"
    assert fresh.identity == {"sha256": fresh.origin["weights"]["sha256"], "drawn": ["fc.weight", "fc.bias"]}


PLACE = "stages.1.1.branch.conv2"


def test_a_transplant_starts_from_the_weights_of_its_base_or_of_the_whole(tmp_path: Path) -> None:
    file = weights(tmp_path / "w.safetensors", "preresnet_mini")
    of_base = begun(f"preresnet_mini@{file}+msa({PLACE}:heads=2)")
    random = begun(f"preresnet_mini+msa({PLACE}:heads=2)")
    state, given, other = dict(of_base.model.state_dict()), load_file(file), dict(random.model.state_dict())
    assert (of_base.name, of_base.arguments) == ("transplanted", random.arguments)
    (place,) = [graft["module"] for graft in of_base.arguments["plan"]]
    for key, value in state.items():
        of_weights = not key.startswith((f"{place}.", "head.fc."))
        assert torch.equal(value, given[key] if of_weights else other[key]), key
    assert of_base.origin is not None and of_base.origin["drawn"] == ["head.fc.weight", "head.fc.bias", place]
    assert f"The attention in {place} is drawn from seed 5." in of_base.said

    whole = {key: torch.rand_like(value) if value.is_floating_point() else value for key, value in state.items()}
    safetensors.torch.save_file(whole, tmp_path / "whole.safetensors")
    of_whole = begun(f"preresnet_mini+msa({PLACE}:heads=2)@{tmp_path / 'whole.safetensors'}")
    assert not differing(dict(of_whole.model.state_dict()), whole)
    assert of_whole.origin is not None and of_whole.origin["drawn"] == []

    facts = {"model": "transplanted", "model_args": of_base.arguments, "num_classes": 5, "mean": MEAN, "std": STD}
    write_weights(tmp_path / "ours.safetensors", whole, facts)
    of_ours = begun(f"transplanted@{tmp_path / 'ours.safetensors'}", 4)
    assert differing(dict(of_ours.model.state_dict()), whole) == {"head.fc.weight", "head.fc.bias"}
    assert (of_ours.mean, as_json(of_ours.arguments)) == (MEAN, as_json(of_base.arguments))
    with pytest.raises(ValueError, match=r"Name all units in one \+msa"):
        begun(f"transplanted@{tmp_path / 'ours.safetensors'}+msa(stages.0.0.branch.conv2)")


def trained(out: Path, model: str, recipe: Recipe = RECIPE, **options: Any) -> TrainingRun:
    options = {"data": toy(recipe, classes=FIVE)} | options
    return train(model, options.pop("data"), recipe, out, device="cpu", **options)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with four classes and a normalisation of its own."""
    out, recipe = tmp_path_factory.mktemp("first"), RECIPE.with_settings({"epochs": 1, "model_ema": True})
    return trained(out, "test_resnet", recipe, data=toy(recipe, mean=MEAN, std=STD)).folder


def test_a_run_started_from_a_run_says_where_it_comes_from_and_loads_alone(first: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = trained(tmp_path / "second", f"run:{first}@init", say=said.append)
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["mean"] == list(MEAN) and facts["num_classes"] == 5
    assert facts["origin"]["model"] == f"run:{first}@init" and facts["origin"]["said"] == said
    assert facts["origin"]["weights"]["file"].endswith("snapshots/init.safetensors")
    assert facts["start"] == {"sha256": facts["origin"]["weights"]["sha256"], "drawn": ["fc.weight", "fc.bias"]}
    init = load_file(run.folder / "snapshots/init.safetensors")
    before = load_file(first / "snapshots/init.safetensors")
    assert all(torch.equal(value, before[key]) for key, value in init.items() if not key.startswith("fc."))
    assert load(run.name, device="cpu").mean == MEAN
    assert trained(run.folder, f"run:{first}@init", report=lambda row: pytest.fail("trained again")).finished


@pytest.mark.slow
@pytest.mark.parametrize(("after", "more"), [(0, ""), (1, "+msa(layer2.0.conv1:heads=2)")])
def test_a_run_needs_its_weights_only_once(first: Path, tmp_path: Path, after: int, more: str) -> None:
    """Stopped within the first epoch or behind it, it goes on though they are gone, and to the same bits."""
    whole = trained(tmp_path / "whole", f"run:{first}{more}")
    shutil.copytree(first, gone := tmp_path / "gone")

    class Breaking(ToyTrainSet):
        def batch(self, numbers: Any, seed: Any) -> Any:
            if seed[1:3] == (after, 2):
                raise KeyboardInterrupt
            return super().batch(numbers, seed)

    broken = toy(RECIPE, classes=FIVE, train_images=Breaking(*pictures(64, 0)))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", f"run:{gone}{more}", data=broken)
    shutil.rmtree(gone)
    seen: list[Row] = []
    run = trained(tmp_path / "run", f"run:{gone}{more}", report=seen.append)
    assert len(seen) == 2 - after
    assert not differing(load_file(run.folder / "weights.safetensors"), load_file(whole.folder / "weights.safetensors"))


@pytest.mark.slow
def test_a_transplant_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Its plan holds pairs, which JSON gives back as lists."""
    recipe = RECIPE.with_settings({"epochs": 1})
    options = {"data": toy(recipe, classes=FIVE)}
    for _ in range(2):
        assert trained(tmp_path, "test_resnet+msa(layer2.0.conv1:heads=2)", recipe, **options).finished


@pytest.mark.slow
def test_a_run_started_from_other_weights_is_refused(first: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    shutil.copy(first / "ema.safetensors", file)
    recipe = RECIPE.with_settings({"epochs": 1})
    trained(tmp_path / "run", f"test_resnet@{file}", recipe)
    shutil.copy(first / "snapshots/init.safetensors", file)
    for model in (f"test_resnet@{file}", "test_resnet"):
        with pytest.raises(ValueError, match="another (start|mean)"):
            trained(tmp_path / "run", model, recipe)


@pytest.mark.parametrize("model", ["ensemble(test_vit,test_resnet)", "ensemble(run:a,run:b)"])
def test_an_ensemble_is_not_trained(model: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="An ensemble is trained member by member"):
        train(model, "digits", Recipe(epochs=1), tmp_path)
