"""The trainer: a model with its optimiser, schedule and average, which takes one step at a time."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from timm.models import model_parameters
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage] - public by its documentation
from timm.utils.clip_grad import dispatch_clip_grad
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alternet.distributed import world_size
from alternet.training.recipe import Recipe
from alternet.training.schedule import Schedule


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
        self.model.to(self.device).to(memory_format=self._format)
        self.optimizer = create_optimizer_v2(
            self.model,
            opt=recipe.opt,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            filter_bias_and_bn=recipe.filter_bias_and_bn,
        )
        self.schedule = Schedule(self.optimizer, recipe, self.steps_per_epoch)
        if recipe.model_ema:
            self.ema = ModelEmaV3(self.model, decay=recipe.model_ema_decay, use_warmup=recipe.model_ema_warmup)
        # adaptive clipping spares the classifier, as in timm's training script
        self._clipped = list(model_parameters(self.model, exclude_head=recipe.clip_mode == "agc"))
        self._network: nn.Module = self.model
        if world_size() > 1:
            devices = [self.device] if self.device.type == "cuda" else None
            self._network = DistributedDataParallel(self.model, device_ids=devices)
        self._mean, self._std = (torch.tensor(v, device=self.device).view(-1, 1, 1) for v in (self.mean, self.std))

    @property
    def lr(self) -> float:
        """Learning rate of the latest step."""
        return self.optimizer.param_groups[0]["lr"]

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
        images, targets = self.normalise(images), targets.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp_dtype == "bfloat16"):
            loss = nn.functional.cross_entropy(self._network(images), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip_grad is not None:
            dispatch_clip_grad(self._clipped, self.recipe.clip_grad, mode=self.recipe.clip_mode)
        self.optimizer.step()
        self.steps += 1
        if self.ema is not None:
            self.ema.update(self.model, step=self.steps)
        return loss.detach()

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
