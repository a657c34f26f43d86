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
    from alternet.instruments.calibration import Calibration
    from alternet.instruments.corruption import Corruption
    from alternet.instruments.fourier import Fourier
    from alternet.instruments.fourier_heatmap import FourierHeatmap
    from alternet.instruments.frequency_noise import FrequencyNoise
    from alternet.instruments.hessian import Hessian
    from alternet.instruments.interpolation import Interpolation
    from alternet.instruments.landscape import Landscape
    from alternet.instruments.lesion import Lesion
    from alternet.instruments.shape_bias import ShapeBias
    from alternet.instruments.similarity import Similarity
    from alternet.instruments.spectral_density import SpectralDensity
    from alternet.instruments.trajectory import Trajectory
    from alternet.instruments.variance import Variance
    from alternet.measurement import Measurement, find_measurements
    from alternet.report import render
    from alternet.training import Recipe, train
    from alternet.views.loading import load
    from alternet.views.predictions import Predictions
    from alternet.views.probe import Probe
    from alternet.views.risk import Risk
    from alternet.views.subject import Subject
    from alternet.views.taps import Tap

__version__ = "0.1.0"

_HOMES = {
    "alternet.data": ("Augmentation", "Batches", "batches"),
    "alternet.instruments.calibration": ("Calibration",),
    "alternet.instruments.corruption": ("Corruption",),
    "alternet.instruments.fourier": ("Fourier",),
    "alternet.instruments.similarity": ("Similarity",),
    "alternet.instruments.lesion": ("Lesion",),
    "alternet.instruments.hessian": ("Hessian",),
    "alternet.instruments.spectral_density": ("SpectralDensity",),
    "alternet.instruments.frequency_noise": ("FrequencyNoise",),
    "alternet.instruments.fourier_heatmap": ("FourierHeatmap",),
    "alternet.instruments.shape_bias": ("ShapeBias",),
    "alternet.instruments.interpolation": ("Interpolation",),
    "alternet.instruments.landscape": ("Landscape",),
    "alternet.instruments.trajectory": ("Trajectory",),
    "alternet.instruments.variance": ("Variance",),
    "alternet.measurement": ("Measurement", "find_measurements"),
    "alternet.report": ("render",),
    "alternet.training": ("Recipe", "train"),
    "alternet.views.loading": ("load",),
    "alternet.views.predictions": ("Predictions",),
    "alternet.views.probe": ("Probe",),
    "alternet.views.risk": ("Risk",),
    "alternet.views.subject": ("Subject",),
    "alternet.views.taps": ("Tap",),
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
