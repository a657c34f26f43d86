"""Frequency noise: how much accuracy does noise of one band of spatial frequencies cost?"""

from typing import TYPE_CHECKING, ClassVar, Literal

from alternet.instruments.base import TwoConventions
from alternet.instruments.spec import INTERVAL, Spec, number
from alternet.settings import Count, NotNegative, Positive, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.frequency_noise.measure import FrequencyNoiseWork
    from alternet.subject.subject import Subject


@settings
class FrequencyNoise(TwoConventions):
    """Accuracy under noise of one frequency band after the other, with the same noise for every model.

    Noise is added to images in [0, 1], before the model normalises them, and the sum is not clipped: clipping would
    spread the noise over all frequencies.

    Examples:
        >>> FrequencyNoise(bands=4).frequencies
        (0.2, 0.4, 0.6, 0.8)
    """

    bands: Count = 9
    """How many bands; their frequencies are k/(bands + 1) for k = 1 … bands."""

    half_width: Positive = 0.1
    """Half the width of a band, in units of π."""

    strength: NotNegative = 0.05
    """With `equal` the root mean square of the noise over the pixels and channels of an image, in units of the image
    range [0, 1]. With `paper` the size of δ before the mask, in units of the normalised input."""

    energy: Literal["equal", "paper"] = "equal"
    """`equal`: Gaussian noise, scaled to the same energy in every band. `paper`: as in the released code, noise of
    random signs, a ring cut from index −m to m − 1, no scaling, added after normalisation."""

    ring: Literal["square", "round"] = "square"
    """`square`: the larger of a wave's two frequencies counts. `round`: the length of the two."""

    repeats: Count = 1
    """How many times noise is drawn for every image; one draw serves all bands."""

    seed: int = 0
    """What it is drawn from, with the number of the repeat and of the picture in the data set."""

    as_paper: ClassVar = {"energy": "paper"}
    spec: ClassVar = Spec(
        name="frequency_noise",
        order=50,
        version=2,  # one draw for all bands, by the number of the picture
        title="Accuracy under noise of one frequency band",
        question="Which spatial frequencies is the model fragile to?",
        caution=(
            "Noise of equal energy is not equally strong against the image: photographs hold far less at high "
            "frequencies than at low ones. A network that knows less has less to lose, and one that was trained with "
            "noise or strong augmentation resists it, whatever its architecture. The intervals cover the choice of "
            "images and the draw of the noise; another training run would differ by more."
        ),
        paper="Fig. 2b",
        cost="a forward pass a band",
        example="alternet measure frequency-noise -m my_timm_model@weights.pth --data FOLDER --out out",
        tables={
            "table": {
                "frequency": number("middle of the band, in units of π"),
                "accuracy": number("share of right answers under noise of the band"),
                "delta_accuracy": number("the same less the share on the images as they are"),
                "nll": number("mean negative log-likelihood under the noise, in nats"),
                "standard_error": number(
                    "of delta_accuracy, over images and draws of the noise", missing=True, of="delta_accuracy"
                ),
            }
            | INTERVAL
        },
        needs=frozenset({"labels"}),
    )

    def __post_init__(self) -> None:
        if self.energy == "paper" and self.ring == "round":
            raise ValueError("frequency_noise got energy='paper' with ring='round', but the paper's ring is square.")

    @property
    def frequencies(self) -> tuple[float, ...]:
        """The middle of every band, in units of π."""
        return tuple(number / (self.bands + 1) for number in range(1, self.bands + 1))

    def open(self, subject: "Subject", batches: "Batches") -> "FrequencyNoiseWork":
        from alternet.instruments.frequency_noise.measure import FrequencyNoiseWork

        return FrequencyNoiseWork(self, subject, batches)
