"""The figures of the paper as studies: `FIGURES` makes each at a scale, in the order of the paper."""

from collections.abc import Callable

from alternet.studies.declaration import Study
from alternet.studies.figures import accuracy, features, loss
from alternet.studies.scale import Scale

_MADE: dict[str, Callable[[Scale], Study]] = {**accuracy.FIGURES, **features.FIGURES, **loss.FIGURES}

ORDER = (
    *("1a", "1b", "1c", "2a", "2b", "3", "4", "5a", "5b", "6", "7", "8", "9", "10a", "10b", "11", "12a", "12b", "12c"),
    *("C.1", "C.2", "C.3", "C.4", "C.5", "C.6", "C.7", "D.1", "D.2", "D.3", "D.4", "D.5", "E.1", "F.1"),
)

FIGURES: dict[str, Callable[[Scale], Study]] = {name: _MADE[name] for name in ORDER if name in _MADE}
"""By the paper's name."""
