"""Pre-activation ResNet (He et al. 2016), the network that AlterNet is built from (paper, section 4).

Depths and widths are ResNet's; normalisation and ReLU come before each convolution, and a last pair before the pooling.
A block that changes the shape projects the *activated* map on its skip connection. The paper's CIFAR models have a 3 x
3 stem without max pooling.
"""

from collections import OrderedDict
from typing import Any

from timm.layers.drop import DropPath
from timm.layers.norm_act import BatchNormAct2d
from timm.models import register_model
from torch import Tensor, nn

from alternet.models.registration import CIFAR, MINI, create, describe
from alternet.models.residual import BlockPlan, ResidualNetwork, branch_shapes, conv, stem
from alternet.models.settings import ResNetSettings, check


class PreActBlock(nn.Module):
    """A residual unit that normalises and activates first: `x + branch(act(norm(x)))`.

    Where the shape changes, `x` is replaced by a projection of `act(norm(x))`, by default a 1 x 1 convolution.

    Attributes:
        norm1: Normalisation and activation.
        branch: Everything that follows on the residual branch.
        shortcut: The projection, or None.
    """

    def __init__(
        self, plan: BlockPlan, *, act: type[nn.Module], branch: nn.Sequential, shortcut: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.norm1 = BatchNormAct2d(plan.dim_in, act_layer=act, inplace=act is nn.ReLU)
        self.branch = branch
        self.drop_path = DropPath(plan.drop_path) if plan.drop_path else nn.Identity()
        self.shortcut = shortcut
        if plan.changes_shape and shortcut is None:
            self.shortcut = conv(plan.dim_in, plan.dim_out, 1, plan.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the map."""
        y = self.norm1(x)
        skip = x if self.shortcut is None else self.shortcut(y)
        return skip + self.drop_path(self.branch(y))


def convolutions(plan: BlockPlan) -> nn.Sequential:
    """The branch of a convolution block: its convolutions, normalised and activated in between."""
    shapes = branch_shapes(plan)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=conv(*shapes[0]))
    for i, shape in enumerate(shapes[1:], start=2):
        layers[f"norm{i}"] = BatchNormAct2d(shape[0])
        layers[f"conv{i}"] = conv(*shape)
    return nn.Sequential(layers)


def conv_block(plan: BlockPlan) -> PreActBlock:
    """A convolution block as planned."""
    return PreActBlock(plan, act=nn.ReLU, branch=convolutions(plan))


class PreResNet(ResidualNetwork):
    """Pre-activation ResNet (He et al. 2016; paper, section 4 and appendix E).

    Args:
        settings: The fields of `ResNetSettings`.

    Raises:
        ValueError: For an impossible setting.
        TypeError: For an unknown one.

    Examples:
        >>> import torch
        >>> net = PreResNet(depths=(1, 1), widths=(8, 16), block="basic", num_classes=10)
        >>> net(torch.randn(2, 3, 20, 12)).shape
        torch.Size([2, 10])
    """

    def __init__(self, **settings: Any) -> None:
        checked = check(ResNetSettings, settings)
        super().__init__(checked, stem=stem(checked, norm=None), block=conv_block, norm=BatchNormAct2d)


SIZES = {
    18: {"block": "basic", "depths": (2, 2, 2, 2)},
    34: {"block": "basic", "depths": (3, 4, 6, 3)},
    50: {"depths": (3, 4, 6, 3)},
    101: {"depths": (3, 4, 23, 3)},
    152: {"depths": (3, 8, 36, 3)},
}
default_cfgs = describe({**{f"preresnet_{size}": CIFAR for size in SIZES}, "preresnet_mini": MINI})


@register_model
def preresnet_18(pretrained: bool = False, **settings: Any) -> PreResNet:
    """Pre-activation ResNet-18, 11 M parameters.

    The size is the released code's; the paper measures ResNet-18 with post-activation.
    """
    return create(PreResNet, "preresnet_18", SIZES[18] | settings, pretrained=pretrained)


@register_model
def preresnet_34(pretrained: bool = False, **settings: Any) -> PreResNet:
    """Pre-activation ResNet-34. The size is the released code's; the paper measures none."""
    return create(PreResNet, "preresnet_34", SIZES[34] | settings, pretrained=pretrained)


@register_model
def preresnet_50(pretrained: bool = False, **settings: Any) -> PreResNet:
    """Pre-activation ResNet-50, 24 M parameters.

    The paper's build-up (figure 12a) starts from it with one block more: `depths=(3, 4, 6, 4)`.
    """
    return create(PreResNet, "preresnet_50", SIZES[50] | settings, pretrained=pretrained)


@register_model
def preresnet_101(pretrained: bool = False, **settings: Any) -> PreResNet:
    """Pre-activation ResNet-101.

    The size is the released code's; the paper measures ResNet-101 with post-activation (appendix C).
    """
    return create(PreResNet, "preresnet_101", SIZES[101] | settings, pretrained=pretrained)


@register_model
def preresnet_152(pretrained: bool = False, **settings: Any) -> PreResNet:
    """Pre-activation ResNet-152. The size is the released code's; the paper measures none."""
    return create(PreResNet, "preresnet_152", SIZES[152] | settings, pretrained=pretrained)


@register_model
def preresnet_mini(pretrained: bool = False, **settings: Any) -> PreResNet:
    """Small pre-activation ResNet for CPUs, 32 x 32 images, not in the paper: `alternet_mini` without attention."""
    mini = {"block": "basic", "depths": (2, 2, 2, 2), "widths": (16, 32, 64, 128)}
    return create(PreResNet, "preresnet_mini", mini | settings, pretrained=pretrained)
