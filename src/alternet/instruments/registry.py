"""Registry: every instrument by its name."""

from difflib import get_close_matches

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
from alternet.instruments.shape_bias import ShapeBias
from alternet.instruments.similarity import Similarity
from alternet.instruments.spectral_density import SpectralDensity
from alternet.instruments.trajectory import Trajectory
from alternet.instruments.variance import Variance

KINDS: tuple[type[Instrument], ...] = (
    Fourier,
    Variance,
    Similarity,
    Lesion,
    FrequencyNoise,
    FourierHeatmap,
    ShapeBias,
    Calibration,
    Corruption,
    Hessian,
    SpectralDensity,
    Landscape,
    Interpolation,
    Trajectory,
)
INSTRUMENTS: dict[str, type[Instrument]] = {kind.name: kind for kind in KINDS}


def instrument(name: str) -> type[Instrument]:
    """The instrument of that name; dashes are read as underscores.

    Raises:
        ValueError: There is none; near matches are offered.

    Examples:
        >>> instrument("fourier")(axis="paper").settings["axis"]
        'paper'
    """
    name = name.replace("-", "_")
    if name not in INSTRUMENTS:
        near = get_close_matches(name, INSTRUMENTS) or list(INSTRUMENTS)
        raise ValueError(f"No instrument {name!r}. Did you mean {', '.join(near)}?")
    return INSTRUMENTS[name]
