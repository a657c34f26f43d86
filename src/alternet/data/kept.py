"""What is kept in memory of the images: decoded pictures and frozen batches, within one budget of this process."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from alternet.circumstances import free_memory
from alternet.data.eval_transform import EvalTransform, unit_range
from alternet.data.image_dataset import ImageDataset
from alternet.stamp import Stamp

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST = 4 * 2**30
"""Bytes that are kept at most, unless somebody says otherwise."""


class Budget:
    """How many bytes all stores together may hold; a quarter of the memory that is free at first, 4 GiB at most.

    Examples:
        >>> Budget(100).room
        100
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._stores: WeakSet[Store] = WeakSet()

    @property
    def most(self) -> int:
        """The limit in bytes."""
        if self._most is None:
            self._most = min(MOST, free_memory() // 4)
        return self._most

    @most.setter
    def most(self, value: int) -> None:
        self._most = value

    @property
    def room(self) -> int:
        """What is left of it; a store that nobody holds any more leaves its share to the others."""
        return self.most - sum(store.bytes for store in self._stores)

    def register(self, store: "Store") -> None:
        """Count a store from now on."""
        self._stores.add(store)


BUDGET = Budget()
"""That of this process."""


class Store(Generic[Key, Value]):
    """What was made once and need not be made again, as far as the budget goes.

    Examples:
        >>> store = Store(Budget(10))
        >>> store.offer("a", lambda: 1, size=8)
        >>> store.offer("b", lambda: 2, size=8)
        >>> "a" in store, store["a"], "b" in store
        (True, 1, False)
    """

    def __init__(self, budget: Budget = BUDGET) -> None:
        self.bytes = 0
        self._held: dict[Key, Value] = {}
        self._budget = budget
        budget.register(self)

    def offer(self, key: Key, make: Callable[[], Value], *, size: int) -> None:
        """Keep what `make` gives, of so many bytes, if there is room for it; otherwise it is not even made."""
        if key not in self._held and size <= self._budget.room:
            self._held[key] = make()
            self.bytes += size

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
        self.bytes = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._held

    def __getitem__(self, key: Key) -> Value:
        return self._held[key]

    def __len__(self) -> int:
        return len(self._held)


Picture = tuple[Tensor, int] | str
"""The pixels of a prepared picture, uint8 [c, h, w], with its class number; or the reason why it cannot be read."""

_DECODED: WeakKeyDictionary[ImageDataset, dict[EvalTransform, Store[int, Picture]]] = WeakKeyDictionary()


def decoded(dataset: ImageDataset, transform: EvalTransform) -> Store[int, Picture]:
    """The pictures of a data set that were prepared in one way, by number; whoever measures them next shares them."""
    return _DECODED.setdefault(dataset, {}).setdefault(transform, Store())


class Frozen(Store[int, tuple[Tensor, Tensor]]):
    """Frozen batches by number: images of 256 levels as bytes, others as they are, and their targets.

    A batch that there is no room for is drawn again from the same seed.

    Examples:
        >>> frozen = Frozen(Budget(1000))
        >>> frozen.keep(0, unit_range(torch.arange(256, dtype=torch.uint8)), torch.zeros(1))
        >>> frozen.bytes, torch.equal(frozen.batch(0)[0], unit_range(torch.arange(256)))
        (260, True)
    """

    versions: Stamp = ()
    """Versions of the images in memory that they were drawn from."""

    def keep(self, number: int, images: Tensor, targets: Tensor) -> None:
        """Keep a batch if there is room for it."""
        levels = images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
        stored = levels if torch.equal(unit_range(levels), images) else images  # mixing and erasing leave the levels
        self.offer(number, lambda: (stored.clone(), targets.clone()), size=stored.nbytes + targets.nbytes)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """A batch as it was drawn; whoever writes into it changes nothing that is kept."""
        images, targets = self[number]
        return unit_range(images) if images.dtype == torch.uint8 else images.clone(), targets.clone()
