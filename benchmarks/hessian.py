"""Hessian: what a product costs in gradients, and the top five eigenvalues of a batch against other tools.

Every network took thirty steps of AdamW on the photographs; the batch is 16 of them, augmented as in the paper, the
loss the NLL alone, since the others know no weight decay. All sides compute in float32 with the math kernel of
attention. Residuals are ‖H·v − λ·v‖ of the worst of the five over the largest eigenvalue, recomputed with one and the
same product; products are counted. PyHessian runs at its defaults (100 iterations a value, relative change 1e-3). The
others stop at the residual of ours: hessian-eigenthings is given the smallest number of steps that reaches it (as many
as ours took, if twice as many do not reach it: in single precision its own norms of long vectors are off by 1e-3),
`eigsh` of scipy over curvlinops stops by itself. None of them looks for pairs that it missed, so ours do not either,
but for one row that says what this costs. All sides build their graph anew in every turn, and take turns within
one run; the numbers are medians.
"""

import copy
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import timm
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import alternet.models  # noqa: F401 - registers the models
from alternet.data import batches
from alternet.data.augment import PAPER_CIFAR
from alternet.instruments.hessian.measure import start
from alternet.loss.curvature import Curvature
from alternet.loss.lanczos import Eigenpairs, Lanczos
from alternet.loss.risk import Risk
from alternet.subject.subject import Subject
from benchmarks.turns import in_turns, row

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about deprecated parts of torch
    import hessian_eigenthings
    from curvlinops import HessianLinearOperator

    pyhessian: Any = import_module("pyhessian.hessian")  # the package gives this name to the class in it

IMAGES, SIDE, CLASSES, K, TOLERANCE = 16, 32, 18, 5, 1e-3
STEPS = 30
MODELS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-18": lambda: timm.create_model("paper_resnet_18", num_classes=CLASSES),
    "ViT-Ti, patch 4": lambda: timm.create_model(
        "vit_tiny_patch16_224", img_size=SIDE, patch_size=4, num_classes=CLASSES
    ),
}
Pairs = tuple[list[float], list[Tensor]]
TURNS = {"product": 9, "spectrum": 3}


def rows() -> list[dict[str, Any]]:
    """For each network the price of a product, then our time for five eigenpairs beside that of each rival."""
    return [line for name, make in MODELS.items() for line in _of(name, make)]


@dataclass
class Case:
    """One network and one batch, and the products that were counted."""

    model: nn.Module
    images: Tensor
    targets: Tensor
    risk: Risk
    counted: list[int] = field(default_factory=lambda: [0])

    def curvature(self) -> Curvature:
        """Nothing computed yet."""
        return self.risk.on(self.images, self.targets)

    @property
    def inputs(self) -> Tensor:
        """The images as the network takes them."""
        return self.risk.subject.normalise(self.images)

    def gradient(self) -> Any:
        """What every training step computes."""
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(self.model(self.inputs), self.targets)
            return torch.autograd.grad(loss, [*self.model.parameters()])

    def residual(self, pairs: Pairs) -> float:
        """The worst one, over the largest eigenvalue."""
        curvature = self.curvature()
        rests = [float((curvature(v) - value * v).norm()) for value, v in zip(*pairs, strict=True)]
        return max(rests) / max(map(abs, pairs[0]))


def _of(name: str, make: Callable[[], nn.Module]) -> Iterator[dict[str, Any]]:
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyHessian's graph is a reference cycle
        with _case(make) as case:
            yield _product(name, case)
            yield from _spectra(name, case)


@contextmanager
def _case(make: Callable[[], nn.Module]) -> Iterator[Case]:
    """A network with the first steps of its training behind it, and one batch."""
    torch.manual_seed(0)
    photos = batches("photos", split="train", limit=2 * IMAGES, img_size=SIDE)
    data = photos.frozen(PAPER_CIFAR, seed=0, batch_size=IMAGES)
    subject = Subject(make(), name="net", input_size=(3, SIDE, SIDE), mean=(0.5,) * 3, std=(0.25,) * 3)
    _train(subject, list(data))
    with Risk(subject, data, weight_decay=0.0) as risk:
        bare = copy.deepcopy(subject.model).requires_grad_(True)
        yield Case(bare, *next(iter(data)), risk)


def _train(subject: Subject, data: list[tuple[Tensor, Tensor]]) -> None:
    model = subject.model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)
    for step in range(STEPS):
        images, targets = data[step % len(data)]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(subject.normalise(images)), targets).backward()
        optimiser.step()


def _product(name: str, case: Case) -> dict[str, Any]:
    curvature, vector = case.curvature(), torch.randn(case.risk.space.size)
    ours, rival = in_turns(TURNS["product"], lambda: curvature(vector), case.gradient)
    what = f"{name}: one Hessian-vector product of a batch of {IMAGES}, against one gradient of it"
    return row(what, ours, rival, ours / rival, "<= 4")


