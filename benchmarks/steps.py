"""What options of a recipe cost: time and peak memory of a training step with them, against the same step without.

`preresnet_mini` on images of 32 x 32, batch 64, SGD, channels last as the shipped recipes train. The steps take turns
in one process, and ratios are those of medians. The peak is what a step takes beyond weights, gradients and the state
of the optimiser, which lie there before; so a copy of the weights counts, and activations do.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch

import alternet.models  # noqa: F401 - registers the models
from alternet.training import Recipe
from alternet.training.trainer import Trainer
from benchmarks.turns import in_turns, peak_bytes, row

TURNS, BATCH = 9, 64
OPTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "grad_accum_steps: 4": ({"grad_accum_steps": 4}, "<= 1.15", "<= 0.6"),
    "amp_dtype: bfloat16": ({"amp_dtype": "bfloat16"}, "<= 1", "<= 1"),
    "sam: sam": ({"sam": "sam"}, "<= 2.2", "<= 1.5"),
    "sam: asam": ({"sam": "asam"}, "<= 2.2", "<= 1.5"),
}
"""Options with what is hoped of their time and of their memory."""


def rows() -> list[dict]:
    """Two rows an option."""
    plain, *others = (steps(options) for options in ({}, *(options for options, *_ in OPTIONS.values())))
    times = in_turns(TURNS, plain, *others)
    peaks = [peak_bytes(step) / 2**20 for step in (plain, *others)]
    lines = []
    for what, time, peak, (_, hoped_time, hoped_peak) in zip(
        OPTIONS, times[1:], peaks[1:], OPTIONS.values(), strict=True
    ):
        lines.append(row(f"{what}: time of a step", time, times[0], time / times[0], hoped_time))
        lines.append(row(f"{what}: peak memory", peak, peaks[0], peak / peaks[0], hoped_peak, "MiB"))
    return lines


def steps(options: dict[str, Any]) -> Callable[[], Any]:
    """A step of a network of its own over one batch, at each call."""
    torch.manual_seed(0)
    recipe = Recipe(opt="momentum", lr=1e-3, batch_size=BATCH, channels_last=True, epochs=1000).with_settings(options)
    facts = {"device": torch.device("cpu"), "steps_per_epoch": 1000, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    trainer = Trainer(model=timm.create_model("preresnet_mini", num_classes=10), recipe=recipe, **facts)
    trainer.train()
    return partial(trainer.step, torch.rand(BATCH, 3, 32, 32), torch.arange(BATCH) % 10)


if __name__ == "__main__":
    for one in rows():
        print(one)
