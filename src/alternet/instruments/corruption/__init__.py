"""Corruption: how much accuracy do noise, blur, weather and compression cost?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from alternet.data.corruption_names import CLEAN as CLEAN  # for the figure, which knows nothing of data
from alternet.data.corruption_names import EXTRA, FAMILIES, STANDARD
from alternet.instruments.base import Instrument
from alternet.instruments.spec import Spec, integer, number, text
from alternet.settings import Count, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.corruption.measure import CorruptionWork
    from alternet.subject.subject import Subject


@settings
class Corruption(Instrument):
    """Accuracy, likelihood and calibration on clean images and under common corruptions.

    Examples:
        >>> Corruption(only="fog, snow").corruptions
        ('fog', 'snow')
    """

    published: str = ""
    """Folder of CIFAR-10-C, CIFAR-100-C or ImageNet-C, the data being the clean images; by default the corruptions are
    made on the fly, which needs the extra `corruptions`. The provenance holds its name alone."""

    extra: bool = False
    """Measure the four extra corruptions too; they do not enter the summary."""

    only: str = ""
    """Names of the corruptions to measure, separated by commas, instead of all standard ones."""

    bins: Count = 10
    """Number of equally wide bins of confidence, for the ECE."""

    seed: int = 0
    """What the corruptions made on the fly are drawn from."""

    spec: ClassVar = Spec(
        name="corruption",
        order=90,
        title="Common corruptions",
        question="How much accuracy do noise, blur, weather and compression cost?",
        caution=(
            "Severities are steps of one corruption and not of equal harm, so corruptions cannot be ranked by their "
            "strength, and the mean over sets depends on which corruptions are in it. Corruptions made on the fly are"
            " not the published files of the same name: compare only what was measured on the same. What follows ± is"
            " one standard error over images. A "
            "network that is more accurate on clean images tends to be so on corrupted ones too, and augmentation in "
            "training that resembles a corruption helps against it: a difference may come from either and not from "
            "the architecture."
        ),
        paper="Fig. 12b, E.1; Hendrycks and Dietterich 2019",
        cost="76 forward passes, and making the corruptions",
        example="alternet measure corruption -m run:runs/mine --data cifar100 --set published=CIFAR-100-C --out out",
        tables={
            "table": {
                "corruption": text("name of the corruption, or clean"),
                "severity": integer("1 to 5, 0 for the clean images"),
                "accuracy": number("share of right answers"),
                "nll": number("mean negative log-likelihood, in nats", drawn=False),
                "ece": number("expected calibration error", drawn=False),
                "standard_error": number("of the accuracy, over the images", missing=True, of="accuracy"),
                "nll_standard_error": number("of the NLL, over the images", missing=True, drawn=False, of="nll"),
                "images": integer("how many images", drawn=False),
                "family": text("noise, blur, weather, digital, extra or clean"),
            },
            "summary": {
                "metric": text("name of the metric; the page says what each is"),
                "value": number("its value", missing=True),
                "standard_error": number("of it, over the images, which all sets share", missing=True),
            },
        },
        needs=frozenset({"labels"}),
        extra="corruptions",
    )

    def __post_init__(self) -> None:
        if self.only and self.extra:
            raise ValueError("corruption got both only and extra, expected one of them. Name the extra ones in only.")
        if unknown := sorted(set(self.corruptions) - set(FAMILIES)):
            raise ValueError(
                f"corruption got only={self.only!r}, but knows no {', '.join(map(repr, unknown))}. "
                f"Choose from {', '.join(FAMILIES)}."
            )

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names of the corruptions to measure, in order."""
        if self.only:
            return tuple(dict.fromkeys(name.strip() for name in self.only.split(",")))
        return tuple(STANDARD) + (tuple(EXTRA) if self.extra else ())

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values; of the published folder the name alone, wherever it lies."""
        named = Path(self.published).expanduser().resolve().name if self.published else ""
        return super().settings | {"published": named}

    def open(self, subject: "Subject", batches: "Batches") -> "CorruptionWork":
        from alternet.instruments.corruption.measure import CorruptionWork

        return CorruptionWork(self, subject, batches)
