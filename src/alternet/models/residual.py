"""What the paper's residual networks share: the stem, the four stages, the head, and timm's interface around them."""

from collections.abc import Callable
from dataclasses import dataclass

from timm.layers.classifier import ClassifierHead
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from alternet.models.settings import ResNetSettings, require


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """What a block has to know of its place in the network.

    Attributes:
        stage: Which stage, from 0.
        index: Which block of the stage, from 0.
        dim_in: Channels that come in.
        width: Channels of the stage's 3 x 3 convolutions.
        dim_out: Channels that go out.
        stride: 2 where the block halves the resolution.
        drop_path: Probability that the branch is dropped in training.
    """

    stage: int
    index: int
    dim_in: int
    width: int
    dim_out: int
    stride: int
    drop_path: float

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
            blocks.append(BlockPlan(dim_in=dim_in, width=width, dim_out=dim_out, drop_path=next(drop_paths), **place))
            dim_in = dim_out
        stages.append(blocks)
    return stages


def conv(dim_in: int, dim_out: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution without bias that keeps the map's size, or divides it by the stride and rounds up.

    Examples:
        >>> import torch
        >>> conv(3, 8, 3, stride=2)(torch.zeros(1, 3, 5, 5)).shape
        torch.Size([1, 8, 3, 3])
    """
    return nn.Conv2d(dim_in, dim_out, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)


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


class ResidualNetwork(nn.Module):
    """A residual network in timm's interface; the concrete networks hand their layers in.

    Attributes:
        stem: Image to first feature map.
        stages: One `nn.Sequential` of blocks a stage.
        norm: What follows the last stage: normalisation and activation, or nothing.
        head: timm's classifier head: pooling, dropout, linear.
        settings: The settings that it was made with.
    """

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
        self.grad_checkpointing = False

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute the last feature map, [n, c, h, w], of images [n, in_chans, height, width] of any size."""
        x = self.stem(x)
        for stage in self.stages:
            x = self._run(stage, x)
        return self.norm(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Compute logits [n, num_classes] of a feature map, or its pooled features if `pre_logits`."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [n, num_classes] of images [n, in_chans, height, width] of any size."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Compute the feature maps after chosen stages, as every timm model does.

        Args:
            x: Images [n, in_chans, height, width].
            indices: The last so many stages, these stages, or all of them (None).
            norm: Apply the final normalisation to the last stage's map.
            stop_early: Do not compute what follows the last chosen stage.
            output_fmt: "NCHW", the only layout.
            intermediates_only: Leave out the final feature map.

        Returns:
            The final feature map and the list of chosen ones, or that list alone.

        Raises:
            ValueError: For another layout.
        """
        require(output_fmt == "NCHW", "output_fmt", output_fmt, "'NCHW'")
        chosen, last = feature_take_indices(len(self.stages), indices)
        stages = self.stages[: last + 1] if stop_early else self.stages
        x = self.stem(x)
        maps = []
        for i, stage in enumerate(stages):
            x = self._run(stage, x)
            if i in chosen:
                maps.append(self.norm(x) if norm and i == len(self.stages) - 1 else x)
        if intermediates_only:
            return maps
        return (self.norm(x) if len(stages) == len(self.stages) else x), maps

    def _run(self, stage: nn.Module, x: Tensor) -> Tensor:
        if self.grad_checkpointing:
            return checkpoint_seq(stage, x)
        return stage(x)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages after the last chosen one, and what no longer fits behind them.

        Args:
            indices: The last so many stages, or these stages.
            prune_norm: Drop the final normalisation.
            prune_head: Drop the classifier.

        Returns:
            The indices of the chosen stages.
        """
        chosen, last = feature_take_indices(len(self.stages), indices)
        shortened = last < len(self.stages) - 1
        self.stages = self.stages[: last + 1]
        if prune_norm or shortened:
            self.norm = nn.Identity()
        if prune_head or shortened:
            self.reset_classifier(0, "")
        return chosen

    def get_classifier(self) -> nn.Module:
        """The linear layer that makes logits."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in place; 0 classes leave it out, `global_pool=None` keeps the pooling."""
        self.num_classes = num_classes
        self.head.reset(num_classes, pool_type=global_pool)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay spares beside those of one dimension: the position biases."""
        return {name for name, _ in self.named_parameters() if name.endswith("relative_position_bias")}

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Patterns by which timm sorts the parameters into layers, for layer-wise learning rates."""
        block = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^stem", "blocks": [(block, None), (r"^norm", (99999,))]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the blocks in the backward pass instead of keeping their activations.

        As in timm, batch normalisation then sees each training batch twice, which its running statistics follow.
        """
        self.grad_checkpointing = enable
