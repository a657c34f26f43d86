"""What is measured of the loss, against double precision, autograd on the whole network and SciPy's ARPACK."""

import re
from collections.abc import Callable
from functools import partial
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from tests.contract.runs import write_run
from tests.independent.networks import NETWORKS, data, double, images, labels, network, normalised, subject
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from alternet.data.augment import Augmentation
from alternet.instruments.hessian import Hessian
from alternet.instruments.interpolation import Interpolation
from alternet.instruments.landscape import Landscape
from alternet.instruments.spectral_density import SpectralDensity
from alternet.instruments.trajectory import Trajectory
from alternet.seeding import derived_seed
from alternet.subject.subject import Subject

DECAY = 0.05
LOSS = {"augment": "none", "weight_decay": DECAY, "decays": "all"}
curved = pytest.mark.parametrize("name", ["ViT", "padded Swin", "ResNet", "ConvNeXt", "Mixer"])
walked = pytest.mark.parametrize("name", NETWORKS)

Weights = dict[str, Tensor]


def weights(model: nn.Module) -> Weights:
    return {name: parameter.detach().double() for name, parameter in model.named_parameters()}


def flat(theta: Weights) -> Tensor:
    return torch.cat([part.flatten() for part in theta.values()])


def shaped(vector: Tensor, like: Weights) -> Weights:
    parts = vector.split([part.numel() for part in like.values()])
    return {name: part.view_as(like[name]) for part, name in zip(parts, like, strict=True)}


def nll(model: nn.Module, theta: Weights, x: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(functional_call(model, theta, (normalised(x),)), targets)


def l2(theta: Weights) -> Tensor:
    return torch.stack([part.square().sum() / 2 for part in theta.values()]).sum()


def hessian_of(name: str, x: Tensor, targets: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """v → H·v of NLL + decay · L2, by differentiating the gradient's product with v, and the gradient."""
    model = double(network(name))
    theta = {key: part.requires_grad_() for key, part in weights(model).items()}
    with sdpa_kernel(SDPBackend.MATH):  # the fused one has no second derivative
        loss = nll(model, theta, x, targets) + DECAY * l2(theta)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(theta.values()), create_graph=True)])

    def product(v: Tensor) -> Tensor:
        parts = torch.autograd.grad(gradient @ v, list(theta.values()), retain_graph=True)
        return torch.cat([part.flatten() for part in parts])

    return product, gradient.detach()


def on_arrays(product: Callable[[Tensor], Tensor], v: np.ndarray) -> np.ndarray:
    return product(torch.from_numpy(v.ravel())).numpy()


@curved
def test_hessian(name, compare):
    """Two batches; ARPACK (implicitly restarted Lanczos) on products in double precision."""
    size, n = NETWORKS[name].size, 9
    m = Hessian(batch_size=5, k=4, tolerance=1e-6, precision="float64", **LOSS).measure(
        subject(name), data(size, n, batch_size=5)
    )
    order = data(size, n, batch_size=5).frozen(Augmentation(), seed=0).order
    eigenvalues, overlaps = [], []
    for part in (order[:5], order[5:]):
        product, gradient = hessian_of(name, images(size, n)[part], labels(n)[part])
        p = len(gradient)
        operator = LinearOperator((p, p), matvec=partial(on_arrays, product), dtype=float)
        values, vectors = eigsh(operator, k=4, which="LM", tol=1e-9, v0=np.ones(p))
        ranked = np.argsort(-np.abs(values))
        eigenvalues += list(values[ranked])
        overlaps += list((vectors.T @ gradient.numpy())[ranked] ** 2 / float(gradient @ gradient))
    said = {"instrument": "hessian", "reference": "SciPy's ARPACK", "on": f"{name} {NETWORKS[name]}"}
    compare("eigenvalue", m.table["eigenvalue"], eigenvalues, most=1e-5, **said)
    compare("overlap", m.table["overlap"], overlaps, most=1e-3, **said)
    negative = np.mean(np.array(eigenvalues) < 0)
    found = m.tables["summary"].set_index("metric")["value"]
    assert found["nep"] == pytest.approx(negative)


@curved
def test_spectral_density(name, compare):
    """Trace and squared norm from vᵀHv and ‖Hv‖² themselves, of the same random signs."""
    size, n, draws = NETWORKS[name].size, 6, 2
    asked = SpectralDensity(draws=draws, steps=4, exact=0, batch_size=6, precision="float64", **LOSS)
    m = asked.measure(subject(name), data(size, n, batch_size=6))
    product, gradient = hessian_of(name, images(size, n), labels(n))
    traces, squares = [], []
    for draw in range(draws):
        generator = torch.Generator().manual_seed(derived_seed(0, "spectral_density", draw))
        v = torch.randint(0, 2, gradient.shape, generator=generator).double() * 2 - 1
        traces.append(float(v @ product(v)))
        squares.append(float(product(v).square().sum()))
    moments = m.tables["moments"].set_index("metric")
    said = {"instrument": "spectral_density", "reference": "vᵀHv and ‖Hv‖²", "on": f"{name} {NETWORKS[name]}"}
    for quantity, values in {"trace": traces, "squared_norm": squares}.items():
        row = moments.loc[quantity]
        expected = [np.mean(values), np.std(values, ddof=1) / sqrt(draws)]
        compare(quantity, [row["value"], row["standard_error"]], expected, most=1e-6, **said)


