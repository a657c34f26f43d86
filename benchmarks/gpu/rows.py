"""What is measured on a GPU: ratios of medians, rivals in alternation within one run."""

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from alternet.data import batches
from alternet.data.augment import PAPER_CIFAR
from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.fourier import Fourier
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.frequency_noise.measure import white_noise
from alternet.instruments.hessian.measure import start
from alternet.instruments.landscape import Landscape
from alternet.instruments.lesion import Lesion
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.instruments.work import Batch, OnePass
from alternet.loss.lanczos import Eigenpairs, Lanczos
from alternet.loss.risk import Risk
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject
from alternet.taps.find import Tap
from alternet.training import Recipe, train
from alternet.training.trainer import Trainer
from benchmarks.alternet_step import EinsumWindowAttention, rival_of, step
from benchmarks.gpu.checks import photos_data
from benchmarks.gpu.measuring import (
    DEVICE,
    Check,
    Line,
    Row,
    kernels,
    measure_all,
    measured,
    noise_images,
    peak,
    pick,
    tf32,
    turns,
)
from benchmarks.turns import bare_passes


def _subject(name: str, **settings: Any) -> Subject:
    torch.manual_seed(0)
    model = timm.create_model(name, **settings).to(DEVICE).eval()
    size = settings.get("img_size")
    return Subject(model, name=name, input_size=(3, size, size) if size else None)


def _labelled(images: int, side: int, classes: int, batch_size: int) -> Batches:
    names = [str(k) for k in range(classes)]
    return Batches.of(noise_images(images, side), torch.arange(images) % classes, classes=names, batch_size=batch_size)


def _bare(subject: Subject, images: Tensor) -> Tensor:
    subject.model.eval()
    with torch.no_grad():
        return subject.logits(images)


def fourier() -> Iterator[Line]:
    """Fourier and Variance over a bare forward pass."""
    for name in pick(("resnet50", "vit_small_patch16_224"), ("test_resnet",)):
        yield from _passes(name, pick(224, 160), pick(128, 2))


def _passes(name: str, side: int, size: int) -> Iterator[Line]:
    subject, data = _subject(name), Batches.of(noise_images(2 * size, side), batch_size=size)
    both: list[Instrument] = [Fourier(), Variance()]
    works = [instrument.open(subject, data) for instrument in both]
    here, units = noise_images(size, side).to(DEVICE), len(subject.taps)
    with Probe(subject) as probe:

        def reading(*chosen: Any) -> Callable[[], Any]:
            def visit(tap: Tap, feature: Tensor) -> None:
                for work in chosen:
                    work.read(tap, feature)

            return lambda: probe.observe(here, visit)

        ours, bare = reading(*works), partial(_bare, subject, here)
        for on in (True, False):
            with tf32(on):
                what = f"fourier + variance at {units} taps of {name}, {size} images on the GPU, TF32 {on}: pass"
                yield measured(what, 15, ours, bare, "<= 1.10")
        for work, instrument in zip(works, both, strict=True):
            yield measured(f"{instrument.spec.name} alone, {name}: pass", 9, reading(work), bare)
        yield measured(f"taps seen and nothing read, {name}: pass", 9, reading(), bare)
    whole, passes = partial(measure_all, both, subject, data), partial(bare_passes, subject, data)
    what = f"fourier + variance, {name}, {2 * size} images: whole call over Batches"
    yield measured(what, 5, whole, passes, "<= 1.10")
    what = f"bare passes over Batches, over the same from the GPU's memory, {name}, {2 * size} images"
    yield measured(what, 5, passes, partial(_again, 2, subject, here))


def similarity() -> Iterator[Line]:
    """CKA of all pairs of about fifty units over a bare pass."""
    side, size = pick(128, 64), pick(64, 8)
    nets: dict[str, dict[str, Any]] = {"resnet152": {}, "vit_small_patch16_224": {"img_size": side, "depth": 24}}
    for name, settings in pick(nets, {"test_resnet": {}}).items():
        yield from _pairs(name, replace(_subject(name, **settings), input_size=(3, side, side)), side, size)


