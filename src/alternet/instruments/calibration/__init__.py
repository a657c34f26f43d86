"""Calibration: is the model right, and is its confidence honest?"""

from typing import TYPE_CHECKING, ClassVar

from alternet.instruments.base import Convention, Instrument
from alternet.instruments.spec import Spec, integer, number, text
from alternet.settings import Count, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.calibration.measure import CalibrationWork
    from alternet.subject.subject import Subject


@settings
class Calibration(Instrument):
    """Accuracy and the honesty of confidence, with the reliability diagram.

    Examples:
        >>> Calibration(bins=15).settings
        {'bins': 15, 'convention': 'textbook'}
    """

    bins: Count = 10
    """Number of equally wide bins of confidence, for the ECE and the diagram."""

    convention: Convention = "textbook"
    """`textbook`, or `paper` for what the paper's code does: a float32 softmax; a confidence on the edge of a bin is
    counted in it but added to the next one, and 1 to none; NLL is the mean of the batches' means and can be infinite;
    IoU is over the classes among the labels; what is undefined is 0."""

    spec: ClassVar = Spec(
        name="calibration",
        order=80,
        title="Calibration",
        question="Is the model right, and is its confidence honest?",
        caution=(
            "Calibration holds for data like that measured here and says nothing about other data. What follows ± is "
            "one standard error; bins with few images scatter by chance. Training with mixup, CutMix or label "
            "smoothing makes networks under-confident, so a difference between two networks may come from their "
            "recipes and not from their architectures."
        ),
        paper="Fig. F.1",
        cost="one forward pass",
        example="alternet measure calibration -m run:runs/mine --data cifar100 --out out",
        tables={
            "table": {
                "metric": text("name of the metric; the page says what each is"),
                "value": number("its value", missing=True),
                "standard_error": number("of it, over the images", missing=True, drawn=False),
            },
            "reliability": {
                "bin": integer("number of the bin of confidence"),
                "low": number("its low end, exclusive"),
                "high": number("its high end, inclusive"),
                "count": integer("predictions in it"),
                "accuracy": number("share of them that are right", missing=True),
                "confidence": number("their mean confidence", missing=True),
            },
        },
        needs=frozenset({"labels"}),
    )

    def open(self, subject: "Subject", batches: "Batches") -> "CalibrationWork":
        from alternet.instruments.calibration.measure import CalibrationWork

        return CalibrationWork(self, subject, batches)
