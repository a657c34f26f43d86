"""Errors that others raise are told in one line, also where they say nothing."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alternet.data.corrupted_sets import _array
from alternet.distributed import local_device
from alternet.errors import Failure, in_one_line
from alternet.loss.derivatives import refused_in_a_line
from alternet.studies.executor import jobs_failed


def silent(error: type[Exception]) -> Any:
    """Something that fails with this error and no word."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def test_a_derivative_that_fails_without_a_word() -> None:
    with pytest.raises(ValueError, match="twice by these parameters .RuntimeError.. Give"), refused_in_a_line("net"):
        silent(RuntimeError)()


def test_a_device_that_fails_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "empty", silent(AssertionError))
    with pytest.raises(ValueError, match="Device 'cpu' cannot be used here .AssertionError.. Try"):
        local_device("cpu")


def test_an_array_that_fails_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fog.npy").touch()
    monkeypatch.setattr(np, "load", silent(EOFError))
    with pytest.raises(ValueError, match="fog.npy cannot be read as an array .EOFError.. It is damaged"):
        _array(tmp_path / "fog.npy")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "No space left on device. Make room there, or write elsewhere",
        ),
        (
            OSError(errno.EROFS, os.strerror(errno.EROFS), "out/a.csv"),
            "out/a.csv: Read-only file system. Write elsewhere",
        ),
        (OSError(errno.ENOSPC, "The folder is full; make room", "out"), "out: The folder is full; make room"),
        (ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), "Connection reset by peer"),
        (Failure("Two jobs failed."), "Two jobs failed."),
        (RuntimeError("no kernel"), "RuntimeError: no kernel"),
    ],
)
def test_a_line_begins_with_neither_a_number_nor_a_class_of_ours(error: Exception, line: str) -> None:
    assert in_one_line(error).rstrip(".") == line.rstrip(".")
    assert in_one_line(jobs_failed(3, ["a (no room)"])) == "1 of 3 jobs failed: a (no room)."
