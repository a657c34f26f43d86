"""Every network of the paper as data: what a figure calls it, and how it is built at each scale.

`cifar` is the paper's form for images of 32 pixels, `imagenet` that for 224, and `smoke` a small network of the same
class that two cores train in a minute or two. Names of models are timm's, where our own are registered too.

What the paper leaves open is ours: the CIFAR forms of ResNeXt, Twins, Mixer, ConViT and LeViT, of which only names are
published, follow its Swin and ViT (patches of 1 or 2, windows of 4). On ImageNet PiT and Swin have timm's weights
(appendix A); so have ResNeXt, Twins, ConViT and LeViT here, whose published accuracies are those of timm's weights.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from alternet.errors import unknown

Scale = Literal["smoke", "cifar", "imagenet"]

SIDE: dict[Scale, int] = {"smoke": 32, "cifar": 32, "imagenet": 224}
"""Side of the images."""


class Network(NamedTuple):
    """How a network is built.

    Attributes:
        model: What `alternet train -m` takes.
        settings: Keyword arguments of the model; the number of classes and the size of images come with the data.
    """

    model: str
    settings: Mapping[str, Any] = {}


PAPER_VIT, TIMM_VIT = "paper_vit_ti", "vit_tiny_patch16_224"
SMALL_CNN = {"widths": [16, 32, 64, 128]}
IMAGENET = {"stem": "imagenet"}
EVEN = {"depths": [3, 4, 6, 4]}
"""One block more in the last stage, so that every second one can attend (appendix E)."""
RESNEXT = {"cardinality": 32, "base_width": 4}
MINI_SWIN = {"patch_size": 2, "window_size": 4, "embed_dim": 24, "depths": [2, 2, 2], "num_heads": [1, 2, 4]}


def conv_vit(kernel: int) -> dict[Scale, Network]:
    """Figure 7: 8 × 8 tokens at 32 pixels, each of which attends to its neighbourhood; no class token, GAP."""
    mini = {"embed_dim": 96, "depth": 6, "heads": 3, "head_dim": 32}
    return {
        "smoke": Network("conv_vit_tiny", {"kernel_size": kernel, **mini}),
        "cifar": Network("conv_vit_tiny", {"kernel_size": kernel}),
        "imagenet": Network("conv_vit_tiny", {"kernel_size": kernel, "patch_size": 16}),
    }


def transplanted(attention: str) -> dict[Scale, Network]:
    """AlterNet's attention in the baseline's units, so that its weights may or may not depend on the image."""

    def units(*names: str, window: int) -> str:
        paths = ",".join(f"stages.{name}.branch" for name in names)
        return f"+msa({paths},form=unit,window_size={window},attention={attention})"

    cifar, imagenet = ("1.3", "2.5", "3.1", "3.3"), ("1.3", "2.1", "2.3", "2.5", "3.1", "3.3")
    return {
        "smoke": Network("preresnet_mini" + units("1.1", "2.1", "3.1", window=4)),
        "cifar": Network("preresnet_50" + units(*cifar, window=4), EVEN),
        "imagenet": Network("preresnet_50" + units(*imagenet, window=7), EVEN | IMAGENET),
    }


def vit(**changes: Any) -> dict[Scale, Network]:
    """ViT-Ti, at 32 pixels the paper's own."""
    return {
        "smoke": Network("vit_mini", changes),
        "cifar": Network(PAPER_VIT, changes),
        "imagenet": Network(TIMM_VIT, changes),
    }


