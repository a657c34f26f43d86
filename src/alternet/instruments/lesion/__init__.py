"""Lesion: how much accuracy does each unit account for?"""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from alternet.instruments.base import TwoConventions
from alternet.instruments.spec import INTERVAL, UNIT, Spec, integer, number
from alternet.settings import settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.lesion.measure import LesionWork
    from alternet.subject.subject import Subject


@settings
class Lesion(TwoConventions):
    """Accuracy and likelihood without one unit at a time, beside those of the whole network on the same images.

    Examples:
        >>> Lesion(unit="paper").settings
        {'unit': 'paper'}
    """

    unit: Literal["branch", "paper"] = "branch"
    """`branch`: the residual branch of every unit that has one. `paper`: of a convolutional unit its spatial
    convolutions alone, of other units the branch."""

    as_paper: ClassVar = {"unit": "paper"}
    spec: ClassVar = Spec(
        name="lesion",
        order=40,
        title="Lesion study",
        question="How much accuracy does each unit account for, and where are the important ones?",
        caution=(
            "Nothing was retrained: what follows a removed unit sees maps that it was never trained on. So a large "
            "loss says that this network, as it stands, is tuned to the unit, not that the task needs it, and a small"
            " one does not say that the unit does nothing where others could stand in for it; losses of single units "
            "do not add up. That attention matters most at the ends of stages is claimed for networks of several "
            "stages. In deep plain ViTs, which have one, the units in the middle matter most, as the authors say. "
            "Bars cover the choice of images, not another training run; of many units, the worst looks worse than it "
            "is."
        ),
        paper="Fig. 10b, D.4",
        cost="half a forward pass for each unit",
        example="alternet measure lesion -m run:runs/mine --data cifar100 --out out",
        tables={
            "table": UNIT
            | {
                "accuracy": number("share of right answers without the unit", missing=True),
                "delta_accuracy": number("the same less the share with it", missing=True),
                "nll": number("mean negative log-likelihood without the unit, in nats", missing=True, drawn=False),
                "delta_nll": number("the same less that with it", missing=True),
                "standard_error": number("of delta_accuracy, over the images", missing=True, of="delta_accuracy"),
                "nll_error": number("of delta_nll, over the images", missing=True, drawn=False, of="delta_nll"),
                "stage": integer("number of the unit's resolution"),
            }
            | {name: replace(column, missing=True) for name, column in INTERVAL.items()}
        },
        needs=frozenset({"labels", "features"}),
    )

    def open(self, subject: "Subject", batches: "Batches") -> "LesionWork":
        from alternet.instruments.lesion.measure import LesionWork

        return LesionWork(self, subject, batches)