def _pairs(name: str, subject: Subject, side: int, size: int) -> Iterator[Line]:
    data, here = Batches.of(noise_images(4 * size, side), batch_size=size), noise_images(size, side).to(DEVICE)
    units, targets, asked = len(subject.taps), torch.zeros(size, dtype=torch.long), Similarity(batch_size=size)
    work = asked.open(subject, data)
    assert isinstance(work, OnePass)
    with Probe(subject) as probe, work:

        def ours() -> None:
            readings: dict[str, Tensor] = {}
            logits = probe.observe(here, lambda tap, f: readings.__setitem__(tap.name, work.read(tap, f)))
            work.part(Batch(here, targets, logits), readings)

        what = f"CKA of {units} x {units} units of {name}, {size} images of {side} on the GPU: pass"
        yield measured(what, 15, ours, partial(_bare, subject, here), "<= 1.25")
    what = f"CKA of {units} x {units} units of {name}, {4 * size} images: whole call over Batches"
    yield measured(what, 3, lambda: asked.measure(subject, data), partial(bare_passes, subject, data), "<= 1.25")


def lesion() -> Iterator[Line]:
    """L units removed one at a time, over L bare passes."""
    for name, batches_ in pick((("resnet50", 2), ("resnet50", 6), ("vit_small_patch16_224", 2)), (("test_resnet", 1),)):
        yield from _lesions(name, pick(224, 160), pick(128, 2), batches_)


def _lesions(name: str, side: int, size: int, count: int) -> Iterator[Line]:
    subject, data = _subject(name), _labelled(count * size, side, 1000, size)
    units, here = sum(tap.silenceable for tap in subject.taps), noise_images(size, side).to(DEVICE)
    ours = partial(Lesion().measure, subject, data)
    what = f"lesion of {units} units of {name}, {count * size} images: over {units} bare passes"
    rivals = partial(_many, units, subject, data), partial(_again, units * count, subject, here)
    _again(2, subject, here)
    ours()
    mine, passes, kept = turns(1, ours, *rivals, warm=True)
    yield Row(what, mine, passes, "<= 0.56", memory=peak(ours))
    yield Row(f"{what} from the GPU's memory", mine, kept)


def _many(count: int, subject: Subject, data: Batches) -> None:
    for _ in range(count):
        bare_passes(subject, data)


def _again(count: int, subject: Subject, images: Tensor) -> None:
    for _ in range(count):
        _bare(subject, images)


def noise() -> Iterator[Line]:
    """Nine bands of frequency noise and the clean images, over ten bare passes."""
    cases = (("resnet50", 224, 128, 128), ("resnet18", 32, 256, 1024))
    for name, side, size, count in pick(cases, (("test_resnet", 64, 2, 4),)):
        subject, data = replace(_subject(name), input_size=(3, side, side)), _labelled(count, side, 1000, size)
        passes = partial(_many, 10, subject, data)
        what = f"frequency noise, 9 bands, {name}, {count} images of {side}: over 10 bare passes"
        yield measured(what, 1, partial(FrequencyNoise().measure, subject, data), passes, "<= 1.08")
        what = f"the noise of 9 bands alone, drawn on the CPU, {count} images of {side}: over 10 bare passes"
        drawn, whole = turns(1, partial(_drawn, (3, side, side), count), passes)
        yield Row(what, drawn, whole)


def _drawn(shape: tuple[int, int, int], count: int) -> None:
    for _ in range(9):
        white_noise(shape, range(count))


NETWORKS_32: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 4},
}


