"""A small problem that a network can learn in a second, cut into batches as real data are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alternet.training.recipe import Recipe
from alternet.training.train_data import TrainData

CLASSES = 4


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise with one bright quarter, which is the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 8, 8, generator=generator) * 0.4
    classes = torch.randint(CLASSES, (count,), generator=generator)
    for image, quarter in zip(images, classes.tolist(), strict=True):
        top, left = 4 * (quarter // 2), 4 * (quarter % 2)
        image[:, top : top + 4, left : left + 4] += 0.5
    return images, classes


@dataclass
class ToyTrainSet:
    """Pictures that get a little noise from the seed, as an augmentation."""

    images: Tensor
    classes: Tensor
    skipped: dict[str, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, numbers: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        chosen = self.images[list(numbers)]
        noise = np.random.default_rng(list(seed)).uniform(0, 0.1, chosen.shape).astype(np.float32)
        return chosen + torch.from_numpy(noise), self.classes[list(numbers)]


@dataclass
class ToyBatches:
    """The part of `Batches` that training needs."""

    pictures: Tensor
    classes: Tensor
    rank: int = 0
    world_size: int = 1
    skipped: tuple[str, ...] = ("unreadable.jpg",)
    split: str = "test"

    @property
    def images(self) -> int:
        return len(self.pictures)

    @property
    def preparation(self) -> dict[str, Any]:
        return {"size": list(self.pictures.shape[1:])}

    def shard(self, rank: int, world_size: int) -> "ToyBatches":
        return ToyBatches(self.pictures, self.classes, rank, world_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        batches = list(zip(self.pictures.split(10), self.classes.split(10), strict=True))
        return iter(batches[self.rank :: self.world_size])


def toy(recipe: Recipe, *, images: int = 64, **changes: Any) -> TrainData:
    facts: dict[str, Any] = {
        "train_images": ToyTrainSet(*pictures(images, 0)),
        "test_images": ToyBatches(*pictures(45, 1)),
        "name": "toy",
        "fingerprint": "toy-1",
        "classes": tuple("abcd"),
        "input_size": (3, 8, 8),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "batch_size": recipe.batch_size,
        "seed": recipe.seed,
    }
    return TrainData(**facts | changes)
