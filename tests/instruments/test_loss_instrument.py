"""What instruments of the loss share: the loss that a run was trained on, or the one that is stated."""

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from alternet.data.augment import WEAK
from alternet.data.datasets import batches
from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.hessian import Hessian
from alternet.instruments.interpolation import Interpolation
from alternet.instruments.landscape import Landscape
from alternet.instruments.spectral_density import SpectralDensity
from alternet.measurement import Measurement
from alternet.subject.subject import Subject
from alternet.training.recipe import Recipe
from alternet.training.trainer import Trainer

SETTINGS: dict[str, Any] = {"points": 3, "draws": 1, "batch_size": 4, "seed": 3}


def net(history: Path | None) -> Subject:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 3))
    return Subject(model, name="net", input_size=(3, 4, 4), history=history)


def data() -> Batches:
    images = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return Batches.of(images, torch.arange(8) % 3, batch_size=8)


def run(folder: Path, recipe: object) -> Path:
    (folder / "run.json").write_text(json.dumps({"recipe": recipe}))
    return folder


@pytest.mark.parametrize("spared", [False, True])
def test_sgd_followed_the_gradient_of_the_runs_loss(tmp_path: Path, spared: bool) -> None:
    """One step of the training itself is −lr · the derivative of what is measured, L2 part and soft labels included."""
    recipe = Recipe(
        opt="momentum", lr=0.1, weight_decay=0.3, filter_bias_and_bn=spared, hflip=0.5, crop="pad", mixup=0.5,
        smoothing=0.1,
    )  # fmt: skip
    subject = net(run(tmp_path, recipe.as_dict()))
    with Landscape(batch_size=8).open(subject, data()) as work:
        ((images, targets),) = list(work.batches)
        before, gradient = work.risk.theta, work.risk.gradient()
        space = work.risk.space
    stepped = copy.deepcopy(subject.model).train()
    facts: dict[str, Any] = {"device": torch.device("cpu"), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    Trainer(model=stepped, recipe=recipe, steps_per_epoch=1, **facts).step(images, targets)
    after = space.join({name: p.detach() for name, p in stepped.named_parameters()})
    torch.testing.assert_close(after - before, -0.1 * gradient, rtol=1e-4, atol=1e-7)


def test_the_provenance_states_the_loss_of_the_run(tmp_path: Path) -> None:
    recipe = Recipe(**asdict(WEAK) | {"smoothing": 0.2}, weight_decay=0.3, filter_bias_and_bn=False)
    subject = net(run(tmp_path, recipe.as_dict()))
    m = Landscape(**SETTINGS).measure(subject, data())
    whole = {"objective": "run", "augment": "recipe", "weight_decay": 0.3, "decays": "all"}
    assert whole.items() <= m.provenance["settings"].items()
    assert m.provenance["objective"] == {
        "weights": "as stepped",
        "augment": asdict(WEAK) | {"smoothing": 0.2, "scale": [0.08, 1.0]},
    }
    again = Landscape.with_settings(m.provenance["settings"]).measure(replace(subject, averaged=True), data())
    assert again.table.equals(m.table) and again.provenance["objective"]["weights"] == "averaged"
    by_hand = replace(recipe, weight_decay=0.0)
    stated = Landscape(**SETTINGS, objective="stated", augment="recipe", weight_decay=0.3, decays="all")
    same = stated.measure(net(run(tmp_path, by_hand.as_dict())), data())
    assert same.table.equals(m.table) and "objective" not in same.provenance


def test_what_is_set_counts_before_the_run(tmp_path: Path) -> None:
    subject = net(run(tmp_path, Recipe(**asdict(WEAK), weight_decay=0.3, filter_bias_and_bn=False).as_dict()))
    some = Landscape(**SETTINGS, augment="none", weight_decay=0.0).measure(subject, data())
    whole = {"objective": "run", "augment": "none", "weight_decay": 0.0, "decays": "all"}
    assert whole.items() <= some.provenance["settings"].items()
    assert some.table["loss"].equals(some.table["nll"])
    assert some.table["l2"].iloc[4] == pytest.approx(
        sum(p.square().sum().item() for p in subject.model.parameters()) / 2
    )


def test_a_model_that_comes_from_no_run_has_the_loss_of_the_paper() -> None:
    m = Landscape(**SETTINGS).measure(net(None), data())
    whole = {"objective": "stated", "augment": "strong", "weight_decay": 0.05, "decays": "timm"}
    assert whole.items() <= m.provenance["settings"].items() and "objective" not in m.provenance
    with pytest.raises(ValueError, match="'net' has no training run with it, so no recipe"):
        Landscape(objective="run").measure(net(None), data())


def test_images_are_varied_as_the_recipe_of_the_run_varied_them(tmp_path: Path) -> None:
    recipe = Recipe(**asdict(WEAK), lr=0.5)
    subject = net(run(tmp_path, recipe.as_dict()))
    m = Landscape(objective="stated", augment="recipe", **SETTINGS).measure(subject, data())
    named = Landscape(augment="weak", **SETTINGS).measure(net(None), data())
    assert m.table.equals(named.table)
    assert m.provenance["data"] == named.provenance["data"]
    assert m.provenance["settings"]["augment"] == "recipe"
    plain = Landscape(augment="none", **SETTINGS).measure(net(None), data())
    assert not m.table.equals(plain.table)


def test_a_stored_result_belongs_to_one_recipe(tmp_path: Path) -> None:
    runs, out = tmp_path / "run", tmp_path / "out"
    runs.mkdir()
    Landscape(**SETTINGS).measure(net(run(runs, Recipe().as_dict())), data(), out=out)
    others: dict[str, Any] = {"data": {"hflip": 0.5}, "settings .weight_decay: 0.0, now 0.1": {"weight_decay": 0.1}}
    for differs, other in others.items():
        with pytest.raises(ValueError, match=f"holds a measurement with another {differs}"):
            Landscape(**SETTINGS).measure(net(run(runs, Recipe(**other).as_dict())), data(), out=out)


def test_a_result_that_is_older_than_a_setting_is_what_it_was(tmp_path: Path) -> None:
    subject, out = net(run(tmp_path, Recipe().as_dict())), tmp_path / "out"
    Landscape(**SETTINGS, objective="stated").measure(subject, data(), out=out)
    file = out / "net" / "landscape" / "provenance.json"
    stored = json.loads(file.read_text())
    for setting in ("objective", "decays"):
        del stored["settings"][setting]
    file.write_text(json.dumps(stored))
    assert len(Landscape(**SETTINGS, objective="stated").measure(subject, data(), out=out).table) == 9
    with pytest.raises(ValueError, match="another settings .*objective: .stated., now .run."):
        Landscape(**SETTINGS).measure(subject, data(), out=out)


def test_a_model_without_a_recipe_says_so(tmp_path: Path) -> None:
    for instrument in (Landscape(**SETTINGS), Landscape(objective="stated", augment="recipe", **SETTINGS)):
        for recipe in ({"lr": 1.0}, None, {**Recipe().as_dict(), "hflip": "often"}, {**Recipe().as_dict(), "scale": 3}):
            with pytest.raises(ValueError, match=r"run\.json does not say which loss was trained on .* augment=weak"):
                instrument.measure(net(run(tmp_path, recipe)), data())
    (tmp_path / "run.json").unlink()
    with pytest.raises(ValueError, match="does not say"):
        Landscape(**SETTINGS).measure(net(tmp_path), data())


@pytest.mark.parametrize("weight_decay", [-0.1, float("inf"), float("nan")])
def test_a_weight_decay_that_means_nothing_is_refused(weight_decay: float) -> None:
    with pytest.raises(ValueError, match=f"landscape got weight_decay={weight_decay}, expected a "):
        Landscape(weight_decay=weight_decay)


@pytest.mark.parametrize(
    "instrument",
    [
        Hessian(augment="none", k=1, max_products=3),
        SpectralDensity(augment="none", draws=1, steps=3),
        Landscape(augment="none", **SETTINGS),
    ],
    ids=lambda instrument: instrument.spec.name,
)
def test_what_is_drawn_does_not_depend_on_the_default_type_of_numbers(instrument: Instrument) -> None:
    subject, batches = net(None), data()
    before = instrument.measure(subject, batches).table
    torch.set_default_dtype(torch.float64)
    try:
        assert instrument.measure(subject, batches).table.equals(before)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_model_without_any_standard_error_is_drawn_beside_one_with_them() -> None:
    one, other = (
        SpectralDensity(draws=draws, steps=3).measure(replace(net(None), name=str(draws)), data()) for draws in (1, 2)
    )
    assert one.tables["moments"].dtypes.equals(other.tables["moments"].dtypes)
    assert Measurement.concat([one, other]).draw().axes


AROUND: dict[type[Instrument], dict[str, Any]] = {
    Hessian: {"augment": "none", "k": 2, "weight_decay": 0.1},
    SpectralDensity: {"augment": "none", "draws": 2, "steps": 4},
    Landscape: {"augment": "none", **SETTINGS},
}


@pytest.mark.parametrize("kind", AROUND, ids=lambda kind: kind.spec.name)
def test_frozen_parameters_are_none_unless_asked_for(kind: type[Instrument]) -> None:
    def layers() -> Subject:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5), nn.Tanh(), nn.Linear(5, 3))
        return Subject(model, name="net", input_size=(3, 4, 4))

    whole = kind(**AROUND[kind]).measure(layers(), data())
    assert "frozen_left_out" not in whole.provenance
    subject = layers()
    subject.model[1].requires_grad_(False)
    asked = kind(**AROUND[kind], frozen=True).measure(subject, data())
    assert asked.table.equals(whole.table) and "frozen_left_out" not in asked.provenance
    rest = kind(**AROUND[kind]).measure(subject, data())
    assert rest.provenance["frozen_left_out"] == 5 * 49
    assert not rest.table.equals(whole.table)
    if kind is not Landscape:  # which takes no choice of parameters
        head = kind(**AROUND[kind], parameters="3.*").measure(layers(), data())
        assert rest.table.equals(head.table)
    subject.model.requires_grad_(False)
    with pytest.raises(ValueError, match=r"All 4 parameters of 'net' that are meant are frozen, as 1.weight"):
        kind(**AROUND[kind]).measure(subject, data())


