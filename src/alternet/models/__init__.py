"""The paper's models, registered in timm by this import, and the loader of the authors' released weights."""

from importlib import import_module
from typing import Any

from alternet.models import (  # noqa: F401 - registers
    alternet,
    conv_vit,
    mixer_tiny,
    paper_resnet,
    paper_vits,
    preresnet,
    transplanted,
    vit_mini,
)
from alternet.models.alternet import AlterNet
from alternet.models.conv_vit import ConvViT
from alternet.models.paper_resnet import PaperResNet
from alternet.models.preresnet import PreResNet
from alternet.models.released import load_released

#: Every model name that this package adds to timm.
NAMES: tuple[str, ...] = tuple(
    name
    for module in (alternet, preresnet, paper_resnet, paper_vits, conv_vit, mixer_tiny, vit_mini)
    for name in module.default_cfgs
)

__all__ = ["NAMES", "AlterNet", "ConvViT", "PaperResNet", "PreResNet", "load_released"]


def __getattr__(name: str) -> Any:
    """`alternet.models.transplant`, which looks at a network as measuring does, so that it lives one layer above."""
    if name == "transplant":
        return import_module("alternet.subject.transplant").transplant
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
