"""What training calls after its epochs: a protocol, so that it need not know who looks at the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A network between two epochs; whoever is shown it leaves it as it is.

    Attributes:
        model: The network; its moving average where the run keeps one.
        epoch: Epochs done, 0 before the first.
        epochs: Epochs of the whole training.
        folder: Folder of the run.
        input_size: Channels, height and width of the images.
        mean: Mean of each channel that they are normalised with.
        std: Standard deviation of each channel.
    """

    model: nn.Module
    epoch: int
    epochs: int
    folder: Path
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Callback(Protocol):
    """Looks at a network while it is trained."""

    def __call__(self, moment: Moment) -> Mapping[str, float]:
        """Look, in every process, before the first epoch and after each; what it returns is logged by name."""
        ...
