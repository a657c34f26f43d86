"""Load the checkpoints that the paper's authors released: their names for the weights, mapped to ours, strictly."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from alternet.models.alternet import AlterNet
from alternet.models.conv_vit import ConvViT
from alternet.models.paper_resnet import PaperResNet
from alternet.models.paper_vits import FILTERS
from alternet.models.preresnet import PreResNet

Rules = list[tuple[str, str]]

CLASSIFIER = (r"^classifier\.0\.dense\.", "head.fc.")
PRE_ACTIVATION: Rules = [
    CLASSIFIER,
    (r"^layer0\.(?:layer0\.)?0\.", "stem.conv."),
    (r"^classifier\.0\.bn\.", "norm."),
    (r"^(stages\.\d+\.\d+)\.bn\.", r"\1.norm1."),
    (r"^(stages\.\d+\.\d+)\.conv1\.", r"\1.branch.conv1."),
    (r"^(stages\.\d+\.\d+)\.conv([23])\.0\.", r"\1.branch.norm\2."),
    (r"^(stages\.\d+\.\d+)\.conv([23])\.2\.", r"\1.branch.conv\2."),
    (r"\.shortcut\.0\.", ".shortcut."),
    # attention blocks
    (r"^(stages\.\d+\.\d+)\.conv\.", r"\1.branch.conv1."),
    (r"^(stages\.\d+\.\d+)\.norm2\.", r"\1.branch.norm2."),
    (r"\.attn\.attn\.to_([qkv])\.", r".branch.attn.\1."),
    (r"\.attn\.attn\.to_out\.0\.", ".branch.attn.proj."),
    (r"\.attn\.pos_embedding$", ".branch.attn.relative_position_bias"),
]
POST_ACTIVATION: Rules = [
    CLASSIFIER,
    (r"^layer0\.0\.", "stem.conv."),
    (r"^layer0\.1\.", "stem.norm."),
    (r"\.conv([123])\.0\.", r".branch.conv\1."),
    (r"\.conv([123])\.1\.", r".branch.norm\1."),
    (r"\.shortcut\.0\.", ".shortcut.conv."),
    (r"\.shortcut\.1\.", ".shortcut.norm."),
]
CONVOLUTIONAL_VIT: Rules = [
    (r"^embedding\.0\.", "stem.conv."),
    (r"^embedding\.2\.pos_embedding$", "pos_embed"),
    (r"^transformers\.", "blocks."),
    (r"\.norm([12])\.1\.", r".norm\1."),
    (r"\.attn\.to_([qkv])\.", r".attn.\1."),
    (r"\.attn\.to_out\.0\.", ".attn.proj."),
    (r"\.ff\.net\.0\.", ".mlp.fc1."),
    (r"\.ff\.net\.3\.", ".mlp.fc2."),
    (r"^classifier\.2\.", "head.norm."),
    (r"^classifier\.3\.", "head.fc."),
]
CLASSIFIERS = ("classifier.0.dense", "classifier.3")
"""What the released code calls the layer that makes logits: in its residual networks, and in its ViT."""

RULES: dict[type[nn.Module], Rules] = {
    AlterNet: PRE_ACTIVATION,
    PreResNet: PRE_ACTIVATION,
    PaperResNet: POST_ACTIVATION,
    ConvViT: CONVOLUTIONAL_VIT,
}


def load_released(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load weights that carry the released code's names into one of our models.

    Every weight of the model must be there, in its shape, and nothing else; otherwise the model is left as it was.

    Args:
        model: An `AlterNet`, `PreResNet`, `PaperResNet` or `ConvViT` of the same settings, or timm's ViT, PiT or Swin
            as `paper_vit_ti`, `paper_pit_ti` and `paper_swin_ti` build them.
        state_dict: The released model's `state_dict()`; read a file with `torch.load(path, weights_only=True)`.

    Raises:
        TypeError: If the model is none of ours, or `state_dict` holds anything but tensors.
        ValueError: If weights are missing, unknown or of another shape; the message names the first few.

    Examples:
        >>> from alternet.models.preresnet import PreResNet
        >>> try:
        ...     load_released(PreResNet(depths=(1,), widths=(8,)), {})
        ... except ValueError as error:
        ...     print(str(error).split(";")[0])
        The weights are not those of this PreResNet: 27 missing (head.fc.bias, head.fc.weight, norm.bias, ...)
    """
    rules = next((rules for kind, rules in RULES.items() if isinstance(model, kind)), None)
    renamed = next((renamed for kind, renamed in FILTERS.items() if isinstance(model, kind)), None)
    if rules is None and renamed is None:
        names = ", ".join(kind.__name__ for kind in (*RULES, *FILTERS))
        raise TypeError(
            f"Released weights do not fit a {type(model).__name__}: expected one of {names}; create such a model."
        )
    for key, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"The state dict holds {type(value).__name__} under {key!r}: "
                "expected tensors only; if this is a whole checkpoint, pass the state dict in it."
            )

    ours = model.state_dict()
    theirs: dict[str, Tensor] = {}
    strange = []
    if renamed is not None:
        state_dict = renamed({key.removeprefix("module."): value for key, value in state_dict.items()}, model)
    for key, value in _split_values(state_dict).items():
        name = key if rules is None else _rename(key, rules)
        if name not in ours or name in theirs:
            strange.append(key)
            continue
        # the released ViT has 1 x 1 convolutions where ours has the linear layers that equal them
        is_pointwise = ours[name].ndim == 2 and value.ndim == 4 and value.shape[2:] == (1, 1)
        theirs[name] = value.flatten(1) if is_pointwise else value
    problems = _problems(ours, theirs, strange)
    if problems:
        raise ValueError(
            f"The weights are not those of this {type(model).__name__}: {'; '.join(problems)}; "
            "expected every weight of the released model in its shape and no other, "
            "so check the model's name and settings."
        )
    model.load_state_dict(theirs)


