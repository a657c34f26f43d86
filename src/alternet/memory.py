"""Memory: the images of a batch pass a network in parts that suit the cache of a CPU, or the memory that there is."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from alternet.errors import Doubt, first_line

if TYPE_CHECKING:
    from alternet.subject.subject import Subject

PIXELS = 4 * 224**2
"""So many pixels for each of its threads pass a network on a CPU at a time. What the layers of a whole batch hand on
lies in fresh memory each time, which costs ResNet-50 a quarter of its pass; with too few images the threads idle."""

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
    """How many images pass a network at a time: what suits a CPU, a whole batch elsewhere, half as many if too much.

    Args:
        subject: The network. Where it normalises with statistics of the batch in evaluation, its images stay together.

    Attributes:
        most: So many, since memory was too small for more; 0 before.
        tried: How many were taken last.

    Examples:
        >>> from torch import nn
        >>> from alternet import Subject
        >>> at_once = AtOnce(Subject(nn.Flatten(), name="net"))
        >>> at_once.most = 2
        >>> at_once(lambda images: images.sum(1), torch.ones(5, 3)).tolist()
        [3.0, 3.0, 3.0, 3.0, 3.0]
    """

    def __init__(self, subject: "Subject") -> None:
        self.name, self.most, self.tried = subject.name, 0, 0
        self._on_cpu = subject.device.type == "cpu"
        self._together = any(isinstance(m, _BatchNorm) and m.running_mean is None for m in subject.model.modules())

    def __call__(self, work: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What the work gives for each image, the results of the parts one after the other.

        Raises:
            MemoryError: A single image is too much, or the images belong together.
        """
        while True:
            try:
                parts = [work(part) for part in images.split(self.of(images))]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except RuntimeError as error:
                if not short_of_memory(error):
                    raise
                said = reason(error)  # not the error, which holds what was computed
            self.halve(self.tried, said)

    def of(self, images: Tensor, *, whole: bool = False) -> int:
        """How many of these images to take at a time, all of them where they are asked for as a whole."""
        suited = max(1, PIXELS * torch.get_num_threads() // max(1, images[:1, :1].numel()))
        fast = suited if self._on_cpu and not self._together and not whole else len(images)
        self.tried = max(1, min(self.most or fast, fast, len(images)))
        return self.tried

    def halve(self, tried: int, said: str) -> None:
        """Take half as many images from now on as were tried, and say so.

        Raises:
            MemoryError: One was tried, or the images belong together.
        """
        if self._together:
            raise MemoryError(
                f"Out of memory with {tried} images of {self.name} at a time ({said}), which it normalises with the "
                "statistics of their batch. Free memory on the device, or give smaller batches, which are another "
                "measurement."
            )
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
