"""Progress: one bar with the time left for anything that lasts, silent where nobody looks at a terminal."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from alternet.patience import FINISHED
from alternet.shown import as_text

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds after which a bar appears."""


def track(items: Iterable[T], *, label: str, total: int) -> Iterable[T]:
    """Pass the items through; on a terminal, and after two seconds, show on stderr how far they are.

    Examples:
        >>> list(track([1, 2, 3], label="fourier", total=3))
        [1, 2, 3]
    """
    return tqdm(
        _counted(items), desc=as_text(label), total=total, delay=PATIENCE, disable=None, leave=False, dynamic_ncols=True
    )


def _counted(items: Iterable[T]) -> Iterator[T]:
    for item in items:
        yield item
        FINISHED.one()
