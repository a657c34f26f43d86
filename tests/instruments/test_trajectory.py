"""Trajectory: straight lines, random walks, rotations, NumPy's and scikit-learn's PCA, and damaged runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.contract.runs import write_run
from torch import Tensor, nn

from alternet.data.image_batches import Batches
from alternet.instruments.trajectory import Trajectory
from alternet.instruments.trajectory.figure import walk
from alternet.instruments.trajectory.measure import polar
from alternet.loss.components import principal
from alternet.loss.snapshots import WeightPath
from alternet.measurement import Measurement
from alternet.subject.subject import Subject

DATA = Batches.of(torch.rand(1, 3, 2, 2))
SIZE = 4 * 12 + 4


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4, affine=False))


def state(vector: Tensor) -> dict[str, Tensor]:
    """Weights that lie one after the other in a vector, and buffers that must not count."""
    model = net()
    model.get_parameter("1.weight").data = vector[:48].reshape(4, 12).clone()
    model.get_parameter("1.bias").data = vector[48:].clone()
    model.get_buffer("2.running_mean").normal_()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def subject(folder: Path, points: Sequence[Tensor]) -> Subject:
    run = write_run(folder / "run", [state(point) for point in points])
    return Subject(net(), name="net", input_size=(3, 2, 2), history=run)


def cloud(points: int, size: int = SIZE, seed: int = 0) -> Tensor:
    return torch.randn(points, size, generator=torch.Generator().manual_seed(seed))


def measure(folder: Path, points: Sequence[Tensor]) -> Measurement:
    return Trajectory().measure(subject(folder, points), DATA)


def gram(points: Tensor) -> Tensor:
    differences = (points - points[-1]).double()
    return differences @ differences.T


def test_a_straight_path_has_no_angle_and_its_radius_falls_evenly(tmp_path: Path) -> None:
    start, end = cloud(2)
    m = measure(tmp_path, [start + part * (end - start) for part in (0.0, 0.25, 0.5, 0.75, 1.0)])
    assert m.table["step"].tolist() == [0, 10, 20, 30, 40]
    assert m.table["radius"].tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0], abs=1e-6)
    assert m.table["angle"].tolist()[:4] == pytest.approx([0] * 4, abs=0.05)
    assert m.table["angle"].isna().tolist() == [False] * 4 + [True]
    assert m.table["pc1"].tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0], abs=1e-6)
    assert m.table["pc2"].abs().max() < 1e-4
    assert m.tables["explained"]["share"].iloc[0] == pytest.approx(1)


def test_radius_and_angle_by_the_definition(tmp_path: Path) -> None:
    points = cloud(5)
    table = measure(tmp_path, list(points)).table
    from_end = (points - points[-1]).double().numpy()
    for row, delta in zip(table.itertuples(), from_end[:-1], strict=False):
        length, first = np.linalg.norm(delta), np.linalg.norm(from_end[0])
        assert row.radius == pytest.approx(length / first, rel=1e-6)
        cosine = np.clip(delta @ from_end[0] / (length * first), -1, 1)
        assert row.angle == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-3)


def test_components_are_those_of_numpy_and_scikit_learn(tmp_path: Path) -> None:
    points = cloud(6)
    m = measure(tmp_path, list(points))
    x = points.double().numpy()
    from sklearn.decomposition import PCA

    scores = PCA(n_components=2).fit(x)
    shares = np.linalg.svd(x - x.mean(0), compute_uv=False)[:5] ** 2
    np.testing.assert_allclose(m.tables["explained"]["share"], shares / shares.sum(), rtol=1e-5)
    np.testing.assert_allclose(m.tables["explained"]["share"][:2], scores.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(m.tables["explained"]["cumulative"], np.cumsum(shares / shares.sum()), rtol=1e-5)
    places = (x - x[-1]) @ scores.components_.T / np.linalg.norm(x[0] - x[-1])
    found = m.table[["pc1", "pc2"]].to_numpy()
    signs = np.sign((places * found).sum(0))
    np.testing.assert_allclose(found, places * signs, atol=1e-5)
    assert (found[np.abs(found).argmax(0), [0, 1]] > 0).all()


def test_neither_a_rotation_nor_a_shift_nor_a_scale_of_all_weights_changes_anything() -> None:
    points = cloud(6).double()
    turn = torch.linalg.qr(cloud(SIZE, seed=1).double()).Q
    one, other = gram(points), gram(3 * (points @ turn + 5))
    for before, after in zip(polar(one), polar(other), strict=True):
        torch.testing.assert_close(before[:-1], after[:-1])
    torch.testing.assert_close(principal(one).share, principal(other).share)
    torch.testing.assert_close(3 * principal(one).coordinates, principal(other).coordinates)


def test_a_random_walk_looks_flat_as_its_closed_form_says() -> None:
    steps = cloud(40, size=50_000)
    share = principal(gram(steps.cumsum(0))).share
    assert float(share[0]) == pytest.approx(walk(40, 1), abs=0.01)
    assert float(share[:2].sum()) == pytest.approx(walk(40), abs=0.01)
    assert walk(10_000, 1) == pytest.approx(6 / np.pi**2, abs=1e-3)


def test_a_component_is_a_unit_vector_made_of_the_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(5)
    with WeightPath(subject(tmp_path, list(points))) as path:
        found = principal(path.gram())
        components = path.combination(found.factors[:, :2])
        monkeypatch.setattr("alternet.loss.snapshots.VALUES", 70)  # a row or two of a matrix at a time
        torch.testing.assert_close(path.gram(), gram(points))
        torch.testing.assert_close(path.combination(found.factors[:, :2]), components)
        torch.testing.assert_close(path.gram(["1.bias"]), gram(points[:, 48:]))
    torch.testing.assert_close(components @ components.T, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close((points - points[-1]).double() @ components.T, found.coordinates[:, :2])


def test_the_order_of_the_list_does_not_matter(tmp_path: Path) -> None:
    net_ = subject(tmp_path, list(cloud(4)))
    before = Trajectory().measure(net_, DATA).table
    assert net_.history is not None
    index = net_.history / "snapshots" / "snapshots.json"
    index.write_text(json.dumps(json.loads(index.read_text())[::-1]))
    assert Trajectory().measure(net_, DATA).table.equals(before)


def broken(name: str, run: Path) -> None:
    snapshots = run / "snapshots"
    index = snapshots / "snapshots.json"
    entries = json.loads(index.read_text())
    actions = {
        "no list": index.unlink,
        "damaged list": lambda: index.write_text('[{"file": 1'),
        "empty list": lambda: index.write_text("[]"),
        "same step twice": lambda: index.write_text(json.dumps([entries[0], {**entries[1], "step": 0}])),
        "no file": (snapshots / entries[1]["file"]).unlink,
        "cut off": lambda: (snapshots / entries[1]["file"]).write_bytes(b"\x08\0\0\0\0\0\0\0{"),
        "foreign": lambda: save_file({"1.weight": torch.zeros(4, 11)}, snapshots / entries[1]["file"]),
        "missing": lambda: save_file({"1.weight": torch.zeros(4, 12)}, snapshots / entries[1]["file"]),
        "not finite": lambda: save_file(state(torch.full((SIZE,), torch.nan)), snapshots / entries[1]["file"]),
        "no log": (run / "log.csv").unlink,
    }
    actions[name]()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no list", "holds no weights on the way.*snapshots.json is missing"),
        ("damaged list", "snapshots.json is damaged"),
        ("empty list", "lists no snapshot"),
        ("same step twice", "lists the same step twice"),
        ("no file", "epoch-0001.safetensors cannot be read"),
        ("cut off", "epoch-0001.safetensors cannot be read"),
        ("foreign", r"epoch-0001.safetensors is of another model than 'net'.*\(4, 11\), expected \(4, 12\)"),
        ("missing", "1.bias is missing"),
        ("not finite", "epoch-0001.safetensors holds weights that are not finite"),
        ("no log", "log.csv does not say how many steps"),
    ],
)
def test_what_is_wrong_with_a_run_is_said(tmp_path: Path, name: str, said: str) -> None:
    net_ = subject(tmp_path, list(cloud(4)))
    assert net_.history is not None
    broken(name, net_.history)
    with pytest.raises(ValueError, match=said):
        Trajectory().measure(net_, DATA)


def test_a_model_without_a_run_and_a_run_without_a_way_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'mine' has no training run with it.*run:DIR"):
        Trajectory().measure(Subject(net(), name="mine"), DATA)
    with pytest.raises(ValueError, match="The final weights are the initial ones"):
        measure(tmp_path, [cloud(1)[0]] * 3)


def test_two_points_are_a_line(tmp_path: Path) -> None:
    m = measure(tmp_path, list(cloud(2)))
    assert m.table["pc1"].tolist() == pytest.approx([1, 0]) and m.table["pc2"].tolist() == [0, 0]
    assert m.tables["explained"]["share"].tolist() == [1]
    assert m.draw().axes
