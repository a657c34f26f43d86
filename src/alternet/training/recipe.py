"""Recipe: every setting of a training run, under timm's option names, read from a YAML file or built in Python."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml
from timm.optim import list_optimizers  # pyright: ignore[reportPrivateImportUsage] - public by its documentation

from alternet.data.augment import Augmentation

SHIPPED = files("alternet.training") / "recipes"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: optimiser, schedule, augmentation, regularisation, precision, averaging and what to keep.

    The names are those of timm's training script, with its meaning except where stated. Defaults switch an option off.
    The shipped recipes (`known_recipes`) follow Park and Kim (2022, appendix A.1 and F) and their released settings.

    Attributes:
        opt: Optimiser, any name of `timm.optim.list_optimizers()`; `sgd` has Nesterov momentum, `momentum` has not.
        lr: Learning rate after the warm-up.
        weight_decay: Weight decay.
        momentum: Momentum of optimisers that have one.
        filter_bias_and_bn: Whether biases, norms and what the model names in `no_weight_decay` are spared the decay.
        clip_grad: Largest gradient; None clips nothing.
        clip_mode: `norm` of all gradients, each `value`, or `agc` (adaptive, unit by unit).
        sched: Schedule after the warm-up.
        epochs: Epochs of the schedule.
        warmup_epochs: Epochs of linear warm-up; the rate rises at every step.
        warmup_lr: Learning rate of the very first step.
        warmup_prefix: Whether the warm-up comes before `epochs` (as in the paper) or is their beginning.
        min_lr: Where the cosine ends.
        decay_milestones: First epochs with a lower rate (`sched: multistep`), counted from 0 after a prefixed warm-up,
            as torch's `MultiStepLR` counts; timm's own option counts one less. None at all keeps the rate constant.
        decay_epochs: Epochs between decays (`sched: step`).
        decay_rate: Factor at each milestone or decay.
        sched_on_updates: Whether the rate follows the schedule at every step rather than at every epoch.
        aa: RandAugment or AutoAugment policy, for example `rand-m9-n2-mstd1.0`; None for none.
        color_jitter: Strength of the colour jitter; timm leaves it out where `aa` is on.
        hflip: Probability of a horizontal flip.
        crop: `pad` shifts the image by up to `padding` pixels over black, `resize` takes a random part of it and
            resizes that (the ImageNet habit), `none` keeps it whole.
        padding: Pixels of padding on each side for `crop: pad`.
        scale: Smallest and largest part of the area for `crop: resize`.
        interpolation: Of `crop: resize` and of `aa`; `random` draws bilinear or bicubic each time.
        mixup: Alpha of mixup; 0 is off.
        cutmix: Alpha of CutMix; 0 is off.
        mixup_prob: Probability of mixing a batch at all.
        mixup_switch_prob: Probability of CutMix where both are on.
        smoothing: Label smoothing.
        reprob: Probability of random erasing.
        remode: What is erased becomes the mean colour (`const`) or noise (`rand` one colour, `pixel`).
        drop_path: Largest rate of stochastic depth, linear in depth; handed to the model as `drop_path_rate`.
        batch_size: Images in a step, over all processes together.
        amp_dtype: `float32`, or `bfloat16` for mixed precision.
        channels_last: Whether images and weights lie channels last in memory: the same sums, faster convolutions.
        model_ema: Whether to keep an exponential moving average of the weights as well.
        model_ema_decay: Its decay a step.
        model_ema_warmup: Whether the decay begins low and rises, for short runs.
        snapshot_every: Keep the weights every so many epochs; 0 keeps those of the start and of the warm-up's end.
        seed: Seed of weights, order, augmentation and stochastic depth.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A value is out of range, or a name is unknown.

    Examples:
        >>> recipe = Recipe.load("paper")
        >>> recipe.opt, recipe.lr, recipe.total_epochs
        ('adamw', 0.000125, 305)
    """

    opt: str = "adamw"
    lr: float = 1.25e-4
    weight_decay: float = 0.0
    momentum: float = 0.9
    filter_bias_and_bn: bool = True
    clip_grad: float | None = None
    clip_mode: Literal["norm", "value", "agc"] = "norm"

    sched: Literal["cosine", "multistep", "step"] = "cosine"
    epochs: int = 300
    warmup_epochs: int = 0
    warmup_lr: float = 0.0
    warmup_prefix: bool = False
    min_lr: float = 0.0
    decay_milestones: tuple[int, ...] = ()
    decay_epochs: int = 30
    decay_rate: float = 0.1
    sched_on_updates: bool = False

    aa: str | None = None
    color_jitter: float = 0.0
    hflip: float = 0.0
    crop: Literal["pad", "resize", "none"] = "none"
    padding: int = 4
    scale: tuple[float, float] = (0.08, 1.0)
    interpolation: Literal["random", "bilinear", "bicubic"] = "random"
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_prob: float = 1.0
    mixup_switch_prob: float = 0.5
    smoothing: float = 0.0
    reprob: float = 0.0
    remode: Literal["const", "rand", "pixel"] = "const"

    drop_path: float = 0.0
    batch_size: int = 128
    amp_dtype: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    model_ema: bool = False
    model_ema_decay: float = 0.9998
    model_ema_warmup: bool = False
    snapshot_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        hints = get_type_hints(Recipe)
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field.name, getattr(self, field.name), hints[field.name]))
        for bounds in BOUNDS:
            for name in bounds.names:
                bounds.check(name, getattr(self, name))
        if self.opt not in (known := [str(name) for name in list_optimizers()]):
            raise ValueError(f"There is no optimiser {self.opt!r}. Did you mean {_near(self.opt, known)}?")
        if self.total_epochs < self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}, more than all {self.total_epochs} epochs. "
                "Train longer, warm up less, or set warmup_prefix: true to warm up before the epochs."
            )
        assert self.augmentation  # it refuses values of its own that do not fit

    @property
    def total_epochs(self) -> int:
        """Epochs of the run, a prefixed warm-up included."""
        return self.epochs + (self.warmup_epochs if self.warmup_prefix else 0)

    @property
    def augmentation(self) -> Augmentation:
        """The part of the recipe that varies the images and their labels."""
        return Augmentation.of(asdict(self))

    def as_dict(self) -> dict[str, Any]:
        """Every option by name, in values that JSON and YAML hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @staticmethod
    def load(source: str | Path) -> "Recipe":
        """Read a shipped recipe by name, or a YAML file of options.

        Raises:
            ValueError: There is no such recipe, the file is not YAML, or it holds an unknown option or a bad value.

        Examples:
            >>> Recipe.load("weak-sgd").opt
            'momentum'
        """
        text, where = _read(source)
        try:
            options = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{where} is not YAML: {' '.join(str(error).split())}.") from error
        if not isinstance(options, dict):
            raise ValueError(f"{where} must hold options, one `name: value` a line, got {type(options).__name__}.")
        return _build({}, options, where)

    def with_settings(self, settings: Mapping[str, Any]) -> "Recipe":
        """This recipe with some options changed, as `--set` does.

        Raises:
            ValueError: An option is unknown, or a value is bad.

        Examples:
            >>> Recipe.load("paper").with_settings({"epochs": 2}).total_epochs
            7
        """
        return _build(asdict(self), settings, "The recipe")


def _build(base: dict[str, Any], options: Mapping[str, Any], where: str) -> Recipe:
    known = [field.name for field in fields(Recipe)]
    for name in options:
        if name not in known:
            raise ValueError(f"{where} has no option {name!r}. Did you mean {_near(str(name), known)}?")
    try:
        return Recipe(**base | dict(options))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def known_recipes() -> dict[str, str]:
    """The shipped recipes by name, each with the sentence that describes it.

    Examples:
        >>> sorted(known_recipes())
        ['paper', 'paper-imagenet', 'quick', 'weak', 'weak-sgd']
    """
    shipped = sorted((file for file in SHIPPED.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    texts = {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in shipped}
    return {name: text.splitlines()[0].removeprefix("# ") for name, text in texts.items()}


@dataclass(frozen=True)
class Bounds:
    """An interval that the named options must lie in, with or without its ends."""

    low: float
    high: float
    names: tuple[str, ...]
    with_low: bool = True
    with_high: bool = True

    def check(self, name: str, value: Any) -> None:
        """Refuse a number outside; None is a matter of type."""
        if value is None:
            return
        above = value >= self.low if self.with_low else value > self.low
        below = value <= self.high if self.with_high else value < self.high
        if not (above and below):
            left, right = "[" if self.with_low else "(", "]" if self.with_high else ")"
            raise ValueError(f"{name} must lie in {left}{self.low:g}, {self.high:g}{right}, got {value!r}.")


BOUNDS = (
    Bounds(1, math.inf, ("epochs", "batch_size", "decay_epochs"), with_high=False),
    Bounds(0, math.inf, ("warmup_epochs", "warmup_lr", "min_lr", "weight_decay", "snapshot_every"), with_high=False),
    Bounds(0, math.inf, ("lr", "clip_grad", "decay_rate"), with_low=False, with_high=False),
    Bounds(0, 1, ("momentum", "drop_path", "model_ema_decay"), with_high=False),
    Bounds(0, 2**32, ("seed",), with_high=False),
)


def _read(source: str | Path) -> tuple[str, str]:
    shipped = known_recipes()
    if str(source) in shipped:
        return (SHIPPED / f"{source}.yaml").read_text(encoding="utf-8"), f"Recipe {source}"
    try:
        return Path(source).read_text(encoding="utf-8"), str(source)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not a text file ({error.reason}). A recipe is YAML in UTF-8.") from error
    except OSError as error:
        raise ValueError(
            f"There is no recipe {str(source)!r}. Did you mean {_near(str(source), list(shipped))}? "
            "Or give the path of a YAML file."
        ) from error


def _near(name: str, known: list[str]) -> str:
    return ", ".join(get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:8])


def _typed(name: str, value: Any, hint: Any) -> Any:
    """The value as its declared type: an int serves as a float, a list as a tuple; nothing else is converted."""
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(get_args(hint))}, got {value!r}.")
        return value
    if get_origin(hint) is tuple:
        return _typed_items(name, value, get_args(hint)[0])
    return _typed_scalar(name, value, hint)


def _typed_items(name: str, value: Any, hint: type) -> tuple:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list of {hint.__name__}, got {value!r}.")
    return tuple(_typed_scalar(name, item, hint) for item in value)


def _typed_scalar(name: str, value: Any, hint: type) -> Any:
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{name} must be {hint.__name__}, got {value!r}{_hint(value, hint)}.")
    if hint is float and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return hint(value)


def _hint(value: Any, hint: type) -> str:
    """YAML 1.1 reads 1e-3 as text; say how to write it."""
    try:
        return (
            f"; write it as {float(value)!r} with a decimal point" if hint is float and isinstance(value, str) else ""
        )
    except ValueError:
        return ""
