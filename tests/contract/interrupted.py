"""A measurement that is killed: `python -m tests.contract.interrupted OUT LOG [KILL_AT]`."""

import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

import torch

from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.spec import Spec, integer, number
from alternet.instruments.work import PerItem
from alternet.measurement import Measurement
from alternet.settings import settings
from alternet.subject.subject import Subject

ITEMS = 6


class InterruptedWork(PerItem):
    """Rows from a seed of their own; notes in a log what it measures, and kills its process when told to."""

    log: ClassVar[Path]
    kill_at: ClassVar[int] = -1

    def items(self) -> list[tuple[int]]:
        return [(number,) for number in range(ITEMS)]

    def rows(self, item: tuple[int]) -> list[tuple[int, int, float]]:
        (number,) = item
        with self.log.open("a") as log:
            log.write(f"{number}\n")
        if number == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        generator = torch.Generator().manual_seed(1000 * self.instrument.seed + number)
        return [(number, k, torch.randn((), generator=generator).item() / 3) for k in range(2)]


@settings
class Interrupted(Instrument):
    """Random numbers, an item a seed."""

    seed: int = 0

    spec: ClassVar = Spec(
        name="interrupted",
        order=0,
        title="Interrupted",
        question="What is lost when a process is killed?",
        caution="",
        paper="",
        cost="",
        example="",
        tables={"table": {"item": integer("item"), "draw": integer("draw"), "value": number("value")}},
    )

    def open(self, subject: Subject, batches: Batches) -> InterruptedWork:
        return InterruptedWork(self, subject, batches)


def measure(out: Path | None, log: Path, kill_at: int = -1) -> Measurement:
    """Measure from the start or go on."""
    InterruptedWork.log, InterruptedWork.kill_at = log, kill_at
    model = torch.nn.Linear(1, 1)
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
    return Interrupted().measure(Subject(model, name="net"), Batches.of(torch.zeros(1, 1, 1, 1)), out=out)


if __name__ == "__main__":
    measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
