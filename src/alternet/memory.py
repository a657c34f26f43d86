"""Memory: where a device has too little of it, the images of a batch pass a network in parts."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from alternet.errors import Doubt, first_line

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "_ALLOC_FAILED")
"""What torch says, on CPUs and GPUs, where the class of the error does not tell."""


def short_of_memory(error: BaseException) -> bool:
    """Whether an error says that this machine or a device has not enough memory.

    Examples:
        >>> short_of_memory(RuntimeError("CPU: can't allocate memory")), short_of_memory(ValueError("no"))
        (True, False)
    """
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in str(error) for said in NO_MEMORY)


def reason(error: BaseException) -> str:
    """The first sentence of what torch says."""
    return first_line(error, most=160).partition(". ")[0]


class AtOnce:
    """How many images pass a network at a time: a whole batch, and half as many whenever that was too much.

    Args:
        name: What the model is called.

    Attributes:
        most: So many; 0 for whole batches.

    Examples:
        >>> at_once = AtOnce("net")
        >>> at_once.most = 2
        >>> at_once(lambda images: images.sum(1), torch.ones(5, 3)).tolist()
        [3.0, 3.0, 3.0, 3.0, 3.0]
    """

    def __init__(self, name: str) -> None:
        self.name, self.most = name, 0

    def __call__(self, work: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What the work gives for each image, the results of the parts one after the other.

        Raises:
            MemoryError: A single image is too much.
        """
        while True:
            size = min(self.most or len(images), len(images))
            try:
                parts = [work(part) for part in images.split(size)]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except RuntimeError as error:
                if not short_of_memory(error):
                    raise
                said = reason(error)  # not the error, which holds what was computed
            self.halve(size, said)

    def halve(self, tried: int, said: str) -> None:
        """Take half as many images from now on as were tried, and say so.

        Raises:
            MemoryError: One was tried.
        """
        if tried <= 1:
            raise MemoryError(
                f"Out of memory with a single image of {self.name} ({said}). Free memory on the device, give smaller "
                "images (--img-size), or another device (--device cpu)."
            )
        self.most = min(self.most or tried, (tried + 1) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        line = f"{self.name}: out of memory with {tried} images at a time ({said}), so {self.most} are taken"
        warnings.warn(f"{line}; no number depends on it.", Doubt, stacklevel=3)
