"""What the instruments of the loss have in common: which loss, on which augmented data; no torch."""

from typing import ClassVar, Literal

from alternet.instruments.base import TwoConventions
from alternet.settings import Count, Natural, NotNegative, settings


@settings
class LossInstrument(TwoConventions):
    """An instrument of NLL + L2 on frozen augmented batches of the training data (Park and Kim 2022, appendix A)."""

    objective: Literal["run", "stated"] | None = None
    """Where the loss comes from: `run` takes augmentation, label smoothing, weight decay and what it acts on from the
    recipe of the training run that the model comes from; `stated` takes those of Park and Kim (2022) for CIFAR. What
    is set below counts in either case. By default `run` for a model that comes from a run."""

    augment: Literal["strong", "strong-imagenet", "weak", "none", "recipe"] | None = None
    """Augmentation of the images: the strong one of the paper for CIFAR or ImageNet, the weak one, none, or that of the
    `recipe` which the model was trained with. By default that of the objective: `recipe`, or `strong` where it is
    `stated`. Batches that are frozen already are taken as they are."""

    batch_size: Count = 16
    """Images in a batch; the numbers depend on it where images are mixed."""

    weight_decay: NotNegative | None = None
    """Factor of the L2 part; by default that of the objective, 0.05 where it is `stated`."""

    decays: Literal["timm", "all"] | None = None
    """What the textbook's L2 part counts: `all` parameters, or those with two or more axes that the model does not name
    in `no_weight_decay` (`timm`). By default that of the objective, `timm` where it is `stated`."""

    l2: Literal["textbook", "paper"] = "textbook"
    """`textbook`: half the squared norm of the decayed parameters. `paper`: the sum of norms of all parameters."""

    batch_norm: Literal["running", "batch"] = "running"
    """BatchNorm with its `running` statistics or those of each `batch`."""

    seed: Natural = 0
    """What order, augmentation and random vectors are drawn from."""

    as_paper: ClassVar = {"l2": "paper"}
    old_spellings: ClassVar = {"augment": {"paper": "strong", "paper-imagenet": "strong-imagenet"}}
    older: ClassVar = {"objective": "stated", "decays": "timm"}


@settings
class OfParameters(LossInstrument):
    """An instrument of NLL + L2 as a function of the parameters: its derivatives, or its values around them."""

    frozen: bool = False
    """Whether parameters with `requires_grad=False` are varied like the others; by default they stay as they are."""

    older: ClassVar = {**LossInstrument.older, "frozen": False}
