"""Attention in the place of a network's convolutions or residual units (paper, section 4), as a plan says.

A plan is a list of grafts: plain data that builds the same network again from its base, wherever it is read.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import timm
from timm.layers.drop import DropPath
from timm.models import load_pretrained, register_model, resolve_pretrained_cfg
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from alternet.models.attention import StaticWindowAttention, WindowAttention
from alternet.models.preresnet import PreActBlock
from alternet.models.registration import describe
from alternet.models.residual import BlockPlan, conv
from alternet.seeding import derived_seed, random_state_kept
from alternet.settings import Count, Pair, settings


@settings
class Graft:
    """One place that attends, and how: all that builds it but the weights."""

    called: ClassVar[str] = "The graft"

    module: str
    """Path of the convolution or of the residual unit whose place it takes."""
    form: Literal["conv", "unit"]
    """"conv": attention in the place of one convolution; "unit": AlterNet's unit in that of a residual unit."""
    channels: Pair[Count]
    """Channels that come in and that go out."""
    stride: Pair[Count] = (1, 1)
    """How many rows and columns of the map that comes in are averaged into one."""
    ceil: bool = True
    """Whether rows and columns that the stride leaves over make one more."""
    attention: Literal["dynamic", "static"] = "dynamic"
    """"dynamic": the paper's, whose weights follow from the image; "static": learnt weights, whatever the image."""
    heads: Count
    """Attention heads."""
    head_dim: Count
    """Channels of a head."""
    window_size: Count = 7
    """Side of the attention windows, in tokens."""
    relative_bias: bool = True
    """Whether dynamic attention adds a learnt bias for each relative position."""
    zero_init: bool = False
    """Whether what the attention gives is zero at first."""
    width: Count | None = None
    """Channels within a unit, ahead of its attention."""
    activated: Literal["before", "after", "never"] | None = None
    """Whether a unit normalises and activates its input ("before"), activates its sum ("after"), or neither."""
    shortcut: str | None = None
    """Path within the old unit of the projection that stays on the skip; None draws one where it is needed."""
    activation: str | None = None
    """Path within the old unit of the activation that stays behind its sum; None is a ReLU."""


def attention(graft: Graft, dim_in: int) -> nn.Module:
    """The attention of a graft, on maps of `dim_in` channels."""
    options = {"heads": graft.heads, "head_dim": graft.head_dim, "window_size": graft.window_size}
    if graft.attention == "static":
        made = StaticWindowAttention(dim_in, graft.channels[1], **options)
    else:
        made = WindowAttention(dim_in, graft.channels[1], relative_bias=graft.relative_bias, **options)
    if graft.zero_init:
        nn.init.zeros_(made.proj.weight)
        nn.init.zeros_(made.proj.bias)  # pyright: ignore[reportArgumentType] - the projection has one
    return made


def _pool(graft: Graft) -> "OrderedDict[str, nn.Module]":
    """What takes the stride, since attention keeps every token."""
    if graft.stride == (1, 1):
        return OrderedDict()
    return OrderedDict(pool=nn.AvgPool2d(graft.stride, ceil_mode=graft.ceil, count_include_pad=False))


