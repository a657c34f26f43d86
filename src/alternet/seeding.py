"""Random state: run a block from a seed and leave no trace of it, derive independent seeds, and draw in one dtype."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def random_state_kept(seed: int | None = None) -> Iterator[None]:
    """Run a block without a trace in the global random generators, from `seed` if one is given.

    Examples:
        >>> with random_state_kept(seed=0):
        ...     first = torch.rand(())
        >>> with random_state_kept(seed=0):
        ...     bool(first == torch.rand(()))
        True
    """
    before = random_state()
    try:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # NumPy takes no larger ones
            torch.manual_seed(seed)
        yield
    finally:
        set_random_state(before)


def random_state() -> tuple[Any, ...]:
    """The state of the global random generators of Python, NumPy, torch on the CPU and, once used, on every GPU."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), gpus


def set_random_state(state: tuple[Any, ...]) -> None:
    """Put the global random generators into a state that `random_state` gave.

    Examples:
        >>> state = random_state()
        >>> first = torch.rand(())
        >>> set_random_state(state)
        >>> bool(first == torch.rand(()))
        True
    """
    python, numpy, cpu, gpus = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if gpus:
        torch.cuda.set_rng_state_all(gpus)


def noise(shape: tuple[int, ...]) -> torch.Tensor:
    """Two images of noise in [0, 1] of a shape (c, h, w), the same at every call: [2, c, h, w].

    Examples:
        >>> noise((3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Run code of other packages that draws in torch's default dtype, so that the caller's changes no number.

    Examples:
        >>> with default_dtype(torch.float64):
        ...     torch.rand(()).dtype
        torch.float64
    """
    callers = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(callers)


def reseed(*parts: int | str) -> None:
    """Set the generators of Python, NumPy and torch (on the CPU) to a state that depends on `parts` alone.

    Call it inside `random_state_kept`, as often as wanted: it costs microseconds.

    Examples:
        >>> with random_state_kept():
        ...     reseed(0, "image", 17)
        ...     first = random.random()
        ...     reseed(0, "image", 17)
        ...     first == random.random()
        True
    """
    seed = derived_seed(*parts)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well


def derived_seed(*parts: int | str) -> int:
    """A seed below 2**32 that belongs to `parts`, the same on every machine.

    Examples:
        >>> derived_seed(0, "image", 17) == derived_seed(0, "image", 17) != derived_seed(0, "image", 18)
        True
    """
    # int(), because NumPy 2 writes its own integers as np.int64(3)
    text = repr(tuple(part if isinstance(part, str) else int(part) for part in parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def permuted(order: np.ndarray | int, seed: int) -> np.ndarray:
    """An order, or the numbers below one, shuffled by the seed alone: RandomState never changes between versions."""
    return np.random.RandomState(seed % 2**32).permutation(order)
