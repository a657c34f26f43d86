"""Augmentation: timm's random transforms, mixing and label smoothing, drawn from seeds and from nothing else.

The two strong settings of Park and Kim (2022, appendix A.1) are `PAPER_CIFAR` and `PAPER_IMAGENET`, the weak one of
their appendix F is `WEAK`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from timm.data.mixup import Mixup, mixup_target
from timm.data.random_erasing import RandomErasing
from timm.data.transforms_factory import transforms_imagenet_train
from torch import Tensor
from torchvision.transforms import Compose, RandomCrop

from alternet.data.eval_transform import EvalTransform, unit_range
from alternet.data.image_dataset import ImageDataset, Sample, UnreadableImage
from alternet.seeding import default_dtype, random_state_kept, reseed
from alternet.settings import Natural, NotNegative, Pair, Share, from_file, names, settings


@settings
class Augmentation:
    """How training images are varied, under timm's option names; every default switches its option off.

    Order as in timm: crop, flip, RandAugment or colour jitter, random erasing of the normalised image, mixup or CutMix
    of the batch, label smoothing.

    Raises:
        ValueError: A value is of another type or out of range, or timm does not know the policy.

    Examples:
        >>> Augmentation(hflip=0.5, crop="pad").mixes
        False
    """

    aa: str | None = None
    """RandAugment or AutoAugment policy of timm, for example `rand-m9-n2-mstd1.0`; None for none."""
    color_jitter: NotNegative = 0.0
    """Strength of the colour jitter; as in timm, `aa` switches it off (except for `3a`)."""
    hflip: Share = 0.0
    """Probability of a horizontal flip."""
    crop: Literal["pad", "resize", "none"] = "none"
    """`pad` shifts the image by up to `padding` pixels over black (the CIFAR habit), `resize` takes a random part of it
    and resizes that (the ImageNet habit), `none` keeps it whole."""
    padding: Natural = 4
    """Pixels of padding on each side for `crop: pad`."""
    scale: Pair[float] = (0.08, 1.0)
    """Smallest and largest part of the area for `crop: resize`."""
    interpolation: Literal["random", "bilinear", "bicubic"] = "random"
    """Of `crop: resize` and of `aa`; `random` draws bilinear or bicubic each time, as timm's training script does."""
    mixup: NotNegative = 0.0
    """Alpha of mixup (Zhang et al., 2018)."""
    cutmix: NotNegative = 0.0
    """Alpha of CutMix (Yun et al., 2019)."""
    mixup_prob: Share = 1.0
    """Probability of mixing a batch at all."""
    mixup_switch_prob: Share = 0.5
    """Probability of CutMix where both are on."""
    smoothing: Share = 0.0
    """Label smoothing."""
    reprob: Share = 0.0
    """Probability of random erasing (Zhong et al., 2020)."""
    remode: Literal["const", "rand", "pixel"] = "const"
    """What is erased becomes the mean colour (`const`) or noise (`rand` one colour, `pixel`)."""

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two rising parts of the area in (0, 1], got {list(self.scale)}.")
        if self.aa is None:
            return
        try:
            for part in self.aa.split("-")[1:]:  # timm passes over parts that it cannot read
                if not re.fullmatch(r"[a-z]+\d+(\.\d+)?", part):
                    raise ValueError(part)
            transforms_imagenet_train(32, auto_augment=self.aa)
        except (AssertionError, ValueError, KeyError) as error:
            raise ValueError(
                f"timm knows no augmentation policy {self.aa!r}. Give for example rand-m9-n2-mstd1.0, "
                "augmix-m5-w4-d2, original, v0 or 3a."
            ) from error

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The augmentation among other options in plain values, such as those in the `run.json` of a training.

        Raises:
            KeyError: An option is missing.
            ValueError: A value is not valid.

        Examples:
            >>> Augmentation.of(WEAK.facts | {"lr": 0.1}) == WEAK
            True
        """
        return cls(**{name: from_file(cls, name, options[name]) for name in names(cls)})

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with each other."""
        return self.mixup_prob > 0 and (self.mixup > 0 or self.cutmix > 0)

    @property
    def softens(self) -> bool:
        """Whether targets are distributions over the classes [n, k] rather than class numbers [n]."""
        return self.mixes or self.smoothing > 0

    @property
    def facts(self) -> dict[str, Any]:
        """What decides how images are varied, as plain values, which go into fingerprints; of a recipe no more."""
        return {name: getattr(self, name) for name in names(Augmentation)} | {"scale": list(self.scale)}

    def mix(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Mix a batch with itself reversed, and smooth its labels; draws from NumPy's global generator.

        Where the number of images is odd, the last one is left as it is; its label is smoothed all the same.

        Args:
            images: Floats [n, c, h, w]; they may be overwritten.
            targets: Class numbers [n].
            classes: Number of classes.

        Returns:
            The images, and distributions over the classes [n, k] (class numbers if nothing mixes or smooths).
        """
        if not self.softens:
            return images, targets
        with default_dtype(torch.float32):
            return self._mixed(images, targets, classes)

    def _mixed(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        even = len(images) // 2 * 2 if self.mixes else 0  # timm refuses to mix an odd number
        mixed = [mixup_target(targets[even:], classes, smoothing=self.smoothing)]
        if even:
            mix = Mixup(
                mixup_alpha=self.mixup,
                cutmix_alpha=self.cutmix,
                prob=self.mixup_prob,
                switch_prob=self.mixup_switch_prob,
                label_smoothing=self.smoothing,
                num_classes=classes,
            )
            pairs, soft = mix(images[:even], targets[:even])
            images = pairs if even == len(images) else torch.cat([pairs, images[even:]])
            mixed.insert(0, soft)
        return images, torch.cat(mixed)


PAPER_CIFAR = Augmentation(
    aa="rand-m9-n2-mstd1.0", hflip=0.5, crop="pad", padding=4, mixup=1.0, cutmix=0.8, smoothing=0.1
)
"""Strong augmentation for CIFAR (appendix A.1 and the released settings: nothing is erased)."""

PAPER_IMAGENET = Augmentation(
    aa="rand-m9-n2-mstd0.5", hflip=0.5, crop="resize", mixup=1.0, cutmix=0.8, smoothing=0.1, reprob=0.25
)
"""Strong augmentation for ImageNet (appendix A.1 and the released settings)."""

WEAK = Augmentation(hflip=0.5, crop="pad", padding=4)
"""Weak augmentation (appendix F): shifts and flips only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Augmented:
    """Images that are augmented when they are taken, by what the seed says and nothing else.

    Taking a batch leaves the global random generators as they were. How an image is varied depends on the seed and
    the image, not on its neighbours; only mixing joins the images of a batch.

    Attributes:
        dataset: Where the images come from.
        order: Which of them, by index.
        transform: Size and channels of the result.
        augment: How they are varied.
        skipped: Names of the pictures that could not be read so far, each with the reason.
    """

    dataset: ImageDataset
    order: np.ndarray
    transform: EvalTransform
    augment: Augmentation
    skipped: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.augment.softens and not self.dataset.labelled:
            raise ValueError(
                f"Mixing and label smoothing need labels, but {self.dataset.name!r} has none. "
                "Set mixup, cutmix and smoothing to 0, or give a folder with one subfolder a class."
            )

    def __len__(self) -> int:
        return len(self.order)

    def batch(self, numbers: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Augmented images and their targets.

        Args:
            numbers: Which images, counted from 0 to `len(self)`.
            seed: Whole numbers that all randomness is derived from.

        Returns:
            Floats [n, c, h, w] in [0, 1] (erased pixels may leave it), and class numbers [n] or distributions [n, k].

        Raises:
            ValueError: None of the pictures can be read.
        """
        indices = self.order[np.asarray(numbers)]
        made = self.drawn(zip(indices, self.dataset.samples(indices), strict=True), seed, seed)
        if made is None:
            raise ValueError(
                f"No picture of a batch of {len(indices)} from {self.dataset.name!r} can be read; the first is "
                f"{self.dataset.label(int(indices[0]))}. Replace or remove these files."
            )
        return made

    def drawn(
        self,
        samples: Iterable[tuple[int, Sample | UnreadableImage]],
        image_seed: Sequence[int],
        mix_seed: Sequence[int],
    ) -> tuple[Tensor, Tensor] | None:
        """Augment samples given with their indices as one batch; None if none of them can be read."""
        read, pictures, targets = [], [], []
        with random_state_kept(), default_dtype(torch.float32):
            for index, sample in samples:
                if isinstance(sample, UnreadableImage):
                    self.skipped[self.dataset.label(int(index))] = str(sample)
                    continue
                reseed(*image_seed, "image", int(index))
                pictures.append(np.asarray(self._transform(sample[0])))
                targets.append(sample[1])
                read.append(int(index))
            if not read:
                return None
            images = unit_range(self.transform.tensor(np.stack(pictures)))
            if self.augment.reprob:
                # timm erases what is normalised; here it is given an empty image, so that pixels that stay keep their
                # exact value, and an image that is not erased, as most are, costs next to nothing
                mean, std = (torch.tensor(values).view(-1, 1, 1) for values in self._means)
                erasing = RandomErasing(self.augment.reprob, mode=self.augment.remode, device="cpu")
                empty = torch.full_like(images[0], torch.nan)
                for image, index in zip(images, read, strict=True):
                    reseed(*image_seed, "erase", index)
                    if not (stays := erasing(empty).isnan()).all():
                        image.copy_(torch.where(stays, image, empty * std + mean))
                        empty.fill_(torch.nan)
            reseed(*mix_seed, "mix")
            return self.augment.mix(images, torch.tensor(targets), len(self.dataset.classes))

    @cached_property
    def _transform(self) -> Compose:
        """Random transforms from picture to picture: timm's, with the crop of CIFAR where it is asked for."""
        size, augment = self.transform.img_size, self.augment
        jitter: Any = augment.color_jitter or None  # timm takes None, though it declares only numbers
        stages: Any = transforms_imagenet_train(
            size if size[0] != size[1] else size[0],
            scale=augment.scale,
            hflip=augment.hflip,
            color_jitter=jitter,
            auto_augment=augment.aa,
            interpolation=augment.interpolation,
            # the policies fill with it while the picture is still in colour
            mean=self._means[0] if self.transform.colour else self._means[0] * 3,
            separate=True,
        )
        primary, secondary, _ = stages
        steps = primary.transforms[1:] + secondary.transforms  # without timm's own crop, which comes first
        if augment.crop == "resize":
            return Compose([primary.transforms[0], *steps])
        pad = [RandomCrop(size, padding=augment.padding)] if augment.crop == "pad" else []
        return Compose([self.transform.resized, *pad, *steps])

    @property
    def _means(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.dataset.statistics(self.transform.colour)
