"""Files that survive a kill: atomic writes, a journal of finished rows, and safe names for folders."""

import hashlib
import json
import logging
import os
import platform
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from alternet import __version__
from alternet.errors import shortened
from alternet.files import NoTextError, open_file, read_file, read_text

LOG = logging.getLogger("alternet")

LOCK, HOLDER = ".lock", ".lock-holder"
"""In a folder that is being written: what is locked, and who has locked it."""
ABANDONED = 60
"""Seconds after which nobody is writing on a file that is half-written."""
JOURNALS = "items.*.jsonl"
"""What journals are called, with the number of their process."""


def safe_name(name: str) -> str:
    """A model's name as one folder name: `/`, `:`, `@` and whatever else a file system may refuse become `_`.

    Examples:
        >>> safe_name("resnet50@weights/best.pth"), safe_name("..")
        ('resnet50_weights_best.pth', '_.')
    """
    return re.sub(r"[^\w.+=-]", "_", re.sub(r"^[.-]", "_", name.strip()), flags=re.ASCII)[:200] or "_"


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that is too long, or a folder that may not be looked into, holds none."""
    try:
        return path.is_file()
    except OSError:
        return False


def require_writable(folder: Path, content: bytes = b"") -> None:
    """Make a folder, and fail before the work, not after it, where nothing can be written into it.

    Args:
        folder: Where.
        content: What is tried, and gone again at once: a full disk takes an empty file, but not a byte.

    Raises:
        OSError: It is a file, may not be written, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:  # of no name, so that nothing is left of it, whatever happens
            file.write(content)
    except OSError as error:
        raise OSError(
            f"The folder {folder} cannot be written ({error.strerror or error}). Give another --out."
        ) from error


def sha256_of(path: Path) -> str:
    """Checksum of a file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of the packages that decide numbers, as they stand beside every result; ours also if not installed.

    Examples:
        >>> list(versions())
        ['alternet', 'torch', 'timm', 'numpy']
    """
    return {"alternet": __version__} | {name: version(name) for name in ("torch", "timm", "numpy")}


def require_same(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any], *, holds: str, again: str) -> None:
    """Refuse a folder that holds the result of something else.

    Args:
        folder: The folder.
        stored: The facts that its result was made of.
        now: The facts that decide the result asked for.
        holds: What the folder holds, for the message: a measurement, a training.
        again: What is done in an empty folder, for the message: measure again, train anew.

    Raises:
        ValueError: It does; the first fact that differs is named, and of several values in it those that do.
    """
    for fact, value in now.items():
        if (before := stored.get(fact)) != value:
            raise ValueError(
                f"{folder} holds a {holds} with another {fact} ({_differences(before, value)}). "
                f"Give another --out, or delete that folder to {again}."
            )


def require_same_networks(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any], *, again: str) -> str:
    """Refuse a folder whose result was made of another network with the same weights.

    Args:
        folder: The folder.
        stored: `architectures` of the models by name, and `versions` of the packages, as they are stored; a result of
            version 0.1.0 states no architectures.
        now: The same of the result asked for.
        again: What is done in an empty folder, for the message.

    Returns:
        Why the architectures could not be compared, empty where they were.

    Raises:
        ValueError: Another network it is.
    """
    before = stored.get("architectures")
    if not before:
        return f"{folder} does not state the architecture of its network, so only its weights were compared."
    made, here = stored.get("versions") or {}, now["versions"]
    if others := [name for name in ("torch", "timm") if made.get(name) != here[name]]:
        then = ", ".join(f"{name} {made.get(name)}, now {here[name]}" for name in others)
        return f"{folder} was made with {then}, so of its network only the weights were compared, not the architecture."
    for name, is_now in now["architectures"].items():
        if (was := before.get(name)) != is_now:
            if was and was["of"] != is_now["of"]:
                return (
                    f"{folder} and the model {name} state their architectures differently, so they were not compared."
                )
            raise ValueError(
                f"{folder} holds the result of another network than {name} is now: the weights are the same, but not "
                "the architecture (activations, heads, windows, dropout, or other operations and their settings). "
                f"Give another --out, or delete that folder to {again}."
            )
    return ""


