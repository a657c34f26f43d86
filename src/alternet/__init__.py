"""AlterNet and the instruments of "How Do Vision Transformers Work?" (Park and Kim, ICLR 2022).

Importing this package is quick: torch and timm come with the first name that needs them, and our models enter timm's
registry as soon as timm itself is imported, before or after.

Examples:
    >>> import alternet as an
    >>> net = an.load("preresnet_mini", num_classes=18)
    >>> data = an.batches("photos", split="test", limit=36)
    >>> an.Variance().measure(net, data).table.columns[0]
    'model'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from alternet.data import Augmentation, Batches, batches
    from alternet.instruments.calibration.measure import Calibration
    from alternet.instruments.corruption.measure import Corruption
    from alternet.instruments.fourier.measure import Fourier
    from alternet.instruments.fourier_heatmap.measure import FourierHeatmap
    from alternet.instruments.frequency_noise.measure import FrequencyNoise
    from alternet.instruments.hessian.measure import Hessian
    from alternet.instruments.interpolation.measure import Interpolation
    from alternet.instruments.landscape.measure import Landscape
    from alternet.instruments.lesion.measure import Lesion
    from alternet.instruments.shape_bias.measure import ShapeBias
    from alternet.instruments.similarity.measure import Similarity
    from alternet.instruments.spectral_density.measure import SpectralDensity
    from alternet.instruments.trajectory.measure import Trajectory
    from alternet.instruments.variance.measure import Variance
    from alternet.loss.risk import Risk
    from alternet.measurement import Measurement, find_measurements
    from alternet.probe.predictions import Predictions
    from alternet.probe.probe import Probe
    from alternet.report import render
    from alternet.subject.loading import load
    from alternet.subject.subject import Subject
    from alternet.taps.find import Tap
    from alternet.training import Recipe, train

__version__ = "0.1.0"

_HOMES = {
    "alternet.data": ("Augmentation", "Batches", "batches"),
    "alternet.instruments.calibration.measure": ("Calibration",),
    "alternet.instruments.corruption.measure": ("Corruption",),
    "alternet.instruments.fourier.measure": ("Fourier",),
    "alternet.instruments.similarity.measure": ("Similarity",),
    "alternet.instruments.lesion.measure": ("Lesion",),
    "alternet.instruments.hessian.measure": ("Hessian",),
    "alternet.instruments.spectral_density.measure": ("SpectralDensity",),
    "alternet.instruments.frequency_noise.measure": ("FrequencyNoise",),
    "alternet.instruments.fourier_heatmap.measure": ("FourierHeatmap",),
    "alternet.instruments.shape_bias.measure": ("ShapeBias",),
    "alternet.instruments.interpolation.measure": ("Interpolation",),
    "alternet.instruments.landscape.measure": ("Landscape",),
    "alternet.instruments.trajectory.measure": ("Trajectory",),
    "alternet.instruments.variance.measure": ("Variance",),
    "alternet.measurement": ("Measurement", "find_measurements"),
    "alternet.report": ("render",),
    "alternet.training": ("Recipe", "train"),
    "alternet.subject.loading": ("load",),
    "alternet.probe.predictions": ("Predictions",),
    "alternet.probe.probe": ("Probe",),
    "alternet.loss.risk": ("Risk",),
    "alternet.subject.subject": ("Subject",),
    "alternet.taps.find": ("Tap",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order in which one meets them
    "load",
    "Subject",
    "batches",
    "Batches",
    "Augmentation",
    "Fourier",
    "Variance",
    "Similarity",
    "Lesion",
    "FrequencyNoise",
    "FourierHeatmap",
    "ShapeBias",
    "Calibration",
    "Corruption",
    "Hessian",
    "SpectralDensity",
    "Landscape",
    "Interpolation",
    "Trajectory",
    "Measurement",
    "find_measurements",
    "render",
    "Recipe",
    "train",
    "Tap",
    "Probe",
    "Predictions",
    "Risk",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'alternet' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


register_post_import_hook(lambda _timm: import_module("alternet.models"), "timm")
