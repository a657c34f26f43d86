"""Catalogue: every instrument there is, found in its folder or through the entry points of other packages; no torch."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

import alternet.instruments
from alternet.errors import unknown
from alternet.instruments.base import Instrument

GROUP = "alternet.instruments"
"""Entry points of this group name the module, or the class, of an instrument in another package."""


def instruments() -> dict[str, type[Instrument]]:
    """Every instrument by name, in the order of lists and reports: ours, then those of other packages."""
    return _found()[0]


def broken() -> dict[str, str]:
    """Entry points that cannot be used, each with the reason: whatever somebody else's package does, ours go on."""
    return _found()[1]


@cache
def _found() -> tuple[dict[str, type[Instrument]], dict[str, str]]:
    rooms = [name for _, name, is_folder in pkgutil.iter_modules(alternet.instruments.__path__) if is_folder]
    ours = [_instrument_in(import_module(f"{alternet.instruments.__name__}.{room}")) for room in rooms]
    known = {kind.spec.name: kind for kind in sorted(ours, key=lambda kind: kind.spec.order)}
    refused: dict[str, str] = {}
    # by name, since their own order is that of the packages on the path
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            kind = _instrument_in(entry.load())
            if kind.spec.name in known:
                raise ValueError(f"there is an instrument {kind.spec.name!r} already")
            known[kind.spec.name] = kind
        except Exception as error:
            package = entry.dist.name if entry.dist else entry.value
            refused[entry.name] = f"{type(error).__name__}: {error}; it is of the package {package}"
    return known, refused


def instrument(name: str) -> type[Instrument]:
    """The instrument of that name; dashes are read as underscores.

    Raises:
        ValueError: There is none; near matches are offered.

    Examples:
        >>> instrument("fourier")(axis="paper").settings["axis"]
        'paper'
    """
    known, name = instruments(), name.replace("-", "_")
    if name in known:
        return known[name]
    if name in broken():
        raise ValueError(
            f"The instrument {name!r} cannot be loaded ({broken()[name]}). Repair its package or uninstall it."
        )
    raise unknown("No instrument", name, known)


def _instrument_in(named: object) -> type[Instrument]:
    """The instrument that is named, or the one that a module defines."""
    if isinstance(named, type) and issubclass(named, Instrument):
        return named
    if not isinstance(named, ModuleType):
        raise TypeError(f"expected a subclass of Instrument, or a module that defines one, got {named!r}")
    # what it imports, as Instrument itself, is not its own
    own = [
        value
        for value in vars(named).values()
        if isinstance(value, type) and issubclass(value, Instrument) and value.__module__ == named.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{named.__name__} defines {len(own)} instruments, expected one")
    return own[0]
