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
MAPS = ((256, 56), (512, 28), (1024, 14), (2048, 7), (384, 14))
"""Channels and side of the maps of a ResNet-50, stage by stage, and of a ViT-S."""
TURNS = 5


def rows() -> list[dict[str, Any]]:
    """Every comparison, with the ratio that the design asks for."""
    return [*_passes(), *_transforms()]


def full_log_amplitude(features: Tensor) -> Tensor:
    """What the diagonal replaces: the whole log amplitude, of which only the diagonal is used."""
    return torch.fft.fft2(features).abs().add(FLOOR).log().mean(1).diagonal(dim1=1, dim2=2)


def full_transform(features: Tensor) -> Tensor:
    """The 2-D transform alone, without amplitudes and logarithms."""
    return torch.fft.fft2(features)


def _passes() -> Iterator[dict[str, Any]]:
    data = Batches.of(torch.rand(32, 3, 224, 224, generator=torch.Generator().manual_seed(0)), batch_size=16)
    for name in MODELS:
        subject = Subject(timm.create_model(name), name=name)
        assert subject.taps
        ours, bare = _in_turns(lambda s=subject: _measured(s, data), lambda s=subject: _forward(s, data))
        what = f"fourier + variance, {name} at 224, {len(subject.taps)} taps"
        yield _row(what, ours, bare, "bare forward pass", ours / bare, "≤ 1.25")


def _transforms() -> Iterator[dict[str, Any]]:
    for channels, side in MAPS:
        x = torch.randn(16, channels, side, side, generator=torch.Generator().manual_seed(0))
        times = _in_turns(
            *(lambda f=f, x=x: f(x) for f in (diagonal_log_amplitude, full_log_amplitude, full_transform))
        )
        ours, whole, bare = times
        what = f"diagonal log amplitude, 16 × {channels} maps of {side} × {side}"
        yield _row(what, ours, whole, "full 2-D log amplitude", whole / ours, "≥ 5")
        yield _row(what, ours, bare, "fft2 alone", bare / ours, "-")


def _row(what: str, ours: float, theirs: float, rival: str, ratio: float, target: str) -> dict[str, Any]:
    return {
        "what": what,
        "ours": round(ours, 4),
        "rival": f"{rival}: {theirs:.4f}",
        "ratio": round(ratio, 3),
        "target": target,
        "unit": f"s, {torch.get_num_threads()} threads",
    }


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


def _in_turns(*rivals: Callable[[], Any]) -> list[float]:
    """Median seconds of each rival; the first turn only warms up."""
    seconds: list[list[float]] = [[] for _ in rivals]
    for turn in range(TURNS + 1):
        for rival, kept in zip(rivals, seconds, strict=True):
            begun = perf_counter()
            rival()
            if turn:
                kept.append(perf_counter() - begun)
    return [median(kept) for kept in seconds]


if __name__ == "__main__":
    for row in rows():
        print(" | ".join(map(str, row.values())))
