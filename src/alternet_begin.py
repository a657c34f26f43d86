"""Where the command begins: what ends it from outside is met from the first moment on, before anything is imported."""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

LINE = "Stopped. What is finished is kept; start the same command again to go on."
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""Exit codes, as shells give them: Ctrl-C, what schedulers send ahead of the end, and a terminal that is closed."""

AGAIN = 0.05
"""Seconds after which a stop that was lost comes again."""

_met: list[signal.Signals] = []


def code_of_end() -> int:
    """The exit code of what stopped the command, Ctrl-C where nothing else did."""
    return CODES[_met[0] if _met else signal.SIGINT]


def main() -> NoReturn:
    """Entry point: import the command and run it; stopped at any moment, it says so in one line."""
    _meet(_end_now)
    _open_streams()
    sys.unraisablehook = _lost
    from alternet.cli import main as command

    try:
        _meet(_interrupt)
        command()
    except KeyboardInterrupt:  # between the command and here, or a second one while the first was told
        _end_now(signal.SIGINT, None)
    finally:
        _meet(_end_now)  # as Python ends it takes its modules apart


def _meet(handler: "signal._HANDLER") -> None:
    for number in CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it, and a shell that put us aside
            signal.signal(number, handler)


def _open_streams() -> None:
    """Let what is printed go nowhere where there is no output, and into no file of ours that would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the command lasts
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Let all of them end the command as Ctrl-C does: what is finished is stored, the model put back."""
    del frame
    _met[:] = _met or [signal.Signals(number)]
    raise KeyboardInterrupt


def _lost(what: "UnraisableHookArgs") -> None:
    """Send a stop again that Python swallowed in a finaliser; after a stop, report no errors of half-built objects.

    Python goes on after whatever is raised while it finalises an object, or before and after it forks.
    """
    if not _met:
        sys.__unraisablehook__(what)
    elif issubclass(what.exc_type, KeyboardInterrupt):
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), _met[0]))
        again.daemon = True
        again.start()


def _end_now(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    with suppress(OSError):  # the terminal is closed, its reader gone, or the log full
        os.write(2, f"alternet: {LINE}\n".encode())
    os._exit(CODES[_met[0] if _met else signal.Signals(number)])