def hessian() -> Iterator[Line]:
    """A product in gradients, and the top five eigenvalues of a batch, a GPU against the CPU of its machine."""
    for name, settings in pick(NETWORKS_32, {"test_resnet": {}}).items():
        for size in pick((16, 128), (4,)):
            photos = batches("photos", split="train", limit=2 * size, img_size=32)
            data = photos.frozen(PAPER_CIFAR, seed=0, batch_size=size)
            subject = replace(_subject(name, num_classes=18, **settings), input_size=(3, 32, 32))
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
    with sdpa_kernel(SDPBackend.MATH), tf32(False), warnings.catch_warnings(), Risk(subject, data) as risk:
        warnings.simplefilter("ignore")
        curvature, vector = risk.on(images, targets), torch.randn(risk.space.size, device=DEVICE)
        inputs, truth = subject.normalise(images), targets.to(DEVICE)

        def gradient() -> None:
            with torch.enable_grad():
                loss = nn.functional.cross_entropy(subject.model(inputs), truth)
                torch.autograd.grad(loss, [*subject.model.parameters()])

        subject.model.requires_grad_(True)
        product = measured(
            f"a Hessian product of {len(images)} images of 32, {name}, TF32 off: in gradients",
            15,
            lambda: curvature(vector),
            gradient,
            "<= 2.5",
        )
        yield product
        found: list[Eigenpairs] = []

        def top() -> None:
            fresh, generator = risk.on(images, targets), torch.Generator().manual_seed(0)
            found.append(Lanczos(k=5, certify=False)(fresh, start(fresh, generator), generator=generator))

        ours = turns(2, top)[0]
        products = found[-1].products
        what = f"top 5 of {len(images)} images, {name}: {products} products, over so many alone"
        yield Row(what, ours, products * product.ours, memory=peak(top))
    if len(images) <= 16:
        yield _on_the_cpu(name, subject, data, ours, found[-1].values)


def _on_the_cpu(name: str, subject: Subject, data: Batches, ours: float, values: Tensor) -> Row:
    images, targets = next(iter(data))
    beside = replace(subject, model=deepcopy(subject.model).cpu())
    with Risk(beside, data) as risk:
        begun, generator = time.perf_counter(), torch.Generator().manual_seed(0)
        curvature = risk.on(images, targets)
        found = Lanczos(k=5, certify=False)(curvature, start(curvature, generator), generator=generator)
        seconds = time.perf_counter() - begun
    apart = float((found.values - values).abs().max() / values.abs().max())
    what = f"top 5 of {len(images)} images, {name}: CPU ({torch.get_num_threads()} threads) over GPU, apart {apart:.0e}"
    return Row(what, ours, 1e3 * seconds, turned=True)


def landscape() -> Iterator[Line]:
    """A grid point over bare passes, and what half precision would leave of these."""
    for name, settings in NETWORKS_32.items():
        for count, size in pick(((1024, 64), (8192, 1024)), ((8, 4),)):
            subject = replace(_subject(name, num_classes=100, **settings), input_size=(3, 32, 32))
            yield from _points(name, subject, count, size)


