"""Whole calls and trainings on a GPU: a folder of JPEGs, the images of an epoch, AlterNet beside its ResNet."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_dataset, create_loader  # pyright: ignore[reportPrivateImportUsage]

from alternet.data import batches
from alternet.data.loader import sensible_workers
from alternet.instruments.base import Instrument
from alternet.instruments.fourier import Fourier
from alternet.instruments.variance import Variance
from alternet.subject import subject as subject_module
from alternet.training import Recipe, train
from alternet.training.trainer import Trainer
from benchmarks.calls import pictures
from benchmarks.gpu.checks import photos_data
from benchmarks.gpu.measuring import (
    DEVICE,
    SMOKE,
    Check,
    Line,
    Row,
    last_line,
    measure_all,
    measured,
    noise_images,
    pick,
    tf32,
    turns,
)
from benchmarks.gpu.rows import NETWORKS_32, labelled, landscapes, learning, network
from benchmarks.turns import bare_passes


def folder() -> Iterator[Line]:
    """A call over JPEGs, opened anew, against timm's loader and a loop of nothing but the forward pass."""
    name, count, side, size = pick("resnet50", "test_resnet"), pick(1024, 16), pick(224, 160), pick(128, 8)
    subject, workers = network(name), pick(sensible_workers(count // size), 0)
    assert subject.taps
    with tempfile.TemporaryDirectory() as place:
        pictures(Path(place) / "test", count)

        def ours(asked: list[Instrument]) -> None:
            measure_all(asked, subject, batches(place, img_size=side, batch_size=size, workers=workers))

        def theirs() -> None:
            data: Any = create_dataset("", root=place, split="test")
            ways: Any = {"num_workers": workers, "persistent_workers": False, "device": torch.device(DEVICE)}
            loader: Any = create_loader(data, (3, side, side), size, use_prefetcher=DEVICE == "cuda", **ways)
            with torch.inference_mode():
                for images, _ in loader:
                    subject.model(images)

        one: list[Instrument] = [Fourier()]
        two: list[Instrument] = [Fourier(), Variance()]
        *mine, rival = turns(3, partial(ours, one), partial(ours, two), theirs)
    for asked, took in zip((one, two), mine, strict=True):
        names = " + ".join(kind.spec.name for kind in asked)
        what = f"{names} of {name} over {count} JPEGs, {workers} workers, against timm's loader and a forward pass"
        yield Row(what, 1e3 * count / took, 1e3 * count / rival, ">= 0.9", "images/s")


def cnn() -> Iterator[Line]:
    """AlterNet-50's training step against the ResNet that it is built up from; the paper says 1.2 times faster."""
    for size in pick((128, 1024), (2,)):
        images, targets = noise_images(size, 32).to(DEVICE), (torch.arange(size) % 100).to(DEVICE)
        images = images.to(memory_format=torch.channels_last)
        steps = []
        for name in pick(("alternet_50", "preresnet_50"), ("alternet_mini", "preresnet_mini")):
            torch.manual_seed(0)
            more: dict[str, Any] = {"depths": (3, 4, 6, 4)} if name == "preresnet_50" else {}
            net: Any = timm.create_model(name, num_classes=100, **more)
            net = net.to(DEVICE, memory_format=torch.channels_last)
            steps.append([learning(net, images, targets, half=half) for half in (False, True)])
        for half, pair in enumerate(zip(*steps, strict=True)):
            with tf32(True):
                how = "bfloat16" if half else "float32 with TF32"
                what = f"AlterNet-50, {size} images of 32, {how}: training step, its ResNet of 3, 4, 6, 4 over it"
                yield measured(what, 9, pair[0], pair[1], ">= 1.2", turned=True)


def compiled() -> Iterator[Line]:
    """A grid point of a compiled network, in bfloat16 and without, over bare passes in float32."""
    if SMOKE:
        subject_module.BACKEND = "eager"  # a machine without a GPU need have no compiler
    for name, settings in NETWORKS_32.items():
        count, size = pick((8192, 1024), (8, 4))
        subject = replace(network(name, num_classes=100, **settings), input_size=(3, 32, 32))
        data = labelled(count, 32, 100, size)
        for precision in ("float32", "bfloat16"):
            what = f"a grid point of {name}, {count} images of 32 by {size}, compiled, in {precision}"
            try:
                with landscapes(size).open(subject.in_arithmetic(precision, compiled=True), data) as work:
                    ours, passes = partial(work.rows, ("grid", 0, 0)), partial(bare_passes, subject, work.batches)
                    yield measured(f"{what}: over bare passes of float32", 5, ours, passes, "<= 0.7")
            except Exception as error:
                yield Check(what, False, last_line(error))


def throughput() -> Iterator[Line]:
    """Images a second with recipe quick, and what of that data costs."""
    recipe = Recipe.load("quick").with_settings({"epochs": 2})
    with tf32(True):
        for settings, workers in (({}, 0), ({"amp_dtype": "bfloat16"}, 0), ({}, pick(4, 0))):
            yield _trained(recipe.with_settings(settings), settings, workers)
        from benchmarks.training import compared

        for name, size in pick((("alternet_mini", 64), ("resnet18", 256)), (("alternet_mini", 4),)):
            line, what = compared("", name, size), f"{name}, batch {size}: our training step over a bare one"
            yield Row(what, line["ours"], line["rival"], ">= 0.97", turned=True)


def _trained(recipe: Recipe, settings: dict[str, Any], workers: int) -> Row:
    with tempfile.TemporaryDirectory() as out:
        log = train("alternet_mini", photos_data(recipe, workers), recipe, Path(out) / "run", device=DEVICE).log
    possible, found = 1e3 * recipe.batch_size / _step_ms(recipe), log.iloc[-1]
    what = f"images/s of training alternet_mini, quick, {settings or 'float32'}, {workers} workers"
    what += f" ({found['data_seconds']:.2f} of {found['seconds']:.2f} s waiting for data): over steps alone"
    return Row(what, found["images_per_second"], possible, ">= 0.95", "images/s")


def _step_ms(recipe: Recipe) -> float:
    """Median milliseconds of a training step whose images are on the GPU."""
    torch.manual_seed(0)
    facts: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "steps_per_epoch": 100}
    model = timm.create_model("alternet_mini", num_classes=18)
    trainer = Trainer(model=model, recipe=recipe, device=torch.device(DEVICE), **facts)
    images, targets = noise_images(recipe.batch_size, 32).to(DEVICE), (torch.arange(recipe.batch_size) % 18).to(DEVICE)
    model.train()
    return turns(20, lambda: trainer.step(images, targets))[0]
