"""Circumstances: when, by which call, at which commit and on which machine a result was made; none decides it."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

_COMMAND: ContextVar[str] = ContextVar("command", default="")


@contextmanager
def command(arguments: Sequence[str]) -> Iterator[None]:
    """What is done inside is done by this command line of `alternet`."""
    token = _COMMAND.set(shlex.join(["alternet", *arguments]))
    try:
        yield
    finally:
        _COMMAND.reset(token)


def circumstances(call: str, device: Any) -> dict[str, Any]:
    """What stands beside a result so that one can find out how it was made.

    Args:
        call: The call in Python; a command line stands in its place where one was given.
        device: The device of torch.

    Examples:
        >>> list(circumstances("f()", "cpu"))
        ['date', 'call', 'git', 'python', 'device', 'device_name']
    """
    kind = getattr(device, "type", str(device).partition(":")[0])
    by = {"command": line} if (line := _COMMAND.get()) else {"call": call}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **by,
        "git": _commit(os.getcwd()),
        "python": platform.python_version(),
        "device": kind,
        "device_name": _name_of(kind, device),
    }


def _name_of(kind: str, device: Any) -> str:
    if kind == "cuda":
        return sys.modules["torch"].cuda.get_device_name(device)
    return processor()


@cache
def processor() -> str:
    """The processor's name; Python knows it on few systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def free_memory() -> int:
    """Bytes of memory that are free, or that the system would give up; where it does not tell, all that there are."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return whole_memory()


def whole_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def _commit(folder: str) -> dict[str, Any] | None:
    """The commit of the repository that a folder lies in, and whether tracked files were changed since; or None."""
    # A repository may name a program to watch its files with, and it is not ours to run it; nor to write the index.
    git = ["git", "-C", folder, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 10, "check": True}
    options["env"] = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        commit = subprocess.run([*git, "rev-parse", "--verify", "HEAD"], **options).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], **options).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changes.strip())}
