"""Catalogue: every instrument there is, found in its folder or through the entry points of other packages; no torch."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

import alternet.instruments
from alternet.errors import unknown
from alternet.instruments.base import Instrument

GROUP = "alternet.instruments"
"""Entry points of this group name the module, or the class, of an instrument in another package."""


@cache
def instruments() -> dict[str, type[Instrument]]:
    """Every instrument by name, in the order of lists and reports: ours, then those of other packages.

    Raises:
        ValueError: An instrument of another package has the name of one that is there already.
    """
    rooms = [name for _, name, is_folder in pkgutil.iter_modules(alternet.instruments.__path__) if is_folder]
    found = [_instrument_in(import_module(f"{alternet.instruments.__name__}.{room}")) for room in rooms]
    known = {kind.spec.name: kind for kind in sorted(found, key=lambda kind: kind.spec.order)}
    for entry in _plugins():
        kind = _loaded(entry)
        if isinstance(kind, str):
            continue
        if kind.spec.name in known:
            raise ValueError(
                f"The package {entry.dist.name if entry.dist else entry.value!r} brings an instrument "
                f"{kind.spec.name!r}, but there is one of that name already. Rename it, or uninstall the package."
            )
        known[kind.spec.name] = kind
    return known


def broken() -> dict[str, str]:
    """Entry points that cannot be used, each with the reason."""
    loaded = {entry.name: _loaded(entry) for entry in _plugins()}
    return {name: reason for name, reason in loaded.items() if isinstance(reason, str)}


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


@cache
def _plugins() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: entry.name))


@cache
def _loaded(entry: EntryPoint) -> type[Instrument] | str:
    """What an entry point names, or why it cannot be used: whatever somebody else's module does, ours go on."""
    try:
        named = entry.load()
        return _instrument_in(named) if isinstance(named, ModuleType) else _require_instrument(named)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _require_instrument(named: object) -> type[Instrument]:
    if not (isinstance(named, type) and issubclass(named, Instrument)):
        raise TypeError(f"expected a subclass of Instrument, or a module that defines one, got {named!r}")
    return named


def _instrument_in(module: ModuleType) -> type[Instrument]:
    """The one instrument that a module defines."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Instrument) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} defines {len(own)} instruments, expected one")
    return own[0]
