"""`alternet doctor`: what is installed here, on what machine, and what the missing parts would bring."""

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from alternet.cli.options import say

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scipy", "matplotlib", "scikit-learn", "safetensors")
"""Whose versions decide numbers or figures."""

DEVICES = ("nvidia[0-9]*", "kfd", "dri/renderD*")
"""What a GPU leaves in /dev: only where there is one is torch imported, which takes seconds."""


def doctor() -> None:
    """Say which versions, devices and extras are there, what the missing ones would bring, and how to install them."""
    from alternet import __version__
    from alternet.extras import extras, version_of

    say(f"{'alternet':<14} {__version__}")
    say(f"{'Python':<14} {platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        say(f"{package:<14} {version_of(package) or 'not installed; it should be: pip install alternet'}")
    say()
    for name, what in _machine():
        say(f"{name:<14} {what}")
    say()
    found = extras()
    if not found:
        say("alternet is on the path but not installed, so nothing is known of its extras: pip install alternet")
    width = max((len(extra.name) for extra in found), default=0) + 2
    for extra in found:
        if not extra.missing:
            say(f"{extra.name:<{width}} there: {extra.brings}")
            continue
        say(f"{extra.name:<{width}} missing ({', '.join(extra.missing)}); it brings {extra.brings}")
        say(f"{'':<{width}} {extra.install}")


def _machine() -> Iterator[tuple[str, str]]:
    """Cores, memory and GPUs, by name."""
    from alternet.circumstances import free_memory, processor, whole_memory

    there = os.cpu_count() or 1
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    yield "CPU", f"{mine} of {there} cores, {processor()}"
    yield "memory", f"{_size(free_memory())} free of {_size(whole_memory())}"
    yield "GPU", _gpus()


def _size(count: int) -> str:
    """Bytes as people say them.

    Examples:
        >>> _size(8 * 2**30)
        '8.0 GiB'
    """
    return f"{count / 2**30:.1f} GiB"


def _gpus() -> str:
    if sys.platform != "darwin" and not any(any(Path("/dev").glob(pattern)) for pattern in DEVICES):
        return "none"
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return ", ".join(f"cuda:{number} {card.name}, {_size(card.total_memory)}" for number, card in enumerate(cards))
    if torch.backends.mps.is_available():
        return "mps"
    return "none that this torch can use; see https://pytorch.org/get-started for the build that fits the driver"