def _points(name: str, subject: Subject, count: int, size: int) -> Iterator[Line]:
    asked = Landscape(points=3, augment="none", batch_size=size)
    with asked.open(subject, _labelled(count, 32, 100, size)) as work:
        passes, here = partial(bare_passes, subject, work.batches), noise_images(size, 32).to(DEVICE)

        def half() -> None:
            with torch.autocast(DEVICE, dtype=torch.bfloat16):
                passes()

        what = f"a grid point of {name}, {count} images of 32 by {size}: over bare passes"
        point = measured(what, 9, lambda: work.rows(("grid", 0, 0)), passes, "<= 1.02")
        yield point
        kept = turns(9, partial(_again, count // size, subject, here))[0]
        yield Row(f"{what} from the GPU's memory", point.ours, kept)
        what = f"bare passes of {name}, {count} images by {size}, under bfloat16 autocast: over those without"
        yield measured(what, 5, half, passes)


def attention() -> Iterator[Line]:
    """AlterNet's training step over the same network with plain attention."""
    imagenet = {"stem": "imagenet"}
    cases = (
        ("alternet_50", 128, 32, {}),
        ("alternet_50", 1024, 32, {}),
        ("alternet_50", 256, 224, imagenet),
        ("alternet_mini", 2048, 32, {}),
    )
    for name, size, side, settings in pick(cases, (("alternet_mini", 2, 32, {}),)):
        torch.manual_seed(0)
        plain = timm.create_model(name, num_classes=100, **settings).to(DEVICE)
        yield from _attending(f"{name}, {size} images of {side}", plain, noise_images(size, side).to(DEVICE))


def _attending(what: str, plain: nn.Module, images: Tensor) -> Iterator[Line]:
    rival, targets = rival_of(plain), (torch.arange(len(images)) % 100).to(DEVICE)
    for module in rival.modules():
        if isinstance(module, EinsumWindowAttention):
            module.index = module.index.to(DEVICE)  # else every step would wait for it
    ours, last = deepcopy(plain).to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    with tf32(False):
        losses = [step(ours, last, targets), step(rival, images, targets)]
    yield Check(f"{what}: the rival has our loss", abs(losses[0] - losses[1]) < 1e-3, f"{losses}")

    def learning(net: nn.Module, images: Tensor, *, half: bool) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
                loss = nn.functional.cross_entropy(net(images), targets)
            net.zero_grad(set_to_none=True)
            loss.backward()

        return run

    runs = [learning(net, x, half=half) for half in (False, True) for net, x in ((ours, last), (rival, images))]
    for on in (True, False):
        with tf32(on):
            times, busy = turns(9, *runs), [kernels(run) for run in runs]
        head = f"{what}, TF32 {on}: training step, plain attention over ours"
        shares = [b / t if t else 0.0 for b, t in zip(busy, times, strict=True)]
        yield Row(f"{head}, fp32", times[0], times[1], ">= 1.2", turned=True, busy=shares[0])
        yield Row(f"{head}, plain fp32 over our bf16", times[2], times[1], ">= 3", turned=True, busy=shares[2])
        yield Row(f"{head}, plain fp32 over our bf16, kernels alone", busy[2], busy[1], turned=True)
        if on:
            yield Row(f"{head}, bf16", times[2], times[3], ">= 1.2", turned=True, busy=shares[2])
    same = learning(plain, images, half=False)
    yield measured(f"{what}: fp32, in one memory format", 9, same, runs[1], ">= 1.2", turned=True)
    for number, how in ((0, "fp32"), (2, "bf16")):
        peaks = peak(runs[number]), peak(runs[number + 1])
        yield Row(f"{what}: peak memory, {how}", *peaks, "> 1", "MiB", turned=True)


def throughput() -> Iterator[Line]:
    """Images a second with recipe quick, and what of that data costs."""
    recipe = Recipe.load("quick").with_settings({"epochs": 2})
    for settings, workers in (({}, 0), ({"amp_dtype": "bfloat16"}, 0), ({}, pick(4, 0))):
        asked = recipe.with_settings(settings)
        with tempfile.TemporaryDirectory() as out:
            log = train("alternet_mini", photos_data(asked, workers), asked, Path(out) / "run", device=DEVICE).log
        possible = 1e3 * asked.batch_size / _step_ms(asked)
        found = log.iloc[-1]
        what = f"images/s of training alternet_mini, quick, {settings or 'float32'}, {workers} workers"
        what += f" ({found['data_seconds']:.2f} of {found['seconds']:.2f} s waiting for data): over steps alone"
        yield Row(what, found["images_per_second"], possible, ">= 0.95", "images/s")
    from benchmarks.training import compared

    for name, size in pick((("alternet_mini", 64), ("resnet18", 256)), (("alternet_mini", 4),)):
        line = compared(f"{name}, batch {size}", name, size)
        yield Row(
            f"{name}, batch {size}: our training step over a bare one",
            line["ours"],
            line["rival"],
            ">= 0.97",
            turned=True,
        )


def _step_ms(recipe: Recipe) -> float:
    """Median milliseconds of a training step whose images are on the GPU."""
    torch.manual_seed(0)
    facts: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "steps_per_epoch": 100}
    model = timm.create_model("alternet_mini", num_classes=18)
    trainer = Trainer(model=model, recipe=recipe, device=torch.device(DEVICE), **facts)
    images, targets = noise_images(recipe.batch_size, 32).to(DEVICE), (torch.arange(recipe.batch_size) % 18).to(DEVICE)
    model.train()
    return turns(20, lambda: trainer.step(images, targets))[0]
