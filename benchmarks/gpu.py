"""Check the instruments and the training on a GPU and measure what they cost there: `make gpu`, at most 8 minutes.

`python -m benchmarks.gpu [PART ...] [--smoke] [--seconds N]` runs all parts or those named, in the order of `PARTS`, and
writes results-gpu.md after each, to $OUT if that is set, else beside this file. A part that fails, or that the time
does not suffice for, costs the others nothing. `--smoke` runs everything in toy sizes on whatever device there is.

Checks: trained and random networks, every instrument, on the GPU as on the CPU (float32, TF32 off). Rows: ratios of
medians, rivals in alternation within one run, the GPU waited for before and after each turn.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from math import nan
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import alternet
from alternet.data import batches
from alternet.data.augment import PAPER_CIFAR
from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.catalogue import instruments
from alternet.instruments.fourier import Fourier
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.hessian import Hessian
from alternet.instruments.hessian.measure import start
from alternet.instruments.landscape import Landscape
from alternet.instruments.lesion import Lesion
from alternet.instruments.runner import measure_each
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.instruments.work import Batch, OnePass
from alternet.loss.lanczos import Lanczos
from alternet.loss.risk import Risk
from alternet.measurement import Measurement
from alternet.probe.probe import Probe
from alternet.subject.loading import load
from alternet.subject.subject import Subject
from alternet.training import Recipe, TrainData, train
from alternet.training.trainer import Trainer
from benchmarks.__main__ import machine, reached
from benchmarks.alternet_step import EinsumWindowAttention, rival_of, step
from benchmarks.turns import bare_passes, in_turns

ROOT = Path(__file__).parents[1]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMOKE = "--smoke" in sys.argv
SECONDS = 450
"""What all parts together may take by default."""


class Check(NamedTuple):
    """Something that must hold, and what was found."""

    what: str
    good: bool
    found: str


class Row(NamedTuple):
    """A comparison; seconds of both sides unless the unit says otherwise, and the peak memory of ours in MiB."""

    what: str
    ours: float
    rival: float
    target: str = ""
    unit: str = "ms"
    turned: bool = False
    memory: float | None = None

    @property
    def ratio(self) -> float:
        over, under = (self.rival, self.ours) if self.turned else (self.ours, self.rival)
        return over / under if under else nan


class Failure(NamedTuple):
    """A part that did not come to its end."""

    part: str
    reason: str


Line = Check | Row | Failure
Part = Callable[[], Iterator[Line]]


UNTIL = [float("inf")]
"""When the part that is running must end."""


def pick(real: Any, toy: Any) -> Any:
    """A size."""
    return toy if SMOKE else real


def synchronised(work: Callable[[], Any]) -> Callable[[], Any]:
    """The work, with the GPU waited for."""

    def done() -> None:
        work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return done


def turns(count: int, *rivals: Callable[[], Any], warm: bool = False) -> list[float]:
    """Median milliseconds of each rival, in alternation."""
    return [1e3 * s for s in in_turns(pick(count, 1), *map(synchronised, rivals), warm=warm)]


def peak(work: Callable[[], Any]) -> float:
    """MiB that the work takes on the GPU beyond what is taken already."""
    if DEVICE != "cuda":
        return 0.0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Let convolutions round to TF32, as PyTorch does by default, or not; matrix products never do here."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def agreement() -> ModuleType:
    """tests/gpu/agreement.py, also where site-packages hold a package `tests` of somebody else's."""
    if "tests" not in sys.modules:
        tests = ModuleType("tests")
        tests.__path__ = [str(ROOT / "tests")]
        sys.modules["tests"] = tests
    from tests.gpu import agreement

    return agreement


# ---- checks


def training() -> Iterator[Line]:
    """Two epochs of recipe quick: in single precision and bfloat16, interrupted and gone on with, with workers."""
    for name, settings, workers in (
        ("alternet_mini", {}, 0),
        ("preresnet_mini", {"amp_dtype": "bfloat16"}, 0),
        ("vit_mini", {"model_ema": True}, pick(2, 0)),
    ):
        what = f"{name} learns on {DEVICE}, {settings or 'float32'}, {workers} workers, gone on with after an epoch"
        try:
            yield _learns(what, name, settings, workers)
        except Exception as error:
            yield Check(what, False, _last_line(error))


