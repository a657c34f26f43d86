"""Registry: every instrument by its name."""

from difflib import get_close_matches

from alternet.instruments.base import Instrument
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
