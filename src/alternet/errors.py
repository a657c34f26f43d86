"""Errors: what, got, expected, what to do, in one line; and the names that somebody may have meant."""

import errno
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TypeGuard


class Doubt(UserWarning):
    """A fact that numbers rest on is not known, or was not given as it stands: Python warns, the command notes it."""


class LostProcess(BaseException):
    """Another process of this command is stopped, hangs or is no more, so that this one ends as well.

    It is no `Exception`: no instrument is to blame for it, and none of those to come could be measured either.

    Attributes:
        told: Whether another process says so already.
    """

    def __init__(self, line: str, *, told: bool = False) -> None:
        super().__init__(line)
        self.told = told


class Failure(RuntimeError):
    """Work that failed through no wrong argument; what it says is addressed to the user, and told as it stands."""


def nearest(name: str, known: Iterable[str], *, shown: int = 8) -> str:
    """The known names nearest to one that is not known, or else some of those that there are.

    Examples:
        >>> nearest("fuorier", ["fourier", "variance"]), nearest("x", ["fourier", "variance"])
        ('fourier', 'fourier, variance')
    """
    names = list(known)
    return ", ".join(get_close_matches(name, names, n=3, cutoff=0.5) or names[:shown])


def unknown(what: str, name: str, known: Iterable[str], *, see: str = "") -> ValueError:
    """The error for a name that there is not, with near matches.

    Args:
        what: How the sentence begins.
        name: The name.
        known: The names that there are.
        see: What lists them, where they are too many for a few to help when none is near.

    Examples:
        >>> unknown("No instrument", "fuorier", ["fourier"])
        ValueError("No instrument 'fuorier'. Did you mean fourier?")
    """
    names = list(known)
    if see and not get_close_matches(name, names, n=1, cutoff=0.5):
        return ValueError(f"{what} {name!r}. See: {see}.")
    return ValueError(f"{what} {name!r}. Did you mean {nearest(name, names)}?")


def shortened(value: object, longest: int) -> str:
    """A value as Python writes it, cut off behind so many characters.

    Examples:
        >>> shortened("abcdefghij", 9)
        "'abcde..."
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, lists within lists
        text = f"a {type(value).__name__}"
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def not_seen(layers: Sequence[str]) -> str:
    """What it means that a trace sees nothing of what some layers do.

    Examples:
        >>> not_seen(["fc"])
        '1 quantised layer is not seen (fc), so units that act in it are missing or of another kind.'
    """
    named = f"({', '.join(layers[:3])}{', ...' if layers[3:] else ''})"
    if len(layers) == 1:
        return f"1 quantised layer is not seen {named}, so units that act in it are missing or of another kind."
    said = f"{len(layers)} quantised layers are not seen {named}"
    return f"{said}, so units that act in them are missing or of another kind."


LONG = re.compile(r"\S{301,}")
"""A word of a message that is longer than any that was meant."""


LONGEST = 1000
"""Characters of a message; its beginning says what is wrong, its end what to do."""


def _middle_left_out(word: re.Match[str]) -> str:
    return f"{word[0][:100]}...{word[0][-100:]}"


def _of_system(error: BaseException) -> TypeGuard[OSError]:
    """Whether it is an error of the operating system, which Python tells with a number in front."""
    return isinstance(error, OSError) and error.errno is not None and error.strerror is not None


FULL = "Make room there, or write elsewhere"
WAYS = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EROFS: "Write elsewhere"}
"""What to do about an error of the operating system, by its number, where there is one thing to do."""


def _told_of_system(error: OSError) -> str:
    """Where it happened, what happened, and what to do unless that is said already."""
    said = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error.strerror)
    way = WAYS.get(error.errno or 0) if error.strerror == os.strerror(error.errno or 0) else None
    return f"{said}. {way}." if way else said


def first_line(error: BaseException, most: int = 200) -> str:
    r"""The first line of what somebody else's error says, for a sentence of ours; its class where it says nothing.

    Examples:
        >>> first_line(RuntimeError("No kernel.\nTraceback ...")), first_line(EOFError())
        ('No kernel', 'EOFError')
    """
    return str(error).strip().partition("\n")[0][:most].rstrip(" .") or type(error).__name__


def damage(error: Exception) -> str:
    r"""What somebody who read a file found wrong with its content, in one line.

    Examples:
        >>> damage(KeyError("model")), damage(ValueError("it is\n  no JSON"))
        ("it lacks 'model'", 'it is no JSON')
    """
    return f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())


def in_one_line(error: BaseException) -> str:
    """An error in one line; one that is not addressed to the user is told with its class.

    Examples:
        >>> in_one_line(ValueError("No such model.")), in_one_line(AssertionError())
        ('No such model.', 'AssertionError')
    """
    said = _told_of_system(error) if _of_system(error) else str(error)
    line, kind = LONG.sub(_middle_left_out, " ".join(said.split())), type(error).__name__
    line = line if len(line) <= LONGEST else f"{line[:500]} ... {line[-250:]}"
    addressed = isinstance(error, ValueError | OSError | FloatingPointError | MemoryError | Failure)
    return line if line and addressed else ": ".join(filter(None, (kind, line)))
