"""Recipe: every setting of a training run, under timm's option names, read from a YAML file or built in Python."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field
from timm.optim import list_optimizers  # pyright: ignore[reportPrivateImportUsage] - public by its documentation

from alternet.data.augment import Augmentation
from alternet.data.shares import PartOfData
from alternet.errors import nearest, unknown
from alternet.files import NoTextError, read_text
from alternet.settings import (
    BelowOne,
    Count,
    List,
    Loader,
    Natural,
    NotNegative,
    Positive,
    Seed,
    from_file,
    require_known,
    settings,
)

SHIPPED = files("alternet.training") / "recipes"


@settings
class Recipe(Augmentation):
    """How to train: optimiser, schedule, augmentation, regularisation, precision, averaging and what to keep.

    The names are those of timm's training script, with its meaning except where stated. Defaults switch an option off.
    The shipped recipes (`known_recipes`) follow Park and Kim (2022, appendix A.1 and F) and their released settings.

    Raises:
        ValueError: A value is of another type or out of range, or a name is unknown.

    Examples:
        >>> recipe = Recipe.load("paper")
        >>> recipe.opt, recipe.lr, recipe.total_epochs
        ('adamw', 0.000125, 305)
    """

    subset: PartOfData = "1"
    """Which part of every class of the training images is trained on, for example `1/16`. It is the same for every
    `seed`, and a smaller part lies within a larger one."""
    validation: PartOfData = "0"
    """Which part of every class of the training images, for example `1/8`, is taken out of training and tested on after
    every epoch, in place of the test split; `subset` is a part of what is left. The images are the same for every
    `seed`."""
    shuffle_buffer: Count = 2048
    """Encoded images that a worker holds to draw the next one from, where the data can only be streamed."""

    opt: str = "adamw"
    """Optimiser, any name of `timm.optim.list_optimizers()`; `sgd` has Nesterov momentum, `momentum` has not."""
    lr: Positive = 1.25e-4
    """Learning rate after the warm-up."""
    weight_decay: NotNegative = 0.0
    """Weight decay."""
    momentum: BelowOne = 0.9
    """Momentum of optimisers that have one."""
    filter_bias_and_bn: bool = True
    """Whether biases, norms and what the model names in `no_weight_decay` are spared the decay."""
    clip_grad: Positive | None = None
    """Largest gradient; None clips nothing."""
    clip_mode: Literal["norm", "value", "agc"] = "norm"
    """`norm` of all gradients, each `value`, or `agc` (adaptive, unit by unit)."""

    sched: Literal["cosine", "multistep", "step"] = "cosine"
    """Schedule after the warm-up."""
    epochs: Count = 300
    """Epochs of the schedule."""
    warmup_epochs: Natural = 0
    """Epochs of linear warm-up; the rate rises at every step."""
    warmup_lr: NotNegative = 0.0
    """Learning rate of the very first step."""
    warmup_prefix: bool = False
    """Whether the warm-up comes before `epochs` (as in the paper) or is their beginning."""
    min_lr: NotNegative = 0.0
    """Where the cosine ends."""
    decay_milestones: List[int] = ()
    """First epochs with a lower rate (`sched: multistep`), counted from 0 after a prefixed warm-up, as torch's
    `MultiStepLR` counts; timm's own option counts one less. None at all keeps the rate constant."""
    decay_epochs: Count = 30
    """Epochs between decays (`sched: step`)."""
    decay_rate: Positive = 0.1
    """Factor at each milestone or decay."""
    sched_on_updates: bool = False
    """Whether the rate follows the schedule at every step rather than at every epoch."""

    drop_path: BelowOne = 0.0
    """Largest rate of stochastic depth, linear in depth; handed to the model as `drop_path_rate`."""
    batch_size: Count = 128
    """Images in a step, over all processes together."""
    amp_dtype: Literal["float32", "bfloat16"] = "float32"
    """`float32`, or `bfloat16` for mixed precision."""
    channels_last: bool = False
    """Whether images and weights lie channels last in memory: the same sums, faster convolutions."""
    model_ema: bool = False
    """Whether to keep an exponential moving average of the weights as well."""
    model_ema_decay: BelowOne = 0.9998
    """Its decay a step."""
    model_ema_warmup: bool = False
    """Whether the decay begins low and rises, for short runs."""
    snapshot_every: Natural = 0
    """Keep the weights every so many epochs; 0 keeps those of the start and of the warm-up's end."""
    snapshot_warmup: bool = False
    """Whether to keep those after every epoch of the warm-up as well."""
    seed: Seed = 0
    """Seed of weights, order, augmentation and stochastic depth."""

    freeze: List[str] = ()
    """What is not trained: paths of modules or parameters (`stages.0`), patterns (`*.norm?.*`), or `all-but-head`; a
    `!` before one keeps it training. Frozen norms keep their statistics."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Factor of the learning rate from layer to layer towards the input, by timm's grouping; None for one rate."""
    grad_accum_steps: Count = 1
    """Parts that a step's images are computed in, one after another; `batch_size` counts the images of all of them."""
    torchcompile: bool = False
    """Whether `torch.compile` compiles the network for training."""
    sam: Literal["none", "sam", "asam"] = "none"
    """Sharpness-aware minimisation (Foret et al., 2021) or its adaptive form (Kwon et al., 2021): two passes a step."""
    sam_rho: Positive | None = None
    """Radius of its neighbourhood; None for 0.05 (`sam`) or 0.5 (`asam`)."""
    sync_bn: bool = False
    """Whether batch norms take the statistics of all processes' images together."""
    global_batch: bool = False
    """Whether augmentation and mixing are drawn for the batch of all processes, as one alone draws them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opt not in (known := [str(name) for name in list_optimizers()]):
            raise unknown("There is no optimiser", self.opt, known)
        if self.subset == "0" or self.validation == "1":
            raise ValueError(
                f"subset: {self.subset} and validation: {self.validation} leave nothing to train on. Give a subset "
                "above 0 and a validation share below 1."
            )
        if self.grad_accum_steps > self.batch_size:
            raise ValueError(
                f"grad_accum_steps is {self.grad_accum_steps}, more than the {self.batch_size} images of a step "
                "(batch_size), which it splits. Lower it."
            )
        if self.total_epochs < self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}, more than all {self.total_epochs} epochs. "
                "Train longer, warm up less, or set warmup_prefix: true to warm up before the epochs."
            )

    @property
    def total_epochs(self) -> int:
        """Epochs of the run, a prefixed warm-up included."""
        return self.epochs + (self.warmup_epochs if self.warmup_prefix else 0)

    def as_dict(self) -> dict[str, Any]:
        """Every option by name, in values that JSON and YAML hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def load(cls, source: str | Path) -> "Recipe":
        """Read a shipped recipe by name, or a YAML file of options.

        Raises:
            ValueError: There is no such recipe, the file is not YAML, or it holds an unknown option or a bad value.

        Examples:
            >>> Recipe.load("weak-sgd").opt
            'momentum'
        """
        text, where = _read(source)
        try:
            options = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            raise ValueError(f"{where} is not YAML: {' '.join(str(error).split())}.") from error
        if not isinstance(options, dict):
            raise ValueError(f"{where} must hold options, one `name: value` a line, got {type(options).__name__}.")
        try:
            return cls().with_settings(options)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def with_settings(self, settings: Mapping[str, Any]) -> "Recipe":
        """This recipe with some options changed, as `--set` does: by values, or by texts that are read.

        Raises:
            ValueError: An option is unknown, or a value is bad.

        Examples:
            >>> Recipe.load("paper").with_settings({"epochs": 2, "lr": "1e-3"}).lr
            0.001
        """
        require_known(Recipe, settings, "The recipe")
        return replace(self, **{name: from_file(Recipe, name, value) for name, value in settings.items()})


def known_recipes() -> dict[str, str]:
    """The shipped recipes by name, each with the sentence that describes it.

    Examples:
        >>> sorted(known_recipes())
        ['buildup', 'paper', 'paper-imagenet', 'quick', 'weak', 'weak-sgd', 'weak-sgd-imagenet']
    """
    shipped = sorted((file for file in SHIPPED.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    texts = {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in shipped}
    return {name: text.splitlines()[0].removeprefix("# ") for name, text in texts.items()}


def _read(source: str | Path) -> tuple[str, str]:
    shipped = known_recipes()
    if str(source) in shipped:
        return (SHIPPED / f"{source}.yaml").read_text(encoding="utf-8"), f"Recipe {source}"
    try:
        return read_text(Path(source), most=2**18), str(source)
    except NoTextError as error:
        raise ValueError(f"{source} is no recipe: {error}. A recipe is YAML in UTF-8.") from error
    except (OSError, ValueError) as error:  # the latter where it can be no path
        raise ValueError(
            f"There is no recipe {str(source)!r}. Did you mean {nearest(str(source), shipped)}? "
            "Or give the path of a YAML file."
        ) from error
