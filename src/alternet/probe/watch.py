"""One observed pass: it counts the calls of functions to find those that addresses name, shows and edits them."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Any

from alternet.probe.edits import Edits
from alternet.shapes import FeatureMap
from alternet.taps.find import Address, Tap
from alternet.taps.trace import Onlooker, name_of, tensors_in

Visit = Callable[[Tap, FeatureMap], None]
"""Takes each tap with its feature map as soon as it arises."""


class ObservedPass(Onlooker):
    """The mode in which a pass runs; `scopes_followed` must call its `enter` and `leave`.

    Of the thousands of calls only those are counted whose function some address names: the rest costs nearly nothing.
    """

    def __init__(self, taps: Sequence[Tap], edits: Edits, visit: Visit) -> None:
        """Show these taps to `visit`, and let these edits stand in for the calls they name."""
        super().__init__()
        self.visit = visit
        self.reads = {tap.read.spot: tap for tap in taps}
        self.edits = {address.spot: edit for address, edit in edits.items()}
        self.functions = {function for _, function, _ in (*self.reads, *self.edits)}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.path: list[str] = [""]
        self.unread = {tap.name for tap in taps}
        self.edited: set[tuple[str, str, int]] = set()

    def seen(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        name = name_of(func)
        if name not in self.functions:
            return func(*args, **kwargs)
        spot = (self.path[-1], name)
        key = (*spot, self.counts[spot])
        self.counts[spot] += 1
        if key in self.edits:
            self.edited.add(key)
            result = self.edits[key](func, args, kwargs)
        else:
            result = func(*args, **kwargs)
        if key in self.reads:
            self._read(self.reads[key], result)
        return result

    def enter(self, path: str, module: object, args: tuple, kwargs: dict) -> None:
        """A module begins."""
        self.path.append(path)

    def leave(self, path: str, module: object, args: tuple, kwargs: dict, output: Any) -> None:
        """A module ends."""
        self.path.pop()
        if "output" in self.functions:
            key = (path, "output", self.counts[path, "output"])
            self.counts[path, "output"] += 1
            if key in self.reads:
                self._read(self.reads[key], output)

    def _read(self, tap: Tap, result: Any) -> None:
        feature = next(islice(tensors_in(result), tap.read.place, None))
        self.unread.discard(tap.name)
        self.visit(tap, tap.layout.lay(feature))

    def check(self, name: str, due: Collection[Address]) -> None:
        """Refuse a pass that went by a tap, or by a call that was due to be edited.

        Raises:
            ValueError: One of them was not reached.
        """
        missed = {address.module for address in due if address.spot not in self.edited}
        if missing := sorted(self.unread | missed):
            raise ValueError(
                f"{name!r} did not reach {', '.join(missing)} in this pass, though it did when it was "
                "traced. A model whose path depends on the input cannot be observed there; leave these taps out."
            )