def _learns(what: str, name: str, settings: dict[str, Any], workers: int) -> Check:
    recipe = Recipe.load("quick").with_settings({"epochs": 2, "snapshot_every": 1} | settings)
    with suppress(InterruptedError):
        train(name, _photos(recipe, workers), recipe, _folder(name), device=DEVICE, report=_interrupt)
    log = train(name, _photos(recipe, workers), recipe, _folder(name), device=DEVICE).log
    loss, accuracy = (log[column].tolist() for column in ("train_loss", "test_accuracy"))
    device = load(f"run:{_folder(name)}").device
    good = len(log) == 2 and loss[1] < loss[0] and (SMOKE or accuracy[-1] > 0.3) and device.type == DEVICE
    found = f"losses {loss[0]:.3f}, {loss[1]:.3f}; accuracy {accuracy[-1]:.3f}; {log['seconds'].iloc[-1]} s an epoch"
    return Check(what, good, f"{found}; loaded to {device}")


def _interrupt(row: Any) -> None:
    if row["epoch"] == 1:
        raise InterruptedError


def _folder(name: str) -> Path:
    return WORK / "runs" / name


def _photos(recipe: Recipe, workers: int) -> TrainData:
    train, test = (batches("photos", split=s, limit=pick(None, 64), workers=workers) for s in ("train", "test"))
    return TrainData.of(train, test, recipe)


def _cues(images: int) -> Batches:
    """Photographs whose classes have the names of cues, which one instrument reads."""
    data = batches("photos", limit=images)
    pictures, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    count = len(data.classes)
    names = [f"{k}-{(k + 1) % count}" for k in range(count)]
    return Batches.of(pictures, targets, classes=names, batch_size=16)


def trained() -> Iterator[Line]:
    """Every instrument on the networks of `training`."""
    cases = [(name, model) for model in ("alternet_mini", "preresnet_mini", "vit_mini") for name in instruments()]
    yield from _agreements((name, model, {}) for name, model in cases[:: pick(1, 11)])


def variants() -> Iterator[Line]:
    """Settings that take other paths, on an AlterNet."""
    yield from _agreements((name, "alternet_mini", s) for name, s in agreement().VARIANTS[:: pick(1, 5)])


def _agreements(cases: Iterator[tuple[str, str, dict[str, Any]]]) -> Iterator[Line]:
    data = _cues(pick(48, 16))
    for name, model, settings in cases:
        make = _loader(model)
        yield _agreement(f"{name} {settings or ''} on {model}", name, make, data, settings)


def _loader(name: str) -> Callable[[str], Subject]:
    """The trained network, or a random one if its training failed."""
    if (_folder(name) / "weights.safetensors").exists():
        return lambda device: load(f"run:{_folder(name)}", name=name, device=device)
    return lambda device: load(name, num_classes=18, device=device)


def _agreement(what: str, name: str, make: Callable[[str], Subject], data: Batches, settings: dict[str, Any]) -> Check:
    try:
        with tf32(False), _alarm(60):
            finding = agreement().compared(name, make, data, settings, device=DEVICE)
    except Exception as error:
        if isinstance(error, TimeoutError) and time.monotonic() >= UNTIL[0]:
            raise
        return Check(what, False, _last_line(error))
    figures = f"apart {finding.apart:.1e} ({finding.where}); two calls {finding.again:.1e}"
    return Check(what, not finding.wrong, "; ".join([*finding.wrong, figures]))


def layouts() -> Iterator[Line]:
    """Every instrument on the random networks of the contract."""
    agreement()
    from tests.contract.networks import NETWORKS, data, network
    from tests.contract.runs import with_history

    for layout in list(NETWORKS)[:: pick(1, 5)]:
        plain = network(layout)
        history = with_history(plain, WORK / layout).history

        def make(device: str, layout: str = layout, history: Path | None = history) -> Subject:
            subject = network(layout)
            return replace(subject, model=subject.model.to(device), history=history)

        for name in list(instruments())[:: pick(1, 6)]:
            if name != "lesion" or layout != "plain-convolutions":
                settings = {"batch_size": 4} if name == "similarity" else {}
                yield _agreement(f"{name} on {layout}", name, make, data(plain), settings)


