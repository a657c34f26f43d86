"""Lesion: L units removed one at a time, what comes before each from memory, against L passes.

The first rival is what the study would take at the least without memory, L bare forward passes; the second the same
lesions as whole passes. Ours holds everything: the survey and trial of the network, the first pass that fills the
memory, and the labels. FLOPs are those of matrix products and convolutions, counted by PyTorch; seconds are medians of
the turns, which all rivals take within one run. Half of L passes is the limit if units are of equal cost.
"""

from collections.abc import Callable, Iterator
from typing import Any

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from alternet.data.image_batches import Batches
from alternet.instruments.lesion import Lesion
from alternet.probe.probe import Probe
from alternet.subject.subject import Subject
from benchmarks.turns import bare_passes, in_turns, row

MODELS = ("resnet50", "vit_small_patch16_224")
IMAGES, BATCH, TURNS = 48, 16, 1


def rows() -> list[dict[str, Any]]:
    """Every comparison, with the ratio that is expected of it."""
    return [line for name in MODELS for line in _of_model(name)]


def _of_model(name: str) -> Iterator[dict[str, Any]]:
    subject = Subject(timm.create_model(name).eval(), name=name)
    data = _data()
    units = sum(tap.silenceable for tap in subject.taps)
    ways = (lambda: Lesion().measure(subject, data), lambda: _bare(subject, data, units), lambda: _whole(subject, data))
    rivals = (f"{units} bare forward passes", f"{units} whole passes with a silenced unit")
    for unit, measured in (("GFLOP", _operations(*ways)), ("s", in_turns(TURNS, *ways, warm=True))):
        ours, *others = measured
        for rival, theirs in zip(rivals, others, strict=True):
            what = f"lesion study of the {units} units of {name}, {IMAGES} images, against {rival}"
            yield row(what, ours, theirs, ours / theirs, "<= 0.65", unit)


def _data() -> Batches:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, 3, 224, 224, generator=generator)
    targets = torch.randint(1000, (IMAGES,), generator=generator)
    return Batches.of(images, targets, classes=[str(k) for k in range(1000)], batch_size=BATCH)


def _bare(subject: Subject, data: Batches, passes: int) -> None:
    for _ in range(passes):
        bare_passes(subject, data)


def _whole(subject: Subject, data: Batches) -> None:
    with Probe(subject, taps=[]) as probe:
        for images, _ in data:
            for tap in subject.taps:
                if tap.silenceable:
                    with probe.silence(tap):
                        probe.observe(images, lambda *_: None)


def _operations(*ways: Callable[[], Any]) -> list[float]:
    """10⁹ floating-point operations of each way."""
    counts = []
    for way in ways:
        with FlopCounterMode(display=False) as counter:
            way()
        counts.append(counter.get_total_flops() / 1e9)
    return counts


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())))
