"""Checked settings of the models: what may be set, its default, and an error that says how to correct it."""

from typing import Any, ClassVar, Literal, TypeVar

from alternet.errors import nearest
from alternet.settings import BelowOne, Count, List, Natural, Pair, Positive, names, settings

T = TypeVar("T")


def check(kind: type[T], given: dict[str, Any]) -> T:
    """Make the settings object `kind` of keyword arguments, and offer near matches for names that it does not have.

    Raises:
        TypeError: For an unknown name, as timm expects it of a model.
        ValueError: For an impossible value.

    Examples:
        >>> check(ResNetSettings, {"stem": "imagenet"}).reductions
        (4, 8, 16, 32)
    """
    known = names(kind)
    for name in given:
        if name not in known:
            raise TypeError(f"{name!r} is no setting of this model; did you mean {nearest(name, known)}?")
    return kind(**given)


def require(valid: bool, setting: str, got: object, expected: str) -> None:
    """Refuse a setting that does not fit the others.

    Raises:
        ValueError: If not `valid`.
    """
    if not valid:
        raise ValueError(f"The model got {setting}={got!r}, expected {expected}.")


@settings
class HeadSettings:
    """What every model of this package can set."""

    called: ClassVar[str] = "The model"

    num_classes: Natural = 100
    """Classes of the classifier; 0 leaves it out."""
    in_chans: Count = 3
    """Channels of the images."""
    global_pool: Literal["", "avg", "max", "avgmax", "catavgmax"] = "avg"
    """How the last feature map is pooled, by timm's names; "" does not pool."""
    drop_rate: BelowOne = 0.0
    """Dropout before the classifier."""
    drop_path_rate: BelowOne = 0.0
    """Stochastic depth of the last block; the rate rises linearly from 0 at the first."""

    def drop_paths(self, blocks: int) -> list[float]:
        """Stochastic depth of each of so many blocks, linear in depth (paper, appendix A)."""
        return [self.drop_path_rate * i / max(blocks - 1, 1) for i in range(blocks)]


@settings
class ResNetSettings(HeadSettings):
    """Settings of the residual networks."""

    stem: Literal["cifar", "imagenet"] = "cifar"
    """"cifar": 3 x 3 convolution of stride 1; "imagenet": 7 x 7 convolution of stride 2 and 3 x 3 max pooling of
    stride 2."""
    block: Literal["basic", "bottleneck"] = "bottleneck"
    """"bottleneck" (1 x 1, 3 x 3, 1 x 1 convolutions; the output is 4 times as wide) or "basic" (two 3 x 3)."""
    depths: List[Count] = (3, 4, 6, 3)
    """Blocks a stage."""
    widths: List[Count] = (64, 128, 256, 512)
    """Channels of a stage's 3 x 3 convolutions; the stem has as many as the first stage."""
    kernel_size: Count = 3
    """Side of the blocks' spatial convolutions, odd; the stem keeps its own."""
    cardinality: Count = 1
    """Groups of a bottleneck's spatial convolution (ResNeXt: 32; Xie et al. 2017)."""
    base_width: Count = 64
    """Channels of each group where `widths` says 64, and in proportion elsewhere (ResNeXt-50 32x4d: 4)."""
    spatial_smoothing: Positive | None = None
    """Smooth each stage's map before it is subsampled or pooled: t tanh(x / t), ReLU, 2 x 2 average, with this t (Park
    and Kim 2021, "Blurs behave like ensembles", who take 10). None: not at all."""

    def __post_init__(self) -> None:
        """Refuse lists that do not fit together."""
        require(len(self.depths) > 0, "depths", self.depths, "one number a stage")
        require(self.kernel_size % 2 == 1, "kernel_size", self.kernel_size, "an odd number, which keeps a map's size")
        self.require_each("widths", self.widths)
        grouped = (self.cardinality, self.base_width) != (1, 64)
        require(
            not grouped or self.block == "bottleneck", "block", self.block, '"bottleneck" with groups or their width'
        )
        whole = all(width * self.base_width % 64 == 0 for width in self.widths)
        require(whole, "base_width", self.base_width, "whole channels a group: a multiple of 64 / width for each width")

    def require_each(self, setting: str, values: tuple[int, ...]) -> None:
        """Refuse a list that has not one value a stage."""
        stages = len(self.depths)
        require(len(values) == stages, setting, values, f"{stages} integers, one a stage")

    def inner(self, width: int) -> int:
        """Channels of a spatial convolution in a stage of some width."""
        return width * self.base_width // 64 * self.cardinality

    @property
    def expansion(self) -> int:
        """How many times wider a block's output is than its 3 x 3 convolution."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def reductions(self) -> tuple[int, ...]:
        """How many times smaller than the image each stage's feature map is."""
        first = 4 if self.stem == "imagenet" else 1
        return tuple(first * 2**i for i in range(len(self.depths)))


