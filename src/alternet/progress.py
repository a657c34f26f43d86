"""Progress: one bar with the time left for anything that lasts, silent where nobody looks at a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds after which a bar appears."""


def track(items: Iterable[T], *, label: str, total: int, patience: float = PATIENCE) -> Iterator[T]:
    """Pass the items through; on a terminal, and after two seconds, show how far they are.

    Examples:
        >>> list(track([1, 2, 3], label="fourier", total=3))
        [1, 2, 3]
    """
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task, begun = bar.add_task(label, total=total), time.monotonic()
    try:
        for item in items:
            yield item
            bar.advance(task)
            if not bar.live.is_started and time.monotonic() - begun > patience:
                bar.start()
    finally:
        bar.stop()
