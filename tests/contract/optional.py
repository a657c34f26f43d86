"""Instruments that need an optional package of the extra `test`: skipped, with the reason, where it is missing."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import pytest

PACKAGES = {"corruption": ("imagecorruptions", "corruptions")}
"""By instrument: the module that it imports, and the extra that installs it."""


def installed(instrument: str) -> bool:
    """Whether what the instrument needs is there."""
    return instrument not in PACKAGES or find_spec(PACKAGES[instrument][0]) is not None


def case(*values: Any, marks: tuple[Any, ...] = ()) -> Any:
    """One case of a parametrised test whose first value is the name of an instrument."""
    if not installed(values[0]):
        marks += (pytest.mark.skip(reason=f"the extra {PACKAGES[values[0]][1]} is not installed"),)
    return pytest.param(*values, marks=marks)


def cases(instruments: Iterable[str]) -> list[Any]:
    """A case for each instrument."""
    return [case(name) for name in instruments]
