"""Training images from disk: our loader against timm's own, over the same JPEGs of 256 pixels.

The pictures are made on the spot. Both decode them, vary them by the same options and make batches of 64 at 224 pixels,
in this process or with two workers; ours draws each image's variation from a seed of its own, so that batches are the
same with any number of workers. timm's loader is `create_loader` without its GPU prefetcher. Both take turns within one
run; the numbers are images a second over whole epochs, from medians of the turns, and the ratio is ours / timm's.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset, create_loader  # pyright: ignore[reportPrivateImportUsage]
from timm.data.mixup import Mixup

from alternet.data import batches
from alternet.training import Recipe, TrainData
from benchmarks.turns import in_turns, row

TARGET = ">= 0.95"
IMAGES, CLASSES, BATCH, SIDE = 512, 4, 64, 224
TURNS = 5
RECIPES = ("weak-sgd-imagenet", "paper-imagenet")


def rows() -> list[dict]:
    """One row a recipe and number of workers."""
    torch.set_num_threads(1)  # as a worker has it; all that counts here is decoding and varying
    with TemporaryDirectory() as folder:
        made(Path(folder))
        return [compared(folder, name, workers) for name in RECIPES for workers in (0, 2)]


def compared(folder: str, name: str, workers: int) -> dict:
    """Epochs of both loaders, in turn."""
    recipe = Recipe.load(name).with_settings({"batch_size": BATCH})
    ours, rival = our_epochs(folder, recipe, workers), timm_epochs(folder, recipe, workers)
    images = IMAGES // BATCH * BATCH
    here, theirs = (images / seconds for seconds in in_turns(TURNS, ours, rival))
    what = f"folder of JPEGs, recipe {name}, {workers} workers"
    return row(what, here, theirs, here / theirs, TARGET, "images a second")


def our_epochs(folder: str, recipe: Recipe, workers: int) -> Callable[[], Any]:
    """One of our epochs at each call."""
    train, test = (batches(folder, split=split, img_size=SIDE, workers=workers) for split in ("train", "test"))
    data, numbers = TrainData.of(train, test, recipe), iter(range(10_000))
    return lambda: exhausted(data.epoch(next(numbers)))


def timm_epochs(folder: str, recipe: Recipe, workers: int) -> Callable[[], Any]:
    """One epoch of timm's loader at each call."""
    mix: Mixup | None = None
    if recipe.mixes:
        mix = Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.smoothing, num_classes=CLASSES)
    pictures: Any = create_dataset("", root=folder, split="train", is_training=True)
    loader = create_loader(
        pictures,
        input_size=(3, SIDE, SIDE),
        batch_size=BATCH,
        is_training=True,
        use_prefetcher=False,
        scale=recipe.scale,
        hflip=recipe.hflip,
        color_jitter=recipe.color_jitter or None,  # pyright: ignore[reportArgumentType]
        auto_augment=recipe.aa,
        re_prob=recipe.reprob,
        interpolation=recipe.interpolation,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda: exhausted(loader if mix is None else map(partial(mixed, mix), loader))


def mixed(mix: Mixup, batch: Any) -> Any:
    """A batch as timm's training script mixes it."""
    return mix(*batch)


def exhausted(loader: Any) -> None:
    """Take every batch once."""
    images = sum(len(images) for images, _ in loader)
    assert images == IMAGES // BATCH * BATCH


def made(folder: Path) -> None:
    """Pictures of soft blobs with some grain, about as large on the disk as photographs are."""
    noise = np.random.RandomState(0)
    for number in range(IMAGES + CLASSES):
        coarse = Image.fromarray(noise.randint(0, 256, (16, 16, 3), dtype=np.uint8)).resize((256, 256))
        grain = noise.normal(0, 12, (256, 256, 3))
        picture = Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))
        file = folder / ("train" if number < IMAGES else "test") / str(number % CLASSES) / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, quality=90)


if __name__ == "__main__":
    for one in rows():
        print(one)
