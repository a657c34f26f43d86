"""Calibration: is the model right, and is its confidence honest?"""

from typing import TYPE_CHECKING, Any, ClassVar

from alternet.instruments.base import Convention, Instrument
from alternet.instruments.spec import Spec, integer, number, text
from alternet.settings import Count, Natural, Seed, settings

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

    samples: Natural = 0
    """Average the probabilities of so many passes in which the model's dropout and stochastic depth are active (Gal and
    Ghahramani, 2016; the paper's appendix B reads attention as such an average); 0 takes one pass without. Batch
    statistics stay those of evaluation. Dropout that is no layer of its own, as within fused attention, stays off."""

    seed: Seed = 0
    """What the samples are drawn from, each image's by itself, in any batch and order."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values; without samples, those of the samples say nothing."""
        given = super().settings
        return given if self.samples else {name: given[name] for name in given if name not in ("samples", "seed")}

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
        cost="one forward pass, and as many as there are samples",
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
                "accuracy": number("share of them that are right", missing=True, counted="count"),
                "confidence": number("their mean confidence", missing=True, counted="count"),
            },
        },
        needs=frozenset({"labels"}),
    )

    def open(self, subject: "Subject", batches: "Batches") -> "CalibrationWork":
        from alternet.instruments.calibration.measure import CalibrationWork

        return CalibrationWork(self, subject, batches)
