"""ViT with 2-D convolutional attention: each token sees its k x k neighbourhood only (paper, figure 7).

A plain ViT otherwise: pre-norm blocks, MLP of four times the width, learnt absolute positions, stochastic depth. There
is no class token; the head pools, normalises and classifies. Feature maps are [n, c, h, w] throughout.
"""

from functools import partial
from typing import Any

import torch
from timm.layers.classifier import NormMlpClassifierHead
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.layers.norm import LayerNorm2d
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import register_model
from timm.models._manipulate import checkpoint
from torch import Tensor, nn

from alternet.models.attention import ConvAttention, neighbourhood_bias
from alternet.models.registration import CIFAR, create, describe
from alternet.models.settings import ConvViTSettings, check
from alternet.models.timm_interface import TimmInterface

LayerNorm = partial(LayerNorm2d, eps=1e-5)  # the released models' epsilon


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and on a residual branch."""

    def __init__(self, settings: ConvViTSettings, drop_path: float) -> None:
        super().__init__()
        dim = settings.embed_dim
        self.norm1 = LayerNorm(dim)
        self.attn = ConvAttention(dim, heads=settings.heads, head_dim=settings.head_dim)
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, round(dim * settings.mlp_ratio), use_conv=True)
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Transform feature maps [n, c, h, w]; `bias` is `neighbourhood_bias` of their size."""
        x = x + self.drop_path1(self.attn(self.norm1(x), bias))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class ConvViT(TimmInterface):
    """ViT with convolutional attention and a pooling head (Park and Kim 2022, figure 7).

    Images of any size that divides into patches are taken: the position embedding is resampled to their grid.

    Args:
        settings: The fields of `ConvViTSettings`.

    Raises:
        ValueError: For an impossible setting.
        TypeError: For an unknown one.

    Examples:
        >>> net = ConvViT(embed_dim=8, depth=2, heads=2, head_dim=4, kernel_size=3, num_classes=10)
        >>> net(torch.randn(2, 3, 32, 48)).shape
        torch.Size([2, 10])
    """

    trunk, isotropic = "blocks", True

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = checked = check(ConvViTSettings, settings)
        dim, patch, (rows, columns) = checked.embed_dim, checked.patch_size, checked.grid
        self.stem = nn.Sequential()
        self.stem.add_module("conv", nn.Conv2d(checked.in_chans, dim, patch, stride=patch))
        self.pos_embed = nn.Parameter(torch.randn(1, rows * columns, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(checked, rate) for rate in checked.drop_paths(checked.depth))
        self.head = NormMlpClassifierHead(
            dim, checked.num_classes, pool_type=checked.global_pool, drop_rate=checked.drop_rate, norm_layer=LayerNorm
        )
        self.num_classes = checked.num_classes
        self.num_features = self.head_hidden_size = self.embed_dim = dim
        self.feature_info = [
            {"num_chs": dim, "reduction": patch, "module": f"blocks.{i}"} for i in range(checked.depth)
        ]

    def embed(self, x: Tensor) -> Tensor:
        """Cut images into patches, [n, embed_dim, rows, columns], and add where they are.

        Raises:
            ValueError: If an image does not divide into patches.
        """
        patch, size = self.settings.patch_size, tuple(x.shape[-2:])
        if any(side % patch for side in size):
            raise ValueError(
                f"Images of {size[0]} x {size[1]} pixels do not divide into patches: expected multiples of {patch}; "
                "resize or pad them."
            )
        x = self.stem(x)
        grid = [x.shape[-2], x.shape[-1]]
        positions = resample_abs_pos_embed(self.pos_embed, grid, list(self.settings.grid), num_prefix_tokens=0)
        x = x + positions.transpose(1, 2).unflatten(2, grid)
        return x.contiguous(memory_format=torch.channels_last)  # attention and LayerNorm read whole tokens

    def enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The embedded patches, and the mask of attention for maps of their size, which all blocks share."""
        x = self.embed(x)
        return x, neighbourhood_bias((x.shape[-2], x.shape[-1]), self.settings.kernel_size).to(x.device, x.dtype)

    def run(self, unit: nn.Module, x: Tensor, *more: Tensor) -> Tensor:
        """A block, with the mask."""
        return checkpoint(unit, x, *more) if self.grad_checkpointing else unit(x, *more)

    def normed(self, x: Tensor, unit: int) -> Tensor:
        """Any block's map, normalised."""
        return self.head.norm(x)

    def drop_norm(self) -> None:
        """Leave out the head's normalisation."""
        self.head.norm = nn.Identity()

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay spares beside those of one dimension: the position embedding."""
        return {"pos_embed"}

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Patterns by which timm sorts the parameters into layers, for layer-wise learning rates."""
        return {"stem": r"^stem|^pos_embed", "blocks": r"^blocks\.(\d+)"}


def resample_positions(state: dict[str, Tensor], model: ConvViT) -> dict[str, Tensor]:
    """Fit a checkpoint's position embedding to the grid of a model made for another image size.

    Args:
        state: A state dict of a square `ConvViT`.
        model: The model that it will be loaded into.

    Examples:
        >>> small = {"depth": 1, "embed_dim": 8, "heads": 1, "head_dim": 8}
        >>> state = resample_positions(ConvViT(**small).state_dict(), ConvViT(img_size=48, **small))
        >>> state["pos_embed"].shape  # 12 x 12 tokens instead of 8 x 8
        torch.Size([1, 144, 8])
    """
    positions = resample_abs_pos_embed(state["pos_embed"], list(model.settings.grid), num_prefix_tokens=0)
    return state | {"pos_embed": positions}


default_cfgs = describe({"conv_vit_tiny": CIFAR})


@register_model
def conv_vit_tiny(pretrained: bool = False, **settings: Any) -> ConvViT:
    """The paper's ViT-Ti with convolutional attention (figure 7), 5.4 M parameters, patches of 4 x 4.

    The paper compares `kernel_size` 3, 5 and 8. It reports how an odd kernel is padded nowhere but in the released
    settings, and how the even one is nowhere at all; for it see `ConvViTSettings`.
    """
    build = {"pretrained": pretrained, "pretrained_filter_fn": resample_positions}
    return create(ConvViT, "conv_vit_tiny", settings, features=3, **build)
