"""What the benchmarks share: rivals that take turns, bare forward passes, and the form of a row."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch

from alternet.data.image_batches import Batches
from alternet.subject.subject import Subject


def in_turns(turns: int, *rivals: Callable[[], Any], warm: bool = False) -> list[float]:
    """Median seconds of each rival; unless they are warm, a turn ahead of all others warms them up."""
    seconds: list[list[float]] = [[] for _ in rivals]
    for turn in range(turns + (not warm)):
        for rival, kept in zip(rivals, seconds, strict=True):
            begun = perf_counter()
            rival()
            if warm or turn:
                kept.append(perf_counter() - begun)
    return [median(kept) for kept in seconds]


def bare_passes(subject: Subject, data: Batches) -> None:
    """The forward passes that no instrument can avoid."""
    subject.model.eval()
    with torch.no_grad():
        for images, _ in data:
            subject.logits(images)


def row(what: str, ours: float, rival: float, ratio: float, target: str, unit: str = "s") -> dict[str, Any]:
    """One line of the results."""
    return {"what": what, "ours": ours, "rival": rival, "ratio": ratio, "target": target, "unit": unit}
