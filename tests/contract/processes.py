"""One of several processes that measure together, as torchrun starts them: `python -m tests.contract.processes OUT`."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tests.contract.documented import load
from tests.contract.networks import data, network
from tests.contract.optional import installed
from tests.contract.runs import with_history

from alternet.distributed import processes, rank, world_size
from alternet.instruments.base import Instrument
from alternet.instruments.calibration import Calibration
from alternet.instruments.corruption import Corruption
from alternet.instruments.fourier import Fourier
from alternet.instruments.fourier_heatmap import FourierHeatmap
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.hessian import Hessian
from alternet.instruments.interpolation import Interpolation
from alternet.instruments.landscape import Landscape
from alternet.instruments.lesion import Lesion
from alternet.instruments.runner import Result, measure_each
from alternet.instruments.shape_bias import ShapeBias
from alternet.instruments.similarity import Similarity
from alternet.instruments.spectral_density import SpectralDensity
from alternet.instruments.trajectory import Trajectory
from alternet.instruments.variance import Variance
from alternet.instruments.variance.measure import VarianceWork
from alternet.subject.subject import Subject

LAYOUT = "vit-with-registers"
SIZES = (3, 7)
"""Images a batch: seven images are three batches, which two processes share unevenly, or one, which leaves one idle."""


class BrokenWork(VarianceWork):
    def read(self, tap, feature):
        if rank() == 1 or world_size() == 1:
            raise RuntimeError(f"process {rank()} gave up")
        return super().read(tap, feature)


class Broken(Variance):
    """Fails in the second process alone."""

    spec = replace(Variance.spec, name="broken")

    def open(self, subject, batches):
        return BrokenWork(self, subject, batches)


def instruments() -> list[Instrument]:
    """All of them, streaming and itemised, and one that fails."""
    beside = network("handwritten")
    pair = Similarity(batch_size=4, other=Subject(beside.model, name="beside", input_size=(3, 32, 32)))
    optional = [Corruption(only="contrast,impulse_noise")] if installed("corruption") else []
    return [
        Fourier(),
        Broken(),
        Variance(),
        Lesion(),
        Calibration(),
        pair,
        FrequencyNoise(bands=3, repeats=2),
        FourierHeatmap(side=1),
        ShapeBias(),
        Hessian(batch_size=2),
        SpectralDensity(draws=3, steps=4),
        Landscape(points=3, draws=3),
        Interpolation(steps=2, beyond=0),
        Trajectory(),
        load(0, 1).Damping(),
        *optional,
    ]


def measure(out: Path, batch_size: int) -> dict[str, Result]:
    """Measure all instruments on the same model and data."""
    subject = with_history(network(LAYOUT), out / f"run-{rank()}")
    results = measure_each(instruments(), subject, data(subject, batch_size=batch_size), out=out)
    return {instrument.spec.name: result for instrument, result in results}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with processes(torch.device("cpu")):
        for size in SIZES:
            found = measure(Path(sys.argv[1]) / str(size), size)
            errors = {name: str(result) for name, result in found.items() if isinstance(result, Exception)}
            (Path(sys.argv[1]) / f"{size}.{rank()}.txt").write_text(repr(errors))
