"""The trainer: a model with its optimiser, schedule and average, which takes one step at a time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm_act import convert_sync_batchnorm
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alternet.distributed import world_size
from alternet.seeding import random_state, set_random_state
from alternet.training.global_norm import GlobalBatchNorm
from alternet.training.parameters import freeze, make_optimizer
from alternet.training.recipe import Recipe
from alternet.training.schedule import Schedule, rate
from alternet.training.sharpness import make_sam


@dataclass(kw_only=True)
class Trainer:
    """A model and everything that changes while it learns.

    Args:
        model: The network; it is moved to the device and trained in place.
        recipe: How to train it.
        device: Where to train it.
        steps_per_epoch: Steps of an epoch.
        mean: Mean of each channel, which the images are normalised with.
        std: Standard deviation of each channel.

    Attributes:
        steps: Steps taken so far.
        ema: The moving average of the weights, if the recipe keeps one.

    Raises:
        ValueError: The model has not what the recipe freezes, or no layers for its `layer_decay`; or a package that the
            recipe needs is not installed.

    Examples:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
        >>> trainer = Trainer(
        ...     model=net, recipe=Recipe(lr=0.1), device=torch.device("cpu"), steps_per_epoch=1, mean=(0.5,), std=(0.2,)
        ... )
        >>> images, targets = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 1])
        >>> bool(trainer.step(images, targets) > trainer.step(images, targets))
        True
    """

    model: nn.Module
    recipe: Recipe
    device: torch.device
    steps_per_epoch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    steps: int = 0
    ema: ModelEmaV3 | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        recipe = self.recipe
        self._format = torch.channels_last if recipe.channels_last else torch.preserve_format
        self._synced = recipe.sync_bn and world_size() > 1
        if self._synced and self.device.type == "cuda":
            convert_sync_batchnorm(self.model)  # what is within it: no classifier is a norm itself
            self._synced = False
        self.model.to(self.device).to(memory_format=self._format)
        self._resting = freeze(self.model, recipe.freeze)
        self.optimizer = make_optimizer(self.model, recipe)
        self.schedule = Schedule(self.optimizer, recipe, self.steps_per_epoch)
        if recipe.model_ema:
            self.ema = ModelEmaV3(self.model, decay=recipe.model_ema_decay, use_warmup=recipe.model_ema_warmup)
        self._sam = None if recipe.sam == "none" else make_sam(self.optimizer, recipe)
        self._network = self._wrapped()
        self._mean, self._std = (torch.tensor(v, device=self.device).view(-1, 1, 1) for v in (self.mean, self.std))

    def _wrapped(self) -> nn.Module:
        """The model as training calls it; its parameters and their names are the model's own."""
        recipe, network = self.recipe, self.model
        if self._synced and recipe.torchcompile:
            raise ValueError(
                f"sync_bn and torchcompile do not go together on {self.device.type}. Leave one of them out."
            )
        if recipe.torchcompile:
            compiled: Any = torch.compile(network)
            network = compiled
        if world_size() > 1:
            devices = [self.device] if self.device.type == "cuda" else None
            return DistributedDataParallel(network, device_ids=devices)
        return network

    @property
    def lr(self) -> float:
        """Learning rate of the latest step, where `layer_decay` lowers it by nothing."""
        return rate(self.optimizer)

    @property
    def parameters(self) -> dict[str, int]:
        """How many parameters there are, and how many of them are trained."""
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in self.model.parameters()]
        return {"all": sum(size for size, _ in sizes), "trained": sum(size for size, learns in sizes if learns)}

    @property
    def said(self) -> tuple[str, ...]:
        """What one should know of the recipe's effect on this model, in sentences."""
        counts = self.parameters
        if not self.recipe.freeze:
            return ()
        rest = f" Norms that keep their statistics: {len(self._resting)}." if self._resting else ""
        return (f"{counts['trained']:,} of {counts['all']:,} parameters are trained, the others are frozen.{rest}",)

    def train(self) -> None:
        """Put the model into training mode, all but the norms that are frozen."""
        self.model.train()
        for norm in self._resting:
            norm.eval()

    def normalise(self, images: Tensor) -> Tensor:
        """Images [n, c, h, w] in [0, 1] as the model takes them, on its device."""
        images = images.to(self.device, non_blocking=True, memory_format=self._format)
        return (images - self._mean) / self._std

    def step(self, images: Tensor, targets: Tensor) -> Tensor:
        """Learn from one batch.

        Args:
            images: Images [n, c, h, w] in [0, 1].
            targets: Classes [n], or distributions over them [n, k] where images were mixed or labels smoothed.

        Returns:
            The loss before the step, still on the device.
        """
        self.schedule.set(*divmod(self.steps, self.steps_per_epoch))
        draws = random_state() if self._sam is not None else ()
        loss = self._differentiate(images, targets)
        if self._sam is None:
            self.optimizer.step()
        else:
            self._sam.first_step()
            with self._statistics_kept():
                set_random_state(draws)  # the same units and paths are dropped in both passes
                self._differentiate(images, targets)
            self._sam.second_step()
        self.steps += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.steps)
        return loss

    def _differentiate(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, with its gradient in the parameters: part by part, each weighted by its images."""
        self.optimizer.zero_grad(set_to_none=True)
        steps = self.recipe.grad_accum_steps
        parts = [
            part for part in zip(images.tensor_split(steps), targets.tensor_split(steps), strict=True) if len(part[0])
        ]
        losses = []
        for number, (pictures, wanted) in enumerate(parts, 1):
            with self._alone(number < len(parts)):
                pictures, wanted = self.normalise(pictures), wanted.to(self.device, non_blocking=True)
                half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp_dtype == "bfloat16")
                with half, GlobalBatchNorm() if self._synced else nullcontext():
                    loss = nn.functional.cross_entropy(self._network(pictures), wanted)
                loss = loss * (len(pictures) / len(images))
                loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0]

    def _alone(self, more_follow: bool) -> AbstractContextManager[None]:
        """Gradients of a part are exchanged with the other processes only when they are whole."""
        if more_follow and isinstance(self._network, DistributedDataParallel):
            return self._network.no_sync()
        return nullcontext()

    @contextmanager
    def _statistics_kept(self) -> Iterator[None]:
        """Leave no trace of a pass in batch statistics and other buffers."""
        before = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        yield
        for buffer, value in before:
            buffer.copy_(value)

    def networks(self) -> dict[str, nn.Module]:
        """The weights to keep, by name: the model's, and their average if there is one."""
        return {"model": self.model} | ({} if self.ema is None else {"ema": self.ema.module})

    def agree(self) -> None:
        """Give every process the buffers of the first: batch statistics are each process's own."""
        if world_size() > 1:
            for network in self.networks().values():
                for buffer in network.buffers():
                    dist.broadcast(buffer, src=0)

    def finite(self) -> bool:
        """Whether every weight and every buffer is a number."""
        tensors = [t for network in self.networks().values() for t in network.state_dict().values()]
        return bool(torch.stack([t.isfinite().all() for t in tensors]).all())

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint needs to go on from here."""
        weights = {name: network.state_dict() for name, network in self.networks().items()}
        return {"steps": self.steps, "optimizer": self.optimizer.state_dict(), **weights}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name, network in self.networks().items():
            network.load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