def implied(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of an AlterNet that the shapes of its weights, by our names or the released ones, say.

    Examples:
        >>> implied(AlterNet(depths=(2, 2), widths=(8, 16), num_msa=(0, 1), heads=(1, 1), window_size=7).state_dict())
        {'window_size': 7, 'num_msa': (0, 1)}
    """
    state = {_rename(key, PRE_ACTIVATION): value for key, value in state_dict.items()}
    blocks = [re.match(r"stages\.(\d+)\.(\d+)\.", key) for key in state]
    names = sorted({(int(block[1]), int(block[2])) for block in blocks if block})
    tables = {key: value for key, value in state.items() if key.endswith(".relative_position_bias")}
    attending = {(int(part[1]), int(part[2])) for part in (key.split(".") for key in tables)}
    settings: dict[str, Any] = {}
    if sides := {len(table) for table in tables.values()}:
        settings["window_size"] = (max(sides) + 1) // 2
    counts, regular = [], True
    for stage in sorted({stage for stage, _ in names}):
        here = [name for name in names if name[0] == stage]
        counts.append(len(attending & set(here)))
        regular &= attending & set(here) == set(here[::-1][::2][: counts[-1]])
    if regular:
        return settings | {"num_msa": tuple(counts)}
    return settings | {"msa": tuple(f"{stage}.{block}" for stage, block in sorted(attending))}


def _split_values(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Part the projection to keys and values, which the released code makes at once."""
    parted = {}
    for key, value in state_dict.items():
        if ".to_kv." in key and value.ndim and len(value) % 2 == 0:
            parted[key.replace(".to_kv.", ".to_k.")], parted[key.replace(".to_kv.", ".to_v.")] = value.chunk(2)
        else:
            parted[key] = value
    return parted


def _rename(key: str, rules: Rules) -> str:
    key = key.removeprefix("module.")  # saved from DataParallel
    key = re.sub(r"^layer([1-9]\d*)\.", lambda layer: f"stages.{int(layer[1]) - 1}.", key)
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _problems(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], strange: list[str]) -> list[str]:
    shapes = [
        f"{key} {list(value.shape)} instead of {list(ours[key].shape)}"
        for key, value in sorted(theirs.items())
        if value.shape != ours[key].shape
    ]
    found = {
        "missing": sorted(ours.keys() - theirs.keys()),
        "unknown or doubled": sorted(strange),
        "of another shape": shapes,
    }
    return [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in found.items()
        if names
    ]
