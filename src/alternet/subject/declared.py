"""What a model says of itself: its input, whether it tells classes apart, and which network a wrapper wraps."""

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV2, ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from alternet.seeding import noise
from alternet.untouched import untouched

CLASSIFIERS = ("fc", "classifier", "head", "heads")
"""What torchvision and transformers call the layers that make the class scores."""


def declared(model: nn.Module) -> dict[str, Any]:
    """What the model itself states about its input."""
    cfg = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not isinstance(cfg, Mapping):  # not of timm; perhaps of transformers
        config = getattr(model, "config", None)
        size = getattr(config, "image_size", None)
        if size is None:
            return {}
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        return {"input_size": (getattr(config, "num_channels", 3), height, width)}
    channels, height, width = cfg.get("input_size", (3, 224, 224))
    embed = getattr(model, "patch_embed", None)
    height, width = getattr(embed, "img_size", None) or (height, width)  # built for another size than it declares
    facts: dict[str, Any] = {"input_size": (getattr(model, "in_chans", channels), height, width)}
    if cfg.get("mean") is not None and len(cfg["mean"]) == facts["input_size"][0]:
        facts |= {"mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])}
    prefix = getattr(model, "num_prefix_tokens", None)
    return facts | ({"prefix_tokens": prefix} if isinstance(prefix, int) else {})


def classifies(model: nn.Module) -> bool:
    """Whether a model gives class scores, and not features, as far as it lets one see.

    Examples:
        >>> import timm
        >>> classifies(timm.create_model("test_vit")), classifies(timm.create_model("test_vit", num_classes=0))
        (True, False)
    """
    if getattr(model, "num_classes", None) == 0:
        return False
    if hasattr(model, "main_input_name"):  # of transformers, whose models are called after what they are for
        return "For" in type(model).__name__
    get = getattr(model, "get_classifier", None)
    heads = [get()] if callable(get) else [getattr(model, name, None) for name in CLASSIFIERS]
    last = [head[-1] if isinstance(head, nn.Sequential) and len(head) else head for head in heads]
    return not any(isinstance(head, nn.Identity) for head in last)


def classes_of(model: nn.Module) -> int | None:
    """How many classes a model says that it tells apart, or its last layer does; None where it does not say.

    Examples:
        >>> classes_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 5))), classes_of(nn.Flatten())
        (5, None)
    """
    for owner, name in ((model, "num_classes"), (getattr(model, "config", None), "num_labels")):
        if isinstance(count := getattr(owner, name, None), int):
            return count
    last = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1:]
    return getattr(last[0], "out_features", None) if last else None


def head_of(model: nn.Module) -> tuple[str, ...]:
    """Paths of the layers that make the class scores, as models of timm's and ours say; of others none are known.

    Examples:
        >>> import timm
        >>> head_of(timm.create_model("preresnet_mini")), head_of(nn.Linear(3, 2))
        (('head.fc',), ())
    """
    get = getattr(model, "get_classifier", None)
    made = get() if callable(get) else ()
    heads = made if isinstance(made, tuple | list) else (made,)
    return tuple(path for path, module in model.named_modules() if any(module is head for head in heads))


def quantised(model: nn.Module) -> list[str]:
    """The layers whose weights are packed, so that a trace does not see what they do."""
    libraries = ("bitsandbytes", "auto_gptq", "awq", "gptqmodel")
    kinds = {name: type(module).__module__ for name, module in model.named_modules()}
    found = (name for name, kind in kinds.items() if "quantized" in kind or kind.startswith(libraries))
    return [name for name in found if not re.search(r"_packed_params$", name)]


def tower_of(model: nn.Module) -> str:
    """Which part of a pair of networks for images and text takes the images; empty where a model is no such pair."""
    pairs = (("vision_model", "text_model"), ("visual", "transformer"), ("visual", "text"))
    parts = model._modules
    return next((image for image, text in pairs if parts.get(image) is not None and parts.get(text) is not None), "")


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside `DataParallel`, DDP, a compiled module, an average of weights, or a class that only calls it.

    A class such as a LightningModule is taken off where all parameters and buffers are those of one network that
    declares its input, and both give the same bits for the same images; otherwise it is left as it is, since it may
    normalise or change the scores.

    Examples:
        >>> net = nn.Linear(3, 2)
        >>> unwrapped(DataParallel(net)) is net
        True
    """
    while (inner := _inside(model)) is not None:
        model = inner
    return model


def _inside(model: nn.Module) -> nn.Module | None:
    if isinstance(model, DataParallel | DistributedDataParallel | AveragedModel | ModelEmaV2 | ModelEmaV3):
        return model.module
    if "_orig_mod" in model._modules:  # what torch.compile gives; to import its class takes seconds
        return model._modules["_orig_mod"]
    owners = {name.partition(".")[0] for name, _ in chain(model.named_parameters(), model.named_buffers())}
    inner = model._modules.get(owners.pop()) if len(owners) == 1 else None
    if inner is None or declared(model):
        return None
    size = declared(unwrapped(inner)).get("input_size")
    return inner if size is not None and _same_function(model, inner, size) else None


def _same_function(one: nn.Module, other: nn.Module, size: tuple[int, int, int]) -> bool:
    parameter = next(one.parameters(), torch.empty(0))
    images = noise(size).to(parameter.device, parameter.dtype)
    try:
        with untouched(one):
            scores = [getattr(answer, "logits", answer) for answer in (one(images), other(images))]
    except Exception:  # a class that cannot be called on images is no wrapper that one could take off
        return False
    return all(isinstance(score, Tensor) for score in scores) and torch.equal(*scores)
