"""Errors that others raise are told in one line, also where they say nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alternet.data.corrupted_sets import _array
from alternet.distributed import local_device
from alternet.loss.derivatives import refused_in_a_line


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


def test_an_array_that_fails_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "load", silent(EOFError))
    with pytest.raises(ValueError, match="fog.npy cannot be read as an array .EOFError.. It is damaged"):
        _array(Path("fog.npy"))
