"""Taps of maps that no network made, to put tensors of known numbers before an instrument."""

from torch import Tensor, nn, zeros

from alternet.data.image_batches import Batches
from alternet.instruments.fourier import Fourier
from alternet.instruments.spec import STEP
from alternet.instruments.variance import Variance
from alternet.instruments.work import Batch
from alternet.subject.subject import Subject
from alternet.taps.find import Address, Tap
from alternet.taps.layout import Layout


def rows(instrument: Fourier | Variance, x: Tensor) -> list[tuple]:
    """What the instrument says of one batch of maps [n, c, h, w], without unit, tap, kind, depth and step."""
    return [row[: -len(STEP)] for row in of_units(instrument, [x])]


def of_units(instrument: Fourier | Variance, maps: list[Tensor], batches: int = 1) -> list[tuple]:
    """What the instrument says of units with these maps, one after the other, without tap, kind and depth."""
    work = instrument.open(Subject(nn.Identity(), name="none"), Batches.of(zeros(1, 1, 1, 1)))
    work.taps = [_tap(unit, x) for unit, x in enumerate(maps)]
    total: dict = {}
    for part in zip(*(x.chunk(batches) for x in maps), strict=True):
        readings = {tap.name: work.read(tap, x) for tap, x in zip(work.taps, part, strict=True)}
        for key, value in work.part(Batch(zeros(1, 1, 1, 1), zeros(1), zeros(1, 1)), readings).items():
            total[key] = value + total.get(key, 0)
    return [tuple(row[4:]) for row in work.tables(total)["table"]]


def _tap(unit: int, x: Tensor) -> Tap:
    _, c, h, w = x.shape
    layout = Layout(batch_axis=0, channel_axis=1, grid=(h, w))
    read = Address(module="", function="output", ordinal=0)
    return Tap(unit=unit, name=f"t{unit}", kind="conv", stage=0, depth=0.5, shape=(c, h, w), read=read, layout=layout)
