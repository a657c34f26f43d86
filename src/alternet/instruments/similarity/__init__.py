"""Similarity: which units make alike features, within one model or in two?"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from alternet.instruments.base import Instrument
from alternet.instruments.spec import Spec, integer, number, text
from alternet.settings import Natural, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.similarity.measure import SimilarityWork
    from alternet.subject.subject import Subject


@settings
class Similarity(Instrument):
    """Linear CKA between all units of a model, or between the units of two.

    Examples:
        >>> Similarity(batch_size=32).settings
        {'batch_size': 32, 'other': None, 'seed': 0}
    """

    fewest: ClassVar[int] = 4
    """Images that a mini-batch must have for the unbiased HSIC to exist; a smaller one adds nothing."""

    batch_size: int = 64
    """Images of a mini-batch, at least 4. Images are compared within it, whatever the size of the batches that they
    come in; a last one of fewer than 4 images adds nothing."""

    other: Any = None
    """A second model: its name as on the command line, or in Python also a Subject. A name is loaded at the image size
    of the model measured."""

    remove: Natural = 0
    """How many leading principal components of each unit's features, within the mini-batch, are left out first."""

    null: Literal["none", "shuffled"] = "none"
    """`shuffled` also compares each image at one unit with another image at the other: what a CKA is by chance."""

    seed: int = 0
    """What the order of the images is drawn from, since a mini-batch must be a fair sample."""

    spec: ClassVar = Spec(
        name="similarity",
        order=30,
        version=2,  # standard errors are over images, and were over mini-batches, which covered too seldom
        title="Similarity of units",
        question="Which units, of one model or of two, make alike features, and do they fall into blocks?",
        caution=(
            "Units near one another in a residual network are alike because the skip hands most of the features on: a"
            " block structure above 0 is not by itself a division of labour. CKA is decided by the directions of "
            "largest variance (remove takes the leading ones out) and says nothing about what the next layers read. "
            "What follows ± is one standard error over images."
        ),
        paper="Fig. 10a, D.3",
        cost="one forward pass",
        example="alternet measure similarity -m resnet50@pretrained --data photos --out out",
        tables={
            "table": {
                "unit_a": integer("number of the first unit"),
                "tap_a": text("its tap"),
                "model_b": text("model of the second unit"),
                "unit_b": integer("number of the second unit"),
                "tap_b": text("its tap"),
                "cka": number("linear CKA, unbiased; 1 for the same features up to a rotation", missing=True),
                "standard_error": number("of it, over the images", missing=True),
                "low": number("low end of its 95 % interval; empty for too few images", missing=True, drawn=False),
                "high": number("high end", missing=True, drawn=False),
                "null_cka": number("CKA with the images shuffled, if asked for", missing=True, drawn=False),
            },
            "units": {
                "side": text("a for the model measured, b for the other"),
                "unit": integer("number of the unit"),
                "tap": text("its tap"),
                "kind": text("what acts in it"),
                "stage": integer("number of its resolution"),
                "depth": number("0 at the first unit to 1 at the last", drawn=False),
            },
        },
        needs=frozenset({"features"}),
    )

    def __post_init__(self) -> None:
        if self.batch_size < self.needed:
            without = f", and {self.remove} more for the components to remove" if self.remove else ""
            raise ValueError(
                f"similarity got batch_size={self.batch_size}, expected a number of at least {self.needed}: the "
                f"unbiased HSIC compares four images at a time{without}."
            )
        if not (self.other is None or isinstance(self.other, str) or hasattr(self.other, "taps_on")):
            raise ValueError(f"similarity got other={self.other!r}, expected the name of a model or a Subject.")

    @property
    def needed(self) -> int:
        """Images that a mini-batch must have to add something."""
        return self.fewest + self.remove

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values; those that earlier versions did not know only where they are used."""
        other = self.other if self.other is None or isinstance(self.other, str) else self.other.name
        later = {"remove": self.remove} if self.remove else {}
        later |= {} if self.null == "none" else {"null": self.null}
        return {"batch_size": self.batch_size, "other": other, "seed": self.seed, **later}

    def open(self, subject: "Subject", batches: "Batches") -> "SimilarityWork":
        from alternet.instruments.similarity.measure import SimilarityWork

        return SimilarityWork(self, subject, batches)
