"""Augmentation: mixing against its definition, crops found again, timm's own transforms, erasing, seeds."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from alternet.data import PAPER_CIFAR, PAPER_IMAGENET, WEAK, ArrayImages, Augmentation, Augmented, Batches
from alternet.data.eval_transform import EvalTransform
from alternet.seeding import default_dtype, random_state_kept, reseed


@pytest.mark.slow
@pytest.mark.parametrize("augment", [Augmentation(mixup=1.0), Augmentation(cutmix=0.8), PAPER_CIFAR])
@pytest.mark.parametrize("images", [6, 7, 1])
def test_a_target_is_made_of_the_classes_in_its_pixels(augment: Augmentation, images: int) -> None:
    """Image i is 1 in channel i alone, so the mean over the pixels says how much of each image it holds."""
    classes = torch.arange(images) % 4
    k, s = 5, augment.smoothing
    kinds = set()
    for seed in range(12):
        own = torch.eye(images)[:, :, None, None].expand(-1, -1, 10, 10).clone()
        with random_state_kept(seed):
            mixed, targets = augment.mix(own, classes, k)
        share = mixed.mean((2, 3))
        expected = torch.zeros(images, k)
        for i, j, c in product(range(images), range(images), range(k)):
            expected[i, c] += share[i, j] * ((1 - s) * (classes[j] == c) + s / k)
        torch.testing.assert_close(targets, expected)
        kinds.add("cutmix" if ((mixed == 0) | (mixed == 1)).all() else "mixup")
        if images % 2:
            assert share[-1, -1] == 1
    if images > 1:
        assert kinds >= {"cutmix"} if augment.cutmix else {"mixup"}
        assert kinds >= {"mixup"} if augment.mixup else {"cutmix"}


ALL = replace(PAPER_IMAGENET, aa=None, color_jitter=0.4, remode="pixel", reprob=1.0)
"""What the papers' settings leave out: colour jitter, and noise in what is erased."""


@pytest.mark.parametrize("augment", [PAPER_CIFAR, PAPER_IMAGENET, WEAK, ALL])
def test_the_callers_default_dtype_changes_no_draw(made: Batches, augment: Augmentation) -> None:
    """torchvision flips and jitters by torch.rand, and timm makes soft targets, in the default dtype."""
    drawn = {}
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        with default_dtype(dtype):
            drawn[dtype] = list(made.frozen(augment, seed=1, batch_size=4))
            assert torch.get_default_dtype() == dtype
    for dtype in (torch.float64, torch.bfloat16):
        for (images, targets), expected in zip(drawn[dtype], drawn[torch.float32], strict=True):
            assert images.dtype == torch.float32 and torch.equal(images, expected[0])
            assert targets.dtype == expected[1].dtype and torch.equal(targets, expected[1])


def test_smoothing_alone_leaves_the_images() -> None:
    images = torch.rand(3, 3, 4, 4)
    same, targets = Augmentation(smoothing=0.3).mix(images.clone(), torch.tensor([0, 2, 1]), 4)
    assert torch.equal(same, images)
    torch.testing.assert_close(targets[0], torch.tensor([0.775, 0.075, 0.075, 0.075]))
    numbers = torch.tensor([0, 2, 1])
    assert torch.equal(Augmentation().mix(images, numbers, 4)[1], numbers)
    assert torch.equal(Augmentation(mixup=1.0, mixup_prob=0.0).mix(images, numbers, 4)[1], numbers)


def test_the_probability_of_mixing_counts() -> None:
    mixed = 0
    for seed in range(200):
        with random_state_kept(seed):
            _, targets = Augmentation(mixup=1.0, mixup_prob=0.3).mix(torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), 2)
        mixed += int(targets.max() < 1)
    assert abs(mixed / 200 - 0.3) < 4 * (0.3 * 0.7 / 200) ** 0.5


