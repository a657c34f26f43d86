"""Check the instruments and the training on a GPU and measure what they cost there: `make gpu`, at most 8 minutes.

`python -m benchmarks.gpu [PART ...] [--smoke] [--seconds N]` runs all parts or those named and writes results-gpu.md
after each, to $OUT if that is set, else beside this file. A part that fails, or that the time does not suffice for,
costs the others nothing; after an error that leaves the GPU unusable a new process goes on. `--smoke` runs everything
in toy sizes on whatever device there is.

Checks: trained and random networks, every instrument, on the GPU as on the CPU (float32, TF32 off). Rows: ratios of
medians, rivals in alternation within one run, the GPU waited for before and after each turn.
"""

import argparse
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import nan
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import timm
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

import alternet
from alternet.data import batches
from alternet.data.augment import PAPER_CIFAR
from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.catalogue import instruments
from alternet.instruments.fourier import Fourier
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.frequency_noise.measure import white_noise
from alternet.instruments.hessian import Hessian
from alternet.instruments.hessian.measure import start
from alternet.instruments.landscape import Landscape
from alternet.instruments.lesion import Lesion
from alternet.instruments.runner import measure_each
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.instruments.work import Batch, OnePass
from alternet.loss.lanczos import Eigenpairs, Lanczos
from alternet.loss.risk import Risk
from alternet.measurement import Measurement
from alternet.models.attention import WindowAttention
from alternet.probe.probe import Probe
from alternet.subject.loading import load
from alternet.subject.subject import Subject
from alternet.taps.find import Tap
from alternet.training import Recipe, TrainData, train
from alternet.training.trainer import Trainer
from benchmarks.__main__ import machine, reached
from benchmarks.alternet_step import EinsumWindowAttention, rival_of, step
from benchmarks.turns import bare_passes, in_turns

ROOT = Path(__file__).parents[1]
WORK = ROOT
"""Where training runs and the like are kept; a temporary folder."""

FATAL = "CUDA error"
"""What stands in an error after which this process cannot use the GPU any more."""

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMOKE = "--smoke" in sys.argv
SECONDS = 450
"""What all parts together may take by default."""


class Check(NamedTuple):
    """Something that must hold, and what was found; None of what is told for information alone."""

    what: str
    good: bool | None
    found: str


class Row(NamedTuple):
    """A comparison, in milliseconds unless the unit says otherwise.

    Attributes:
        turned: Whether the ratio is rival / ours.
        memory: What ours takes on the GPU at its peak, in MiB.
        busy: For what part of our time a kernel runs.
    """

    what: str
    ours: float
    rival: float
    target: str = ""
    unit: str = "ms"
    turned: bool = False
    memory: float | None = None
    busy: float | None = None

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

DONE: set[str] = set()
"""Cases that a process before this one came to."""


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


def kernels(work: Callable[[], Any]) -> float:
    """Milliseconds that the GPU computes for the work."""
    if DEVICE != "cuda":
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            synchronised(work)()
        return sum(event.self_device_time_total for event in trace.key_averages()) / 1e3


def measured(
    what: str,
    count: int,
    ours: Callable[[], Any],
    rival: Callable[[], Any],
    target: str = "",
    *,
    turned: bool = False,
) -> Row:
    """A row with the times of both, and the memory and the kernels of ours."""
    mine, theirs = turns(count, ours, rival)
    return Row(what, mine, theirs, target, turned=turned, memory=peak(ours), busy=kernels(ours) / mine)


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
    learnt = SMOKE or (loss[1] < loss[0] and accuracy[-1] > 0.3)
    good = len(log) == 2 and learnt and device.type == DEVICE
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


def _agreements(cases: Iterable[tuple[str, str, dict[str, Any]]]) -> Iterator[Line]:
    data = _cues(pick(32, 16))
    for name, model, settings in cases:
        make = _loader(model)
        yield from _agreement(
            " ".join([name, str(settings or ""), "on", model]).replace("  ", " "), name, make, data, settings
        )


def _loader(name: str) -> Callable[[str], Subject]:
    """The trained network, or a random one if its training failed."""
    if (_folder(name) / "weights.safetensors").exists():
        return lambda device: load(f"run:{_folder(name)}", name=name, device=device)
    return lambda device: load(name, num_classes=18, device=device)


def _agreement(
    what: str, name: str, make: Callable[[str], Subject], data: Batches, settings: dict[str, Any]
) -> Iterator[Check]:
    if what in DONE:
        return
    try:
        with tf32(False), _alarm(60):
            finding = agreement().compared(name, make, data, settings, device=DEVICE)
    except Exception as error:
        if isinstance(error, TimeoutError) and time.monotonic() >= UNTIL[0]:
            raise
        yield Check(what, False, _last_line(error))
    else:
        figures = f"apart {finding.apart:.1e} ({finding.where}); two calls {finding.again:.1e}"
        yield Check(what, not finding.wrong, "; ".join([*finding.wrong, figures]))


