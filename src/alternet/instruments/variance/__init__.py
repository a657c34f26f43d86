"""Variance: how much do feature maps vary over space, unit by unit?"""

from typing import TYPE_CHECKING, ClassVar

from alternet.instruments.base import Instrument
from alternet.instruments.spec import CLEARLY, STEP, UNIT, Spec, number
from alternet.settings import settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.variance.measure import VarianceWork
    from alternet.subject.subject import Subject


@settings
class Variance(Instrument):
    """Feature-map variance at every tap. There is nothing to set.

    Examples:
        >>> Variance().settings
        {}
    """

    spec: ClassVar = Spec(
        name="variance",
        order=20,
        title="Variance of feature maps",
        question="How much do feature maps vary over space: which units even them out?",
        caution=(
            "Variance has the scale of the activations, which normalisation layers and weights set freely: compare "
            "units of one network, not networks. A falling variance is what averaging does, but other operations "
            f"lower it too, so it does not show by itself that a unit averages. {CLEARLY}"
        ),
        paper="Fig. 9, D.1",
        cost="one forward pass, shared with fourier",
        example="alternet measure variance -m my_timm_model@weights.pth --data FOLDER --out out",
        tables={
            "table": UNIT
            | {
                "variance": number("mean over images and channels of the variance over positions"),
                "sample_variance": number("mean over images of the variance over all values of one", drawn=False),
                "standard_error": number("of the variance, over the images", missing=True, drawn=False, of="variance"),
            }
            | STEP
        },
        needs=frozenset({"features"}),
    )

    def open(self, subject: "Subject", batches: "Batches") -> "VarianceWork":
        from alternet.instruments.variance.measure import VarianceWork

        return VarianceWork(self, subject, batches)