def test_a_padded_crop_is_a_shift_over_black_and_perhaps_a_flip(made: Batches) -> None:
    plain = next(iter(replace(made, batch_size=13)))[0]
    shifts, flips = set(), 0
    for seed in range(20):
        varied, _ = made.augmented(Augmentation(hflip=0.5, crop="pad", padding=1)).batch(range(13), (seed,))
        padded = torch.nn.functional.pad(plain, (1, 1, 1, 1))
        for before, after in zip(padded, varied, strict=True):
            found = [
                (i, j, flip)
                for i, j, flip in product(range(3), range(3), (False, True))
                if torch.equal(
                    after, before[:, i : i + 8, j : j + 8].flip(2) if flip else before[:, i : i + 8, j : j + 8]
                )
            ]
            assert len(found) == 1
            shifts.add(found[0][:2])
            flips += found[0][2]
    assert len(shifts) == 9
    assert abs(flips / 260 - 0.5) < 4 * 0.5 / 260**0.5


@pytest.mark.parametrize("size", [(24, 24), (24, 16)])
def test_the_imagenet_transforms_are_timms(size: tuple[int, int]) -> None:
    pictures = _pictures(5, side=40)
    augment = replace(PAPER_IMAGENET, mixup=0.0, cutmix=0.0, smoothing=0.0, reprob=0.0)
    ours, _ = _augmented(pictures, augment, size).batch(range(5), (1, 2))
    timms: Any = create_transform(
        size if size[0] != size[1] else size[0],
        is_training=True,
        auto_augment="rand-m9-n2-mstd0.5",
        interpolation="random",
        mean=pictures.mean,
        std=pictures.std,
    )
    mean, std = torch.tensor(pictures.mean).view(3, 1, 1), torch.tensor(pictures.std).view(3, 1, 1)
    for index in range(5):
        with random_state_kept():
            reseed(1, 2, "image", index)
            expected = timms(pictures[index][0])
        torch.testing.assert_close((ours[index] - mean) / std, expected)


def test_the_policy_is_applied_and_depends_on_the_seed() -> None:
    augmented = _augmented(_pictures(8), Augmentation(aa="rand-m9-n2-mstd1.0"), (32, 32))
    plain = _augmented(_pictures(8), Augmentation(), (32, 32)).batch(range(8), (0,))[0]
    first, again, other = (augmented.batch(range(8), seed)[0] for seed in ((0, 1), (0, 1), (0, 2)))
    assert torch.equal(first, again)
    changed = [(first != plain).flatten(1).any(1), (first != other).flatten(1).any(1)]
    assert all(part.sum() >= 6 for part in changed)


def test_how_an_image_is_varied_does_not_depend_on_its_neighbours() -> None:
    augment = replace(PAPER_IMAGENET, mixup=0.0, cutmix=0.0, reprob=0.5)
    augmented = _augmented(_pictures(6), augment, (32, 32))
    together = augmented.batch([0, 1, 2, 3, 4, 5], (7,))
    apart = augmented.batch([4, 2], (7,))
    for part, whole in zip(apart, together, strict=True):
        assert torch.equal(part, whole[[4, 2]])


@pytest.mark.parametrize("colour", [True, False])
def test_erased_pixels_are_the_mean_colour_and_others_stay(colour: bool) -> None:
    pictures, size = _pictures(60), (32, 32)
    plain = _augmented(pictures, Augmentation(), size, colour).batch(range(60), (0,))[0]
    erased = _augmented(pictures, Augmentation(reprob=0.5), size, colour).batch(range(60), (0,))[0]
    mean = torch.tensor(pictures.statistics(colour)[0]).view(-1, 1, 1)
    changed = (erased != plain).all(1)
    for before, after, mask in zip(plain, erased, changed, strict=True):
        assert torch.equal(after[:, ~mask], before[:, ~mask])
        torch.testing.assert_close(after[:, mask], mean.expand_as(after)[:, mask])
    area = changed.flatten(1).float().mean(1)
    hit = area > 0
    assert abs(hit.float().mean() - 0.5) < 4 * 0.5 / 60**0.5
    assert area[hit].min() > 0.01 and area[hit].max() < 0.4


