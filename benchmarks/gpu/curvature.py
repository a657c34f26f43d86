"""What curvature costs on a GPU: products in gradients, the top eigenvalues against PyHessian and against the CPU."""

import time
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from alternet.data import batches
from alternet.data.augment import PAPER_CIFAR
from alternet.data.image_batches import Batches
from alternet.instruments.hessian.measure import start
from alternet.loss.lanczos import Eigenpairs, Lanczos
from alternet.loss.risk import Risk
from alternet.subject.subject import Subject
from benchmarks.gpu.measuring import DEVICE, Check, Line, Row, measured, peak, pick, tf32, turns
from benchmarks.gpu.rows import NETWORKS_32, network


def hessian() -> Iterator[Line]:
    """A product in gradients, and the top five eigenvalues of a batch, against PyHessian and the CPU of the machine."""
    for name, settings in pick(NETWORKS_32, {"test_resnet": {}}).items():
        for size in pick((16, 128), (4,)):
            photos = batches("photos", split="train", limit=2 * size, img_size=32)
            data = photos.frozen(PAPER_CIFAR, seed=0, batch_size=size)
            subject = replace(network(name, num_classes=18, **settings), input_size=(3, 32, 32))
            _steps(subject, list(data), pick(30, 1))
            yield from _curvature(name, subject, data)


def _steps(subject: Subject, data: list[tuple[Tensor, Tensor]], count: int) -> None:
    model = subject.model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)
    for number in range(count):
        images, targets = data[number % len(data)]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(subject.normalise(images)), targets.to(DEVICE)).backward()
        optimiser.step()


def _curvature(name: str, subject: Subject, data: Batches) -> Iterator[Line]:
    images, targets = next(iter(data))
    with (
        sdpa_kernel(SDPBackend.MATH),
        tf32(False),
        warnings.catch_warnings(),
        Risk(subject, data, weight_decay=0.0) as risk,  # the rival knows none
    ):
        warnings.simplefilter("ignore")
        curvature, vector = risk.on(images, targets), torch.randn(risk.space.size, device=DEVICE)
        inputs, truth = subject.normalise(images), targets.to(DEVICE)

        def gradient() -> None:
            with torch.enable_grad():
                loss = nn.functional.cross_entropy(subject.model(inputs), truth)
                torch.autograd.grad(loss, [*subject.model.parameters()])

        subject.model.requires_grad_(True)
        what = f"a Hessian product of {len(images)} images of 32, {name}, TF32 off: in gradients"
        product = measured(what, 15, lambda: curvature(vector), gradient, "<= 2.5")
        yield product
        found: list[Eigenpairs] = []

        def top(*, certify: bool = False) -> None:
            fresh, generator = risk.on(images, targets), torch.Generator().manual_seed(0)
            found.append(Lanczos(k=5, certify=certify)(fresh, start(fresh, generator), generator=generator))

        ours = turns(2, top)[0]
        products = found[-1].products
        what = f"top 5 of {len(images)} images, {name}"
        yield Row(f"{what}: {products} products, over so many alone", ours, products * product.ours, memory=peak(top))
        yield from _against(what, top, _pyhessian(subject.model, inputs, truth))
    if len(images) <= 16:
        yield _on_the_cpu(name, subject, data, ours, found[0].values)


def _against(what: str, top: Callable[..., None], rival: Callable[[], None] | None) -> Iterator[Line]:
    if rival is None:
        yield Check(f"{what}: against PyHessian", None, "it is not installed; carry it along on PYTHONPATH")
        return
    plain, certified, theirs = turns(1, top, lambda: top(certify=True), rival, warm=True)
    yield Row(f"{what}: against PyHessian at its defaults", plain, theirs, "<= 0.33")
    yield Row(f"{what}: certified, against PyHessian at its defaults", certified, theirs, "<= 0.45")


def _pyhessian(model: nn.Module, inputs: Tensor, truth: Tensor) -> Callable[[], None] | None:
    try:
        tool: Any = import_module("pyhessian.hessian")
    except ImportError:
        return None

    def found() -> None:
        with torch.enable_grad():
            batch, loss = (inputs, truth), nn.CrossEntropyLoss()
            tool.hessian(model, loss, data=batch, cuda=DEVICE == "cuda").eigenvalues(top_n=5)
        model.zero_grad()

    return found


def _on_the_cpu(name: str, subject: Subject, data: Batches, ours: float, values: Tensor) -> Row:
    images, targets = next(iter(data))
    beside = replace(subject, model=deepcopy(subject.model).cpu())
    with Risk(beside, data, weight_decay=0.0) as risk:
        begun, generator = time.perf_counter(), torch.Generator().manual_seed(0)
        curvature = risk.on(images, targets)
        found = Lanczos(k=5, certify=False)(curvature, start(curvature, generator), generator=generator)
        seconds = time.perf_counter() - begun
    apart = float((found.values - values).abs().max() / values.abs().max())
    what = f"top 5 of {len(images)} images, {name}: CPU ({torch.get_num_threads()} threads) over GPU, apart {apart:.0e}"
    return Row(what, ours, 1e3 * seconds, turned=True)
