"""The paper's ViT-Ti, PiT-Ti and Swin-Ti for CIFAR: timm's networks in the paper's sizes, without qkv biases."""

from typing import Any

from timm.models import pit, register_model, swin_transformer, vision_transformer
from timm.models.pit import PoolingVisionTransformer
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from alternet.models.registration import CIFAR, create, describe

FIXED = CIFAR | {"fixed_input_size": True, "classifier": "head"}
default_cfgs = describe(
    {
        "paper_vit_ti": FIXED | {"first_conv": "patch_embed.proj"},
        "paper_pit_ti": FIXED | {"first_conv": "patch_embed.conv"},
        "paper_swin_ti": FIXED | {"first_conv": "patch_embed.proj", "classifier": "head.fc"},
    }
)


class PaperPiT(PoolingVisionTransformer):
    """timm's PiT, whose attention can do without the biases of queries, keys and values, as timm's other ViTs can."""

    def __init__(self, *, qkv_bias: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        if not qkv_bias:
            for module in self.modules():
                if isinstance(qkv := getattr(module, "qkv", None), nn.Linear):
                    qkv.register_parameter("bias", None)


@register_model
def paper_vit_ti(pretrained: bool = False, **settings: Any) -> VisionTransformer:
    """The paper's ViT-Ti for CIFAR, 32 x 32 images in patches of 2 x 2, 5.4 M parameters."""
    sizes = {"img_size": 32, "patch_size": 2, "embed_dim": 192, "depth": 12, "num_heads": 3, "qkv_bias": False}
    build = {"pretrained": pretrained, "pretrained_filter_fn": vision_transformer.checkpoint_filter_fn}
    return create(VisionTransformer, "paper_vit_ti", sizes | settings, features=3, **build)


@register_model
def paper_pit_ti(pretrained: bool = False, **settings: Any) -> PaperPiT:
    """The paper's PiT-Ti for CIFAR, patches of 2 x 2 at a stride of 1, which makes 31 x 31 tokens, 4.6 M parameters."""
    sizes = {"img_size": 32, "patch_size": 2, "stride": 1, "base_dims": (32, 32, 32)}
    blocks = {"depth": (2, 6, 4), "heads": (2, 4, 8), "qkv_bias": False}
    build = {"pretrained": pretrained, "pretrained_filter_fn": pit.checkpoint_filter_fn}
    return create(PaperPiT, "paper_pit_ti", sizes | blocks | settings, features=3, **build)


@register_model
def paper_swin_ti(pretrained: bool = False, **settings: Any) -> SwinTransformer:
    """The paper's Swin-Ti for CIFAR, patches of 1 x 1 and windows of 4 x 4, 28 M parameters."""
    sizes = {"img_size": 32, "patch_size": 1, "window_size": 4, "embed_dim": 96}
    blocks = {"depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "qkv_bias": False}
    build = {"pretrained": pretrained, "pretrained_filter_fn": swin_transformer.checkpoint_filter_fn}
    return create(SwinTransformer, "paper_swin_ti", sizes | blocks | settings, features=4, **build)


FILTERS: dict[type[nn.Module], Any] = {
    PaperPiT: pit.checkpoint_filter_fn,
    SwinTransformer: swin_transformer.checkpoint_filter_fn,
    VisionTransformer: vision_transformer.checkpoint_filter_fn,
}
"""What renames the weights of older versions of timm, in which Swin's merging stood at the end of a stage."""
