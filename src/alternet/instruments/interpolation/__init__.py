"""Interpolation: NLL + L2 on the straight line between two sets of weights, and the barrier there."""

from os.path import expanduser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from alternet.instruments.loss_instrument import LossInstrument
from alternet.instruments.spec import Spec, number
from alternet.settings import Count, Natural, settings
from alternet.storage import sha256_of

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.interpolation.measure import InterpolationWork
    from alternet.subject.subject import Subject


@settings
class Interpolation(LossInstrument):
    """NLL + L2 between a network and other weights of the same architecture, an item a point.

    Floating-point buffers, such as the running statistics of BatchNorm, are interpolated like the weights, so both ends
    are the networks themselves; beyond the ends they stay. In between, the statistics fit neither the weights nor the
    data exactly: `batch_norm="batch"` takes those of the batches instead.
    """

    towards: str = ""
    """The other weights: a file of them, as after `@` on the command line, or run:DIR[@SNAPSHOT] for those of a run;
    empty for the initial weights of the model's own run."""

    towards_sha256: str = ""
    """Checksum of that file, filled in by itself; a result belongs to one content of it."""

    steps: Annotated[int, Field(ge=2)] = 20
    """Steps from one end to the other."""

    beyond: Natural = 4
    """Steps beyond either end."""

    batch_size: Count = 64
    """Images in a batch; the mixing of images depends on it."""

    spec: ClassVar = Spec(
        name="interpolation",
        order=130,
        title="Interpolation",
        question="Is there a barrier between two sets of weights?",
        caution=(
            "A barrier on the straight line does not part two networks: a curve may join them without one, and so may"
            " a permutation of neurons that changes no prediction. No barrier from the initial weights does not mean "
            "that training met none. Statistics of BatchNorm between the ends fit neither network, which can make a "
            "barrier by itself."
        ),
        paper="Goodfellow et al. 2015",
        cost="29 forward passes by default",
        example="alternet measure interpolation -m run:runs/mine --set towards=run:runs/other --data cifar100 "
        "--limit 1024 --out out",
        tables={
            "table": {
                "x": number("0 at the network, 1 at the other weights"),
                "nll": number("negative log-likelihood there, in nats", missing=True),
                "l2": number("the penalty there, without the factor of weight decay", missing=True, drawn=False),
                "loss": number("nll + weight decay · l2", missing=True),
                "accuracy": number("share of right answers there", missing=True),
            }
        },
        pools=False,  # the barrier is a maximum: that of the mean over runs is not the mean of theirs
        needs=frozenset({"labels", "gradients"}),
        split="train",
    )

    def __post_init__(self) -> None:
        content = ""
        if self.towards:
            try:
                content = sha256_of(self.file)
            except OSError as error:
                raise ValueError(
                    f"interpolation cannot read towards={str(self.file)!r} ({error.strerror or error}). Give a "
                    ".safetensors or .pth file of weights, run:DIR, or leave it out for the initial weights of the "
                    "model's own run."
                ) from error
        if self.towards_sha256 not in ("", content):
            raise ValueError(
                f"towards={self.towards!r} is not what it was: its checksum is {content[:12] or 'none'}, expected "
                f"{self.towards_sha256[:12]}. Leave towards_sha256 out to take it as it is now."
            )
        object.__setattr__(self, "towards_sha256", content)

    @property
    def file(self) -> Path:
        """The file of the other weights, where `towards` names some."""
        from alternet.runs import PREFIX, TrainingRun

        if not self.towards.startswith(PREFIX):
            return Path(expanduser(self.towards))
        run, snapshot = TrainingRun.named(self.towards.removeprefix(PREFIX))
        return run.at(snapshot)

    def open(self, subject: "Subject", batches: "Batches") -> "InterpolationWork":
        from alternet.instruments.interpolation.measure import InterpolationWork

        return InterpolationWork(self, subject, batches)