def test_the_way_to_other_weights_moves_what_is_frozen_too(tmp_path: Path) -> None:
    subject, other = net(None), {name: 2 * p.detach() for name, p in net(None).model.named_parameters()}
    save_file(other, tmp_path / "other.safetensors")
    line = Interpolation(towards=str(tmp_path / "other.safetensors"), steps=2, beyond=0, augment="none")
    before = line.measure(subject, data()).table
    subject.model.requires_grad_(False)
    assert line.measure(subject, data()).table.equals(before)


def test_a_result_of_an_earlier_version_is_taken_up_only_where_nothing_was_frozen(tmp_path: Path) -> None:
    instrument, subject = SpectralDensity(augment="none", draws=1, steps=2), net(None)
    instrument.measure(subject, data(), out=tmp_path)
    path = tmp_path / "net" / "spectral_density" / "provenance.json"
    old = json.loads(path.read_text())
    del old["settings"]["frozen"]
    path.write_text(json.dumps(old))
    instrument.measure(subject, data(), out=tmp_path)
    subject.model[1].bias.requires_grad_(False)
    with pytest.raises(ValueError, match="another frozen_left_out"):
        instrument.measure(subject, data(), out=tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_test_images_where_those_of_the_training_are_asked_about_are_said(split: str, recwarn) -> None:
    images = batches("digits", split=split, limit=6)
    subject = Subject(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)), name="net", input_size=(3, 32, 32))
    Landscape(augment="none", points=3, draws=1).measure(subject, images)
    told = [str(warning.message) for warning in recwarn if "that a model was trained on" in str(warning.message)]
    assert len(told) == (split == "test")
    assert all("landscape asks about" in line and "'digits' is its test split" in line for line in told)
