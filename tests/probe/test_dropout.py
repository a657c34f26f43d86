"""Dropout that samples: what is dropped is right on average, an image's own, and gone afterwards."""

import pytest
import timm
import torch
from timm.layers.drop import DropPath
from torch import nn

from alternet import Batches, Calibration, Subject
from alternet.errors import Doubt
from alternet.probe.dropout import Sampler, dropouts
from alternet.scores import negative_log_likelihood

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(6) % 3


class Net(nn.Module):
    """Every kind of layer that drops, and batch statistics that must stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.channels = nn.Dropout2d(0.5)
        self.depth = DropPath(0.3)
        self.values = nn.Dropout(0.2)
        self.off = nn.Dropout(0.0)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.channels(self.norm(self.conv(x)))
        x = (x + self.depth(x.relu())).mean((2, 3))
        return self.fc(self.off(self.values(x)))


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def measured(
    model: nn.Module, batch_size: int = 6, order: list[int] | None = None, **settings: int
) -> dict[str, float]:
    chosen = order or list(range(6))
    data = Batches.of(IMAGES[chosen], TARGETS[chosen], batch_size=batch_size)
    found = Calibration(**settings).measure(Subject(model, name="net", mean=0.0, std=1.0, input_size=(3, 8, 8)), data)
    return dict(zip(found.table["metric"], found.table["value"], strict=True))


@pytest.mark.parametrize("kind", [nn.Dropout(0.3), nn.Dropout2d(0.3), DropPath(0.3)])
def test_a_share_is_dropped_and_the_rest_scaled_so_that_the_mean_stays(kind: nn.Module) -> None:
    model = nn.Sequential(kind).eval()
    maps = torch.ones(3000, 2, 2, 2) + torch.arange(3000).view(-1, 1, 1, 1) * 0  # ones
    maps[:, 0, 0, 0] += torch.arange(3000) * 1e-6  # every image has pixels of its own
    with Sampler(model, seed=0).dropping(maps, 0):
        dropped = model(maps)
    kept = dropped[:, 1] != 0
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.03)
    torch.testing.assert_close(dropped[:, 1][kept], torch.full_like(dropped[:, 1][kept], 1 / 0.7))
    whole = {"Dropout": False, "Dropout2d": True, "DropPath": True}[type(kind).__name__]
    assert bool((kept.flatten(1).all(1) | ~kept.flatten(1).any(1)).all()) == whole
    both = (dropped != 0).flatten(2).any(2)
    assert bool((both[:, 0] == both[:, 1]).all()) == isinstance(kind, DropPath)


def test_layers_calls_and_rows_have_draws_of_their_own() -> None:
    """Two layers that keep a half each keep a quarter together; so do two calls of one layer, and rows of an image."""
    rows = 5000
    maps = torch.ones(2, rows, 1, 1) + torch.arange(2.0).view(2, 1, 1, 1)
    once, twice = nn.Dropout(0.5), nn.Dropout(0.5)
    for model in (nn.Sequential(once, twice), nn.Sequential(once, once)):
        with Sampler(model.eval(), seed=0).dropping(maps, 0):
            kept = model(maps) != 0
        assert kept.double().mean((1, 2, 3)).tolist() == pytest.approx([0.25, 0.25], abs=0.03)
        assert (kept[0] & kept[1]).double().mean().item() == pytest.approx(1 / 16, abs=0.02)
    windows = nn.Sequential(nn.Flatten(0, 1), nn.Dropout(0.5)).eval()  # as windowed attention has them
    with Sampler(windows, seed=0).dropping(maps, 0):
        first, second = (windows(maps) != 0).view(2, rows)
    assert first.double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (first & second).double().mean().item() == pytest.approx(0.25, abs=0.03)


def test_rows_that_belong_to_no_image_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(0, 1), nn.Dropout(0.5)).eval()
    with (
        pytest.raises(ValueError, match="The dropout 1 is given 3 rows for 2 images, so no image has rows of its own"),
        Sampler(model, seed=0).dropping(torch.rand(2, 3, 1, 1), 0),
    ):
        model(torch.rand(1, 3, 1, 1))


def test_the_scores_are_those_of_the_mean_probability() -> None:
    model, sampler = net(), Sampler(net(), seed=3)
    chances = []
    for number in range(5):
        with sampler.dropping(IMAGES, number):
            chances.append(sampler.model(IMAGES).double().softmax(1))
    mean = torch.stack(chances).mean(0).detach()
    wanted = negative_log_likelihood(mean.log(), TARGETS).mean().item()
    assert measured(model, samples=5, seed=3)["nll"] == pytest.approx(wanted, abs=1e-9)
    assert len({round(measured(model, samples=1, seed=seed)["nll"], 9) for seed in range(3)}) == 3
    assert all(not torch.equal(chances[0], other) for other in chances[1:])


def test_an_image_s_draws_do_not_depend_on_its_company() -> None:
    whole = measured(net(), samples=3)
    for batch_size, order in ((1, None), (4, None), (4, [5, 2, 0, 1, 4, 3])):
        assert measured(net(), batch_size, order, samples=3) == pytest.approx(whole, abs=1e-7, nan_ok=True)


def test_the_model_is_left_as_it_was_and_its_statistics_stay_still() -> None:
    model = net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    measured(model, samples=2)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())


def test_samples_are_stated_and_without_them_nothing_changes() -> None:
    data = Batches.of(IMAGES, TARGETS)
    subject = Subject(net(), name="net", mean=0.0, std=1.0, input_size=(3, 8, 8))
    facts = Calibration(samples=2, seed=1).measure(subject, data).provenance
    assert (facts["settings"]["samples"], facts["settings"]["seed"]) == (2, 1)
    assert facts["dropout"] == {"channels": 0.5, "depth": 0.3, "values": 0.2} == dropouts(subject.model)
    assert Calibration(seed=4).settings == {"bins": 10, "convention": "textbook"}


def test_a_model_without_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match="net has no dropout and no stochastic depth"):
        measured(nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.Dropout(0.0)), samples=2)


def test_dropout_that_does_not_run_is_said() -> None:
    vit = timm.create_model("test_vit", num_classes=3, img_size=8, patch_size=4, attn_drop_rate=0.1).eval()
    with pytest.raises(ValueError, match=r"attn_drop.* is not a layer that runs, so it stays off. All samples"):
        measured(vit, samples=2)
    vit = timm.create_model(
        "test_vit", num_classes=3, img_size=8, patch_size=4, attn_drop_rate=0.1, drop_rate=0.1
    ).eval()
    with pytest.warns(Doubt, match="attn_drop"):
        measured(vit, samples=2)
