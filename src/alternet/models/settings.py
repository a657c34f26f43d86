"""Checked settings of the models: what may be set, its default, and an error that says how to correct it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

POOLS = ("", "avg", "max", "avgmax", "catavgmax")
T = TypeVar("T")


def require(valid: bool, setting: str, got: object, expected: str) -> None:
    """Refuse a bad setting in one sentence.

    Raises:
        ValueError: If not `valid`.

    Examples:
        >>> require(0 < 7, "window_size", 7, "a positive integer")
    """
    if not valid:
        raise ValueError(f"{setting}={got!r} is not possible: expected {expected}; correct the setting {setting!r}.")


def check(kind: type[T], settings: dict[str, Any]) -> T:
    """Make the settings object `kind` of keyword arguments, and offer near matches for names that it does not have.

    Raises:
        TypeError: For an unknown name.
        ValueError: For an impossible value.

    Examples:
        >>> check(ResNetSettings, {"stem": "imagenet"}).reductions
        (4, 8, 16, 32)
    """
    known = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    for name in settings:
        if name not in known:
            near = ", ".join(get_close_matches(name, known) or known)
            raise TypeError(f"{name!r} is no setting of this model: expected one of its settings; did you mean {near}?")
    return kind(**settings)


def is_count(value: object, least: int = 1) -> bool:
    """Whether a value is an integer of at least `least` (True and False are not).

    Examples:
        >>> is_count(3), is_count(0), is_count(2.0), is_count(True)
        (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def require_rate(setting: str, value: float) -> None:
    """Refuse what is no probability below one.

    Raises:
        ValueError: If the value is outside [0, 1).

    Examples:
        >>> require_rate("drop_rate", 0.1)
    """
    require(0 <= value < 1, setting, value, "a probability, 0 <= p < 1")


def require_counts(setting: str, values: Sequence[int], length: int, least: int = 1) -> None:
    """Refuse what is no sequence of `length` integers of at least `least`.

    Raises:
        ValueError: If it is not.

    Examples:
        >>> require_counts("heads", (3, 6, 12, 24), 4)
    """
    expected = f"{length} integers, one a stage, each at least {least}"
    valid = isinstance(values, Sequence) and len(values) == length and all(is_count(v, least) for v in values)
    require(valid, setting, values, expected)


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What every model of this package can set.

    Attributes:
        num_classes: Classes of the classifier; 0 leaves it out.
        in_chans: Channels of the images.
        global_pool: How the last feature map is pooled, by timm's names; "" does not pool.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth of the last block; the rate rises linearly from 0 at the first.
    """

    num_classes: int = 100
    in_chans: int = 3
    global_pool: str = "avg"
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require(is_count(self.num_classes, 0), "num_classes", self.num_classes, "an integer, 0 or more")
        require(is_count(self.in_chans), "in_chans", self.in_chans, "a positive integer")
        require(self.global_pool in POOLS, "global_pool", self.global_pool, f"one of {', '.join(map(repr, POOLS))}")
        require_rate("drop_rate", self.drop_rate)
        require_rate("drop_path_rate", self.drop_path_rate)

    def drop_paths(self, blocks: int) -> list[float]:
        """Stochastic depth of each of so many blocks, linear in depth (paper, appendix A)."""
        return [self.drop_path_rate * i / max(blocks - 1, 1) for i in range(blocks)]


@dataclass(frozen=True, kw_only=True)
class ResNetSettings(HeadSettings):
    """Settings of the residual networks.

    Attributes:
        stem: "cifar": 3 x 3 convolution of stride 1; "imagenet": 7 x 7 convolution of stride 2 and 3 x 3 max pooling of
            stride 2.
        block: "bottleneck" (1 x 1, 3 x 3, 1 x 1 convolutions; the output is 4 times as wide) or "basic" (two 3 x 3).
        depths: Blocks a stage.
        widths: Channels of a stage's 3 x 3 convolutions; the stem has as many as the first stage.
    """

    stem: Literal["cifar", "imagenet"] = "cifar"
    block: Literal["basic", "bottleneck"] = "bottleneck"
    depths: Sequence[int] = (3, 4, 6, 3)
    widths: Sequence[int] = (64, 128, 256, 512)

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        super().__post_init__()
        require(self.stem in ("cifar", "imagenet"), "stem", self.stem, "'cifar' or 'imagenet'")
        require(self.block in ("basic", "bottleneck"), "block", self.block, "'basic' or 'bottleneck'")
        stages = len(self.depths) if isinstance(self.depths, Sequence) and self.depths else 1
        require_counts("depths", self.depths, stages)
        require_counts("widths", self.widths, stages)

    @property
    def expansion(self) -> int:
        """How many times wider a block's output is than its 3 x 3 convolution."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def reductions(self) -> tuple[int, ...]:
        """How many times smaller than the image each stage's feature map is."""
        first = 4 if self.stem == "imagenet" else 1
        return tuple(first * 2**i for i in range(len(self.depths)))


@dataclass(frozen=True, kw_only=True)
class AlterNetSettings(ResNetSettings):
    """Settings of AlterNet. Left at None, `num_msa` and `window_size` are the paper's for the stem.

    Attributes:
        num_msa: Attention blocks a stage. They replace every second convolution block, counted from the end of the
            stage, so that at most every second block, rounded up, can be one. None: (0, 1, 1, 2) with the CIFAR stem,
            (0, 1, 3, 2) with the ImageNet stem.
        heads: Attention heads a stage.
        head_dim: Channels of a head.
        window_size: Side of the attention windows, in tokens. None: 4 with the CIFAR stem, 7 with the ImageNet stem.
    """

    depths: Sequence[int] = (3, 4, 6, 4)
    num_msa: Sequence[int] | None = None
    heads: Sequence[int] = (3, 6, 12, 24)
    head_dim: int = 64
    window_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values and fill in the paper's for the stem."""
        super().__post_init__()
        cifar = self.stem == "cifar"
        if self.num_msa is None:
            object.__setattr__(self, "num_msa", (0, 1, 1, 2) if cifar else (0, 1, 3, 2))
        if self.window_size is None:
            object.__setattr__(self, "window_size", 4 if cifar else 7)
        require(is_count(self.window_size), "window_size", self.window_size, "a positive integer, or None")
        require(is_count(self.head_dim), "head_dim", self.head_dim, "a positive integer")
        require_counts("heads", self.heads, len(self.depths))
        require_counts("num_msa", self.attention_counts, len(self.depths), least=0)
        room = tuple((depth + 1) // 2 for depth in self.depths)
        fits = all(msa <= most for msa, most in zip(self.attention_counts, room, strict=True))
        require(fits, "num_msa", self.num_msa, f"at most every second block of a stage, here {room}")

    @property
    def window(self) -> int:
        """`window_size` with None resolved."""
        assert self.window_size is not None
        return self.window_size

    @property
    def attention_counts(self) -> Sequence[int]:
        """`num_msa` with None resolved."""
        assert self.num_msa is not None
        return self.num_msa

    def is_attention(self, stage: int, index: int) -> bool:
        """Whether a stage's block is an attention block: every second one from the end, `num_msa` times."""
        from_end = self.depths[stage] - 1 - index
        return from_end % 2 == 0 and from_end // 2 < self.attention_counts[stage]


@dataclass(frozen=True, kw_only=True)
class ConvViTSettings(HeadSettings):
    """Settings of the ViT with convolutional attention.

    Attributes:
        img_size: Height and width (one number: both) whose grid the position embedding has. Other sizes are taken, it
            is resampled.
        patch_size: Side of a patch; images must divide into patches.
        kernel_size: Side of the neighbourhood that a token sees. The zero padding around the map counts as neighbours.
            An even kernel reaches one token further down and right than up and left.
        embed_dim: Channels.
        depth: Blocks.
        heads: Attention heads.
        head_dim: Channels of a head.
        mlp_ratio: Hidden channels of the MLP over `embed_dim`.
    """

    img_size: int | tuple[int, int] = 32
    patch_size: int = 4
    kernel_size: int = 5
    embed_dim: int = 192
    depth: int = 12
    heads: int = 3
    head_dim: int = 64
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        super().__post_init__()
        require(self.global_pool in POOLS[:-1], "global_pool", self.global_pool, "a pool that keeps the width")
        for name in ("patch_size", "kernel_size", "embed_dim", "depth", "heads", "head_dim"):
            require(is_count(getattr(self, name)), name, getattr(self, name), "a positive integer")
        require(self.mlp_ratio > 0, "mlp_ratio", self.mlp_ratio, "a positive number")
        require_counts("img_size", self.image, 2)
        divides = all(side % self.patch_size == 0 for side in self.image)
        require(divides, "img_size", self.img_size, f"a multiple of the patch size {self.patch_size}")

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of the images."""
        return (self.img_size, self.img_size) if isinstance(self.img_size, int) else self.img_size

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the token map."""
        return self.image[0] // self.patch_size, self.image[1] // self.patch_size