NETWORKS: dict[str, dict[Scale, Network]] = {
    "ResNet": {
        "smoke": Network("paper_resnet_18", SMALL_CNN),
        "cifar": Network("paper_resnet_50"),
        "imagenet": Network("paper_resnet_50", IMAGENET),
    },
    "ResNet-18": {
        "smoke": Network("paper_resnet_18", {"widths": [8, 16, 32, 64]}),
        "cifar": Network("paper_resnet_18"),
        "imagenet": Network("paper_resnet_18", IMAGENET),
    },
    "ResNet-101": {
        "smoke": Network("paper_resnet_18", SMALL_CNN | {"depths": [3, 3, 3, 3]}),
        "cifar": Network("paper_resnet_101"),
        "imagenet": Network("paper_resnet_101", IMAGENET),
    },
    "ResNet (kernel 5)": {
        "smoke": Network("paper_resnet_18", SMALL_CNN | {"kernel_size": 5}),
        "cifar": Network("paper_resnet_50", {"kernel_size": 5}),
        "imagenet": Network("paper_resnet_50", IMAGENET | {"kernel_size": 5}),
    },
    "ResNet-18 (smoothing)": {
        "smoke": Network("paper_resnet_18", {"widths": [8, 16, 32, 64], "spatial_smoothing": 10}),
        "cifar": Network("paper_resnet_18", {"spatial_smoothing": 10}),
        "imagenet": Network("paper_resnet_18", IMAGENET | {"spatial_smoothing": 10}),
    },
    "ResNeXt": {
        "smoke": Network(
            "paper_resnet_18",
            {"block": "bottleneck", "widths": [8, 16, 32, 64], "cardinality": 4, "base_width": 32},
        ),
        "cifar": Network("paper_resnet_50", RESNEXT),
        "imagenet": Network("resnext50_32x4d@pretrained"),
    },
    "ViT": vit(),
    "ViT (GAP)": vit(global_pool="avg"),
    "ViT (depth 6)": {
        "smoke": Network("vit_mini", {"depth": 3}),
        "cifar": Network(PAPER_VIT, {"depth": 6}),
        "imagenet": Network(TIMM_VIT, {"depth": 6}),
    },
    "ViT-S": {
        "smoke": Network("vit_mini", {"embed_dim": 160, "num_heads": 5}),
        "cifar": Network("vit_small_patch16_224", {"patch_size": 2, "qkv_bias": False}),
        "imagenet": Network("vit_small_patch16_224"),
    },
    "PiT": {
        "smoke": Network(
            "pit_ti_224",
            {"patch_size": 4, "stride": 2, "base_dims": [16, 16, 16], "depth": [1, 3, 2], "heads": [2, 4, 8]},
        ),
        "cifar": Network("paper_pit_ti"),
        "imagenet": Network("pit_ti_224@pretrained"),
    },
    "Swin": {
        "smoke": Network("swin_tiny_patch4_window7_224", MINI_SWIN),
        "cifar": Network("paper_swin_ti"),
        "imagenet": Network("swin_tiny_patch4_window7_224@pretrained"),
    },
    "Twins": {
        "smoke": Network(
            "twins_svt_small",
            {
                "patch_size": 2,
                "embed_dims": [24, 48, 96],
                "num_heads": [1, 2, 4],
                "mlp_ratios": [4, 4, 4],
                "depths": [2, 2, 2],
                "sr_ratios": [4, 2, 1],
                "wss": [4, 4, 4],
            },
        ),
        "cifar": Network("twins_svt_small", {"patch_size": 1, "wss": [4, 4, 4, 4]}),
        "imagenet": Network("twins_svt_small@pretrained"),
    },
    "Mixer": {
        "smoke": Network("mixer_tiny", {"patch_size": 4, "embed_dim": 96, "num_blocks": 6}),
        "cifar": Network("mixer_tiny"),
        "imagenet": Network("mixer_tiny", {"patch_size": 16}),
    },
    "ConViT": {
        "smoke": Network("convit_tiny", {"patch_size": 4, "embed_dim": 24, "depth": 6, "local_up_to_layer": 5}),
        "cifar": Network("convit_tiny", {"patch_size": 2}),
        "imagenet": Network("convit_tiny@pretrained"),
    },
    "LeViT": {
        "smoke": Network(
            "levit_128s", {"stem_type": "s8", "embed_dim": [48, 64, 96], "key_dim": 16, "num_heads": [2, 3, 4]}
        ),
        "cifar": Network("levit_128s", {"stem_type": "s8"}),
        "imagenet": Network("levit_128s@pretrained"),
    },
    **{f"Conv ViT {side} × {side}": conv_vit(side) for side in (3, 5, 8)},
    "ResNet (pre-activation)": {
        "smoke": Network("preresnet_mini"),
        "cifar": Network("preresnet_50", EVEN),
        "imagenet": Network("preresnet_50", EVEN | IMAGENET),
    },
    "AlterNet": {
        "smoke": Network("alternet_mini"),
        "cifar": Network("alternet_50"),
        "imagenet": Network("alternet_50", IMAGENET),
    },
    "ResNet + MSA": transplanted("dynamic"),
    "ResNet + static MSA": transplanted("static"),
}
"""Arm, scale, network. In figures 12a, 12b and 12c the arm called ResNet is `ResNet (pre-activation)`."""


