"""MLP-Mixer of ViT-Ti's width and depth: timm's own, whose registered sizes cannot be given others."""

from typing import Any

from timm.models import register_model
from timm.models.mlp_mixer import MlpMixer, checkpoint_filter_fn

from alternet.models.registration import CIFAR, create, describe

default_cfgs = describe(
    {"mixer_tiny": CIFAR | {"fixed_input_size": True, "first_conv": "stem.proj", "classifier": "head"}}
)


@register_model
def mixer_tiny(pretrained: bool = False, **settings: Any) -> MlpMixer:
    """MLP-Mixer-Ti of figure 5a, 32 x 32 images in patches of 2 x 2.

    The paper says no more than its name; width 192 and depth 12 are ViT-Ti's, the hidden widths MLP-Mixer's (Tolstikhin
    et al. 2021): half the width over tokens, four times over channels.
    """
    tiny = {"patch_size": 2, "embed_dim": 192, "num_blocks": 12}
    build = {"pretrained": pretrained, "pretrained_filter_fn": checkpoint_filter_fn}
    return create(MlpMixer, "mixer_tiny", tiny | settings, features=3, **build)
