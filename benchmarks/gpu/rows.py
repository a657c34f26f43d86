"""What is measured on a GPU: ratios of medians, rivals in alternation within one run."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.fourier import Fourier
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.frequency_noise.measure import white_noise
from alternet.instruments.landscape import Landscape
from alternet.instruments.lesion import Lesion
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.instruments.work import Batch, OnePass
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject
from alternet.taps.find import Tap
from benchmarks.alternet_step import EinsumWindowAttention, rival_of, step
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


def network(name: str, **settings: Any) -> Subject:
    torch.manual_seed(0)
    model = timm.create_model(name, **settings).to(DEVICE).eval()
    size = settings.get("img_size")
    return Subject(model, name=name, input_size=(3, size, size) if size else None)


def labelled(images: int, side: int, classes: int, batch_size: int) -> Batches:
    names = [str(k) for k in range(classes)]
    return Batches.of(noise_images(images, side), torch.arange(images) % classes, classes=names, batch_size=batch_size)


def bare(subject: Subject, images: Tensor) -> Tensor:
    subject.model.eval()
    with torch.no_grad():
        return subject.logits(images)


def fourier() -> Iterator[Line]:
    """Fourier and Variance over a bare forward pass."""
    for name in pick(("resnet50", "vit_small_patch16_224"), ("test_resnet",)):
        yield from _passes(name, pick(224, 160), pick(128, 2))


def _passes(name: str, side: int, size: int) -> Iterator[Line]:
    subject, data = network(name), Batches.of(noise_images(2 * size, side), batch_size=size)
    both: list[Instrument] = [Fourier(), Variance()]
    works = [instrument.open(subject, data) for instrument in both]
    here, units = noise_images(size, side).to(DEVICE), len(subject.taps)
    with Probe(subject) as probe:

        def reading(*chosen: Any) -> Callable[[], Any]:
            def visit(tap: Tap, feature: Tensor) -> None:
                for work in chosen:
                    work.read(tap, feature)

            return lambda: probe.observe(here, visit)

        ours, alone = reading(*works), partial(bare, subject, here)
        for on in (True, False):
            with tf32(on):
                what = f"fourier + variance at {units} taps of {name}, {size} images on the GPU, TF32 {on}: pass"
                yield measured(what, 15, ours, alone, "<= 1.10")
        for work, instrument in zip(works, both, strict=True):
            yield measured(f"{instrument.spec.name} alone, {name}: pass", 9, reading(work), alone)
        yield measured(f"taps seen and nothing read, {name}: pass", 9, reading(), alone)
    whole, passes = partial(measure_all, both, subject, data), partial(bare_passes, subject, data)
    what = f"fourier + variance, {name}, {2 * size} images: whole call over Batches"
    yield measured(what, 5, whole, passes, "<= 1.10")
    what = f"bare passes over Batches, over the same from the GPU's memory, {name}, {2 * size} images"
    yield measured(what, 5, passes, partial(again, 2, subject, here))


def similarity() -> Iterator[Line]:
    """CKA of all pairs of about fifty units over a bare pass."""
    side, size = pick(128, 64), pick(64, 8)
    nets: dict[str, dict[str, Any]] = {"resnet152": {}, "vit_small_patch16_224": {"img_size": side, "depth": 24}}
    for name, settings in pick(nets, {"test_resnet": {}}).items():
        yield from _pairs(name, replace(network(name, **settings), input_size=(3, side, side)), side, size)


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
        yield measured(what, 15, ours, partial(bare, subject, here), "<= 1.25")
    what = f"CKA of {units} x {units} units of {name}, {4 * size} images: whole call over Batches"
    yield measured(what, 3, lambda: asked.measure(subject, data), partial(bare_passes, subject, data), "<= 1.25")


def lesion() -> Iterator[Line]:
    """L units removed one at a time, over L bare passes."""
    for name, batches_ in pick((("resnet50", 2), ("resnet50", 6), ("vit_small_patch16_224", 2)), (("test_resnet", 1),)):
        yield from _lesions(name, pick(224, 160), pick(128, 2), batches_)


def _lesions(name: str, side: int, size: int, count: int) -> Iterator[Line]:
    subject, data = network(name), labelled(count * size, side, 1000, size)
    units, here = sum(tap.silenceable for tap in subject.taps), noise_images(size, side).to(DEVICE)
    ours = partial(Lesion().measure, subject, data)
    what = f"lesion of {units} units of {name}, {count * size} images: over {units} bare passes"
    rivals = partial(_many, units, subject, data), partial(again, units * count, subject, here)
    again(2, subject, here)
    ours()
    mine, passes, kept = turns(1, ours, *rivals, warm=True)
    yield Row(what, mine, passes, "<= 0.56", memory=peak(ours))
    yield Row(f"{what} from the GPU's memory", mine, kept)


def _many(count: int, subject: Subject, data: Batches) -> None:
    for _ in range(count):
        bare_passes(subject, data)


def again(count: int, subject: Subject, images: Tensor) -> None:
    for _ in range(count):
        bare(subject, images)


def noise() -> Iterator[Line]:
    """Nine bands of frequency noise and the clean images, over ten bare passes."""
    cases = (("resnet50", 224, 128, 128), ("resnet18", 32, 256, 1024))
    for name, side, size, count in pick(cases, (("test_resnet", 64, 2, 4),)):
        subject, data = replace(network(name), input_size=(3, side, side)), labelled(count, side, 1000, size)
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


def landscapes(size: int) -> Landscape:
    return Landscape(points=3, augment="none", batch_size=size)


def landscape() -> Iterator[Line]:
    """A grid point over bare passes, and one in half precision."""
    for name, settings in NETWORKS_32.items():
        for count, size in pick(((1024, 64), (8192, 1024)), ((8, 4),)):
            subject = replace(network(name, num_classes=100, **settings), input_size=(3, 32, 32))
            yield from _points(name, subject, count, size)


def _points(name: str, subject: Subject, count: int, size: int) -> Iterator[Line]:
    asked = landscapes(size)
    with asked.open(subject, labelled(count, 32, 100, size)) as work:
        passes, here = partial(bare_passes, subject, work.batches), noise_images(size, 32).to(DEVICE)

        what = f"a grid point of {name}, {count} images of 32 by {size}: over bare passes"
        point = measured(what, 9, partial(work.rows, ("grid", 0, 0)), passes, "<= 1.02")
        yield point
        kept = turns(9, partial(again, count // size, subject, here))[0]
        yield Row(f"{what} from the GPU's memory", point.ours, kept)
    with asked.open(subject.in_arithmetic("bfloat16"), labelled(count, 32, 100, size)) as work:
        ours = partial(work.rows, ("grid", 0, 0))
        yield measured(f"{what}, in bfloat16 over those of float32", 5, ours, passes, "<= 0.7")


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

    runs = [
        learning(net, x, targets, half=half) for half in (False, True) for net, x in ((ours, last), (rival, images))
    ]
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
    same = learning(plain, images, targets, half=False)
    yield measured(f"{what}: fp32, in one memory format", 9, same, runs[1], ">= 1.2", turned=True)
    for number, how in ((0, "fp32"), (2, "bf16")):
        peaks = peak(runs[number]), peak(runs[number + 1])
        yield Row(f"{what}: peak memory, {how}", *peaks, "> 1", "MiB", turned=True)


def learning(net: nn.Module, images: Tensor, targets: Tensor, *, half: bool) -> Callable[[], None]:
    """A forward and a backward pass."""

    def run() -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
            loss = nn.functional.cross_entropy(net(images), targets)
        net.zero_grad(set_to_none=True)
        loss.backward()

    return run
