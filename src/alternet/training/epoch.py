"""One epoch: the training steps with their loss watched, and the test of what they made."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from alternet.distributed import gather, world_size
from alternet.training.shortage import kept
from alternet.training.trainer import Trainer

T = TypeVar("T")

CHECK_EVERY = 50
"""Steps between two looks at the losses where a look makes a GPU or another process wait."""


@dataclass
class Stopwatch:
    """Measures how long one waits for the next item.

    Attributes:
        seconds: Time waited so far.
    """

    seconds: float = 0.0

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """Pass the items through."""
        iterator = iter(items)
        while True:
            begun = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - begun
            yield item


@dataclass
class Losses:
    """The running mean of the training loss, which stops the training when it is no number any more.

    Looking at a loss makes the GPU wait, so it is done every `CHECK_EVERY` steps and at the end of the epoch, always
    before anything is stored. On a CPU it costs nothing and is done at every step.

    Attributes:
        trainer: Whose losses these are.
        total: Sum of the losses so far, times their images.
        images: Images so far, in this process.
    """

    trainer: Trainer
    total: Tensor = field(init=False)
    images: int = 0
    _latest: list[tuple[Tensor, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = _zero(self.trainer.device)
        self._every = 1 if self.trainer.device.type == "cpu" and world_size() == 1 else CHECK_EVERY

    def add(self, loss: Tensor, images: int) -> None:
        """Note the loss of one step.

        Raises:
            FloatingPointError: It, or one since the last look, is not finite.
        """
        self.total += loss.double() * images
        self.images += images
        self._latest.append((loss, self.trainer.lr))
        if len(self._latest) >= self._every:
            self.check()

    def check(self) -> None:
        """Look at the losses since the last look.

        Raises:
            FloatingPointError: One is not finite.
        """
        values = torch.stack([loss for loss, _ in self._latest]).tolist() if self._latest else []
        first = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
        found = None if first is None else (self.trainer.steps - len(values) + first, self._latest[first][1])
        self._latest.clear()
        if bad := [each for each in gather(found) if each is not None]:
            raise FloatingPointError(_diverged("The training loss is not finite", self.trainer, *min(bad)))

    def mean(self) -> float:
        """Mean over the images of all processes."""
        total, images = _sums(self.total, torch.full_like(self.total, self.images))
        return total / images


def train_epoch(trainer: Trainer, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float, float]:
    """Learn from every batch once.

    Args:
        trainer: Who learns.
        batches: Images [n, c, h, w] in [0, 1] with their targets.

    Returns:
        The mean loss over the images as they were trained on, mixed and smoothed (what the paper calls training
        NLL), the images a second, and the seconds spent waiting for data.

    Raises:
        FloatingPointError: The loss or a weight is not finite any more; nothing was stored since it was.
    """
    begun, watch, losses = time.perf_counter(), Stopwatch(), Losses(trainer)
    trainer.train()
    for images, targets in watch.timed(batches):
        losses.add(trainer.step(images, targets), len(images))
    losses.check()
    trainer.agree()
    if not trainer.finite():
        raise FloatingPointError(_diverged("A weight is not finite", trainer, trainer.steps - 1, trainer.lr))
    mean = losses.mean()
    seconds = time.perf_counter() - begun
    return mean, losses.images * world_size() / seconds, watch.seconds


@torch.no_grad()
def evaluate(network: nn.Module, trainer: Trainer, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Test a network in float32 on this process's shard of the images.

    Args:
        network: The trainer's model or its average.
        trainer: Knows how to normalise.
        batches: Images [n, c, h, w] in [0, 1] with their classes [n].

    Returns:
        Accuracy and mean NLL over the images of all processes.

    Raises:
        ValueError: There is not one image.
    """
    correct, nll, images = (_zero(trainer.device) for _ in range(3))
    network.eval()
    for pictures, classes in batches:
        logits, truth = network(trainer.normalise(pictures)).float(), classes.to(trainer.device)
        correct += (logits.argmax(1) == truth).sum()
        nll += nn.functional.cross_entropy(logits.to(nll.dtype), truth, reduction="sum")
        images += len(truth)
    right, total, count = _sums(correct, nll, images)
    if not count:
        raise ValueError("No image to test on can be read. Look at the files of the test split, or of validation.")
    return right / count, total / count


def _zero(device: torch.device) -> Tensor:
    """A sum to add to; Apple's GPUs have no float64."""
    return torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


def _sums(*values: Tensor) -> list[float]:
    """Each value summed over the processes, in the order of their ranks, so that all get the same bits."""
    # in single precision, as the log of version 0.1.0 has it: a run that goes on keeps to one precision
    return torch.tensor(gather([float(value) for value in values]), dtype=torch.float32).sum(0).tolist()


def _diverged(what: str, trainer: Trainer, steps: int, lr: float) -> str:
    epoch, step = divmod(steps, trainer.steps_per_epoch)
    return (
        f"{what} in epoch {epoch + 1}, step {step + 1} of {trainer.steps_per_epoch}, at learning rate {lr:.3g}. "
        f"Lower lr, lengthen warmup_epochs or set clip_grad; {kept(epoch)}."
    )