def _spectra(name: str, case: Case) -> Iterator[dict[str, Any]]:
    count, pairs = _counting(case, _ours)
    steps = _steps(case, count)
    rivals: dict[str, tuple[Callable[[Case], Pairs], str]] = {
        "PyHessian at its defaults": (_pyhessian, "<= 0.333"),
        f"hessian-eigenthings, {steps} steps": (lambda case: _eigenthings(case, steps), "<= 1"),
        "eigsh over curvlinops": (_curvlinops, "<= 1"),
    }
    own = f"{count} products, residual {case.residual(pairs):.0e}"
    for rival, (call, target) in rivals.items():
        found: list[tuple[int, Pairs]] = []
        ours, other = in_turns(
            TURNS["spectrum"],
            lambda: _ours(case),
            lambda call=call, found=found: found.append(_counting(case, call)),
            warm=True,
        )
        products, pairs = found[-1]
        theirs = f"{products} products, residual {case.residual(pairs):.0e}"
        what = f"{name}: top {K} eigenvalues of a batch of {IMAGES} ({own}), against {rival} ({theirs})"
        yield row(what, ours, other, ours / other, target)

    checked, _ = _counting(case, lambda case: _ours(case, certify=True))
    certified, bare = in_turns(TURNS["spectrum"], lambda: _ours(case, certify=True), lambda: _ours(case), warm=True)
    what = f"{name}: top {K} eigenvalues of a batch of {IMAGES}, certified ({checked} products), against ours without"
    yield row(f"{what} the check ({count} products)", certified, bare, certified / bare, "<= 1.8")


def _counting(case: Case, call: Callable[[Case], Pairs]) -> tuple[int, Pairs]:
    case.counted[0] = 0
    pairs = call(case)
    return case.counted[0], pairs


def _ours(case: Case, *, certify: bool = False) -> Pairs:
    curvature, generator = case.curvature(), torch.Generator().manual_seed(0)
    lanczos = Lanczos(k=K, tolerance=TOLERANCE, certify=certify)
    found: Eigenpairs = lanczos(curvature, start(curvature, generator), generator=generator)
    case.counted[0] += found.products
    return found.values.tolist(), list(found.vectors)


def _pyhessian(case: Case) -> Pairs:
    product = pyhessian.hessian_vector_product

    def counted(*arguments: Any) -> Any:
        case.counted[0] += 1
        return product(*arguments)

    pyhessian.hessian_vector_product = counted
    try:
        with torch.enable_grad():
            batch = (case.inputs, case.targets)
            tool = pyhessian.hessian(case.model, nn.CrossEntropyLoss(), data=batch, cuda=False)
            values, vectors = tool.eigenvalues(top_n=K)
    finally:
        pyhessian.hessian_vector_product = product
        case.model.zero_grad()
    return values, [torch.cat([part.detach().flatten() for part in vector]) for vector in vectors]


def _eigenthings(case: Case, steps: int) -> Pairs:
    loss = hessian_eigenthings.supervised_loss(nn.functional.cross_entropy)
    with torch.enable_grad():
        operator = hessian_eigenthings.HessianOperator(case.model, [(case.inputs, case.targets)], loss)
        found = hessian_eigenthings.lanczos(operator, k=K, max_iter=steps, tol=0.0, reorthogonalize=True, seed=0)
    case.counted[0] += steps
    vectors = found.eigenvectors
    assert vectors is not None
    rows = vectors if vectors.shape[0] == len(found.eigenvalues) else vectors.T
    return found.eigenvalues.tolist(), [row.detach() for row in rows]


def _steps(case: Case, products: int) -> int:
    """The fewest steps in which hessian-eigenthings comes to our residual; as many as our products if it never does."""
    tried = range(K + 3, 2 * products)
    place = bisect_left(tried, True, key=lambda steps: case.residual(_eigenthings(case, steps)) <= TOLERANCE)
    return tried[place] if place < len(tried) else products


def _curvlinops(case: Case) -> Pairs:
    parameters = [*case.model.parameters()]
    with torch.enable_grad():
        data = [(case.inputs, case.targets)]
        linear = HessianLinearOperator(case.model, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False)
        operator: Any = linear.to_scipy()
        product, v0 = operator.matvec, torch.randn(case.risk.space.size, generator=torch.Generator().manual_seed(0))

        def counted(vector: np.ndarray) -> np.ndarray:
            case.counted[0] += 1
            return product(vector)

        operator.matvec = counted
        values, vectors = eigsh(operator, k=K, which="LM", tol=TOLERANCE, v0=v0.numpy())  # pyright: ignore[reportArgumentType]
    return values.tolist(), [torch.from_numpy(column.copy()) for column in vectors.T]


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())))
