"""What the paper's residual networks share: the stem, the four stages, the head, and timm's interface around them."""

from collections.abc import Callable
from dataclasses import dataclass

from timm.layers.classifier import ClassifierHead
from timm.models import checkpoint_seq
from torch import Tensor, nn

from alternet.models.settings import ResNetSettings
from alternet.models.timm_interface import TimmInterface


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """What a block has to know of its place in the network.

    Attributes:
        stage: Which stage, from 0.
        index: Which block of the stage, from 0.
        dim_in: Channels that come in.
        width: Channels of the block's spatial convolutions.
        dim_out: Channels that go out.
        stride: 2 where the block halves the resolution.
        drop_path: Probability that the branch is dropped in training.
        kernel_size: Side of the block's spatial convolutions.
        groups: Groups of a bottleneck's spatial convolution.
        bottleneck: Whether the spatial convolution stands between two of 1 x 1.
    """

    stage: int
    index: int
    dim_in: int
    width: int
    dim_out: int
    stride: int
    drop_path: float
    kernel_size: int = 3
    groups: int = 1
    bottleneck: bool = True

    @property
    def changes_shape(self) -> bool:
        """Whether the skip connection needs a projection."""
        return self.stride != 1 or self.dim_in != self.dim_out


def plans(settings: ResNetSettings) -> list[list[BlockPlan]]:
    """Plan every block of a residual network, stage by stage.

    Examples:
        >>> [[block.stride for block in stage] for stage in plans(ResNetSettings(depths=(2, 3), widths=(8, 16)))]
        [[1, 1], [2, 1, 1]]
    """
    drop_paths = iter(settings.drop_paths(sum(settings.depths)))
    stages, dim_in = [], settings.widths[0]
    for stage, (depth, width) in enumerate(zip(settings.depths, settings.widths, strict=True)):
        blocks, dim_out = [], width * settings.expansion
        for index in range(depth):
            place = {"stage": stage, "index": index, "stride": 2 if stage > 0 and index == 0 else 1}
            size = {"dim_in": dim_in, "width": settings.inner(width), "dim_out": dim_out}
            size |= {"kernel_size": settings.kernel_size, "groups": settings.cardinality}
            rest = {"drop_path": next(drop_paths), "bottleneck": settings.block == "bottleneck"}
            blocks.append(BlockPlan(**size, **place, **rest))
            dim_in = dim_out
        stages.append(blocks)
    return stages


def branch_shapes(plan: BlockPlan) -> list[tuple[int, int, int, int, int]]:
    """Convolutions of a block, each as channels in and out, side, stride and groups.

    Two spatial ones, or a bottleneck: one between two of 1 x 1.
    """
    width, side = plan.width, plan.kernel_size
    if not plan.bottleneck:
        return [(plan.dim_in, width, side, plan.stride, 1), (width, plan.dim_out, side, 1, 1)]
    spatial = (width, width, side, plan.stride, plan.groups)
    return [(plan.dim_in, width, 1, 1, 1), spatial, (width, plan.dim_out, 1, 1, 1)]


