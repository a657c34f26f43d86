"""Patience: how long something is waited for from which nothing comes, and how much was finished here meanwhile."""

import os

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


class Finished:
    """Counts what this process has finished: batches, answers of a model, Hessian products, files looked at.

    Examples:
        >>> counted = Finished()
        >>> counted.one()
        >>> counted.count
        1
    """

    def __init__(self) -> None:
        self.count = 0

    def one(self) -> None:
        """Something more is finished; it costs next to nothing."""
        self.count += 1


FINISHED = Finished()
"""That of this process."""