def surroundings() -> Iterator[Line]:
    """What surrounds a call: autocast, inference mode, TF32 as PyTorch has it, a model in half precision or elsewhere."""
    far, data = agreement().furthest, _cues(pick(48, 16))
    both: list[Instrument] = [Fourier(), Variance(), Lesion(), Hessian(), Similarity(batch_size=16)]
    subject = load(f"run:{_folder('alternet_mini')}", device=DEVICE)
    with tf32(False):
        plain = _all(both, subject, data)
        with torch.inference_mode(), torch.autocast(DEVICE, dtype=torch.bfloat16):
            inside = _all(both, subject, data)
    for one, other in zip(inside, plain, strict=True):
        apart, where = far(one, other)
        yield Check(
            f"{one.instrument} inside autocast and inference mode", apart < 1e-3, f"apart {apart:.1e} ({where})"
        )
    with tf32(True):
        for one, other in zip(_all(both, subject, data), plain, strict=True):
            apart, where = far(one, other)
            found = f"apart {apart:.1e} ({where})"
            yield Check(f"{one.instrument} with TF32 convolutions, as by default, over without", True, found)
    half = replace(subject, model=subject.model.bfloat16())
    for one, other in zip(_all(both[:3], half, data), plain, strict=False):
        yield Check(
            f"{one.instrument} of a bfloat16 model over float32", True, "apart {:.1e} ({})".format(*far(one, other))
        )
    beside = load(f"run:{_folder('preresnet_mini')}", device="cpu")
    across = Similarity(batch_size=16, other=beside).measure(load(f"run:{_folder('alternet_mini')}"), data)
    yield Check(
        "similarity of a network on the GPU and one on the CPU", len(across.table) > 0, f"{len(across.table)} rows"
    )
    with tempfile.TemporaryDirectory() as out:
        first = Lesion().measure(load(f"run:{_folder('vit_mini')}"), data, out=out)
        again = Lesion().measure(load(f"run:{_folder('vit_mini')}"), data, out=out)
    yield Check("a stored measurement is taken up again", far(first, again)[0] == 0, first.provenance["device"])


def _all(asked: Sequence[Instrument], subject: Subject, data: Batches) -> list[Measurement]:
    results = []
    for _, result in measure_each(asked, subject, data):
        if isinstance(result, Exception):
            raise result
        results.append(result)
    return results


# ---- rows


def _subject(name: str, **settings: Any) -> Subject:
    torch.manual_seed(0)
    model = timm.create_model(name, **settings).to(DEVICE).eval()
    size = settings.get("img_size")
    return Subject(model, name=name, input_size=(3, size, size) if size else None)


def _noise(images: int, side: int) -> Tensor:
    return torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(0))


def _labelled(images: int, side: int, classes: int, batch_size: int) -> Batches:
    names = [str(k) for k in range(classes)]
    return Batches.of(_noise(images, side), torch.arange(images) % classes, classes=names, batch_size=batch_size)


def _bare(subject: Subject, images: Tensor) -> Tensor:
    subject.model.eval()
    with torch.no_grad():
        return subject.logits(images)


