"""The data: every image once an epoch, in an order and with an augmentation that the seed alone decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tests.training.toy import toy
from torch import Tensor

from alternet.data.image_batches import Batches
from alternet.training import train_data as module
from alternet.training.recipe import Recipe
from alternet.training.train_data import TrainData

RECIPE = Recipe(batch_size=8, seed=3)


@dataclass
class Numbered:
    """Training images that show which images were asked for, and the seed."""

    count: int
    skipped: dict[str, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.count

    def batch(self, numbers: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        self.skipped["7.jpg"] = None
        return torch.tensor([seed] * len(numbers)).float(), torch.tensor(numbers)


def numbered(count: int = 29, **changes: Any) -> TrainData:
    return toy(RECIPE, train_images=Numbered(count), **changes)


def taken(data: TrainData, epoch: int) -> list[list[int]]:
    return [numbers.tolist() for _, numbers in data.epoch(epoch)]


def test_an_epoch_takes_every_image_at_most_once_and_drops_less_than_a_batch() -> None:
    data = numbered()
    for epoch in range(3):
        batches = taken(data, epoch)
        numbers = [number for batch in batches for number in batch]
        assert [len(batch) for batch in batches] == [8] * 3 == [8] * len(data)
        assert len(set(numbers)) == 24 and set(numbers) <= set(range(29))


def test_each_epoch_has_an_order_of_its_own_that_comes_back() -> None:
    data = numbered()
    first, second = taken(data, 0), taken(data, 1)
    assert first != second
    assert taken(numbered(), 1) == second
    assert taken(numbered(seed=4), 1) != second


def test_the_augmentation_s_seed_tells_epoch_and_step() -> None:
    seeds = [
        tuple(row) for epoch in (0, 1) for rows, _ in numbered().epoch(epoch) for row in rows.unique(dim=0).tolist()
    ]
    assert seeds == [(3, epoch, step, 0) for epoch in (0, 1) for step in range(3)]


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_every_batch(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    alone = taken(numbered(), 5)
    monkeypatch.setattr(module, "world_size", lambda: world_size)
    parts = []
    for rank in range(world_size):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        parts.append(taken(numbered(), 5))
    for step, batch in enumerate(alone):
        shards = [part[step] for part in parts]
        assert {len(shard) for shard in shards} == {8 // world_size}
        assert sorted(number for shard in shards for number in shard) == sorted(batch)


def test_a_batch_that_cannot_be_shared_or_filled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="fewer than one batch of 8"):
        numbered(7)
    monkeypatch.setattr(module, "world_size", lambda: 3)
    with pytest.raises(ValueError, match="multiple of 3"):
        numbered()


def test_workers_change_nothing() -> None:
    alone, helped = toy(RECIPE), toy(RECIPE, workers=2)
    for epoch in (0, 1):
        for (images, classes), (same_images, same_classes) in zip(alone.epoch(epoch), helped.epoch(epoch), strict=True):
            assert torch.equal(images, same_images) and torch.equal(classes, same_classes)


def test_the_model_s_randomness_is_its_own() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    for data in (toy(RECIPE), toy(RECIPE, workers=1)):
        torch.manual_seed(0)
        assert len(list(data.epoch(0))) == 8
        assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_could_not_be_read_is_listed_also_from_workers(workers: int) -> None:
    data = numbered(workers=workers)
    assert data.skipped == ("unreadable.jpg",)
    taken(data, 0)
    assert data.skipped == ("7.jpg", "unreadable.jpg")


def images(count: int, classes: tuple[str, ...] | None = None) -> Batches:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 8, 8), generator=generator) / 255
    return Batches.of(pixels, torch.arange(count) % 3, classes=classes)


def test_a_feed_of_two_splits_augments_with_the_recipe() -> None:
    recipe = Recipe(batch_size=4, mixup=1.0, smoothing=0.1, hflip=0.5, crop="pad", padding=1)
    data = TrainData.of(images(9), images(5), recipe)
    assert (len(data), data.classes, data.input_size) == (2, ("0", "1", "2"), (3, 8, 8))
    assert data.fingerprint == f"{images(9).fingerprint}-{images(5).fingerprint}"
    (first, soft), *_ = data.epoch(0)
    assert first.shape == (4, 3, 8, 8) and 0 <= first.min() <= first.max() <= 1
    torch.testing.assert_close(soft.sum(1), torch.ones(4))
    assert soft.min() >= 0.1 / 3 - 1e-6 and soft.max() < 1
    again, _ = next(TrainData.of(images(9), images(5), recipe).epoch(0))
    later, _ = next(data.epoch(1))
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert sum(len(targets) for _, targets in data.test()) == 5


def test_splits_that_cannot_be_trained_on_are_refused() -> None:
    unlabelled = Batches.of(torch.rand(6, 3, 8, 8))
    with pytest.raises(ValueError, match="have none"):
        TrainData.of(images(9), unlabelled, RECIPE)
    with pytest.raises(ValueError, match="another classes"):
        TrainData.of(images(9), images(9, classes=("a", "b", "c")), RECIPE)
