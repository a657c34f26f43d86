"""A network that counts its passes, images for it, and an instrument that measures items without it."""

from typing import ClassVar, NamedTuple

import torch
from torch import nn

from alternet.data.image_batches import Batches
from alternet.instruments.base import Instrument
from alternet.instruments.spec import Spec
from alternet.instruments.spec import number as number_column
from alternet.instruments.work import PerItem
from alternet.settings import settings
from alternet.subject.subject import Subject


class Counted(nn.Module):
    """A small residual classifier that counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        x = self.stem(x)
        return self.head((x + self.branch(x)).mean((2, 3)))


def counted():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = Subject(Counted(), name="tiny/net", input_size=(3, 8, 8))
    _ = subject.taps
    subject.model.calls = 0  # pyright: ignore[reportArgumentType]
    return subject


def five_images():
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor([0, 1, 2, 0, 1])
    return Batches.of(torch.rand(5, 3, 8, 8, generator=generator), targets, batch_size=2)


def spec(name, *columns):
    return Spec(
        name=name,
        order=0,
        title=name,
        question="?",
        caution="",
        paper="",
        cost="",
        example="",
        tables={"table": {column: number_column("") for column in columns}},
    )


class Square(NamedTuple):
    number: int
    square: float


class SquaresWork(PerItem):
    record = Square
    measured: ClassVar = []

    def items(self):
        return [(number,) for number in range(self.instrument.count)]

    def rows(self, item):
        if item[0] == self.instrument.stop:
            raise RuntimeError("stopped")
        self.measured.append(item[0])
        return [(item[0], torch.tensor(item[0] ** 2.0))]

    def tables(self, rows):
        return {"table": [(row.number, row.square) for row in rows]}


@settings
class Squares(Instrument):
    """Items without a model; `stop` simulates an error at one of them."""

    count: int = 4
    stop: int = -1

    spec: ClassVar = spec("squares", "number", "square")

    def open(self, subject, batches):
        return SquaresWork(self, subject, batches)
