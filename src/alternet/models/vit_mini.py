"""A plain ViT small enough to train on a CPU in a minute: timm's own, with small settings."""

from typing import Any

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from alternet.models.registration import MINI, create, describe

default_cfgs = describe(
    {"vit_mini": MINI | {"fixed_input_size": True, "first_conv": "patch_embed.proj", "classifier": "head"}}
)


@register_model
def vit_mini(pretrained: bool = False, **settings: Any) -> VisionTransformer:
    """Small ViT for CPUs, 32 x 32 images in patches of 4 x 4, not in the paper: its ViT-Ti has patches of 2 x 2."""
    mini = {"patch_size": 4, "embed_dim": 96, "depth": 6, "num_heads": 3}
    build = {"pretrained": pretrained, "pretrained_filter_fn": checkpoint_filter_fn}  # resamples position embeddings
    return create(VisionTransformer, "vit_mini", mini | settings, features=3, **build)
