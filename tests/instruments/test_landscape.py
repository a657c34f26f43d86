"""Landscape: closed forms on the plane, eigenvectors, a run's plane, resume, points without a loss, published grids."""

import copy
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.contract.runs import write_run
from torch import Tensor, nn

from alternet.data.image_batches import Batches
from alternet.instruments.figures import sentences
from alternet.instruments.landscape import Landscape
from alternet.instruments.landscape.figure import bowl
from alternet.instruments.landscape.measure import RADII, LandscapeWork
from alternet.loss.flatness import Ray, flatness
from alternet.loss.risk import Risk
from alternet.measurement import Measurement
from alternet.seeding import derived_seed
from alternet.studies.published import published_landscape
from alternet.subject.subject import Subject

REFERENCE = Path(__file__).parents[1] / "reference"
K = 3
QUICK: dict[str, Any] = {"points": 5, "draws": 3, "augment": "none"}


class Net(nn.Module):
    """Two linear layers and what a direction leaves out."""

    def __init__(self, classes: int = K) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(12, 5), nn.LayerNorm(5), nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.first(x.flatten(1)).tanh()))


class Softmax(nn.Sequential):
    """Multinomial logistic regression."""

    def __init__(self, classes: int = K) -> None:
        super().__init__(nn.Flatten(), nn.Linear(12, classes))


class Scaled(nn.Module):
    """The first few pixels times weights, plus biases."""

    def __init__(self, weights: int) -> None:
        super().__init__()
        self.weights, self.bias = nn.Parameter(torch.ones(1, weights)), nn.Parameter(torch.ones(K))

    def forward(self, x: Tensor) -> Tensor:
        scaled = x.flatten(1)[:, : self.weights.shape[1]] * self.weights
        return nn.functional.pad(scaled, (0, K - scaled.shape[1])) + self.bias


def subject(make: Any = Net, dtype: torch.dtype = torch.float64, **options: Any) -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make(**options).to(dtype)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return Subject(model, name="net", input_size=(3, 2, 2))


