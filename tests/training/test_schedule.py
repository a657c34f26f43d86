"""The learning rate against its closed form and against torch's schedulers, driven as the paper's code drives them."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from alternet.training.recipe import Recipe
from alternet.training.schedule import Schedule

STEPS = 7


def rates(recipe: Recipe) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=recipe.lr)
    schedule = Schedule(optimizer, recipe, STEPS)
    return [schedule.set(epoch, step) for epoch in range(recipe.total_epochs) for step in range(STEPS)]


def torch_rates(recipe: Recipe) -> list[float]:
    """A warm-up step by step to the full rate, then a scheduler of torch once an epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=recipe.lr)
    if recipe.sched == "cosine":
        scheduler = CosineAnnealingLR(optimizer, recipe.epochs)
    else:
        scheduler = MultiStepLR(optimizer, list(recipe.decay_milestones), recipe.decay_rate)
    warm = recipe.warmup_epochs * STEPS
    found = [recipe.lr * i / warm for i in range(warm)]
    for _ in range(recipe.epochs):
        found += [optimizer.param_groups[0]["lr"]] * STEPS
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", ["paper", "weak-sgd"])
def test_the_paper_s_schedules_are_those_of_its_code(name: str) -> None:
    recipe = Recipe.load(name)
    assert rates(recipe) == pytest.approx(torch_rates(recipe), rel=1e-9, abs=1e-12)


def test_cosine_at_every_step_has_its_closed_form() -> None:
    recipe = Recipe(lr=0.5, epochs=4, warmup_epochs=1, warmup_lr=0.1, min_lr=0.02, sched_on_updates=True)
    found, total = rates(recipe), 4 * STEPS
    warm = [0.1 + 0.4 * i / STEPS for i in range(STEPS)]
    rest = [0.02 + 0.48 / 2 * (1 + math.cos(math.pi * i / total)) for i in range(STEPS, total)]
    assert found == pytest.approx(warm + rest, rel=1e-9)


def test_steps_and_a_constant_rate() -> None:
    stepped = rates(Recipe(lr=1.0, sched="step", epochs=5, decay_epochs=2, decay_rate=0.1))
    assert stepped[::STEPS] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    constant = rates(Recipe(lr=0.3, sched="multistep", epochs=3, warmup_epochs=1))
    assert constant[STEPS:] == [0.3] * 2 * STEPS


def test_a_run_may_begin_at_any_epoch() -> None:
    recipe = Recipe(lr=1.0, epochs=6, warmup_epochs=2)
    late = Schedule(torch.optim.SGD([torch.zeros(1)], lr=1.0), recipe, STEPS)
    assert late.set(4, 0) == rates(recipe)[4 * STEPS]