def fourier() -> Iterator[Line]:
    """Fourier and Variance over a bare forward pass."""
    side, size = pick(224, 160), pick(128, 2)
    for name in pick(("resnet50", "vit_small_patch16_224"), ("test_resnet",)):
        subject, data = _subject(name), Batches.of(_noise(2 * size, side), batch_size=size)
        both: list[Instrument] = [Fourier(), Variance()]
        works = [instrument.open(subject, data) for instrument in both]
        here = _noise(size, side).to(DEVICE)
        units = len(subject.taps)
        with Probe(subject) as probe:

            def ours(probe: Probe = probe, works: Any = works, here: Tensor = here) -> None:
                probe.observe(here, lambda tap, feature: [work.read(tap, feature) for work in works])

            def bare(subject: Subject = subject, here: Tensor = here) -> None:
                _bare(subject, here)

            for on in (True, False):
                with tf32(on):
                    what = f"fourier + variance at {units} taps of {name}, {size} images on the GPU, TF32 {on}: pass"
                    yield Row(what, *turns(15, ours, bare), "<= 1.10", memory=peak(ours))
            for one, instrument in zip(works, both, strict=True):
                alone = lambda one=one: probe.observe(here, lambda tap, feature: one.read(tap, feature))  # noqa: B023, E731
                yield Row(f"{instrument.spec.name} alone, {name}: pass", *turns(9, alone, bare))
            seen = lambda: probe.observe(here, lambda tap, feature: None)  # noqa: B023, E731
            yield Row(f"taps seen and nothing read, {name}: pass", *turns(9, seen, bare))
        whole, passes = (lambda: _all(both, subject, data)), (lambda: bare_passes(subject, data))  # noqa: B023
        what = f"fourier + variance, {name}, {2 * size} images: whole call over Batches"
        yield Row(what, *turns(5, whole, passes), "<= 1.10", memory=peak(whole))
        kept = lambda: [_bare(subject, here) for _ in range(2)]  # noqa: B023, E731
        yield Row(f"bare passes over Batches, over the same from the GPU's memory, {name}", *turns(5, passes, kept))


def similarity() -> Iterator[Line]:
    """CKA of all pairs of about fifty units over a bare pass."""
    side, size = pick(128, 64), pick(64, 8)
    nets: dict[str, dict[str, Any]] = {"resnet152": {}, "vit_small_patch16_224": {"img_size": side, "depth": 24}}
    for name, settings in pick(nets, {"test_resnet": {}}).items():
        subject = replace(_subject(name, **settings), input_size=(3, side, side))
        data, here = Batches.of(_noise(4 * size, side), batch_size=size), _noise(size, side).to(DEVICE)
        units, targets = len(subject.taps), torch.zeros(size, dtype=torch.long)
        work = Similarity(batch_size=size).open(subject, data)
        assert isinstance(work, OnePass)
        with Probe(subject) as probe, work:

            def ours(
                probe: Probe = probe, work: OnePass = work, here: Tensor = here, targets: Tensor = targets
            ) -> None:
                readings: dict[str, Tensor] = {}
                logits = probe.observe(here, lambda tap, f: readings.__setitem__(tap.name, work.read(tap, f)))
                work.part(Batch(here, targets, logits), readings)

            bare = lambda: _bare(subject, here)  # noqa: B023, E731
            what = f"CKA of {units} x {units} units of {name}, {size} images of {side} on the GPU: pass"
            yield Row(what, *turns(15, ours, bare), "<= 1.25", memory=peak(ours))
        whole, passes = (lambda: Similarity().measure(subject, data)), (lambda: bare_passes(subject, data))  # noqa: B023
        what = f"CKA of {units} x {units} units of {name}, {4 * size} images: whole call over Batches"
        yield Row(what, *turns(5, whole, passes), "<= 1.25", memory=peak(whole))


def lesion() -> Iterator[Line]:
    """L units removed one at a time, over L bare passes."""
    side, size = pick(224, 160), pick(128, 2)
    for name in pick(("resnet50", "vit_small_patch16_224"), ("test_resnet",)):
        subject, data = _subject(name), _labelled(2 * size, side, 1000, size)
        units = sum(tap.silenceable for tap in subject.taps)
        ours, passes = (lambda: Lesion().measure(subject, data)), (lambda: _many(units, subject, data))  # noqa: B023
        what = f"lesion of {units} units of {name}, {2 * size} images: over {units} bare passes"
        yield Row(what, *turns(3, ours, passes), "<= 0.56", memory=peak(ours))
        here = _noise(size, side).to(DEVICE)
        kept = lambda: [_bare(subject, here) for _ in range(2 * units)]  # noqa: B023, E731
        yield Row(f"the same over {units} bare passes from the GPU's memory, {name}", *turns(3, ours, kept))


def _many(count: int, subject: Subject, data: Batches) -> None:
    for _ in range(count):
        bare_passes(subject, data)


