"""Files from outside, opened only if they are files: a pipe, a socket or a device would be waited for without end."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

LARGEST = 2**26
"""Bytes of a text that is read whole; tables and runs take a few thousand."""


class NoFileError(OSError):
    """What lies at a path is something else than a file."""


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read its bytes, without ever waiting for somebody to write.

    Raises:
        NoFileError: It is something else.
        OSError: It cannot be opened.

    Examples:
        >>> open_file(getfixture("tmp_path"))
        Traceback (most recent call last):
        alternet.files.NoFileError: it is a folder, expected a file
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
            raise NoFileError(f"it is {KINDS.get(stat.S_IFMT(mode), 'something else')}, expected a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path, *, most: int = LARGEST) -> bytes:
    """All bytes of a regular file.

    Raises:
        NoFileError: It is something else.
        OSError: It cannot be read, or is larger than it may be.
    """
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"it has more than {most} bytes")
    return content


def read_text(path: Path) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no UTF-8.
    """
    try:
        return read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from error
