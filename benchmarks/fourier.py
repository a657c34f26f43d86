"""Fourier and Variance: what they add to a forward pass, and what the diagonal saves over a full 2-D transform.

All rivals take turns within one run; the numbers are medians of the turns.
"""

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any

import timm
import torch
from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.fourier import FLOOR, Fourier, diagonal_log_amplitude
from alternet.instruments.runner import measure_each
from alternet.instruments.variance import Variance
from alternet.views.subject import Subject

MODELS = ("resnet50", "vit_small_patch16_224")
MAPS = {
    "ResNet-50": [
        ((64, 56), "NCHW", 1),
        ((256, 56), "NCHW", 3),
        ((512, 28), "NCHW", 4),
        ((1024, 14), "NCHW", 6),
        ((2048, 7), "NCHW", 3),
    ],
    "ViT-S": [((384, 14), "tokens", 25)],
}
"""Channels and side, layout in memory, and number of the feature maps of an image of 224."""
TURNS = {"pass": 5, "transform": 21}


def rows() -> list[dict[str, Any]]:
    """Every comparison, with the ratio that the design asks for."""
    return [*_passes(), *_transforms()]


def full_log_amplitude(features: Tensor) -> Tensor:
    """What the diagonal replaces: the whole log amplitude, of which only the diagonal is used."""
    return torch.fft.fft2(features).abs().add(FLOOR).log().mean(1).diagonal(dim1=1, dim2=2)


def _passes() -> Iterator[dict[str, Any]]:
    data = Batches.of(torch.rand(32, 3, 224, 224, generator=torch.Generator().manual_seed(0)), batch_size=16)
    for name in MODELS:
        subject = Subject(timm.create_model(name), name=name)
        assert subject.taps
        ours, bare = _in_turns("pass", lambda s=subject: _measured(s, data), lambda s=subject: _forward(s, data))
        what = f"fourier + variance at the {len(subject.taps)} taps of {name}, 32 images, against a bare forward pass"
        yield _row(what, ours, bare, ours / bare, "<= 1.25")


def _transforms() -> Iterator[dict[str, Any]]:
    for network, maps in MAPS.items():
        totals = [0.0, 0.0, 0.0]
        for shape, layout, count in maps:
            x = _features(shape, layout)
            rivals = (diagonal_log_amplitude, full_log_amplitude, torch.fft.fft2)
            times = _in_turns("transform", *(lambda f=f, x=x: f(x) for f in rivals))
            totals = [total + count * time for total, time in zip(totals, times, strict=True)]
            ours, whole, _ = times
            what = f"diagonal log amplitude of 16 x {shape[0]} maps of {shape[1]} x {shape[1]}, {layout}"
            yield _row(f"{what}, against that of the full 2-D FFT", ours, whole, whole / ours, ">= 5")
        ours, _, bare = totals
        yield _row(f"the same for all maps of {network}, against fft2 alone", ours, bare, bare / ours, ">= 5")


def _features(shape: tuple[int, int], layout: str) -> Tensor:
    channels, side = shape
    x = torch.randn(16, channels, side, side, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last) if layout == "tokens" else x


def _row(what: str, ours: float, rival: float, ratio: float, target: str) -> dict[str, Any]:
    return {"what": what, "ours": ours, "rival": rival, "ratio": ratio, "target": target, "unit": "s"}


def _measured(subject: Subject, data: Batches) -> None:
    both: list[Instrument] = [Fourier(), Variance()]
    for _, result in measure_each(both, subject, data):
        if isinstance(result, Exception):
            raise result


def _forward(subject: Subject, data: Batches) -> None:
    subject.model.eval()
    with torch.no_grad():
        for images, _ in data:
            subject.logits(images)


def _in_turns(kind: str, *rivals: Callable[[], Any]) -> list[float]:
    """Median seconds of each rival; the first turn only warms up."""
    seconds: list[list[float]] = [[] for _ in rivals]
    for turn in range(TURNS[kind] + 1):
        for rival, kept in zip(rivals, seconds, strict=True):
            begun = perf_counter()
            rival()
            if turn:
                kept.append(perf_counter() - begun)
    return [median(kept) for kept in seconds]


if __name__ == "__main__":
    for row in rows():
        print(" | ".join(map(str, row.values())))