def noise() -> Iterator[Line]:
    """Nine bands of frequency noise and the clean images, over ten bare passes."""
    from alternet.instruments.frequency_noise.measure import white_noise

    for name, side, size, count in pick(
        (("resnet50", 224, 128, 128), ("resnet18", 32, 256, 1024)), (("test_resnet", 64, 2, 4),)
    ):
        subject = replace(_subject(name), input_size=(3, side, side))
        data = _labelled(count, side, 1000, size)
        ours, passes = (lambda: FrequencyNoise().measure(subject, data)), (lambda: _many(10, subject, data))  # noqa: B023
        what = f"frequency noise, 9 bands, {name}, {count} images of {side}: over 10 bare passes"
        yield Row(what, *turns(2, ours, passes), "<= 1.08", memory=peak(ours))
        shape = (3, side, side)
        draw = lambda: [white_noise(shape, range(count)) for _ in range(9)]  # noqa: B023, E731
        yield Row(f"the noise of 9 bands alone, drawn on the CPU, {count} images of {side}", *turns(1, draw, passes))


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
        product = lambda: curvature(vector)  # noqa: E731
        times = turns(15, product, gradient)
        what = f"a Hessian product of {len(images)} images of 32, {name}, TF32 off: in gradients"
        yield Row(what, *times, "<= 2.5", memory=peak(product))

        def top(kept: list[Any]) -> None:
            fresh, generator = risk.on(images, targets), torch.Generator().manual_seed(0)
            kept.append(Lanczos(k=5)(fresh, start(fresh, generator), generator=generator))

        found: list[Any] = []
        ours = turns(2, lambda: top(found))[0]
        products = found[-1].products
        what = f"top 5 of {len(images)} images, {name}: {products} products, over so many alone"
        yield Row(what, ours, products * times[0], memory=peak(lambda: top(found)))
        values = found[-1].values
    if len(images) <= 16:
        yield _on_the_cpu(name, subject, data, ours, values)


def _on_the_cpu(name: str, subject: Subject, data: Batches, ours: float, values: Tensor) -> Row:
    images, targets = next(iter(data))
    beside = replace(subject, model=load_copy(subject.model).cpu())
    with Risk(beside, data) as risk:
        begun, generator = time.perf_counter(), torch.Generator().manual_seed(0)
        curvature = risk.on(images, targets)
        found = Lanczos(k=5)(curvature, start(curvature, generator), generator=generator)
        seconds = time.perf_counter() - begun
    apart = float((found.values - values).abs().max() / values.abs().max())
    what = f"top 5 of {len(images)} images, {name}: CPU ({torch.get_num_threads()} threads) over GPU, apart {apart:.0e}"
    return Row(what, ours, 1e3 * seconds, turned=True)


def load_copy(model: nn.Module) -> nn.Module:
    """A copy of a model."""
    from copy import deepcopy

    return deepcopy(model)


