"""Files from outside, opened only if they are files: a pipe, a socket or a device would be waited for without end."""

import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

LARGEST = 2**26
"""Bytes of a text that is read whole; tables and runs take a few thousand."""


class NoTextError(ValueError):
    """A file that was to hold text is none, holds none, or more than it may."""


class NoFileError(NoTextError, OSError):
    """What lies at a path is something else than a file."""


def open_file(path: Path) -> BufferedReader:
    """Open a regular file to read its bytes, without ever waiting for somebody to write.

    Raises:
        NoFileError: It is something else.
        OSError: It cannot be opened.

    Examples:
        >>> open_file(getfixture("tmp_path"))
        Traceback (most recent call last):
        alternet.files.NoFileError: it is a folder, expected a file
    """
    return open(path, "rb", opener=_regular)


def _regular(path: str, flags: int) -> int:
    """The descriptor of a regular file, for `open`, which alone owns it then and closes it at whatever comes."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
            return descriptor
        raise NoFileError(f"it is {KINDS.get(stat.S_IFMT(mode), 'something else')}, expected a file")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path, *, most: int = LARGEST) -> bytes:
    """All bytes of a regular file.

    Raises:
        NoTextError: It is something else, or larger than it may be.
        OSError: It cannot be read.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise NoTextError(f"it has more than {most} bytes")
        return file.read()


def read_text(path: Path, *, most: int = LARGEST) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        NoTextError: It is something else, larger than it may be, or no UTF-8.
        OSError: It cannot be read.
    """
    try:
        return read_file(path, most=most).decode("utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise NoTextError(f"it is no text in UTF-8: byte {error.start} is 0x{byte:02x}") from error


def read_json(path: Path) -> Any:
    """What a regular file holds in JSON.

    Raises:
        NoTextError: It is something else, larger than it may be, or no JSON.
        OSError: It cannot be read.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise NoTextError(f"it is no JSON: {reason}") from error
