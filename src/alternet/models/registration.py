"""How our models enter timm: their default configurations, and the one call that builds them."""

from typing import Any, TypeVar

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD
from timm.models import build_model_with_cfg, generate_default_cfgs
from torch import nn

Model = TypeVar("Model", bound=nn.Module)
Facts = dict[str, Any]

ANY: Facts = {"url": "", "interpolation": "bicubic", "crop_pct": 1.0, "license": "apache-2.0"}
CIFAR: Facts = ANY | {
    "num_classes": 100,
    "input_size": (3, 32, 32),
    "mean": (0.5071, 0.4867, 0.4408),  # CIFAR-100's, as in the paper's configurations
    "std": (0.2675, 0.2565, 0.2761),
}
IMAGENET: Facts = {
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "crop_pct": 0.875,
    "mean": IMAGENET_DEFAULT_MEAN,
    "std": IMAGENET_DEFAULT_STD,
}
MINI: Facts = ANY | {
    "num_classes": 10,
    "input_size": (3, 32, 32),
    "mean": IMAGENET_INCEPTION_MEAN,
    "std": IMAGENET_INCEPTION_STD,
}


def describe(facts: dict[str, Facts]) -> Any:
    """Make timm's default configurations of a file's models.

    Args:
        facts: Model name to what timm should know of it.

    Examples:
        >>> describe({"mine": CIFAR})["mine"].default.num_classes
        100
    """
    layers = {"first_conv": "stem.conv", "classifier": "head.fc", "pool_size": None}
    return generate_default_cfgs({name: layers | fact for name, fact in facts.items()})


def create(
    kind: type[Model], name: str, settings: dict[str, Any], *, features: int | None = None, **build: Any
) -> Model:
    """Build a registered model the way timm does.

    With `stem="imagenet"` the model's configuration says ImageNet's image size, normalisation and number of classes.

    Args:
        kind: The model's class.
        name: Its registered name.
        settings: The model's settings, and timm's own (`pretrained`, `features_only`, `out_indices`, ...).
        features: How many feature maps `features_only` gives if `out_indices` does not say, counted from the last;
            by default one a stage.
        build: Further arguments of timm's `build_model_with_cfg`.
    """
    if settings.get("stem") == "imagenet":
        settings["pretrained_cfg_overlay"] = IMAGENET | (settings.get("pretrained_cfg_overlay") or {})
    feature_cfg = {"feature_cls": "getter", "out_indices": features or len(settings["depths"])}
    return build_model_with_cfg(kind, name, feature_cfg=feature_cfg, **build, **settings)