def landscape() -> Iterator[Line]:
    """A grid point over bare passes, and what half precision would leave of these."""
    for name, settings in NETWORKS_32.items():
        for count, size in pick(((1024, 64), (4096, 512)), ((8, 4),)):
            subject = replace(_subject(name, num_classes=100, **settings), input_size=(3, 32, 32))
            data = _labelled(count, 32, 100, size)
            with Landscape(points=3, augment="none", batch_size=size).open(subject, data) as work:
                point, passes = (lambda: work.rows(("grid", 0, 0))), (lambda: bare_passes(subject, work.batches))  # noqa: B023

                def half() -> None:
                    with torch.autocast(DEVICE, dtype=torch.bfloat16):
                        bare_passes(subject, work.batches)  # noqa: B023

                what = f"a grid point of {name}, {count} images of 32 by {size}: over bare passes"
                yield Row(what, *turns(9, point, passes), "<= 1.02", memory=peak(point))
                here = _noise(size, 32).to(DEVICE)
                kept = lambda: [_bare(subject, here) for _ in range(count // size)]  # noqa: B023, E731
                yield Row("the same over bare passes from the GPU's memory", *turns(9, point, kept), "<= 0.7")
                yield Row("bare passes under bfloat16 autocast, over those without", *turns(5, half, passes))


def attention() -> Iterator[Line]:
    """AlterNet's training step over the same network with plain attention."""
    cases = (
        ("alternet_50", 128, 32, {}),
        ("alternet_50", 64, 224, {"stem": "imagenet"}),
        ("alternet_mini", 256, 32, {}),
    )
    for name, size, side, settings in pick(cases, (("alternet_mini", 2, 32, {}),)):
        torch.manual_seed(0)
        plain = timm.create_model(name, num_classes=100, **settings).to(DEVICE)
        rival = rival_of(plain)
        for module in rival.modules():
            if isinstance(module, EinsumWindowAttention):
                module.index = module.index.to(DEVICE)
        images, targets = _noise(size, side).to(DEVICE), (torch.arange(size) % 100).to(DEVICE)
        last = images.to(memory_format=torch.channels_last)
        ours = load_copy(plain).to(memory_format=torch.channels_last)
        with tf32(False):
            losses = [step(ours, last, targets), step(rival, images, targets)]
        yield Check(f"{name}, {side}: the rival has our loss", abs(losses[0] - losses[1]) < 1e-3, f"{losses}")

        def of(net: nn.Module, images: Tensor, half: bool, targets: Tensor = targets) -> Callable[[], None]:
            def run() -> None:
                with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
                    loss = nn.functional.cross_entropy(net(images), targets)
                net.zero_grad(set_to_none=True)
                loss.backward()

            return run

        runs = [of(net, x, half) for half in (False, True) for net, x in ((ours, last), (rival, images))]
        for on in (True, False):
            with tf32(on):
                mine, theirs, mine_half, theirs_half = turns(15, *runs)
                peaks = [peak(run) for run in runs]
            what = f"{name}, {size} images of {side}, TF32 {on}: training step, plain attention over ours"
            yield Row(f"{what}, fp32", mine, theirs, ">= 1.2", turned=True, memory=peaks[0])
            yield Row(f"{what}, bf16", mine_half, theirs_half, ">= 1.2", turned=True, memory=peaks[2])
            yield Row(f"{what}, fp32 over bf16", mine_half, theirs, ">= 3", turned=True, memory=peaks[2])
        same_format = of(plain, images, False)
        yield Row(f"{name}, {side}: fp32, in one memory format", *turns(9, same_format, runs[1]), ">= 1.2", turned=True)
        for number, how in ((0, "fp32"), (2, "bf16")):
            yield Row(
                f"{name}, {side}: peak memory, {how}", peaks[number], peaks[number + 1], "> 1", "MiB", turned=True
            )


def throughput() -> Iterator[Line]:
    """Images a second with recipe quick, and what of that data costs."""
    recipe = Recipe.load("quick").with_settings({"epochs": 2})
    for settings, workers in (({}, 0), ({"amp_dtype": "bfloat16"}, 0), ({}, pick(4, 0))):
        asked = recipe.with_settings(settings)
        with tempfile.TemporaryDirectory() as out:
            log = train("alternet_mini", _photos(asked, workers), asked, Path(out) / "run", device=DEVICE).log
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
    images, targets = _noise(recipe.batch_size, 32).to(DEVICE), (torch.arange(recipe.batch_size) % 18).to(DEVICE)
    model.train()
    return turns(20, lambda: trainer.step(images, targets))[0]


PARTS: dict[str, tuple[Part, int]] = {
    "training": (training, 90),
    "trained": (trained, 150),
    "fourier": (fourier, 60),
    "attention": (attention, 60),
    "hessian": (hessian, 60),
    "landscape": (landscape, 45),
    "lesion": (lesion, 45),
    "similarity": (similarity, 45),
    "noise": (noise, 45),
    "throughput": (throughput, 60),
    "surroundings": (surroundings, 45),
    "variants": (variants, 60),
    "layouts": (layouts, 150),
}
"""What is run, and for how many seconds at most."""

# ---- running and writing


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Stop what takes longer; within one another, the inner one ends first or not at all."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"it took more than {seconds:.0f} s")

    left = signal.getitimer(signal.ITIMER_REAL)[0]
    if left and left <= seconds:
        yield
        return
    begun, before = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begun), 0.1) if left else 0)
        signal.signal(signal.SIGALRM, before)


