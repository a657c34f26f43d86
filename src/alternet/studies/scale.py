"""Scales: what the declarations of the paper's figures mean at the paper's size, and small enough for two cores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from alternet.errors import unknown
from alternet.studies.networks import NETWORKS, Network
from alternet.studies.networks import Scale as Size

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a data set without having it: images of both splits, classes, side."""

    train: int
    test: int
    classes: int
    side: int


KNOWN = {
    "photos": Facts(train=5400, test=1080, classes=18, side=32),
    "digits": Facts(train=1433, test=364, classes=10, side=32),
    "cifar10": Facts(train=50_000, test=10_000, classes=10, side=32),
    "cifar100": Facts(train=50_000, test=10_000, classes=100, side=32),
    "imagenet": Facts(train=1_281_167, test=50_000, classes=1000, side=224),
}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large.

    Attributes:
        name: `smoke`, `cifar` or `imagenet`.
        data: What is trained and measured on by default.
        second: The data set of the figures that ask whether another one says the same.
        recipes: What `base`, `strong` and `weak` mean: a recipe, and what is changed in it. `base` is what networks are
            trained with unless a figure is about augmentation.
        moments: Names of the snapshots at the end of the warm-up and later on, with the epochs since then.
        hessian: Images for eigenvalues, of which a batch has 16.
        landscape: Images for landscapes.
        points: Points a side of a landscape.
        noise: Images under noise or corruption; None for all.
        corruptions: Those that are made, by name; empty for all fifteen.

    Examples:
        >>> SMOKE.pick(smoke=(1, 2), cifar=(1, 2, 3)), IMAGENET.pick(smoke=(1, 2), cifar=(1, 2, 3))
        ((1, 2), (1, 2, 3))
    """

    name: Size
    data: str
    second: str
    recipes: Mapping[str, tuple[str, Mapping[str, Any]]]
    moments: Mapping[str, int]
    hessian: int
    landscape: int
    points: int
    noise: int | None = None
    corruptions: str = ""

    def pick(self, *, smoke: T, cifar: T) -> T:
        """What a figure takes at this scale."""
        return smoke if self.name == "smoke" else cifar

    def network(self, name: str) -> Network:
        """The model of a network of the paper; any other name is a MODEL itself."""
        return NETWORKS[name][self.name] if name in NETWORKS else Network(name)


STRONG = {
    "aa": "rand-m9-n2-mstd1.0",
    "crop": "pad",
    "padding": 4,
    "mixup": 1.0,
    "cutmix": 0.8,
    "mixup_prob": 1.0,
    "mixup_switch_prob": 0.5,
    "smoothing": 0.1,
}
"""The paper's augmentation as options of a recipe, for the smoke scale, whose own recipe has flips alone."""


SMOKE = Scale(
    name="smoke",
    data="photos",
    second="digits",
    recipes={"base": ("quick", {}), "weak": ("quick", {}), "strong": ("quick", STRONG)},
    moments={"warmup": 0, "epoch-0002": 1, "last": 3},
    hessian=160,
    landscape=128,
    points=11,
    noise=360,
    corruptions="gaussian_noise, defocus_blur, fog, contrast, jpeg_compression",
)

CIFAR = Scale(
    name="cifar",
    data="cifar100",
    second="cifar10",
    recipes={"base": ("paper", {}), "weak": ("weak", {}), "weak-cnn": ("weak-sgd", {}), "strong": ("paper", {})},
    moments={"warmup": 0, "epoch-0105": 100, "epoch-0205": 200, "last": 300},
    hessian=19_200,
    landscape=9_984,
    points=21,
)

IMAGENET = Scale(
    name="imagenet",
    data="imagenet",
    second="imagenet",
    recipes={
        "base": ("paper-imagenet", {}),
        "weak": ("paper-imagenet", {"aa": None, "mixup": 0.0, "cutmix": 0.0, "smoothing": 0.0, "reprob": 0.0}),
        "strong": ("paper-imagenet", {}),
    },
    moments={"warmup": 0, "epoch-0100": 95, "epoch-0200": 195, "last": 300},
    hessian=19_200,
    landscape=9_984,
    points=21,
)

SCALES = {scale.name: scale for scale in (SMOKE, CIFAR, IMAGENET)}


def scale_of(name: str) -> Scale:
    """The scale of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in SCALES:
        raise unknown("There is no scale", name, SCALES)
    return SCALES[name]
