"""One instrument on a GPU and on the CPU: how far its tables lie apart, and what it leaves behind."""

import gc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from tests.contract.state import differences, lived_in, of
from torch import nn

from alternet.data.image_batches import Batches
from alternet.instruments.catalogue import instruments
from alternet.measurement import Measurement
from alternet.subject.subject import Subject

QUICK: dict[str, dict[str, Any]] = {
    "fourier_heatmap": {"side": 1},
    "corruption": {"only": "contrast"},
    "landscape": {"points": 3, "draws": 3},
    "spectral_density": {"draws": 2, "steps": 5},
    "interpolation": {"steps": 2, "beyond": 1},
    "frequency_noise": {"bands": 3},
    "similarity": {"batch_size": 16},
}
"""Settings for instruments whose default is more work than an agreement needs to be seen; those of the contract's
tests, and smaller mini-batches."""

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("fourier", {"direction": "radial"}),
    ("fourier", {"axis": "paper"}),
    ("lesion", {"unit": "paper"}),
    ("frequency_noise", {"energy": "paper", "repeats": 2}),
    ("hessian", {"which": "both_ends", "precision": "float64", "l2": "paper", "k": 2}),
    ("hessian", {"batch_norm": "batch", "augment": "none"}),
    ("hessian", {"micro_batch": 8, "parameters": "conv"}),
    ("spectral_density", {"micro_batch": 8, "augment": "weak"}),
    ("landscape", {"convention": "paper", "augment": "recipe"}),
    ("landscape", {"directions": "trajectory", "normalisation": "none"}),
    ("landscape", {"directions": "eigenvectors", "normalisation": "none"}),
    ("interpolation", {"batch_norm": "batch", "l2": "paper"}),
)
"""Settings that take other paths through the code than the defaults do."""

TOLERANCE = 1e-4
TOLERANCES = {"hessian": 5e-3, "spectral_density": 1e-2, "landscape": 1e-3, "interpolation": 1e-3}
"""How far a column of numbers may lie from that of the CPU, in parts of its largest value. Eigenvalues are as good as
the residual that they are asked for; what follows from a few Lanczos steps in single precision is worse."""

SMALLEST = 1e-2
"""What the largest value of a column counts as if it is smaller: below, differences are taken as they are."""

NOT_COMPARED = {"hessian": ("residual", "products", "checking", "overlap"), "spectral_density": ("residual",)}
"""Columns that say how the search went: it may take another product."""


class Finding(NamedTuple):
    """What came of one instrument on one network.

    Attributes:
        apart: The largest difference of any column between GPU and CPU, in parts of the column's largest value.
        where: That column.
        allowed: What may lie between them.
        again: The same between two calls on the GPU.
        touched: What of the model was not as before.
        grown: Bytes that stayed allocated on the GPU after the second call.
    """

    apart: float
    where: str
    allowed: float
    again: float
    touched: list[str]
    grown: int

    @property
    def wrong(self) -> list[str]:
        """What is not as promised, in words."""
        far = [] if self.apart <= self.allowed else [f"{self.where}: {self.apart:.1e}, allowed {self.allowed:.0e}"]
        touched = [f"not as before: {', '.join(self.touched[:3])}"] if self.touched else []
        return far + touched + ([f"{self.grown} bytes stay on the GPU"] if self.grown > 0 else [])


def compared(
    name: str,
    make: Callable[[str], Subject],
    data: Batches,
    settings: Mapping[str, Any] | None = None,
    *,
    device: str = "cuda",
) -> Finding:
    """Measure the same model on both devices.

    Args:
        name: Of the instrument.
        make: Gives the subject on a device.
        data: The images.
        settings: Of the instrument, beside the quick ones.
        device: What is compared with the CPU.
    """
    instrument = instruments()[name](**QUICK.get(name, {}) | dict(settings or {}))
    expected = instrument.measure(make("cpu"), data)
    subject = make(device)
    first = instrument.measure(subject, data)
    lived_in(subject.model)
    before, held = state(subject.model), held_bytes()
    second = instrument.measure(subject, data)
    grown, touched = held_bytes() - held, differences(before, state(subject.model))
    apart, where = furthest(first, expected)
    return Finding(apart, where, TOLERANCES.get(name, TOLERANCE), furthest(second, first)[0], touched, grown)


def furthest(one: Measurement, other: Measurement) -> tuple[float, str]:
    """The largest difference between two measurements, in parts of the largest value of its column, and the column.

    Texts that differ, and numbers that only one has, are infinitely far apart.
    """
    worst = (0.0, "")
    for key, table in one.tables.items():
        for column in table.columns:
            if column not in NOT_COMPARED.get(one.instrument, ()):
                apart = _apart(table[column].to_numpy(), other.tables[key][column].to_numpy())
                worst = max(worst, (apart, f"{key}.{column}"))
    return worst


def state(model: nn.Module) -> dict[str, Any]:
    """Everything that a measurement must leave as it was, on the CPU, where it can be compared."""
    found = _on_cpu(of(model))
    if torch.cuda.is_available():
        found["random on the GPU"] = torch.cuda.get_rng_state()
        found["autocast on the GPU"] = torch.is_autocast_enabled("cuda")
    return found


def held_bytes() -> int:
    """What PyTorch holds of the GPU's memory for tensors that are alive."""
    gc.collect()
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def _on_cpu(thing: Any) -> Any:
    if isinstance(thing, torch.Tensor):
        return thing.cpu()
    if isinstance(thing, dict):
        return {key: _on_cpu(value) for key, value in thing.items()}
    return type(thing)(map(_on_cpu, thing)) if isinstance(thing, list | tuple) else thing


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return float("inf")
    if not np.issubdtype(one.dtype, np.number):
        return 0.0 if (one == other).all() else float("inf")
    one, other = one.astype(float), other.astype(float)
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return float("inf")
    if not len(one) or np.isnan(one).all():
        return 0.0
    return float(np.nanmax(np.abs(one - other))) / max(float(np.nanmax(np.abs(other))), SMALLEST)