def buildup(*placements: str) -> dict[str, Network]:
    """AlterNet-50 with the blocks of each placement, under the name that figure 12a has in the published table."""
    return {
        f"AlterNet ({placement})": Network("alternet_50", {"msa": placement.split(", ")}) for placement in placements
    }


BUILDUP: dict[Scale, dict[str, Network]] = {
    "smoke": {
        f"AlterNet ({placement})": Network("alternet_mini", {"msa": placement.split(", ")})
        for placement in ("3.1", "2.1, 3.1", "0.1, 1.1, 2.1, 3.1")
    },
    "cifar": buildup(
        "3.3",
        "3.1, 3.3",
        "2.5, 3.1, 3.3",
        "2.3, 2.5, 3.1, 3.3",
        "2.1, 2.3, 2.5, 3.1, 3.3",
        "1.1, 1.3, 2.5, 3.1, 3.3",
        "0.2, 1.3, 2.5, 3.1, 3.3",
    ),
}
"""The other steps of figure 12a, which begins with `ResNet (pre-activation)` and chooses `AlterNet`."""


def patches(*sides: int, **small: Any) -> dict[float, Network]:
    """ViTs that differ by their patches."""
    model = "vit_mini" if small else PAPER_VIT
    return {float(side): Network(model, {"patch_size": side, **small}) for side in sides}


def headed(widths: Mapping[float, tuple[int, int]], **settings: Any) -> dict[float, Network]:
    """ViTs of half the depth (C.5, C.6), each with so many heads of such a width."""
    model = "vit_mini" if settings["depth"] == 3 else PAPER_VIT
    return {
        x: Network(model, {**settings, "num_heads": heads, "embed_dim": heads * width})
        for x, (heads, width) in widths.items()
    }


SERIES: dict[str, dict[Scale, dict[float, Network]]] = {
    "C.3": {
        "smoke": patches(2, 4, 8, qkv_bias=False, embed_dim=48, depth=4, num_heads=3),
        "cifar": patches(2, 4, 8),
    },
    "C.5": {
        "smoke": headed({heads: (heads, 32) for heads in (1, 2, 3, 4)}, depth=3),
        "cifar": headed({heads: (heads, 64) for heads in range(1, 10)}, depth=6),
    },
    "C.6": {
        "smoke": headed({width: (3, width) for width in (8, 16, 32, 48)}, depth=3),
        "cifar": headed({width: (3, width) for width in range(22, 199, 22)}, depth=6),
    },
}
"""Figure, scale, and the network at each x: patches, heads each 64 wide, and the width of each of 3 heads."""


def network(arm: str, scale: Scale) -> Network:
    """The network of an arm.

    Raises:
        ValueError: There is no such arm.

    Examples:
        >>> network("ViT (depth 6)", "cifar")
        Network(model='paper_vit_ti', settings={'depth': 6})
    """
    if arm not in NETWORKS:
        raise unknown("No network is called", arm, NETWORKS)
    return NETWORKS[arm][scale]
