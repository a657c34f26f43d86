"""The paper's ResNets: post-activation (He et al. 2015), with a 3 x 3 stem for CIFAR (paper, appendix A).

They differ from timm's `resnet*` in the CIFAR stem only; with `stem="imagenet"` they are the same networks.
"""

from collections import OrderedDict
from typing import Any

from timm.layers.drop import DropPath
from timm.layers.norm_act import BatchNormAct2d
from timm.models import register_model
from torch import Tensor, nn

from alternet.models.preresnet import SIZES
from alternet.models.registration import CIFAR, create, describe
from alternet.models.residual import BlockPlan, ResidualNetwork, branch_shapes, conv, stem
from alternet.models.settings import ResNetSettings, check


class PostActBlock(nn.Module):
    """A residual unit that activates the sum: `relu(shortcut(x) + branch(x))`.

    Attributes:
        branch: Convolutions, each with its normalisation.
        shortcut: A normalised 1 x 1 convolution where the shape changes, else nothing.
    """

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.branch = branch(plan)
        self.drop_path = DropPath(plan.drop_path) if plan.drop_path else nn.Identity()
        self.shortcut = nn.Sequential()
        if plan.changes_shape:
            self.shortcut.add_module("conv", conv(plan.dim_in, plan.dim_out, 1, plan.stride))
            self.shortcut.add_module("norm", nn.BatchNorm2d(plan.dim_out))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the map and activate."""
        return self.act(self.shortcut(x) + self.drop_path(self.branch(x)))


def branch(plan: BlockPlan) -> nn.Sequential:
    """The branch of a block: its convolutions, each normalised, and all but the last activated."""
    shapes = branch_shapes(plan)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, shape in enumerate(shapes, start=1):
        layers[f"conv{i}"] = conv(*shape)
        layers[f"norm{i}"] = BatchNormAct2d(shape[1], apply_act=i < len(shapes))
    return nn.Sequential(layers)


class PaperResNet(ResidualNetwork):
    """Post-activation ResNet with the stem of the paper (paper, appendix A; He et al. 2015).

    Args:
        settings: The fields of `ResNetSettings`.

    Raises:
        ValueError: For an impossible setting.
        TypeError: For an unknown one.

    Examples:
        >>> import torch
        >>> net = PaperResNet(depths=(1, 1), widths=(8, 16), num_classes=10)
        >>> net(torch.randn(2, 3, 20, 12)).shape
        torch.Size([2, 10])
    """

    def __init__(self, **settings: Any) -> None:
        checked = check(ResNetSettings, settings)
        first = stem(checked, norm=BatchNormAct2d)
        super().__init__(checked, stem=first, block=PostActBlock, norm=lambda _: nn.Identity())


default_cfgs = describe({f"paper_resnet_{size}": CIFAR for size in SIZES})


@register_model
def paper_resnet_18(pretrained: bool = False, **settings: Any) -> PaperResNet:
    """The paper's ResNet-18 (section 2: the smaller network of its size comparison), 11 M parameters."""
    return create(PaperResNet, "paper_resnet_18", SIZES[18] | settings, pretrained=pretrained)


@register_model
def paper_resnet_34(pretrained: bool = False, **settings: Any) -> PaperResNet:
    """ResNet-34 in the paper's form. The size is the released code's; the paper measures none."""
    return create(PaperResNet, "paper_resnet_34", SIZES[34] | settings, pretrained=pretrained)


@register_model
def paper_resnet_50(pretrained: bool = False, **settings: Any) -> PaperResNet:
    """The paper's ResNet-50, the convolutional network of all its figures, 24 M parameters."""
    return create(PaperResNet, "paper_resnet_50", SIZES[50] | settings, pretrained=pretrained)


@register_model
def paper_resnet_101(pretrained: bool = False, **settings: Any) -> PaperResNet:
    """The paper's ResNet-101 (appendix C: larger networks)."""
    return create(PaperResNet, "paper_resnet_101", SIZES[101] | settings, pretrained=pretrained)


@register_model
def paper_resnet_152(pretrained: bool = False, **settings: Any) -> PaperResNet:
    """ResNet-152 in the paper's form. The size is the released code's; the paper measures none."""
    return create(PaperResNet, "paper_resnet_152", SIZES[152] | settings, pretrained=pretrained)
