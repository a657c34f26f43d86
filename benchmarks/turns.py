"""What the benchmarks share: rivals that take turns, bare forward passes, and the form of a row."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

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


def peak_bytes(work: Callable[[], Any], device: str = "cpu") -> int:
    """Peak of the memory allocated while it works; it is done once before, so that what stays is there."""
    work()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    held = peak = 0
    for event in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def bare_passes(subject: Subject, data: Batches) -> None:
    """The forward passes that no instrument can avoid."""
    subject.model.eval()
    with torch.no_grad():
        for images, _ in data:
            subject.logits(images)


def row(what: str, ours: float, rival: float, ratio: float, target: str, unit: str = "s") -> dict[str, Any]:
    """One line of the results."""
    return {"what": what, "ours": ours, "rival": rival, "ratio": ratio, "target": target, "unit": unit}
