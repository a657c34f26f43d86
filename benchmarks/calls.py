"""Whole calls: what people measure, from JPEGs on the disk to tables, against nothing but forward passes.

256 JPEGs of 500 x 375 are made on the spot and measured with ResNet-18 at 224 pixels. Every call opens the folder anew,
so that it decodes each picture once; the rival shows the network the same images from memory, and the ratio says how
many such passes a call takes. In the last rows whole commands, in processes of their own, are held against a script of
timm's own loader, with a worker for every core but one, and a loop that does nothing but the forward pass.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch

from alternet.data import batches
from alternet.data.image_batches import Batches
from alternet.data.loader import sensible_workers
from alternet.instruments.base import Instrument
from alternet.instruments.calibration import Calibration
from alternet.instruments.fourier import Fourier
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.lesion import Lesion
from alternet.instruments.runner import measure_each
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.subject.subject import Subject
from benchmarks.pictures import made
from benchmarks.turns import bare_passes, in_turns, row

IMAGES, CLASSES, MODEL, SIDE = 256, 8, "resnet18", 224
TURNS = 5
STREAMING = (Fourier(), Variance(), Calibration(), Similarity())
CALLS: tuple[tuple[str, Sequence[Instrument], str], ...] = (
    ("fourier", (Fourier(),), "<= 1.10"),
    ("fourier + variance + calibration + similarity", STREAMING, "<= 1.40"),
    ("frequency-noise, 9 bands and the clean images", (FrequencyNoise(),), "<= 10.8"),
    ("lesion of 8 units", (Lesion(),), "<= 3.75"),
)
LOOP = f"""
import sys, timm, torch
data = timm.data.create_dataset("", root=sys.argv[1], split="test")
loader = timm.data.create_loader(data, (3, {SIDE}, {SIDE}), 64, use_prefetcher=False, num_workers=int(sys.argv[2]))
model = timm.create_model("{MODEL}").eval()
with torch.inference_mode():
    for images, _ in loader:
        model(images)
"""

IMPORTS = "import torch, torchvision, timm"


def rows() -> list[dict[str, Any]]:
    """A row a call, then whole commands."""
    with TemporaryDirectory() as folder:
        pictures(Path(folder) / "test", IMAGES)
        return [*_calls(folder), *_commands(folder)]


def _calls(folder: str) -> Iterator[dict[str, Any]]:
    subject = Subject(timm.create_model(MODEL, num_classes=CLASSES), name=MODEL)
    assert subject.taps
    opened = partial(batches, folder, img_size=SIDE, workers=None)
    images, targets = (torch.cat(part) for part in zip(*opened(), strict=True))
    memory = Batches.of(images, targets)
    for what, instruments, target in CALLS:
        ours, bare = in_turns(
            TURNS, lambda asked=instruments: measured(asked, subject, opened()), lambda: bare_passes(subject, memory)
        )
        yield row(f"{what}, against a bare forward pass", ours, bare, ours / bare, target)


def _commands(folder: str) -> Iterator[dict[str, Any]]:
    workers = str(sensible_workers(IMAGES // 64))
    with TemporaryDirectory() as out:
        numbers = iter(range(1000))

        def command(limit: int) -> None:
            call = [sys.executable, "-m", "alternet.cli", "measure", "fourier", "-m", MODEL, "--data", folder]
            _run([*call, "--limit", str(limit), "--out", f"{out}/{next(numbers)}"])

        def script(text: str) -> None:
            _run([sys.executable, "-c", text, folder, workers])

        whole, start, theirs, imports = in_turns(
            TURNS, lambda: command(IMAGES), lambda: command(2), lambda: script(LOOP), lambda: script(IMPORTS)
        )
    unit = "images a second"
    for what, mine, other in (("included", whole, theirs), ("excluded", whole - start, theirs - imports)):
        name = f"the command `measure fourier`, start {what}, against timm's loader and a forward pass"
        yield row(name, IMAGES / mine, IMAGES / other, other / mine, ">= 0.9", unit)
    name = "start of `alternet measure`, in seconds beyond importing torch, torchvision and timm"
    yield row(name, start, imports, start - imports, "<= 0.4")


def measured(instruments: Sequence[Instrument], subject: Subject, data: Batches) -> None:
    """One call from Python."""
    for _, result in measure_each(instruments, subject, data):
        if isinstance(result, Exception):
            raise result


def pictures(folder: Path, count: int) -> None:
    """As many as that, in classes."""
    files = (folder / str(number % CLASSES) / f"{number}.jpg" for number in range(count))
    made(files, size=(500, 375), coarse=(32, 24), grain=8)


def _run(call: list[str]) -> None:
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())))
