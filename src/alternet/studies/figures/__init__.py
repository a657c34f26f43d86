"""The figures of the paper as studies: `FIGURES` makes each at a scale, in the order of the paper."""

from collections.abc import Callable

from alternet.studies.declaration import Study
from alternet.studies.figures import accuracy, features, loss
from alternet.studies.figures.titles import TITLES
from alternet.studies.scale import Scale

_MADE: dict[str, Callable[[Scale], Study]] = {**accuracy.FIGURES, **features.FIGURES, **loss.FIGURES}

FIGURES: dict[str, Callable[[Scale], Study]] = {name: _MADE[name] for name in TITLES}
"""By the paper's name."""
