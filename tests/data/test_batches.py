"""Batches: order, restart, shards, frozen draws, fingerprints."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from alternet.data import PAPER_CIFAR, Augmentation, Batches, batches
from alternet.data import batches as make
from alternet.data.image_batches import Batches as BatchesOfModule
from alternet.data.kept import BUDGET
from alternet.seeding import reseed

FLIP = Augmentation(hflip=0.5, crop="pad", padding=2)


def joined(data: Batches) -> tuple[Tensor, Tensor]:
    parts = list(data)
    return torch.cat([images for images, _ in parts]), torch.cat([targets for _, targets in parts])


def test_images_are_the_pictures_over_255(made: Batches) -> None:
    images, targets = joined(made)
    assert images.dtype == torch.float32 and targets.dtype == torch.int64
    for index in range(13):
        picture, target = made.dataset[index]
        expected = np.asarray(picture).transpose(2, 0, 1) / 255
        np.testing.assert_allclose(images[index].numpy(), expected, rtol=0, atol=1e-7)
        assert targets[index] == target
    assert [len(part) for part, _ in made] == [4, 4, 4, 1] and len(made) == 4
    assert made.images == 13 and made.shape == (3, 8, 8) and made.labelled and made.skipped == ()


@pytest.mark.parametrize("size", [1, 3, 13, 50])
def test_neither_restart_nor_batch_size_changes_anything(made: Batches, size: int) -> None:
    other = replace(made, batch_size=size)
    for first, second, third in zip(joined(made), joined(other), joined(other), strict=True):
        assert torch.equal(first, second) and torch.equal(second, third)
    assert other.fingerprint == made.fingerprint


def test_what_the_consumer_does_to_a_batch_stays_with_it(made: Batches) -> None:
    for data in (made, made.frozen(FLIP)):
        before = joined(data)
        for images, targets in data:
            images.zero_()
            targets.zero_()
        assert all(torch.equal(*pair) for pair in zip(before, joined(data), strict=True))


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_shares_deal_out_the_batches(made: Batches, world_size: int) -> None:
    whole = [targets.tolist() for _, targets in made]
    shards = [[targets.tolist() for _, targets in made.shard(rank, world_size)] for rank in range(world_size)]
    assert [len(shard) for shard in shards] == [len(made.shard(rank, world_size)) for rank in range(world_size)]
    for number, batch in enumerate(whole):
        assert shards[number % world_size][number // world_size] == batch
    assert sum(map(len, shards)) == len(whole)
    assert sum(made.shard(rank, world_size).images for rank in range(world_size)) == made.images


def test_a_share_can_be_shared_out_again(made: Batches) -> None:
    again = replace(made, batch_size=1)
    numbers = [list(again.shard(1, 2).shard(rank, 3).numbers) for rank in range(3)]
    assert numbers == [[1, 7], [3, 9], [5, 11]]


def test_there_is_no_share_beyond_the_world(made: Batches) -> None:
    with pytest.raises(ValueError, match="no shard 2 of 2"):
        made.shard(2, 2)


def test_shuffled_batches_hang_on_the_seed_and_on_the_images_alone(made: Batches) -> None:
    images, targets = joined(made)
    shuffled = made.shuffled(seed=5, batch_size=6)
    assert [len(part) for part, _ in shuffled] == [6, 6, 1]
    order = np.random.RandomState(5).permutation(13)
    assert torch.equal(joined(shuffled)[0], images[order]) and torch.equal(joined(shuffled)[1], targets[order])
    assert not np.array_equal(order, np.arange(13))
    for same in (replace(made, batch_size=2), replace(made, order=made.order[::-1]), made.shuffled(seed=9)):
        assert torch.equal(joined(same.shuffled(seed=5, batch_size=6))[0], images[order])
    assert shuffled.fingerprint == made.fingerprint
    assert made.shuffled().batch_size == made.batch_size


def test_a_share_is_shuffled_by_itself(made: Batches) -> None:
    shard = made.shard(1, 2)
    shuffled = shard.shuffled(seed=1, batch_size=3)
    assert sorted(map(float, joined(shuffled)[0].sum((1, 2, 3)))) == sorted(map(float, joined(shard)[0].sum((1, 2, 3))))
    assert shuffled.images == shard.images == 5 and shuffled.shard(1, 2).images == 2


def test_frozen_images_stay_as_they_are_when_shuffled_and_mixed_ones_are_refused(made: Batches) -> None:
    frozen = made.frozen(FLIP, seed=3)
    before, after = (joined(data)[0] for data in (frozen, frozen.shuffled(seed=1, batch_size=5)))
    places = np.argsort(frozen.order)[frozen.shuffled(seed=1).order]
    assert torch.equal(after, before[places]) and not torch.equal(after, before)
    with pytest.raises(ValueError, match="frozen with images of a batch mixed"):
        made.frozen(replace(FLIP, mixup=1.0)).shuffled()


def test_frozen_batches_are_drawn_once(made: Batches) -> None:
    augment = replace(FLIP, mixup=1.0, smoothing=0.1)
    frozen = made.frozen(augment, seed=3)
    first = joined(frozen)
    reseed(1)
    for again in (frozen, made.frozen(augment, seed=3)):
        assert all(torch.equal(*pair) for pair in zip(first, joined(again), strict=True))
    assert not torch.equal(first[0], joined(made.frozen(augment, seed=4))[0])
    assert first[1].shape == (13, 3) and first[1].dtype == torch.float32
    torch.testing.assert_close(first[1].sum(1), torch.ones(13))


def test_drawing_leaves_the_callers_random_state(made: Batches) -> None:
    def state() -> tuple:
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    before = state()
    joined(made.frozen(PAPER_CIFAR))
    joined(replace(made, workers=1))
    made.augmented(PAPER_CIFAR).batch([0, 1], (0,))
    assert state() == before


def test_every_batch_is_mixed_in_its_own_measure(made: Batches) -> None:
    """Class a before class b in every batch, so that the first target says how the batch was mixed."""
    ordered = replace(made, order=np.array([0, 1, 3, 4, 6, 7, 9, 10]))
    augmented = ordered.augmented(Augmentation(mixup=1.0))
    first = [float(augmented.batch(pair, (5,))[1][0, 0]) for pair in ([0, 1], [2, 3], [4, 5])]
    assert len(set(first)) == 1  # the draw belongs to the seed of the batch, not to its images
    seeded = {float(augmented.batch([0, 1], (5, step))[1][0, 0]) for step in range(6)}
    assert len(seeded) == 6
    shares = [targets[0].max() for _, targets in made.frozen(Augmentation(mixup=1.0), batch_size=2, seed=2)]
    assert len({round(float(share), 5) for share in shares if share < 1}) > 2


def test_drawn_anew_the_same_images_come_in_another_order_and_variation(made: Batches) -> None:
    frozen = made.frozen(Augmentation(), seed=3, batch_size=5)
    anew = frozen.redrawn(4)
    first, second = joined(frozen), joined(anew)
    assert not torch.equal(first[0], second[0]) and [len(part) for part, _ in anew] == [5, 5, 3]
    assert sorted(first[0].sum((1, 2, 3)).tolist()) == pytest.approx(sorted(second[0].sum((1, 2, 3)).tolist()))
    assert torch.equal(second[0], joined(frozen.redrawn(4))[0])
    with pytest.raises(ValueError, match="is not frozen"):
        made.redrawn(4)


def test_frozen_shares_are_parts_of_the_frozen_whole(made: Batches) -> None:
    augment = replace(PAPER_CIFAR, aa=None)
    whole = list(made.frozen(augment, seed=1))
    for rank in range(2):
        for number, batch in zip(range(rank, 4, 2), made.frozen(augment, seed=1).shard(rank, 2), strict=True):
            assert all(torch.equal(*pair) for pair in zip(batch, whole[number], strict=True))


def test_frozen_images_do_not_depend_on_their_batch_unless_mixed(made: Batches) -> None:
    small, large = made.frozen(FLIP, batch_size=2), made.frozen(FLIP, batch_size=13)
    assert all(torch.equal(*pair) for pair in zip(joined(small), joined(large), strict=True))
    assert small.fingerprint == large.fingerprint
    mixed = replace(FLIP, mixup=1.0)
    assert made.frozen(mixed, batch_size=2).fingerprint != made.frozen(mixed, batch_size=13).fingerprint


def test_images_that_are_mixed_in_another_order_are_other_data(made: Batches) -> None:
    mixed = replace(FLIP, mixup=1.0)
    first, second = (made.shuffled(seed=seed).frozen(mixed, seed=3) for seed in (0, 1))
    assert not torch.equal(joined(first)[0], joined(second)[0])
    assert len({data.fingerprint for data in (first, second, made.frozen(mixed, seed=3))}) == 3
    drawn, anew = made.frozen(mixed, seed=4), made.frozen(mixed, seed=3).redrawn(4)
    assert torch.equal(joined(drawn)[0], joined(anew)[0]) == (drawn.fingerprint == anew.fingerprint)


def test_frozen_batches_come_in_random_order_and_lose_nothing(made: Batches) -> None:
    plain, frozen = joined(made), joined(made.frozen(Augmentation(), seed=5))
    found = [int((plain[0] == image).flatten(1).all(1).nonzero()) for image in frozen[0]]
    assert sorted(found) == list(range(13)) and found != sorted(found)
    assert torch.equal(frozen[1], plain[1][found])


def test_what_does_not_fit_into_memory_is_drawn_again(made: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = joined(made.frozen(FLIP))
    used, two = BUDGET.most - BUDGET.room, 2 * (4 * 3 * 8 * 8 + 4 * 8)  # a byte a value, and class numbers
    monkeypatch.setattr(BUDGET, "most", used + two)
    frozen = made.frozen(FLIP)
    for _ in range(3):
        assert all(torch.equal(*pair) for pair in zip(expected, joined(frozen), strict=True))
    assert len(frozen._kept) == 2


def test_mixed_images_are_kept_as_they_are_and_a_budget_of_nothing_keeps_none(
    made: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = Augmentation(mixup=1.0)
    frozen = made.frozen(mixed)
    first = joined(frozen)
    assert all(torch.equal(*pair) for pair in zip(first, joined(frozen), strict=True))
    assert len(frozen._kept) == len(frozen) and frozen._kept[0][0].dtype == torch.float32
    for images, _ in frozen:
        images.zero_()  # whoever writes into a batch changes nothing that is kept
    assert all(torch.equal(*pair) for pair in zip(first, joined(frozen), strict=True))
    monkeypatch.setattr(BUDGET, "most", 0)
    none = made.frozen(mixed)
    assert all(torch.equal(*pair) for pair in zip(first, joined(none), strict=True)) and len(none._kept) == 0


def test_only_the_whole_can_be_frozen(made: Batches) -> None:
    with pytest.raises(ValueError, match="Freeze first, then shard"):
        made.shard(0, 2).frozen(FLIP)
    with pytest.raises(ValueError, match="not frozen yet"):
        made.frozen(FLIP).frozen(FLIP)


def test_mixing_needs_labels() -> None:
    unlabelled = Batches.of(torch.rand(4, 3, 8, 8))
    assert not unlabelled.labelled and next(iter(unlabelled))[1].tolist() == [-1] * 4
    assert next(iter(unlabelled.frozen(FLIP)))[1].tolist() == [-1] * 4
    for augment in (Augmentation(mixup=1.0), Augmentation(smoothing=0.1)):
        with pytest.raises(ValueError, match="'tensors' has none"):
            unlabelled.frozen(augment)


@pytest.mark.slow
def test_the_fingerprint_tells_apart_whatever_decides_the_numbers(made: Batches) -> None:
    photos = make("photos")
    others = [
        make("photos", split="train"),
        make("photos", limit=100),
        make("photos", limit=100, seed=1),
        make("photos", limit=101),
        make("photos", img_size=40),
        make("photos", colour=False),
        make("digits"),
        make("digits", interpolation="bilinear"),
        made.shard(0, 2),
        made.frozen(FLIP),
        made.frozen(FLIP, seed=1),
        made.frozen(replace(FLIP, padding=3)),
    ]
    prints = [data.fingerprint for data in (photos, made, *others)]
    assert len(set(prints)) == len(prints)
    assert make("photos", batch_size=7, seed=9, limit=10**6).fingerprint == photos.fingerprint


def test_the_fingerprint_is_the_same_on_every_machine() -> None:
    assert make("photos").fingerprint == "a7df128b9af87787"
    assert make("digits").fingerprint == "0f5df420f7b64750"


def test_workers_change_nothing(made: Batches) -> None:
    for data in (made, made.frozen(FLIP, seed=2)):
        with_workers = replace(data, workers=2, _kept=type(data._kept)())
        assert all(torch.equal(*pair) for pair in zip(joined(data), joined(with_workers), strict=True))


def test_tensors_keep_their_values_and_channels() -> None:
    images = torch.rand(5, 4, 6, 7)
    data = Batches.of(images, torch.tensor([0, 2, 1, 0, 1]), name="mine", batch_size=2)
    assert torch.equal(joined(data)[0], images)
    assert data.shape == (4, 6, 7) and data.classes == ("0", "1", "2") and data.name == "mine"
    torch.testing.assert_close(torch.tensor(data.mean), images.mean((0, 2, 3)))
    torch.testing.assert_close(torch.tensor(data.std), images.transpose(0, 1).flatten(1).std(1, correction=0))
    assert data.fingerprint != Batches.of(images.flip(0), torch.tensor([0, 2, 1, 0, 1])).fingerprint
    with pytest.raises(ValueError, match="4 channels cannot be augmented"):
        joined(data.frozen(FLIP))


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (torch.rand(2, 3, 4), None, r"expected floats \[n, c, h, w\]"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), None, "Divide bytes by 255"),
        (torch.randn(2, 3, 4, 4) * 9, None, "Give them before normalisation"),
        (torch.full((2, 3, 4, 4), torch.nan), None, "Give them before normalisation"),
        (torch.rand(2, 3, 4, 4), torch.zeros(3), "expected one each"),
    ],
)
def test_unsuitable_tensors_are_refused(images: Tensor, targets: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batches.of(images, targets)


def test_unsuitable_settings_are_refused(made: Batches) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        replace(made, batch_size=0)
    with pytest.raises(ValueError, match="workers must not be negative"):
        replace(made, workers=-1)
    assert Batches is BatchesOfModule and batches is make


def test_images_that_are_written_into_are_noticed() -> None:
    images, targets = torch.rand(6, 3, 8, 8), torch.arange(6) % 3
    data = Batches.of(images, targets)
    frozen = data.frozen(Augmentation(hflip=0.5), seed=1)
    before = data.fingerprint, frozen.fingerprint, next(iter(frozen))[0]
    assert (data.fingerprint, frozen.fingerprint) == before[:2]
    images.mul_(0.5)
    assert data.fingerprint != before[0] and frozen.fingerprint != before[1]
    assert not torch.equal(next(iter(frozen))[0], before[2])
    darker = data.fingerprint
    images.data[0] = 0.0  # which no version counts
    targets[0] = 2
    assert data.fingerprint != darker


def test_shards_do_not_go_on_with_frozen_images_that_were_written_into() -> None:
    images = torch.rand(6, 3, 8, 8)
    frozen = Batches.of(images, torch.arange(6) % 3, batch_size=3).frozen(Augmentation(), seed=1)
    before = [batch for batch, _ in frozen]
    images.mul_(0.5)
    assert not torch.equal(next(iter(frozen.shard(0, 2)))[0], before[0])
