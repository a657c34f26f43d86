"""Our training loop against a bare forward-backward-step loop over the same model and the same ready-made tensors.

Both do what a recipe asks for (AdamW, clipping) and nothing else is different: ours adds the schedule, the running
loss, the watch for losses that are no numbers, and the clock. The steps of both are taken in turn in one process; the
ratio is that of the medians, rival / ours, so 0.95 is 95 % of the bare loop's throughput. The last row says what part
of an epoch on real photographs is not spent waiting for them (recipe `quick`, augmentation included, no workers): ours
is the time without the waiting, the rival the whole epoch.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator

import timm
import torch
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

import alternet.models  # noqa: F401 - registers the models
from alternet.data import batches
from alternet.training import Recipe, TrainData
from alternet.training.epoch import Losses, Stopwatch, train_epoch
from alternet.training.trainer import Trainer

TARGET = ">= 0.95"
CASES = {
    "ResNet-18, 32 x 32": ("resnet18", 32),
    "AlterNet mini, 32 x 32": ("alternet_mini", 32),
    "AlterNet mini, 32 x 32, small batch": ("alternet_mini", 4),
}
RECIPE = Recipe(lr=1e-4, weight_decay=0.05, clip_grad=5.0, epochs=100, warmup_epochs=50)
STEPS = 30
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def rows() -> list[dict]:
    """One row a network, then the share of the time that data takes."""
    return [compared(what, *case) for what, case in CASES.items()] + [waiting()]


def compared(what: str, name: str, batch_size: int) -> dict:
    """Median seconds a step of both loops, taken in turn."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10)
    bare = bare_steps(copy.deepcopy(model).to(device), device, batch_size)
    full = our_steps(model, device, batch_size)
    times: dict[str, list[float]] = {"ours": [], "rival": []}
    for turn in range(STEPS + 3):
        pair = [("ours", full), ("rival", bare)]
        for side, steps in pair if turn % 2 else reversed(pair):
            times[side].append(seconds(lambda steps=steps: next(steps), device))
    ours, rival = (1e3 * statistics.median(times[side][3:]) for side in ("ours", "rival"))
    return {"what": what, "ours": ours, "rival": rival, "ratio": rival / ours, "target": TARGET, "unit": "ms a step"}


def our_steps(model: nn.Module, device: torch.device, batch_size: int) -> Iterator[None]:
    """Our loop over one batch again and again, one step at each `next`."""
    trainer = Trainer(model=model, recipe=RECIPE, device=device, steps_per_epoch=STEPS, mean=MEAN, std=STD)
    losses, watch = Losses(trainer), Stopwatch()
    model.train()
    for images, targets in watch.timed(repeated(device, batch_size)):
        losses.add(trainer.step(images, targets), len(images))
        yield


def bare_steps(model: nn.Module, device: torch.device, batch_size: int) -> Iterator[None]:
    """The least that has to be done."""
    optimizer = create_optimizer_v2(model, opt="adamw", lr=RECIPE.lr, weight_decay=RECIPE.weight_decay)
    mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (MEAN, STD))
    model.train()
    for images, targets in repeated(device, batch_size):
        loss = nn.functional.cross_entropy(model((images - mean) / std), targets)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        yield


def repeated(device: torch.device, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same images for ever."""
    generator = torch.Generator().manual_seed(0)
    images, targets = torch.rand(batch_size, 3, 32, 32, generator=generator), torch.arange(batch_size) % 10
    images, targets = images.to(device), targets.to(device)
    while True:
        yield images, targets


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time, the GPU waited for."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def waiting() -> dict:
    """An epoch on the photographs with and without the time that the loop waits for them."""
    recipe = Recipe.load("quick")
    data = TrainData.of(batches("photos", split="train", limit=1280), batches("photos", split="test"), recipe)
    torch.manual_seed(0)
    model = timm.create_model("alternet_mini", num_classes=len(data.classes))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(
        model=model, recipe=recipe, device=device, steps_per_epoch=len(data), mean=data.mean, std=data.std
    )
    next(data.epoch(1))  # what is done once, such as cutting the photographs
    begun = time.perf_counter()
    _, _, waited = train_epoch(trainer, data.epoch(0))
    whole = time.perf_counter() - begun
    ratio = (whole - waited) / whole
    what = "Part of an epoch on photos not spent waiting for them"
    return {"what": what, "ours": whole - waited, "rival": whole, "ratio": ratio, "target": TARGET, "unit": "s"}


if __name__ == "__main__":
    for row in rows():
        print(row)