def layouts() -> Iterator[Line]:
    """Every instrument on the random networks of the contract."""
    agreement()
    from tests.contract.networks import NETWORKS, data, network
    from tests.contract.runs import with_history

    for layout in list(NETWORKS)[:: pick(2, 5)]:
        plain = network(layout)
        history = with_history(plain, WORK / layout).history

        def make(device: str, layout: str = layout, history: Path | None = history) -> Subject:
            subject = network(layout)
            return replace(subject, model=subject.model.to(device), history=history)

        for name in list(instruments())[:: pick(1, 6)]:
            if name != "lesion" or layout != "plain-convolutions":
                settings = {"batch_size": 4} if name == "similarity" else {}
                yield from _agreement(f"{name} on {layout}", name, make, data(plain), settings)


def surroundings() -> Iterator[Line]:
    """What surrounds a call: autocast, inference mode, TF32 as PyTorch has it, half precision, another device."""
    yield _many_windows()
    far, data = agreement().furthest, _cues(pick(32, 16))
    both: list[Instrument] = [
        Fourier(),
        Variance(),
        Lesion(),
        Hessian(max_products=pick(200, 4)),
        Similarity(batch_size=16),
    ]
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
            found = f"apart {apart:.1e} ({where}){_eigenvalues(one, other)}"
            yield Check(f"{one.instrument} with TF32 convolutions, as by default, over without", None, found)
    half = replace(subject, model=subject.model.bfloat16())
    for one, other in zip(_all(both[:3], half, data), plain, strict=False):
        yield Check(
            f"{one.instrument} of a bfloat16 model over float32", None, "apart {:.1e} ({})".format(*far(one, other))
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


def _many_windows() -> Check:
    """A batch with more windows than a GPU's grid is long."""
    attention, images = WindowAttention(8, 8, heads=1, head_dim=8, window_size=2).to(DEVICE), pick(65536, 16)
    try:
        attention(torch.rand(images, 8, 2, 2, device=DEVICE)).sum().backward()
        found = "forward and backward pass"
    except RuntimeError as error:
        found = _last_line(error)
    return Check(f"attention in {images} windows at once", found == "forward and backward pass", found)


def _eigenvalues(one: Measurement, other: Measurement) -> str:
    """The pair of eigenvalues that lie furthest apart."""
    if one.instrument != "hessian":
        return ""
    place = int((one.table["eigenvalue"] - other.table["eigenvalue"]).abs().to_numpy().argmax())
    first, second = (m.table.iloc[place] for m in (one, other))
    return (
        f"; batch {first['batch']}, rank {first['rank']}: {first['eigenvalue']:.4g} (residual {first['residual']:.1e}, "
        f"{first['products']} products), over {second['eigenvalue']:.4g} (residual {second['residual']:.1e}, "
        f"{second['products']} products); largest {other.table['eigenvalue'].abs().max():.4g}"
    )


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
    for name in pick(("resnet50", "vit_small_patch16_224"), ("test_resnet",)):
        yield from _passes(name, pick(224, 160), pick(128, 2))


def _passes(name: str, side: int, size: int) -> Iterator[Line]:
    subject, data = _subject(name), Batches.of(_noise(2 * size, side), batch_size=size)
    both: list[Instrument] = [Fourier(), Variance()]
    works = [instrument.open(subject, data) for instrument in both]
    here, units = _noise(size, side).to(DEVICE), len(subject.taps)
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
    whole, passes = partial(_all, both, subject, data), partial(bare_passes, subject, data)
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
    data, here = Batches.of(_noise(4 * size, side), batch_size=size), _noise(size, side).to(DEVICE)
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
    units, here = sum(tap.silenceable for tap in subject.taps), _noise(size, side).to(DEVICE)
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
        passes, here = partial(bare_passes, subject, work.batches), _noise(size, 32).to(DEVICE)

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
        yield from _attending(f"{name}, {size} images of {side}", plain, _noise(size, side).to(DEVICE))


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
    "training": (training, 60),
    "trained": (trained, 80),
    "variants": (variants, 70),
    "surroundings": (surroundings, 30),
    "layouts": (layouts, 60),
    "fourier": (fourier, 45),
    "attention": (attention, 75),
    "hessian": (hessian, 45),
    "landscape": (landscape, 40),
    "lesion": (lesion, 50),
    "similarity": (similarity, 40),
    "noise": (noise, 40),
    "throughput": (throughput, 40),
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


VERDICTS = {True: "holds", False: "**fails**", None: ""}


def written(lines: list[tuple[str, Line]], seconds: dict[str, float]) -> str:
    """The whole file."""
    rows, checks = ([one for one in lines if isinstance(one[1], kind)] for kind in (Row, Check))
    failed = [line for _, line in lines if isinstance(line, Failure)]
    bad = [line for _, line in checks if isinstance(line, Check) and line.good is False]
    text = ["# Results on a GPU", "", "Written by `make gpu`.", "", f"Measured {date.today()}: {machine()}.", ""]
    count = sum(isinstance(line, Check) and line.good is not None for _, line in checks)
    text += [f"{count - len(bad)} of {count} checks hold. Seconds: {seconds}.", "", "## What failed", ""]
    text += [f"- {line.what}: {line.found}" for line in bad] + [f"- part {line.part}: {line.reason}" for line in failed]
    text += ["" if bad or failed else "Nothing.", "", "## Rows", ""]
    text += ["| what | ours | rival | ratio | target | | peak MiB | GPU busy |", "|---|---|---|---|---|---|---|---|"]
    text += [_row(line) for _, line in rows if isinstance(line, Row)]
    text += ["", "## Checks", "", "| part | what | | found |", "|---|---|---|---|"]
    text += [f"| {p} | {c.what} | {VERDICTS[c.good]} | {c.found} |" for p, c in checks if isinstance(c, Check)]
    return "\n".join(text) + "\n"


def _row(line: Row) -> str:
    verdict = "" if not line.target else "reached" if reached(line.ratio, line.target) else "**missed**"
    memory = "" if line.memory is None else f"{line.memory:.0f}"
    busy = "" if line.busy is None else f"{line.busy:.0%}"
    sides = " | ".join(f"{value:.4g} {line.unit}" for value in (line.ours, line.rival))
    return f"| {line.what} | {sides} | {line.ratio:.3f} | {line.target} | {verdict} | {memory} | {busy} |"


def known_by_name() -> None:
    """Give a checkout that was never installed the version that provenances ask for."""
    try:
        version("alternet")
    except PackageNotFoundError:
        facts = WORK / "site" / f"alternet-{alternet.__version__}.dist-info" / "METADATA"
        facts.parent.mkdir(parents=True, exist_ok=True)
        facts.write_text(f"Metadata-Version: 2.1\nName: alternet\nVersion: {alternet.__version__}\n")
        sys.path.append(str(WORK / "site"))


class Progress(NamedTuple):
    """What is done and what is left, also for a process that goes on after this one.

    Attributes:
        parts: Those to come, the present one first.
        until: When the time is up, in seconds since 1970.
        lines: What was found, each with its part.
        seconds: What each part took.
    """

    parts: list[str]
    until: float
    lines: list[tuple[str, Line]]
    seconds: dict[str, float]

    def go_on(self) -> NoReturn:
        """Go on in a new process: an error of this kind leaves the GPU unusable in this one."""
        (WORK / "progress").write_bytes(pickle.dumps(self))
        signal.setitimer(signal.ITIMER_REAL, 0)
        flags = ["--resume", str(WORK)] + ["--smoke"] * SMOKE
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.gpu", *flags])


def work_through(progress: Progress) -> None:
    """Run the parts that are left, and write after each."""
    out = Path(os.environ.get("OUT") or Path(__file__).parent) / ("smoke-gpu.md" if SMOKE else "results-gpu.md")
    while progress.parts:
        name, at = progress.parts[0], time.time()
        left = progress.until - at
        for line in run(name, left) if left > 5 else [Failure(name, "not begun, the time was up")]:
            progress.lines.append((name, line))
            progress.seconds[name] = round(time.time() - at, 1)
            print(f"{progress.until - time.time():6.1f} s left, {name}: {line}", flush=True)
            if FATAL in str(line):
                out.write_text(written(progress.lines, progress.seconds))
                if isinstance(line, Failure):
                    progress.parts.pop(0)  # a check's part goes on with its next case
                progress.go_on()
        progress.parts.pop(0)
        out.write_text(written(progress.lines, progress.seconds))
    print(f"written: {out}")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all by default")
    parser.add_argument("--smoke", action="store_true", help="toy sizes, on whatever device there is")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if DEVICE == "cpu" and not SMOKE:
        sys.exit("There is no GPU. Try --smoke for toy sizes on the CPU.")
    known_by_name()
    torch.backends.cuda.matmul.allow_tf32 = False
    progress = Progress(asked.parts or list(PARTS), time.time() + asked.seconds, [], {})
    if asked.resume:
        progress = pickle.loads((asked.resume / "progress").read_bytes())
        DONE.update(line.what for _, line in progress.lines if isinstance(line, Check))
    work_through(progress)


if __name__ == "__main__":
    WORK = Path(sys.argv[sys.argv.index("--resume") + 1] if "--resume" in sys.argv else tempfile.mkdtemp())
    try:
        main()
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