def _differences(before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        pairs = ((key, shortened(before.get(key), 120), shortened(now.get(key), 120)) for key in differing)
        return "; ".join(f"{key}: {old}, now {new}" for key, old, new in pairs)
    return f"{shortened(before, 120)}, now {shortened(now, 120)}"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a temporary neighbour, flushed to the disk, then renamed.

    Text is written as UTF-8. Bytes of file names that are no text, as some systems allow, are written as escapes.

    Raises:
        OSError: The disk is full or the folder cannot be written; an older file at `path` is still there.
    """
    data, temporary = as_bytes(content), ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)  # the mask can only be read by setting another
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp lets nobody but the owner read
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) and error.errno:  # which names the temporary file, or none
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    on_disk(path.parent)


def sweep(path: Path) -> None:
    """Remove what writers of a file left half-written beside it who were killed, where nobody holds a lock."""
    with suppress(OSError):
        for left in path.parent.glob(f".{escape(path.name)}.????????"):
            found = left.lstat()
            ours = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600  # as mkstemp makes them
            if ours and time.time() - found.st_mtime > ABANDONED:
                left.unlink(missing_ok=True)


def on_disk(folder: Path) -> None:
    """Flush a folder with fsync, so that a rename survives a power cut, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


TEMPORARY = re.compile(r"\.[\w.-]+\.(csv|json|jsonl|safetensors)\.[a-z0-9_]{8}")
"""How a file is called that is not whole yet: a dot, the name that it will have, and eight characters of `mkstemp`."""


def _temporary(folder: Path) -> Iterator[Path]:
    """What writers that were killed left in a folder and below it, or one that is at work is just filling."""
    for place in (folder, *(folder / below for below in ("snapshots", "snapshots/ema"))):
        yield from (file for file in place.glob(".*") if TEMPORARY.fullmatch(file.name) and file.is_file())


def as_bytes(content: str | bytes) -> bytes:
    """What `write_atomically` writes."""
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented UTF-8 JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Write into a folder alone, or not at all: a lock that the kernel releases when its owner ends, however it ends.

    Where the file system knows no locks, filelock keeps a file there in place of one, and warns.

    Raises:
        ValueError: Somebody else is writing there.

    Examples:
        >>> with sole_writer(getfixture("tmp_path")):
        ...     pass
    """
    folder.mkdir(parents=True, exist_ok=True)
    # not by thread: a generator that holds it may be closed by another one
    lock, note = FileLock(folder / LOCK, timeout=0, thread_local=False), folder / HOLDER
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"{folder} is being written by {_holder(note)}. Wait until that has ended and start again, or give another "
            "--out."
        ) from error
    try:
        with suppress(OSError):
            note.unlink(missing_ok=True)  # it may be a link or a pipe that somebody else laid there
            with note.open("x", encoding="utf-8") as file:
                file.write(f"process {os.getpid()} on {platform.node() or 'this machine'}")
        with suppress(OSError):
            for file in _temporary(folder):
                file.unlink(missing_ok=True)
        yield
    finally:
        for file in (note, folder / LOCK):  # filelock notices a file that was deleted while it waited for it
            with suppress(OSError):
                file.unlink(missing_ok=True)
        lock.release()


def tidy(folder: Path) -> None:
    """Remove what stands beside a finished result because its writer was killed behind the last file.

    Nothing is removed where somebody is writing, and nothing said where nothing may be.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> (folder / LOCK).touch()
        >>> tidy(folder)
        >>> list(folder.iterdir())
        []
    """
    if any((*_temporary(folder), *folder.glob(f"{LOCK}*"), *folder.glob(JOURNALS))):
        with suppress(ValueError, OSError), sole_writer(folder):
            Journal(folder, "").remove()


def _holder(note: Path) -> str:
    for _ in range(10):  # who has just locked the folder is about to say so
        with suppress(OSError, NoTextError):
            if said := read_text(note, most=1000).strip():
                return said
        time.sleep(0.02)
    return "another process"


class Journal:
    """Rows of finished items, one JSON line an item, on the disk before `add` returns.

    The first line states what is being measured (`identity`). A line cut off by a kill is ignored and overwritten.
    Each process writes a file of its own (`part`), and all of them are read, so a run may go on with another number of
    processes.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> with Journal(folder, identity="a") as journal:
        ...     journal.add("0", [[1.5]])
        >>> Journal(folder, identity="a").done()
        {'0': [[1.5]]}
    """

    def __init__(
        self, folder: Path, identity: str, *older: str, part: int = 0, networks: Mapping[str, Any] | None = None
    ) -> None:
        """The journal in a folder.

        Args:
            folder: The folder.
            identity: What is being measured.
            older: Other identities of the same measurement that are taken up as well.
            part: Number of the process.
            networks: What is known of the models beside the identity, as `require_same_networks` takes it.
        """
        self.folder, self.identity, self.older = folder, identity, older
        self.networks = dict(networks or {})
        self.path = folder / f"items.{part}.jsonl"

    def done(self) -> dict[str, list]:
        """The rows of every finished item, whichever process measured it.

        Raises:
            ValueError: The folder holds items of another measurement.
        """
        rows: dict[str, list] = {}
        for path in sorted(self.folder.glob(JOURNALS)):
            lines = list(_whole_lines(path))
            if lines and lines[0].get("identity") not in (self.identity, *self.older):
                raise ValueError(
                    f"{self.folder} holds a half-finished measurement with other settings, weights or data. "
                    "Give another --out, or delete that folder to start again."
                )
            if lines and self.networks:
                require_same_networks(self.folder, lines[0], self.networks, again="start again")
            rows.update({line["item"]: line["rows"] for line in lines[1:]})
        return rows

    def __enter__(self) -> "Journal":
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = "".join(json.dumps(line) + "\n" for line in _whole_lines(self.path)) if self.path.exists() else ""
        write_atomically(self.path, whole or json.dumps({"identity": self.identity, **self.networks}) + "\n")
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def add(self, item: str, rows: list) -> None:
        """Store the rows of one finished item."""
        self._file.write(json.dumps({"item": item, "rows": rows}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # all that was added is on the disk; what was not says so once
            self._file.close()

    def remove(self) -> None:
        """Delete the journal files once the finished tables are safe."""
        for path in self.folder.glob(JOURNALS):
            path.unlink(missing_ok=True)


def _whole_lines(path: Path) -> Iterator[dict]:
    for line in read_file(path, most=sys.maxsize).decode(errors="replace").splitlines(keepends=True):
        try:
            value = json.loads(line) if line.endswith("\n") else None
        except json.JSONDecodeError:
            return
        if value is None:
            return
        yield value
