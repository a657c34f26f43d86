"""AlterNet: a pre-activation ResNet whose stages end in attention blocks (paper, section 4, figures 3c and 11).

Convolutions amplify high frequencies and attention averages them away; so the two alternate, and attention comes last
in a stage. The convolution blocks are the pre-activation ResNet's. An attention block is: normalisation, GELU, 1 x 1
convolution to a quarter of the channels, normalisation, attention in windows, skip connection. There is no MLP and no
shift of the windows: the convolution blocks do their work.

The authors' code ignores the stride of an attention block. Here a stage may begin with one: the map is then averaged
over 2 x 2 tokens before the 1 x 1 convolution, and its skip connection is the strided projection of every other block.
"""

from collections import OrderedDict
from typing import Any

from timm.layers.norm_act import BatchNormAct2d
from timm.models import register_model
from torch import nn

from alternet.models.attention import WindowAttention
from alternet.models.preresnet import PreActBlock, conv_block
from alternet.models.registration import CIFAR, MINI, create, describe
from alternet.models.residual import BlockPlan, ResidualNetwork, conv, stem
from alternet.models.settings import AlterNetSettings, check


def attention_block(plan: BlockPlan, settings: AlterNetSettings) -> PreActBlock:
    """An attention block as planned: a pre-activation unit with GELU whose branch is `pool, conv1, norm2, attn`."""
    width = plan.dim_in // settings.expansion
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if plan.stride != 1:
        layers["pool"] = nn.AvgPool2d(plan.stride, ceil_mode=True)
    layers["conv1"] = conv(plan.dim_in, width, 1)
    layers["norm2"] = nn.BatchNorm2d(width)
    layers["attn"] = WindowAttention(
        width,
        plan.dim_out,
        heads=settings.heads[plan.stage],
        head_dim=settings.head_dim,
        window_size=settings.window,
    )
    return PreActBlock(plan, act=nn.GELU, branch=nn.Sequential(layers))


class AlterNet(ResidualNetwork):
    """Convolution and attention blocks in turn (Park and Kim 2022, section 4 and appendix E).

    Args:
        settings: The fields of `AlterNetSettings`.

    Raises:
        ValueError: For an impossible setting.
        TypeError: For an unknown one.

    Examples:
        >>> import torch
        >>> net = AlterNet(depths=(2, 2), widths=(8, 16), num_msa=(0, 1), heads=(1, 2), head_dim=8, num_classes=10)
        >>> net(torch.randn(2, 3, 20, 12)).shape
        torch.Size([2, 10])
    """

    def __init__(self, **settings: Any) -> None:
        checked = check(AlterNetSettings, settings)

        def block(plan: BlockPlan) -> nn.Module:
            attends = checked.is_attention(plan.stage, plan.index)
            return attention_block(plan, checked) if attends else conv_block(plan)

        super().__init__(checked, stem=stem(checked, norm=None), block=block, norm=BatchNormAct2d)


SIZES = {
    18: {"block": "basic", "depths": (2, 2, 2, 2), "num_msa": (0, 1, 1, 1)},
    34: {"block": "basic", "depths": (3, 4, 6, 4)},
    50: {"depths": (3, 4, 6, 4)},
    101: {"depths": (3, 4, 23, 4)},
    152: {"depths": (3, 8, 36, 4)},
}
default_cfgs = describe({**{f"alternet_{size}": CIFAR for size in SIZES}, "alternet_mini": MINI})


@register_model
def alternet_18(pretrained: bool = False, **settings: Any) -> AlterNet:
    """AlterNet-18, 9.5 M parameters, one attention block at the end of the last three stages.

    The size is the released code's, not the paper's.
    """
    return create(AlterNet, "alternet_18", SIZES[18] | settings, pretrained=pretrained)


@register_model
def alternet_34(pretrained: bool = False, **settings: Any) -> AlterNet:
    """AlterNet-34.

    The size is the released code's, not the paper's; its attention blocks are placed as in AlterNet-50.
    """
    return create(AlterNet, "alternet_34", SIZES[34] | settings, pretrained=pretrained)


@register_model
def alternet_50(pretrained: bool = False, **settings: Any) -> AlterNet:
    """The paper's AlterNet-50 (figure 11).

    As it stands it is the CIFAR-100 model: 3 x 3 stem, windows of 4 x 4, attention blocks 0/1/1/2 a stage.
    `stem="imagenet"` makes it the ImageNet model: 7 x 7 stem, windows of 7 x 7, attention blocks 0/1/3/2, 1000 classes.
    """
    return create(AlterNet, "alternet_50", SIZES[50] | settings, pretrained=pretrained)


@register_model
def alternet_101(pretrained: bool = False, **settings: Any) -> AlterNet:
    """AlterNet-101.

    The size is the released code's, not the paper's; its attention blocks are placed as in AlterNet-50.
    """
    return create(AlterNet, "alternet_101", SIZES[101] | settings, pretrained=pretrained)


@register_model
def alternet_152(pretrained: bool = False, **settings: Any) -> AlterNet:
    """AlterNet-152.

    The size is the released code's, not the paper's; its attention blocks are placed as in AlterNet-50.
    """
    return create(AlterNet, "alternet_152", SIZES[152] | settings, pretrained=pretrained)


@register_model
def alternet_mini(pretrained: bool = False, **settings: Any) -> AlterNet:
    """Small AlterNet for CPUs, 32 x 32 images, not in the paper: `preresnet_mini` with attention at stage ends."""
    mini = {
        "block": "basic",
        "depths": (2, 2, 2, 2),
        "widths": (16, 32, 64, 128),
        "num_msa": (0, 1, 1, 1),
        "heads": (1, 2, 4, 8),
        "head_dim": 16,
    }
    return create(AlterNet, "alternet_mini", mini | settings, pretrained=pretrained)