@settings
class AlterNetSettings(ResNetSettings):
    """Settings of AlterNet. Left at None, `num_msa`, `msa` and `window_size` are the paper's for the stem."""

    depths: List[Count] = (3, 4, 6, 4)
    """Blocks a stage."""
    num_msa: List[Natural] | None = None
    """Attention blocks a stage. They replace every second convolution block, counted from the end of the stage, so that
    at most every second block, rounded up, can be one. None: (0, 1, 1, 2) with the CIFAR stem, (0, 1, 3, 2) with the
    ImageNet stem."""
    msa: List[str] | None = None
    """Which blocks attend, by name: "3.1" is the second block of the last of four stages, `stages.3.1` of the network.
    Given, it is used in place of `num_msa`; any blocks may attend, also those that begin a stage. None: as `num_msa`
    says."""
    heads: List[Count] = (3, 6, 12, 24)
    """Attention heads a stage."""
    head_dim: Count = 64
    """Channels of a head."""
    window_size: Count | None = None
    """Side of the attention windows, in tokens. None: 4 with the CIFAR stem, 7 with the ImageNet stem."""

    def __post_init__(self) -> None:
        """Fill in the paper's for the stem, and refuse lists that do not fit together."""
        super().__post_init__()
        cifar = self.stem == "cifar"
        if self.num_msa is None:
            object.__setattr__(self, "num_msa", (0, 1, 1, 2) if cifar else (0, 1, 3, 2))
        if self.window_size is None:
            object.__setattr__(self, "window_size", 4 if cifar else 7)
        self.require_each("heads", self.heads)
        blocks = [[f"{stage}.{index}" for index in range(depth)] for stage, depth in enumerate(self.depths)]
        if self.msa is None:
            counts = self.num_msa or ()
            self.require_each("num_msa", counts)
            room = tuple((depth + 1) // 2 for depth in self.depths)
            fits = all(msa <= most for msa, most in zip(counts, room, strict=True))
            require(fits, "num_msa", self.num_msa, f"at most every second block of a stage, here {room}")
            # every second one, counted from the end of the stage (paper, section 4.1)
            chosen = [name for stage, n in zip(blocks, counts, strict=True) for name in stage[::-1][::2][:n]]
            object.__setattr__(self, "msa", tuple(sorted(chosen)))
        else:
            known = [name for stage in blocks for name in stage]
            for name in self.msa:
                require(
                    name in known, "msa", self.msa, f"names of blocks, {known[0]} to {known[-1]}: STAGE.BLOCK from 0"
                )
            counts = tuple(sum(name in stage for name in set(self.msa)) for stage in blocks)
            object.__setattr__(self, "num_msa", counts)

    @property
    def window(self) -> int:
        """`window_size` with None resolved."""
        assert self.window_size is not None
        return self.window_size

    def is_attention(self, stage: int, index: int) -> bool:
        """Whether a stage's block is an attention block."""
        return f"{stage}.{index}" in (self.msa or ())


@settings
class ConvViTSettings(HeadSettings):
    """Settings of the ViT with convolutional attention."""

    global_pool: Literal["", "avg", "max", "avgmax"] = "avg"
    """How the last feature map is pooled, by timm's names; "" does not pool, and no pool changes the width."""
    img_size: Count | Pair[Count] = 32
    """Height and width (one number: both) whose grid the position embedding has. Other sizes are taken, it is
    resampled."""
    patch_size: Count = 4
    """Side of a patch; images must divide into patches."""
    kernel_size: Count = 5
    """Side of the neighbourhood that a token sees. The zero padding around the map counts as neighbours. An even kernel
    reaches one token further down and right than up and left."""
    embed_dim: Count = 192
    """Channels."""
    depth: Count = 12
    """Blocks."""
    heads: Count = 3
    """Attention heads."""
    head_dim: Count = 64
    """Channels of a head."""
    mlp_ratio: Positive = 4.0
    """Hidden channels of the MLP over `embed_dim`."""

    def __post_init__(self) -> None:
        """Refuse images that do not divide into patches."""
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
