"""Learning rate: timm's schedules by epoch or by step, with a warm-up that rises at every step."""

from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.multistep_lr import MultiStepLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch.optim import Optimizer

from alternet.training.recipe import Recipe


class Schedule:
    """The learning rate of every step of a run; it keeps no state, so a run may begin at any epoch.

    The rate rises linearly from `warmup_lr` to `lr`, reaching it with the first step after the warm-up (as the paper's
    code does). Then it follows the schedule, anew at every epoch or, with `sched_on_updates`, at every step.

    Examples:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> recipe = Recipe(lr=1.0, epochs=2, warmup_epochs=1, warmup_prefix=True)
        >>> schedule = Schedule(optimizer, recipe, steps_per_epoch=4)
        >>> [round(schedule.set(epoch, step), 6) for epoch in range(3) for step in (0, 3)]
        [0.0, 0.75, 1.0, 1.0, 0.5, 0.5]
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe, steps_per_epoch: int) -> None:
        self.optimizer, self.recipe, self.steps_per_epoch = optimizer, recipe, steps_per_epoch
        warmup = {
            "warmup_t": recipe.warmup_epochs,
            "warmup_lr_init": recipe.warmup_lr,
            "warmup_prefix": recipe.warmup_prefix,
        }
        self.scheduler: Scheduler
        if recipe.sched == "cosine":
            self.scheduler = CosineLRScheduler(optimizer, t_initial=recipe.epochs, lr_min=recipe.min_lr, **warmup)
        elif recipe.sched == "multistep":
            # timm lowers the rate one epoch before its milestone, torch and the paper at the milestone.
            milestones = [milestone + 1 for milestone in sorted(recipe.decay_milestones)]
            self.scheduler = MultiStepLRScheduler(optimizer, decay_t=milestones, decay_rate=recipe.decay_rate, **warmup)
        else:
            self.scheduler = StepLRScheduler(
                optimizer, decay_t=recipe.decay_epochs, decay_rate=recipe.decay_rate, **warmup
            )

    def set(self, epoch: int, step: int) -> float:
        """Give every parameter group its rate for a step of an epoch, both counted from 0.

        Returns:
            The rate, as `rate` has it.
        """
        time: float = epoch
        if self.recipe.sched_on_updates or epoch < self.recipe.warmup_epochs:
            time += step / self.steps_per_epoch
        self.scheduler.step(time)  # pyright: ignore[reportArgumentType] - the formulas hold for parts of an epoch
        return rate(self.optimizer)


def rate(optimizer: Optimizer) -> float:
    """The learning rate that an optimiser stands at, where `layer_decay` lowers it by nothing."""
    group = optimizer.param_groups[0]
    return group["lr"] / group.get("lr_scale", 1)