def data(images: int = 9, classes: int = K) -> Batches:
    pictures = torch.rand(images, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    return Batches.of(pictures, torch.arange(images) % classes, classes=[str(k) for k in range(classes)])


def direction(weights: dict[str, Tensor], number: int, seed: int = 0) -> dict[str, Tensor]:
    """A filter-normalised direction, drawn in one piece and scaled row by row in a loop."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "direction", number))
    flat = torch.randn(sum(w.numel() for w in weights.values()), generator=generator).to(next(iter(weights.values())))
    out = {}
    for name, w in weights.items():
        part, flat = flat[: w.numel()].view(w.shape), flat[w.numel() :]
        rows = [d * sqrt(float((v * v).sum())) / sqrt(float((d * d).sum())) for d, v in zip(part, w, strict=True)]
        out[name] = torch.stack(rows) if w.ndim > 1 else torch.zeros_like(w)
    return out


def test_the_plane_by_hand() -> None:
    net, settings = subject(Softmax), Landscape(**QUICK, weight_decay=0.3, radius=2.0)
    images, targets = next(iter(settings.open(net, data()).batches))
    weights = {name: p.detach() for name, p in net.model.named_parameters()}
    a, b = direction(weights, 0), direction(weights, 1)
    table = settings.measure(net, data()).table
    assert table[["x", "y"]].to_numpy().tolist() == [[x, y] for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2)]
    for row in table.itertuples():
        w = {name: weights[name] + row.x * a[name] + row.y * b[name] for name in weights}
        logits = (images.double().flatten(1) @ w["1.weight"].T + w["1.bias"]).numpy()
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        assert row.nll == pytest.approx(-log_p[np.arange(9), targets.numpy()].mean(), rel=1e-9)
        assert row.l2 == pytest.approx(0.5 * float(w["1.weight"].square().sum()), rel=1e-6)
        assert row.loss == pytest.approx(row.nll + 0.3 * row.l2)
        assert row.accuracy == pytest.approx((logits.argmax(1) == targets.numpy()).mean())


@pytest.mark.parametrize("normalisation", ["filter", "layer"])
def test_with_one_class_only_the_bowl_of_l2_is_left(normalisation: Any) -> None:
    """NLL is 0, a direction is as long as the weights: ½·wd·‖w + r·d‖² rises by ½·wd·r²·‖w‖² whichever way."""
    net = subject(Softmax, classes=1)
    flat = Landscape(**QUICK, normalisation=normalisation).measure(net, data(classes=1)).tables["flatness"]
    weight = net.model.get_parameter("1.weight").detach()
    for row in flat.itertuples():
        assert row.l2_rise == pytest.approx(0.5 * 0.05 * row.radius**2 * float(weight.square().sum()), rel=1e-6)
        assert row.rise == pytest.approx(row.l2_rise) and row.nll_rise == 0
        assert row.standard_error == pytest.approx(0, abs=1e-7)
    assert flat["radius"].tolist() == list(RADII) and flat["finite"].tolist() == [3] * 4


def test_the_centre_is_the_model_and_the_grid_is_symmetric_around_it() -> None:
    net, batches = subject(), data()
    instrument = Landscape(points=21, radius=0.3)
    assert [-x for x in reversed(instrument.axis)] == instrument.axis and 0.0 in instrument.axis
    m = replace(instrument, points=3).measure(net, batches)
    with Risk(net, instrument.open(net, batches).batches) as risk:
        own = risk.value()
    centre = m.table[(m.table["x"] == 0) & (m.table["y"] == 0)].iloc[0]
    assert (centre["nll"], centre["loss"], centre["accuracy"]) == (own.nll, own.loss, own.accuracy)


def test_the_first_two_rays_are_the_axes_and_flatness_is_the_mean_of_both_ways() -> None:
    m = Landscape(**QUICK | {"draws": 2}).measure(subject(), data())
    loss = m.table.set_index(["x", "y"])["loss"]
    for row in m.tables["flatness"].query("radius in (0.5, 1.0)").itertuples():
        r = row.radius
        rises = [(loss[r, 0] + loss[-r, 0]) / 2 - loss[0, 0], (loss[0, r] + loss[0, -r]) / 2 - loss[0, 0]]
        assert row.rise == pytest.approx(np.mean(rises), rel=1e-9)
        assert row.rise == pytest.approx(row.nll_rise + row.l2_rise)
    assert m.tables["flatness"]["standard_error"].isna().all()


def test_more_directions_tell_the_same_within_their_standard_errors() -> None:
    small, large = (
        Landscape(**QUICK | {"draws": draws, "points": 3}).measure(subject(), data()).tables["flatness"]
        for draws in (12, 60)
    )
    assert (large["standard_error"] < small["standard_error"]).all() and (small["standard_error"] > 0).all()
    assert ((small["rise"] - large["rise"]).abs() < 3 * small["standard_error"]).all()


def test_the_standard_error_is_that_of_the_mean_over_directions() -> None:
    values = np.array([[3.0, 1.0], [2.0, 1.5], [4.0, 0.5], [2.5, 0.8]])
    rays = [Ray(1.0, (float(loss), float(nll)), (1.0, 0.0)) for loss, nll in values]
    ((_, *numbers, directions, finite),) = flatness((0.0, 0.0), rays)
    loss, nll = (values + np.array([1.0, 0.0])).T / 2
    for part, mean, error in zip((nll, loss - nll, loss), numbers[::2], numbers[1::2], strict=True):
        assert (mean, error) == pytest.approx((part.mean(), part.std(ddof=1) / 2))
    assert (directions, finite) == (4, 4)


def test_flatness_of_rays_that_are_not_finite() -> None:
    rays = [Ray(1.0, (2.0, 1.0), (2.0, 1.0)), Ray(1.0, (None, None), (3.0, 1.0)), Ray(0.5, (2.0, 1.0), (4.0, 1.0))]
    half, full = flatness((1.0, 1.0), rays)
    assert half == (0.5, 0.0, None, 2.0, None, 2.0, None, 1, 1)
    assert full == (1.0, None, None, None, None, None, None, 2, 1)
    assert flatness((None, None), rays)[0][1] is None


def test_what_is_ignored_does_not_move() -> None:
    net = subject()
    for name, parameter in net.model.named_parameters():
        if parameter.ndim > 1 and name != "head.weight":
            parameter.data.zero_()  # a direction as long as zero
    constant = Landscape(**QUICK).measure(net, data()).table
    net.model.get_parameter("head.weight").data.zero_()
    with pytest.raises(ValueError, match="Nothing of 'net' moves: its weights are zero, or norms.*Set ignore=nothing"):
        Landscape(**QUICK).measure(net, data())
    moving = Landscape(**QUICK, ignore="nothing").measure(net, data()).table
    assert constant["nll"].nunique() > 1 and moving["nll"].nunique() > 1


def test_along_eigenvectors_the_loss_rises_by_half_the_eigenvalue() -> None:
    net, batches = subject(), data()
    settings = Landscape(points=3, radius=1e-3, directions="eigenvectors", normalisation="none", ignore="nothing")
    frozen = settings.open(net, batches).batches
    with Risk(net, frozen) as risk:
        exact = torch.linalg.eigvalsh(risk.product(torch.eye(risk.space.size, dtype=torch.float64)))
    flat = settings.measure(net, frozen).tables["flatness"]
    expected = exact[-2:].mean().item() / 2 * flat["radius"] ** 2
    np.testing.assert_allclose(flat["rise"], expected, rtol=1e-3)
    assert flat["standard_error"].isna().all() and flat["directions"].tolist() == [2] * 4


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_only_where_the_loss_is_smooth_does_it_rise_by_half_the_eigenvalue(activation: type[nn.Module]) -> None:
    """Within 0.01 of the weights some ReLU switches at some image, and what it then adds no Hessian knows."""

    batches = data(64)
    ((images, targets),) = batches
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(12, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, K)]
    model = nn.Sequential(nn.Flatten(), *layers).double()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images.double()), targets).backward()
        optimiser.step()
    net = Subject(model, name="net", input_size=(3, 2, 2))
    settings: Any = {"directions": "eigenvectors", "normalisation": "none", "ignore": "nothing", "augment": "none"}
    instrument = Landscape(points=3, radius=0.01, **settings)
    with instrument.open(net, batches) as work:
        curvature = sum(float(axis @ work.risk.product(axis)) for axis in work.axes) / 2
    flat = instrument.measure(net, batches).tables["flatness"]
    off = (flat["rise"] / (curvature / 2 * flat["radius"] ** 2) - 1).abs()
    assert (off < 0.01).all() if activation is nn.Tanh else (off > 0.05).all()


@pytest.mark.parametrize("decays", ["timm", "all"])
def test_the_rise_of_l2_is_that_of_the_weights_that_move_in_a_random_network_too(decays: Any) -> None:
    net = subject()
    m = Landscape(**QUICK, decays=decays, weight_decay=0.3).measure(net, data())
    moving = sum(float(p.detach().square().sum()) for p in net.model.parameters() if p.ndim > 1)
    flat = m.tables["flatness"]
    np.testing.assert_allclose(flat["l2_rise"], 0.3 * moving / 2 * flat["radius"] ** 2, rtol=1e-6)
    assert bowl(m) == pytest.approx(0.3 * moving / 2)
    assert f"; what L2 adds is {0.3 * moving / 2:.3g}·r² by identity, whatever the data." in sentences(m)[0]
    for other in ({"l2": "paper"}, {"normalisation": "paper"}, {"normalisation": "none"}):
        without = Landscape(**QUICK, **other).measure(net, data())
        assert bowl(without) is None and "identity" not in sentences(without)[0]


def test_the_sharpest_directions_are_those_of_the_largest_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    net = subject()
    settings = Landscape(points=3, directions="eigenvectors", normalisation="none", ignore="nothing")
    curvature = torch.zeros(Risk(net, data()).space.size, dtype=torch.float64)
    curvature[[3, 8, 20]] = torch.tensor([5.0, -100.0, 9.0], dtype=torch.float64)
    monkeypatch.setattr(Risk, "product", lambda _, vector: curvature * vector)
    with settings.open(net, data()) as work:
        assert [int(axis.abs().argmax()) for axis in work.axes] == [20, 3]


@pytest.mark.parametrize("weights", [0, 1, 2])
def test_a_plane_of_eigenvectors_needs_two_weights_that_move(weights: int) -> None:
    net = Subject(Scaled(weights), name="net", input_size=(3, 2, 2))
    settings = Landscape(points=3, directions="eigenvectors", normalisation="none")
    if weights < 2:
        with pytest.raises(ValueError, match=f"{weights} of the weights of 'net' may move, expected two or more"):
            settings.measure(net, data())
        return
    with settings.open(net, data()) as work:
        plane = torch.stack(work.axes)
    torch.testing.assert_close(plane @ plane.T, torch.eye(2))
    assert not plane[:, weights:].any()


def test_a_model_in_half_precision_is_measured_in_single_precision() -> None:
    halved = subject(dtype=torch.bfloat16)
    whole = Subject(copy.deepcopy(halved.model).float(), name="net", input_size=(3, 2, 2))
    pictures = torch.rand(9, 3, 2, 2).bfloat16().float()  # what survives the model's own normalisation
    plain = Batches.of(pictures, torch.arange(9) % K)
    for directions in ({}, {"directions": "eigenvectors", "normalisation": "none"}):
        settings = Landscape(points=3, draws=1, augment="none", **directions)
        found, expected = (settings.measure(net, plain).table for net in (halved, whole))
        pd.testing.assert_frame_equal(found, expected)


def test_eigenvectors_of_what_takes_part_leave_the_rest_alone() -> None:
    net = subject()
    settings = Landscape(points=3, directions="eigenvectors", normalisation="none")
    with settings.open(net, data()) as work:
        parts = [work.risk.space.split(axis) for axis in work.axes]
        assert float(work.axes[0].norm()) == pytest.approx(1) and float(work.axes[1].norm()) == pytest.approx(1)
    assert not any(part["norm.weight"].any() or part["head.bias"].any() for part in parts)


def test_the_plane_of_a_run_holds_its_path(tmp_path: Path) -> None:
    net = subject()
    final = {name: tensor.clone() for name, tensor in net.model.state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    ways = [{n: torch.randn(t.shape, generator=generator).to(t) for n, t in final.items()} for _ in range(2)]
    places = [(1.0, 0.0), (0.5, 0.7), (0.2, -0.3), (0.0, 0.0)]
    path = [{n: t + u * ways[0][n] + v * ways[1][n] for n, t in final.items()} for u, v in places]
    net = replace(net, history=write_run(tmp_path / "run", path))
    settings = Landscape(points=3, directions="trajectory", normalisation="none", ignore="nothing")
    from alternet.instruments.trajectory import Trajectory

    course = Trajectory().measure(net, data()).table
    with settings.open(net, data()) as work:
        for state, row in zip(path, course.itertuples(), strict=True):
            there = work.risk.value(work.risk.space.join(state)).loss
            on_the_plane = work.theta + row.pc1 * work.axes[0] + row.pc2 * work.axes[1]
            assert work.risk.value(on_the_plane).loss == pytest.approx(there, rel=1e-5)
    straight = [{n: t + u * ways[0][n] for n, t in final.items()} for u in (1.0, 0.5, 0.0)]
    net = replace(net, history=write_run(tmp_path / "straight", straight))
    with pytest.raises(ValueError, match="lie on a line and span no plane"):
        settings.measure(net, data())


def test_a_point_without_a_loss_is_undefined_and_stays_a_gap(tmp_path: Path) -> None:
    m = Landscape(**QUICK, radius=2e38).measure(subject(Softmax, torch.float32), data(), out=tmp_path)
    broken = m.table[m.table["loss"].isna()]
    assert 0 < len(broken) < 25 and broken["nll"].isna().equals(broken["loss"].isna())
    assert m.tables["flatness"]["rise"].isna().all()
    m = Measurement.load(tmp_path / "net" / "landscape")
    assert m.draw().axes
    assert sentences(m)[0].endswith("at r = 2e+38 the loss is not finite along 3 of 3 directions.")


def test_drawn_anew_each_point_sees_data_of_its_own_whatever_came_before() -> None:
    net = subject()
    settings = Landscape(points=3, draws=1, redraw="paper")
    table, frozen = (s.measure(net, data()).table for s in (settings, replace(settings, redraw="frozen")))
    assert not np.isclose(table["nll"], frozen["nll"]).any()
    np.testing.assert_allclose(table["l2"], frozen["l2"])
    assert replace(settings, radius=1e-300).measure(net, data()).table["nll"].nunique() == 9
    with settings.open(net, data()) as work:
        (last,) = work.rows(("grid", 2, 2))
        (first,) = work.rows(("grid", 0, 0))
    assert first.nll == table["nll"].iloc[0] and last.nll == table["nll"].iloc[-1]


def test_interrupted_and_gone_on_the_tables_are_those_of_one_go(tmp_path: Path, monkeypatch: Any) -> None:
    net, settings = subject(), Landscape(points=3, draws=3)
    straight = settings.measure(net, data())
    measured, rows = [], LandscapeWork.rows

    def killed(self: LandscapeWork, item: Any) -> Any:
        if len(measured) == 12:
            raise KeyboardInterrupt
        measured.append(item)
        return rows(self, item)

    monkeypatch.setattr(LandscapeWork, "rows", killed)
    with pytest.raises(KeyboardInterrupt):
        settings.measure(net, data(), out=tmp_path)
    monkeypatch.setattr(LandscapeWork, "rows", lambda *a: measured.append(a[1]) or rows(*a))
    resumed = settings.measure(net, data(), out=tmp_path)
    assert len(measured) == len(set(measured)) == 9 + 3 * len(RADII)
    for name, table in straight.tables.items():
        pd.testing.assert_frame_equal(resumed.tables[name], table, check_exact=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"points": 4}, "points=4, expected an odd number"),
        ({"points": 1}, "points=1, expected an odd number"),
        ({"radius": 0.0}, "radius=0.0, expected a number above 0"),
        ({"draws": 0}, "draws=0, expected a number of at least 1; 3 or more give standard errors"),
        ({"directions": "trajectory"}, "normalisation='filter' with directions='trajectory'.*Set normalisation=none"),
        ({"normalisation": "filters"}, "normalisation='filters', expected one of"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Landscape(**settings)


def test_the_authors_landscapes_say_what_the_paper_shows() -> None:
    resnet, vit = (
        published_landscape(REFERENCE / f"cifar100_{file}_losslandscape.csv", name)
        for file, name in (("resnet_dnn_50", "ResNet-50"), ("vit_ti", "ViT-Ti"))
    )
    assert resnet.table["loss"].isna().sum() == 31 and vit.table["loss"].notna().all()
    for m, nll, l2, half, full in ((resnet, 2.194, 1534, 7.7, 20.2), (vit, 2.490, 769, 4.8, 12.4)):
        centre = m.table.iloc[220]
        assert (centre["x"], centre["y"]) == (0, 0)
        assert (centre["nll"], centre["l2"]) == pytest.approx((nll, l2), rel=1e-3)
        flat = m.tables["flatness"].set_index("radius")
        assert (flat["rise"][0.5], flat["rise"][1.0]) == pytest.approx((half, full), abs=0.05)
    assert Measurement.concat([resnet, vit]).draw().axes


def test_another_file_is_no_landscape(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("model,x,y\nnet,0,0\n")
    with pytest.raises(ValueError, match="a.csv cannot be read as a released landscape"):
        published_landscape(tmp_path / "a.csv", "net")
    with pytest.raises(ValueError, match="b.csv cannot be read as a released landscape"):
        published_landscape(tmp_path / "b.csv", "net")
