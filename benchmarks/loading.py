"""Training images from disk: our loader against timm's own, over the same JPEGs of 256 pixels.

The pictures are made on the spot, as files of a folder and in four WebDataset shards. Both loaders decode them, vary
them by the same options and make batches of 64 at 224 pixels, in this process or with two workers; ours draws each
image's variation from a seed of its own, so that batches are the same with any number of workers. timm's loader is
`create_loader` without its GPU prefetcher. Both take turns within one run; the numbers are images a second over whole
epochs, from medians of the turns, and the ratio is ours / timm's.
"""

import json
import tarfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from timm.data import create_dataset, create_loader  # pyright: ignore[reportPrivateImportUsage]
from timm.data.mixup import Mixup

from alternet.data import batches
from alternet.training import Recipe, TrainData
from benchmarks.pictures import made
from benchmarks.turns import in_turns, row

TARGET = ">= 0.95"
IMAGES, CLASSES, BATCH, SIDE = 512, 4, 64, 224
SHARDS, TURNS = 4, 5
RECIPES = ("weak-sgd-imagenet", "paper-imagenet")


def rows() -> list[dict]:
    """One row a recipe and number of workers."""
    torch.set_num_threads(1)  # as a worker has it; all that counts here is decoding and varying
    with TemporaryDirectory() as folder, TemporaryDirectory() as shards:
        pictures(Path(folder))
        packed(Path(folder), Path(shards))
        places = {"folder of JPEGs": ("", folder), "the same in shards": ("wds/jpegs", shards)}
        return [
            compared(kind, data, root, name, workers)
            for kind, (data, root) in places.items()
            for name in RECIPES
            for workers in (0, 2)
        ]


def compared(kind: str, data: str, root: str, name: str, workers: int) -> dict:
    """Epochs of both loaders, in turn."""
    recipe = Recipe.load(name).with_settings({"batch_size": BATCH})
    ours, rival = our_epochs(data, root, recipe, workers), timm_epochs(data, root, recipe, workers)
    images = IMAGES // BATCH * BATCH
    mine, other = (images / seconds for seconds in in_turns(TURNS, ours, rival))
    what = f"{kind}, recipe {name}, {workers} workers"
    return row(what, mine, other, mine / other, TARGET, "images a second")


def our_epochs(data: str, root: str, recipe: Recipe, workers: int) -> Callable[[], Any]:
    """One of our epochs at each call."""
    name = f"{data}:{root}" if data else root
    train, test = (batches(name, split=split, img_size=SIDE, workers=workers) for split in ("train", "test"))
    images, numbers = TrainData.of(train, test, recipe), iter(range(10_000))
    return lambda: exhausted(images.epoch(next(numbers)))


def timm_epochs(data: str, root: str, recipe: Recipe, workers: int) -> Callable[[], Any]:
    """One epoch of timm's loader at each call."""
    mix: Mixup | None = None
    if recipe.mixes:
        mix = Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.smoothing, num_classes=CLASSES)
    images: Any = create_dataset(data, root=root, split="train", is_training=True, batch_size=BATCH)
    loader = create_loader(
        images,
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


def pictures(folder: Path) -> None:
    """Four for testing behind those to train on, since either loader wants some."""
    split = ("train" if number < IMAGES else "test" for number in range(IMAGES + CLASSES))
    files = (folder / part / str(number % CLASSES) / f"{number}.jpg" for number, part in enumerate(split))
    made(files, size=(256, 256), coarse=(16, 16), grain=12)


def packed(folder: Path, shards: Path) -> None:
    """The same files in shards, with what timm and we want to know beforehand."""
    facts = {}
    for split, number in (("train", SHARDS), ("test", 1)):
        files = sorted((folder / split).rglob("*.jpg"), key=lambda file: int(file.stem))
        names = [f"{split}-{shard}.tar" for shard in range(number)]
        for shard, name in enumerate(names):
            with tarfile.open(shards / name, "w") as tar:
                for file in files[shard::number]:
                    for ending, content in (("jpg", file.read_bytes()), ("cls", file.parent.name.encode())):
                        member = tarfile.TarInfo(f"{file.stem}.{ending}")
                        member.size = len(content)
                        tar.addfile(member, BytesIO(content))
        lengths = [len(files[shard::number]) for shard in range(number)]
        facts[split] = {"name": split, "num_samples": len(files), "filenames": names, "shard_lengths": lengths}
    (shards / "_info.json").write_text(json.dumps({"splits": facts, "class_names": list(map(str, range(CLASSES)))}))


if __name__ == "__main__":
    for one in rows():
        print(one)