def test_noise_is_drawn_around_the_mean_in_units_of_the_deviation() -> None:
    pictures = _pictures(40)
    erased = _augmented(pictures, Augmentation(reprob=1.0, remode="pixel"), (32, 32)).batch(range(40), (0,))[0]
    plain = _augmented(pictures, Augmentation(), (32, 32)).batch(range(40), (0,))[0]
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in pictures.statistics(True))
    noise = ((erased - mean) / std).transpose(0, 1)[:, (erased != plain).any(1)]
    assert noise.numel() > 5000
    assert abs(noise.mean()) < 5 / noise.numel() ** 0.5 and abs(noise.std() - 1) < 5 / (2 * noise.numel()) ** 0.5


def test_grey_images_are_varied_like_colours() -> None:
    augmented = _augmented(_pictures(4), PAPER_CIFAR, (32, 32), colour=False)
    images, targets = augmented.batch(range(4), (0,))
    assert images.shape == (4, 1, 32, 32) and targets.shape == (4, 2)


@pytest.mark.parametrize("crop", ["none", "pad", "resize"])
def test_any_picture_comes_out_at_the_wanted_size(crop: str) -> None:
    augmented = _augmented(_pictures(2, side=50), Augmentation(crop=crop), (24, 16))  # pyright: ignore[reportArgumentType]
    assert augmented.batch([0, 1], (0,))[0].shape == (2, 3, 24, 16)


def test_jitter_changes_colours_unless_a_policy_takes_its_place() -> None:
    pictures = _pictures(4)
    plain, jittered, both, policy = (
        _augmented(pictures, Augmentation(aa=aa, color_jitter=jitter), (32, 32)).batch(range(4), (3,))[0]
        for aa, jitter in ((None, 0.0), (None, 0.4), ("rand-m9-n2", 0.4), ("rand-m9-n2", 0.0))
    )
    assert not torch.equal(plain, jittered)
    assert torch.equal(both, policy)


def test_the_presets_are_those_of_the_paper() -> None:
    both = {"hflip": 0.5, "mixup": 1.0, "cutmix": 0.8, "mixup_prob": 1.0, "mixup_switch_prob": 0.5, "smoothing": 0.1}
    cifar = {"aa": "rand-m9-n2-mstd1.0", "reprob": 0.0, "crop": "pad", "padding": 4}
    imagenet = {"aa": "rand-m9-n2-mstd0.5", "reprob": 0.25, "remode": "const", "crop": "resize", "scale": [0.08, 1.0]}
    weak = {"aa": None, "hflip": 0.5, "crop": "pad", "padding": 4, "mixup": 0.0, "cutmix": 0.0, "smoothing": 0.0}
    for preset, expected in ((PAPER_CIFAR, both | cifar), (PAPER_IMAGENET, both | imagenet), (WEAK, weak)):
        assert expected.items() <= preset.facts.items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hflip": 1.5}, "hflip=1.5, expected a number of at most 1"),
        ({"mixup": -1.0}, "mixup=-1.0, expected a number of at least 0"),
        ({"crop": "center"}, "crop='center', expected one of 'pad', 'resize', 'none'"),
        ({"scale": (0.9, 0.1)}, "two rising parts"),
        ({"aa": "rnd-m9"}, "no augmentation policy 'rnd-m9'"),
        ({"aa": "rand-mx"}, "no augmentation policy 'rand-mx'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


def _pictures(count: int, side: int = 32) -> ArrayImages:
    pixels = np.random.RandomState(1).randint(0, 256, (count, side, side, 3)).astype(np.uint8)
    smooth = [np.asarray(Image.fromarray(image).resize((4, 4), 0).resize((side, side))) for image in pixels]
    return ArrayImages(np.stack(smooth), np.arange(count) % 2, name="smooth", classes=("a", "b"))


def _augmented(pictures: ArrayImages, augment: Augmentation, size: tuple[int, int], colour: bool = True) -> Augmented:
    transform = EvalTransform(img_size=size, colour=colour)
    return Augmented(dataset=pictures, order=np.arange(len(pictures)), transform=transform, augment=augment)
