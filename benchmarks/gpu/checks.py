"""What must hold on a GPU: training, every instrument as on the CPU, and whatever surrounds a call."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socket import socket
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist

from alternet.data import batches
from alternet.data.image_batches import Batches
from alternet.distributed import processes
from alternet.instruments.base import Instrument
from alternet.instruments.catalogue import instruments
from alternet.instruments.fourier import Fourier
from alternet.instruments.hessian import Hessian
from alternet.instruments.lesion import Lesion
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.measurement import Measurement
from alternet.models.attention import WindowAttention
from alternet.subject.loading import load
from alternet.subject.subject import Subject
from alternet.training import Recipe, TrainData, train
from benchmarks.gpu.measuring import (
    DEVICE,
    DONE,
    SMOKE,
    UNTIL,
    Check,
    Line,
    agreement,
    alarm,
    last_line,
    measure_all,
    pick,
    scratch,
    tf32,
)


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
            yield Check(what, False, last_line(error))


def _learns(what: str, name: str, settings: dict[str, Any], workers: int) -> Check:
    recipe = Recipe.load("quick").with_settings({"epochs": 2, "snapshot_every": 1} | settings)
    with suppress(InterruptedError):
        train(name, photos_data(recipe, workers), recipe, _folder(name), device=DEVICE, report=_interrupt)
    log = train(name, photos_data(recipe, workers), recipe, _folder(name), device=DEVICE).log
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
    return scratch() / "runs" / name


def photos_data(recipe: Recipe, workers: int) -> TrainData:
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
        with tf32(False), alarm(pick(60, 600)):
            finding = agreement().compared(name, make, data, settings, device=DEVICE)
    except Exception as error:
        if isinstance(error, TimeoutError) and time.monotonic() >= UNTIL[0]:
            raise
        yield Check(what, False, last_line(error))
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
        history = with_history(plain, scratch() / layout).history

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
    yield one_process()
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
        plain = measure_all(both, subject, data)
        with torch.inference_mode(), torch.autocast(DEVICE, dtype=torch.bfloat16):
            inside = measure_all(both, subject, data)
    for one, other in zip(inside, plain, strict=True):
        apart, where = far(one, other)
        yield Check(
            f"{one.instrument} inside autocast and inference mode", apart < 1e-3, f"apart {apart:.1e} ({where})"
        )
    with tf32(True):  # as PyTorch has it by default
        for one, other in zip(measure_all(both, subject, data), plain, strict=True):
            apart, where = far(one, other)
            found = f"apart {apart:.1e} ({where}){_eigenvalues(one, other)}"
            yield Check(f"{one.instrument} where the caller lets convolutions round", apart < 1e-3, found)
    half = replace(subject, model=subject.model.bfloat16())
    whole = {one.instrument: one for one in plain}
    for one in measure_all(both[:3], half, data):
        found = "apart {:.1e} ({})".format(*far(one, whole[one.instrument]))
        yield Check(f"{one.instrument} of a bfloat16 model over float32", None, found)
    beside = load(f"run:{_folder('preresnet_mini')}", device="cpu")
    across = Similarity(batch_size=16, other=beside).measure(load(f"run:{_folder('alternet_mini')}"), data)
    yield Check(
        "similarity of a network on the GPU and one on the CPU", len(across.table) > 0, f"{len(across.table)} rows"
    )
    with tempfile.TemporaryDirectory() as out:
        first = Lesion().measure(load(f"run:{_folder('vit_mini')}"), data, out=out)
        again = Lesion().measure(load(f"run:{_folder('vit_mini')}"), data, out=out)
    yield Check("a stored measurement is taken up again", far(first, again)[0] == 0, first.provenance["device"])


def precisions() -> Iterator[Line]:
    """How far another precision moves the numbers of a trained network; told, not judged."""
    subject, data = load(f"run:{_folder('alternet_mini')}", device=DEVICE), _cues(pick(64, 16))
    quick = agreement().QUICK
    for name, kind in list(instruments().items())[:: pick(1, 6)]:
        if kind.spec.exact:
            continue
        asked = kind(**quick.get(name, {}))
        for precision in ("tf32", "bfloat16"):
            (found,) = measure_all([asked], subject.in_arithmetic(precision), data)
            apart = found.provenance["rounding"]["apart"]
            moved = ", ".join(f"{c} {v or 0:.1e}" for table in apart.values() for c, v in table.items() if v != 0)
            yield Check(f"{name} in {precision}, over float32", None, moved or "the same")


def one_process() -> Check:
    """What is measured in a group of one process, whose parts go by NCCL on a GPU and by gloo on a CPU."""
    subject, data = load(f"run:{_folder('alternet_mini')}", device=DEVICE), _cues(pick(32, 16))
    alone, device = measure_all([Lesion(), Variance()], subject, data), torch.device(DEVICE)
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    with patch.dict(os.environ, {"RANK": "0", "WORLD_SIZE": "1", **place}), processes(device):
        one = torch.ones(1, device=device)
        dist.all_reduce(one)
        grouped = measure_all([Lesion(), Variance()], subject, data)
        backend = dist.get_backend_config() if DEVICE == "cuda" else dist.get_backend()
    apart, where = max(agreement().furthest(*pair) for pair in zip(grouped, alone, strict=True))
    return Check(f"one process, {backend}", apart < 1e-6 and one.item() == 1, f"apart {apart:.1e} ({where})")


def _many_windows() -> Check:
    """A batch with more windows than a GPU's grid is long."""
    attention, images = WindowAttention(8, 8, heads=1, head_dim=8, window_size=2).to(DEVICE), pick(65536, 16)
    try:
        attention(torch.rand(images, 8, 2, 2, device=DEVICE)).sum().backward()
        found = "forward and backward pass"
    except RuntimeError as error:
        found = last_line(error)
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
