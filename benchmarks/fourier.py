"""Fourier and Variance: what they add to a forward pass, and what the diagonal saves over a full 2-D transform.

All rivals take turns within one run; the numbers are medians of the turns.
"""

from collections.abc import Iterator
from typing import Any

import timm
import torch
from torch import Tensor

from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.fourier import Fourier
from alternet.instruments.fourier.measure import FLOOR, diagonal_log_amplitude
from alternet.instruments.runner import measure_each
from alternet.instruments.variance import Variance
from alternet.subject.subject import Subject
from benchmarks.turns import bare_passes, in_turns, row

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
        ours, bare = in_turns(
            TURNS["pass"], lambda s=subject: _measured(s, data), lambda s=subject: bare_passes(s, data)
        )
        what = f"fourier + variance at the {len(subject.taps)} taps of {name}, 32 images, against a bare forward pass"
        yield row(what, ours, bare, ours / bare, "<= 1.25")


def _transforms() -> Iterator[dict[str, Any]]:
    for network, maps in MAPS.items():
        totals = [0.0, 0.0, 0.0]
        for shape, layout, count in maps:
            x = _features(shape, layout)
            rivals = (diagonal_log_amplitude, full_log_amplitude, torch.fft.fft2)
            times = in_turns(TURNS["transform"], *(lambda f=f, x=x: f(x) for f in rivals))
            totals = [total + count * time for total, time in zip(totals, times, strict=True)]
            ours, whole, _ = times
            what = f"diagonal log amplitude of 16 x {shape[0]} maps of {shape[1]} x {shape[1]}, {layout}"
            yield row(f"{what}, against that of the full 2-D FFT", ours, whole, whole / ours, ">= 5")
        ours, _, bare = totals
        yield row(f"the same for all maps of {network}, against fft2 alone", ours, bare, bare / ours, ">= 5")


def _features(shape: tuple[int, int], layout: str) -> Tensor:
    channels, side = shape
    x = torch.randn(16, channels, side, side, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last) if layout == "tokens" else x


def _measured(subject: Subject, data: Batches) -> None:
    both: list[Instrument] = [Fourier(), Variance()]
    for _, result in measure_each(both, subject, data):
        if isinstance(result, Exception):
            raise result


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())))