def filterwise(direction: Weights, theta: Weights) -> Weights:
    """Li et al. (2018): each filter gets its weights' norm; norms, biases and positions stay where they are."""
    out = {}
    for name, part in theta.items():
        step = direction[name].clone()
        if part.ndim < 2 or re.search("pos_embed|relative_position", name):
            step.zero_()
        elif len(part) == 1:
            step *= part.norm() / step.norm()
        else:
            for number in range(len(part)):
                step[number] *= part[number].norm() / step[number].norm()
        out[name] = step
    return out


@walked
def test_landscape(name, compare):
    size, n = NETWORKS[name].size, 12
    m = Landscape(points=3, radius=0.4, draws=2, batch_size=6, **LOSS).measure(
        subject(name), data(size, n, batch_size=6)
    )
    model, theta = double(network(name)), weights(network(name))
    directions = []
    for number in (0, 1):
        generator = torch.Generator().manual_seed(derived_seed(0, "direction", number))
        directions.append(filterwise(shaped(torch.randn(len(flat(theta)), generator=generator).double(), theta), theta))
    expected = []
    for row in m.table.itertuples():
        moved = {key: theta[key] + row.x * directions[0][key] + row.y * directions[1][key] for key in theta}
        with torch.no_grad():
            expected.append((nll(model, moved, images(size, n), labels(n)).item(), l2(moved).item()))
    heights, penalties = np.array(expected).T
    said = {"instrument": "landscape", "reference": "weights moved filter by filter", "on": f"{name} {NETWORKS[name]}"}
    compare("nll", m.table["nll"], heights, most=2e-5, **said)
    compare("l2", m.table["l2"], penalties, most=2e-5, **said)
    compare("loss", m.table["loss"], heights + DECAY * penalties, most=2e-5, **said)


@pytest.mark.parametrize("name", ["ViT", "ResNet", "AlterNet"])
def test_interpolation(name, compare, tmp_path: Path):
    size, n = NETWORKS[name].size, 12
    model = double(network(name))
    start = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    other = {
        key: tensor * (0.8 + 0.4 * torch.rand(tensor.shape, generator=generator))
        if tensor.is_floating_point()
        else tensor
        for key, tensor in start.items()
    }
    file = tmp_path / "other.pth"
    torch.save({key: t.float() if t.is_floating_point() else t for key, t in other.items()}, file)
    asked = Interpolation(towards=str(file), steps=4, beyond=0, batch_size=6, **LOSS)
    m = asked.measure(subject(name), data(size, n, batch_size=6))
    expected = []
    for x in m.table["x"]:
        between = {
            key: (1 - x) * tensor + x * other[key] if tensor.is_floating_point() else tensor
            for key, tensor in start.items()
        }
        model.load_state_dict(between)
        with torch.no_grad():
            theta = weights(model)
            expected.append((nll(model, theta, images(size, n), labels(n)).item(), l2(theta).item()))
    heights, penalties = np.array(expected).T
    said = {"instrument": "interpolation", "reference": "state dicts mixed", "on": f"{name} {NETWORKS[name]}"}
    compare("nll", m.table["nll"], heights, most=2e-5, **said)
    compare("l2", m.table["l2"], penalties, most=2e-5, **said)


@pytest.mark.parametrize("name", ["ViT", "padded Swin", "ResNet"])
def test_trajectory(name, compare, tmp_path: Path):
    """Radius and angle from the vectors; the components from NumPy's singular value decomposition."""
    model = network(name)
    state, generator = model.state_dict(), torch.Generator().manual_seed(4)
    names, path = [key for key, _ in model.named_parameters()], []
    for far in (1.0, 0.7, 0.2, 0.0):
        moved = {key: state[key] + far * torch.randn(state[key].shape, generator=generator) for key in names}
        path.append({key: tensor.clone() for key, tensor in (state | moved).items()})
    size = NETWORKS[name].size
    run = write_run(tmp_path / "run", path)
    m = Trajectory().measure(
        Subject(model, name="net", input_size=(3, *size), history=run), data(size, 4, batch_size=4)
    )
    points = np.stack([flat({key: each[key].double() for key in names}).numpy() for each in path])
    away = points - points[-1]
    lengths = np.linalg.norm(away, axis=1)
    angles = [np.degrees(np.arccos(np.clip(d @ away[0] / (np.linalg.norm(d) * lengths[0]), -1, 1))) for d in away[1:-1]]
    _, singular, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    said = {"instrument": "trajectory", "reference": "vectors, numpy.linalg.svd", "on": f"{name} {NETWORKS[name]}"}
    compare("radius", m.table["radius"], lengths / lengths[0], most=1e-6, **said)
    compare("angle", m.table["angle"][1:-1], angles, most=1e-5, **said)
    share = m.tables["explained"]["share"]
    compare("share", share, (singular**2 / (singular**2).sum())[: len(share)], most=1e-6, **said)
