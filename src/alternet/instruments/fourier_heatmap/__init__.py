"""Fourier heat map: how much accuracy does one plane wave cost, for every wave that an image can hold?"""

from typing import TYPE_CHECKING, ClassVar

from alternet.instruments.base import Instrument
from alternet.instruments.spec import INTERVAL, Spec, number
from alternet.settings import Natural, NotNegative, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.fourier_heatmap.measure import FourierHeatmapWork
    from alternet.subject.subject import Subject


@settings
class FourierHeatmap(Instrument):
    """Accuracy under one plane wave after the other, with the same waves for every model.

    A wave is added to images in [0, 1], before the model normalises them, and the sum is not clipped: clipping would
    add further frequencies. Every wave costs a forward pass: give `side`, and few images.

    Examples:
        >>> FourierHeatmap(side=8).settings
        {'strength': 0.05, 'side': 8, 'seed': 0}
    """

    strength: NotNegative = 0.05
    """Root mean square of the wave, in units of the image range [0, 1]."""

    side: Natural = 0
    """Largest number of periods across and down the image, |kx| and |ky|; 0 for all that the image can hold."""

    seed: int = 0
    """What the signs are drawn from, with the wave and the place of the image in the data."""

    spec: ClassVar = Spec(
        name="fourier_heatmap",
        order=60,
        title="Fourier heat map",
        question="Which wave, of which frequency and direction, is the model fragile to?",
        caution=(
            "The wave that costs most is the largest of many numbers with errors, so its loss is overestimated: look "
            "for regions, not for single cells. Waves of equal energy are not equally strong against the image, for "
            "photographs hold far less at high frequencies. A bright map may be that of a network that knows more and"
            " has more to lose, and a dark one may be owed to augmentation in training. The errors cover the choice "
            "of images and the draw of the signs; another training run would differ by more."
        ),
        paper="Yin et al. 2019",
        cost="a forward pass a wave: 40 at side=4, 513 on 32 × 32 pixels",
        example="alternet measure fourier-heatmap -m my_timm_model@weights.pth --data FOLDER --limit 500 "
        "--set side=8 --out out",
        tables={
            "table": {
                "fx": number("frequency across, in units of π"),
                "fy": number("frequency down, in units of π"),
                "accuracy": number("share of right answers under the wave"),
                "delta_accuracy": number("the same less the share on the images as they are"),
                "standard_error": number("of delta_accuracy, over the images", missing=True),
            }
            | INTERVAL
        },
        needs=frozenset({"labels"}),
    )

    def open(self, subject: "Subject", batches: "Batches") -> "FourierHeatmapWork":
        from alternet.instruments.fourier_heatmap.measure import FourierHeatmapWork

        return FourierHeatmapWork(self, subject, batches)