def run(name: str, seconds: float) -> Iterator[Line]:
    """The lines of a part, and a failure at its end if there was one."""
    part, most = PARTS[name]
    UNTIL[0] = time.monotonic() + min(most, seconds)
    try:
        with _alarm(min(most, seconds)):
            yield from part()
    except Exception as error:
        traceback.print_exc()
        yield Failure(name, _last_line(error))
    finally:
        if DEVICE == "cuda":
            with suppress(Exception):
                torch.cuda.empty_cache()


def _last_line(error: BaseException) -> str:
    """What went wrong, and where in our code."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT / "src"))]
    place = f" ({Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"


def written(lines: list[tuple[str, Line]], seconds: dict[str, float]) -> str:
    """The whole file."""
    rows, checks = ([one for one in lines if isinstance(one[1], kind)] for kind in (Row, Check))
    failed = [line for _, line in lines if isinstance(line, Failure)]
    bad = [line for _, line in checks if isinstance(line, Check) and not line.good]
    text = ["# Results on a GPU", "", "Written by `make gpu`.", "", f"Measured {date.today()}: {machine()}.", ""]
    text += [f"{len(checks) - len(bad)} of {len(checks)} checks hold. Seconds: {seconds}.", "", "## What failed", ""]
    text += [f"- {line.what}: {line.found}" for line in bad] + [f"- part {line.part}: {line.reason}" for line in failed]
    text += ["" if bad or failed else "Nothing.", "", "## Rows", ""]
    text += ["| what | ours | rival | ratio | target | | peak MiB |", "|---|---|---|---|---|---|---|"]
    text += [_row(line) for _, line in rows if isinstance(line, Row)]
    text += ["", "## Checks", "", "| part | what | | found |", "|---|---|---|---|"]
    text += [
        f"| {p} | {c.what} | {'holds' if c.good else '**fails**'} | {c.found} |"
        for p, c in checks
        if isinstance(c, Check)
    ]
    return "\n".join(text) + "\n"


def _row(line: Row) -> str:
    verdict = "" if not line.target else "reached" if reached(line.ratio, line.target) else "**missed**"
    memory = "" if line.memory is None else f"{line.memory:.0f}"
    sides = " | ".join(f"{value:.4g} {line.unit}" for value in (line.ours, line.rival))
    return f"| {line.what} | {sides} | {line.ratio:.3f} | {line.target} | {verdict} | {memory} |"


def known_by_name() -> None:
    """Give a checkout that was never installed the version that provenances ask for."""
    try:
        version("alternet")
    except PackageNotFoundError:
        facts = WORK / "site" / f"alternet-{alternet.__version__}.dist-info" / "METADATA"
        facts.parent.mkdir(parents=True)
        facts.write_text(f"Metadata-Version: 2.1\nName: alternet\nVersion: {alternet.__version__}\n")
        sys.path.append(str(WORK / "site"))


def main() -> None:
    """Run the parts, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all by default")
    parser.add_argument("--smoke", action="store_true", help="toy sizes, on whatever device there is")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    asked = parser.parse_args()
    if DEVICE == "cpu" and not SMOKE:
        sys.exit("There is no GPU. Try --smoke for toy sizes on the CPU.")
    known_by_name()
    torch.backends.cuda.matmul.allow_tf32 = False
    out = Path(os.environ.get("OUT") or Path(__file__).parent) / ("smoke-gpu.md" if SMOKE else "results-gpu.md")
    begun, lines, seconds = time.monotonic(), [], {}
    for name in asked.parts or PARTS:
        at = time.monotonic()
        left = asked.seconds - (at - begun)
        for line in run(name, left) if left > 5 else [Failure(name, "not begun, the time was up")]:
            lines.append((name, line))
            print(f"{time.monotonic() - begun:6.1f} {name}: {line}", flush=True)
        seconds[name] = round(time.monotonic() - at, 1)
        out.write_text(written(lines, seconds))
    print(f"written: {out}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        WORK = Path(folder)
        main()
