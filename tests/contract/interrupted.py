"""A measurement that is killed: `python -m tests.contract.interrupted OUT LOG [KILL_AT]`."""

import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from alternet.data.batches import Batches
from alternet.instruments.base import Itemised
from alternet.measurement import Measurement
from alternet.subject.subject import Subject

ITEMS = 6


@dataclass(frozen=True, kw_only=True)
class Interrupted(Itemised[None]):
    """Rows from a seed of their own; notes in a log what it measures, and kills its process when told to."""

    seed: int = 0

    name = "interrupted"
    question = "What is lost when a process is killed?"
    columns: ClassVar = {"table": ("item", "draw", "value")}
    log: ClassVar[Path]
    kill_at: ClassVar[int] = -1

    def view(self, subject: Subject, batches: Batches) -> AbstractContextManager[None]:
        return nullcontext()

    def items(self, view: None) -> list[tuple[int]]:
        return [(number,) for number in range(ITEMS)]

    def rows(self, view: None, item: tuple[int]) -> list[tuple[int, int, float]]:
        (number,) = item
        with self.log.open("a") as log:
            log.write(f"{number}\n")
        if number == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        return [(number, k, torch.randn((), generator=generator).item() / 3) for k in range(2)]


def measure(out: Path | None, log: Path, kill_at: int = -1) -> Measurement:
    """Measure from the start or go on."""
    Interrupted.log, Interrupted.kill_at = log, kill_at
    model = torch.nn.Linear(1, 1)
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
    return Interrupted().measure(Subject(model, name="net"), Batches.of(torch.zeros(1, 1, 1, 1)), out=out)


if __name__ == "__main__":
    measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
