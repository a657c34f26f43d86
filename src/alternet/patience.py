"""Patience: how long something is waited for from which nothing comes, and how much was finished here meanwhile."""

import os
import stat
import time
from contextlib import suppress

TIMEOUT = "ALTERNET_TIMEOUT"
"""The variable in which `--timeout` stands, so that the processes of a command and the jobs of a study inherit it."""


def patience() -> int:
    """Seconds that are waited for another process that finishes nothing: ten minutes, or what `--timeout` says.

    Raises:
        ValueError: It says no whole number above 0.
    """
    text = os.environ.get(TIMEOUT, "") or "600"
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) == int(text)):
        raise ValueError(
            f"{TIMEOUT} is {text[:40]!r}, expected a whole number of seconds above 0. Correct or unset it."
        )
    return int(text)


PULSE = "ALTERNET_PULSE"
"""The variable in which a process finds the number of the pipe through which whoever started it hears that it gets on.
"""

BEAT = 1.0
"""Seconds between two signs of life."""


class Finished:
    """Counts what this process has finished: batches, answers of a model, Hessian products, files looked at.

    Args:
        pipe: Who started this process hears of it at the other end; None where nobody listens.

    Examples:
        >>> counted = Finished()
        >>> counted.one()
        >>> counted.count
        1
    """

    def __init__(self, pipe: int | None = None) -> None:
        self.count, self._pipe, self._next = 0, pipe, 0.0

    def one(self) -> None:
        """Something more is finished; it costs next to nothing."""
        self.count += 1
        if self._pipe is not None and (now := time.monotonic()) >= self._next:
            self._next = now + BEAT
            with suppress(OSError):  # nobody listens any more, or has not listened for long
                os.write(self._pipe, b".")


def _listener() -> int | None:
    """The pipe to whoever started this process; what this process starts itself shall not find it."""
    text = os.environ.pop(PULSE, "")
    with suppress(OSError, ValueError, OverflowError):
        if text and stat.S_ISFIFO(os.fstat(int(text)).st_mode):
            return int(text)
    return None


FINISHED = Finished(_listener())
"""That of this process."""
