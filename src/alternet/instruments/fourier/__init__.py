"""Fourier: which spatial frequencies do feature maps hold, unit by unit?"""

from typing import TYPE_CHECKING, ClassVar, Literal

from alternet.instruments.base import TwoConventions
from alternet.instruments.spec import CLEARLY, STEP, UNIT, Spec, number
from alternet.settings import settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.fourier.measure import FourierWork
    from alternet.subject.subject import Subject


@settings
class Fourier(TwoConventions):
    """Δ log amplitude of the feature maps at every tap.

    Examples:
        >>> Fourier(direction="radial").settings
        {'axis': 'textbook', 'direction': 'radial'}
    """

    axis: Literal["textbook", "paper"] = "textbook"
    """`textbook`: true frequencies, with the Nyquist frequency on even sides. `paper`: as in the paper's code, the half
    diagonal without the Nyquist frequency, its points labelled from 0 to 1."""

    direction: Literal["diagonal", "radial"] = "diagonal"
    """`diagonal`: both axes at the same frequency, as in the paper. `radial`: mean over rings."""

    as_paper: ClassVar = {"axis": "paper"}
    spec: ClassVar = Spec(
        name="fourier",
        order=10,
        title="Fourier analysis of feature maps",
        question="Which spatial frequencies do feature maps hold: is attention a low-pass filter?",
        caution=(
            "Each curve is relative to the mean (frequency 0) of the same feature map, so only the step from one unit"
            " to the next means something: do not compare the amplitudes of different networks, nor of maps of "
            "different size. A step shows what a unit does to these images in this network; it does not show that the"
            f" kind of unit is the cause, nor that more or less detail makes a better classifier. {CLEARLY}"
        ),
        paper="Fig. 2a, 8, D.2",
        cost="one forward pass",
        example="alternet measure fourier -m my_timm_model@weights.pth --data FOLDER --out out",
        tables={
            "table": UNIT
            | {
                "frequency": number("in units of π: 0 is the mean of the map, 1 the finest grating"),
                "delta_log_amplitude": number("mean over channels and images of log amplitude, less that at 0"),
                "standard_error": number("of it, over the images", missing=True, drawn=False),
            }
            | STEP
        },
        needs=frozenset({"features"}),
    )

    def __post_init__(self) -> None:
        if self.axis == "paper" and self.direction == "radial":
            raise ValueError(
                "fourier got axis='paper' with direction='radial', but the paper has only the diagonal. "
                "Give one of them."
            )

    def open(self, subject: "Subject", batches: "Batches") -> "FourierWork":
        from alternet.instruments.fourier.measure import FourierWork

        return FourierWork(self, subject, batches)
