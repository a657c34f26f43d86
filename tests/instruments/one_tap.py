"""A tap of a map that no network made, to put a tensor of known numbers before an instrument."""

from torch import Tensor, nn, zeros

from alternet.data.image_batches import Batches
from alternet.instruments.fourier import Fourier
from alternet.instruments.variance import Variance
from alternet.subject.subject import Subject
from alternet.taps.find import Address, Tap
from alternet.taps.layout import Layout


def rows(instrument: Fourier | Variance, x: Tensor) -> list[tuple]:
    """What the instrument says of one batch of maps [n, c, h, w], without unit, tap, kind and depth."""
    _, c, h, w = x.shape
    layout = Layout(batch_axis=0, channel_axis=1, grid=(h, w))
    read = Address(module="", function="output", ordinal=0)
    tap = Tap(unit=0, name="t", kind="conv", stage=0, depth=0.5, shape=(c, h, w), read=read, layout=layout)
    work = instrument.open(Subject(nn.Identity(), name="none"), Batches.of(zeros(1, c, h, w)))
    work.taps = [tap]
    return [tuple(row[4:]) for row in work.tables({"t": work.read(tap, x)})["table"]]