def conv(dim_in: int, dim_out: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Make a convolution without bias that keeps the map's size, or divides it by the stride and rounds up.

    Examples:
        >>> import torch
        >>> conv(3, 8, 3, stride=2)(torch.zeros(1, 3, 5, 5)).shape
        torch.Size([1, 8, 3, 3])
    """
    padding = kernel_size // 2
    return nn.Conv2d(dim_in, dim_out, kernel_size, stride=stride, padding=padding, groups=groups, bias=False)


def stem(settings: ResNetSettings, *, norm: Callable[[int], nn.Module] | None) -> nn.Sequential:
    """Make the first layers: a convolution, normalised and activated where `norm` says how, and pooled for ImageNet."""
    imagenet = settings.stem == "imagenet"
    layers = nn.Sequential()
    layers.add_module("conv", conv(settings.in_chans, settings.widths[0], 7 if imagenet else 3, 2 if imagenet else 1))
    if norm is not None:
        layers.add_module("norm", norm(settings.widths[0]))
    if imagenet:
        layers.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
    return layers


class SpatialSmoothing(nn.Module):
    """t tanh(x / t), ReLU, and the mean over 2 x 2 positions (Park and Kim 2021, "Blurs behave like ensembles").

    Every position is averaged with those above it and to its left, which are zero beyond the edge, as released; the
    released layer adds a row and a column at the end, which are left out here so that maps keep their size.

    Examples:
        >>> import torch
        >>> SpatialSmoothing(10.0)(torch.ones(1, 1, 2, 2)).mul(4).round(decimals=2)
        tensor([[[[1.0000, 1.9900],
                  [1.9900, 3.9900]]]])
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.act = nn.ReLU()
        self.pad = nn.ZeroPad2d((1, 0, 1, 0))
        self.pool = nn.AvgPool2d(2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """Smooth feature maps [n, c, h, w]."""
        return self.pool(self.pad(self.act(self.temperature * (x / self.temperature).tanh())))

    def extra_repr(self) -> str:
        """Show the setting that the sub-modules do not."""
        return f"temperature={self.temperature}"


class ResidualNetwork(TimmInterface):
    """A residual network in timm's interface; the concrete networks hand their layers in.

    Attributes:
        stem: Image to first feature map.
        stages: One `nn.Sequential` of blocks a stage, ending in its smoothing where there is one.
        norm: What follows the last stage: normalisation and activation, or nothing.
        head: timm's classifier head: pooling, dropout, linear.
        settings: The settings that it was made with.
    """

    trunk, isotropic = "stages", False

    def __init__(
        self,
        settings: ResNetSettings,
        *,
        stem: nn.Module,
        block: Callable[[BlockPlan], nn.Module],
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.settings = settings
        planned = plans(settings)
        widths = [stage[-1].dim_out for stage in planned]
        self.stem = stem
        self.stages = nn.Sequential(*(nn.Sequential(*map(block, stage)) for stage in planned))
        if settings.spatial_smoothing is not None:
            for stage in self.stages:
                stage.add_module("smoothing", SpatialSmoothing(settings.spatial_smoothing))
        self.norm = norm(widths[-1])
        self.head = ClassifierHead(
            widths[-1], settings.num_classes, pool_type=settings.global_pool, drop_rate=settings.drop_rate
        )
        self.num_classes = settings.num_classes
        self.num_features = self.head_hidden_size = widths[-1]
        self.feature_info = [
            {"num_chs": width, "reduction": reduction, "module": f"stages.{i}"}
            for i, (width, reduction) in enumerate(zip(widths, settings.reductions, strict=True))
        ]

    def enter(self, x: Tensor) -> tuple[Tensor]:
        """The stem's feature map of images of any size."""
        return (self.stem(x),)

    def run(self, unit: nn.Module, x: Tensor, *more: Tensor) -> Tensor:
        """A stage, block by block."""
        return checkpoint_seq(unit, x) if self.grad_checkpointing else unit(x)

    def normed(self, x: Tensor, unit: int) -> Tensor:
        """The last stage's map normalised, the others as they are."""
        return self.norm(x) if unit == len(self.stages) - 1 else x

    def leave(self, x: Tensor) -> Tensor:
        """Normalise and activate."""
        return self.norm(x)

    def drop_norm(self) -> None:
        """Leave out what follows the last stage."""
        self.norm = nn.Identity()

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay spares beside those of one dimension: the position biases."""
        return {name for name, _ in self.named_parameters() if name.endswith("relative_position_bias")}

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Patterns by which timm sorts the parameters into layers, for layer-wise learning rates."""
        block = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        last = (r"^norm", (99999,))  # the number is timm's MATCH_PREV_GROUP: with the layer before
        return {"stem": r"^stem", "blocks": [(block, None), last]}