class AttentionUnit(nn.Module):
    """AlterNet's attention unit in a network that activates after the sum, or not at all: `act(skip + branch)`.

    The branch is `pool, conv1, norm1, act1, attn, norm2`, as in figure 3c of the paper but that each normalisation
    follows its layer, as those of the neighbours do.

    Attributes:
        shortcut: What the skip connection does.
        act: What follows the sum.
    """

    def __init__(self, graft: Graft, shortcut: nn.Module, act: nn.Module, drop_path: float) -> None:
        super().__init__()
        width = graft.width or graft.channels[0]
        self.pool = _pool(graft).get("pool", nn.Identity())
        self.conv1, self.norm1, self.act1 = conv(graft.channels[0], width, 1), nn.BatchNorm2d(width), nn.GELU()
        self.attn, self.norm2 = attention(graft, width), nn.BatchNorm2d(graft.channels[1])
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.shortcut, self.act = shortcut, act

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the map."""
        y = self.attn(self.act1(self.norm1(self.conv1(self.pool(x)))))
        return self.act(self.shortcut(x) + self.drop_path(self.norm2(y)))


def _unit(graft: Graft, old: nn.Module) -> nn.Module:
    """The attention unit that takes the place of an old one, with what stays of that."""
    dim_in, dim_out = graft.channels
    width = graft.width or dim_in
    drop_path = max((m.drop_prob or 0.0 for m in old.modules() if isinstance(m, DropPath)), default=0.0)
    if graft.activated == "before":
        layers = _pool(graft)
        layers["conv1"], layers["norm2"] = conv(dim_in, width, 1), nn.BatchNorm2d(width)
        layers["attn"] = attention(graft, width)
        size = {"dim_in": dim_in, "width": width, "dim_out": dim_out, "stride": 1 if graft.stride == (1, 1) else 2}
        plan = BlockPlan(stage=0, index=0, drop_path=drop_path, bottleneck=True, **size)
        projection = None
        if plan.changes_shape:  # a stride of its own would not meet every rounding
            projection = nn.Sequential(OrderedDict(_pool(graft), conv=conv(dim_in, dim_out, 1)))
        return PreActBlock(plan, act=nn.GELU, branch=nn.Sequential(layers), shortcut=projection)
    shortcut: nn.Module = nn.Identity()
    if graft.shortcut is not None:
        shortcut = old.get_submodule(graft.shortcut)
    elif dim_in != dim_out or graft.stride != (1, 1):
        projection = OrderedDict(_pool(graft), conv=conv(dim_in, dim_out, 1), norm=nn.BatchNorm2d(dim_out))
        shortcut = nn.Sequential(projection)
    act: nn.Module = nn.ReLU() if graft.activated == "after" else nn.Identity()
    if graft.activation is not None:
        act = deepcopy(old.get_submodule(graft.activation))
    return AttentionUnit(graft, shortcut, act, drop_path)


def grafted(model: nn.Module, plan: Sequence[Graft], *, seed: int = 0) -> nn.Module:
    """Put the grafts of a plan into a network, in place; it is given back.

    Everything else keeps its weights; those of the grafts are drawn from the seed and the place, so that they do not
    depend on which other places attend.

    Args:
        model: The network, which is changed.
        plan: What to put where.
        seed: Seed of the new weights.

    Raises:
        ValueError: The network has no module of that path, or another one than the plan was made for.
    """
    for graft in plan:
        try:
            old = model.get_submodule(graft.module)
        except AttributeError as error:
            raise ValueError(
                f"{type(model).__name__} has no module {graft.module!r}. Was the plan made for another network?"
            ) from error
        if (
            isinstance(old, nn.Conv2d)
            and graft.form == "conv"
            and graft.channels != (old.in_channels, old.out_channels)
        ):
            raise ValueError(
                f"{graft.module} of {type(model).__name__} has {old.in_channels} and {old.out_channels} channels, the "
                f"plan says {graft.channels[0]} and {graft.channels[1]}. Was it made for another network?"
            )
        with random_state_kept(seed=derived_seed(seed, "graft", graft.module)):
            if graft.form == "unit":
                new = _unit(graft, old)
            else:
                new = nn.Sequential(OrderedDict(_pool(graft), attn=attention(graft, graft.channels[0])))
        weight = next((p for p in old.parameters() if p.ndim == 4), None)
        if weight is not None:
            new.to(device=weight.device, dtype=weight.dtype)
        parent, _, name = graft.module.rpartition(".")
        setattr(model.get_submodule(parent), name, new.train(old.training))
    return model


default_cfgs = describe({"transplanted": {"first_conv": None, "classifier": None}})


@register_model
def transplanted(pretrained: bool = False, **settings: Any) -> nn.Module:
    """Another model of timm's with attention in places, as `alternet.transplant` plans it.

    `base` is its name, `plan` the list of its grafts as plain data, `graft_seed` the seed of their weights; all else
    goes to the base. With `features_only` the feature maps are those that the base names.
    """
    base, plan, seed = settings.pop("base", None), settings.pop("plan", None), settings.pop("graft_seed", 0)
    if base is None or plan is None:
        raise ValueError(
            f"transplanted got base={base!r} and plan={plan!r}, expected the name of a timm model and its grafts. "
            "Write MODEL+msa(UNIT,...), as in resnet50+msa(layer4.2)."
        )
    # a name of the hub would be fetched
    if not isinstance(base, str) or not timm.is_model(base) or base == "transplanted":
        raise ValueError(f"transplanted got base={base!r}, expected the name of a timm model.")
    # What timm knows of the whole, weights among it, is not for the base.
    known = {name: settings.pop(name, None) for name in ("pretrained_cfg", "pretrained_cfg_overlay")}
    cache, features = settings.pop("cache_dir", None), settings.pop("features_only", False)
    which = {"out_indices": settings.pop("out_indices")} if settings.get("out_indices") is not None else {}
    cfg = resolve_pretrained_cfg("transplanted", **known).to_dict()
    stated = [given for given in known.values() if isinstance(given, Mapping) and given.get("num_classes") is not None]
    for given in stated:
        settings.setdefault("num_classes", given["num_classes"])
    model: Any = timm.create_model(base, pretrained=False, **settings)
    grafted(model, [graft if isinstance(graft, Graft) else Graft(**graft) for graft in plan], seed=seed)
    if pretrained:
        size = {"num_classes": model.num_classes, "in_chans": settings.get("in_chans", 3)}
        load_pretrained(model, pretrained_cfg=cfg, cache_dir=cache, **size)
    if isinstance(known["pretrained_cfg"], Mapping):  # of a folder, or of the hub
        model.pretrained_cfg = model.default_cfg = cfg  # pyright: ignore[reportArgumentType] - plain data on a module
    stages: Any = getattr(model, "feature_info", ())
    return FeatureGetterNet(model, **{"out_indices": len(stages), **which}) if features else model


def joined(name: str, arguments: Mapping[str, Any], plan: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The name and the arguments that build a model of timm's with a further plan.

    Args:
        name: The model's name; it may be a transplant already.
        arguments: Its arguments.
        plan: What more attends, as plain data.

    Examples:
        >>> joined("resnet18", {"drop_rate": 0.1}, [{"module": "layer4.1.conv2"}])
        ('transplanted', {'drop_rate': 0.1, 'base': 'resnet18', 'plan': [{'module': 'layer4.1.conv2'}]})
    """
    own = dict(arguments)
    base, before = own.pop("base", name), own.pop("plan", [])
    own.pop("graft_seed", None)
    return "transplanted", own | {"base": base, "plan": [*before, *plan]}


def as_data(plan: Sequence[Graft]) -> list[dict[str, Any]]:
    """A plan as JSON holds it: what differs from the defaults."""
    defaults = {name: f.default for name, f in Graft.__dataclass_fields__.items()}
    return [{key: value for key, value in asdict(graft).items() if value != defaults[key]} for graft in plan]
