"""Shape bias: where shape says one class and texture another, which of them does the model go by?"""

from typing import TYPE_CHECKING, ClassVar

from alternet.instruments.base import Instrument
from alternet.instruments.spec import Spec, integer, number, text
from alternet.settings import settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.shape_bias.measure import ShapeBiasWork
    from alternet.subject.subject import Subject


@settings
class ShapeBias(Instrument):
    """Decisions for shape and for texture, by pair of classes, and the share of the former.

    Examples:
        >>> ShapeBias().settings
        {'classes': 'auto'}
    """

    classes: str = "auto"
    """What the model calls its classes, in the order of its outputs, separated by commas. `auto`: a model with as many
    outputs as there are classes of cues has these in alphabetical order, as if trained on a folder of them or on
    `photos`; one with 1000 has those of ImageNet-1K, which are joined to 16 categories."""

    spec: ClassVar = Spec(
        name="shape_bias",
        order=70,
        title="Shape bias",
        question="Does the model go by shape or by texture?",
        caution=(
            "The share says nothing about images that the network decided for neither cue: look at how many decisions"
            " it rests on, since guessing gives one half as well. It belongs to this set of images, whose maker chose"
            " how strong each cue is, so it may be compared between networks but not between sets. The intervals take"
            " images for independent; those made from the same originals are not quite."
        ),
        paper="Geirhos et al. 2019",
        cost="one forward pass",
        example="alternet measure shape-bias -m my_timm_model@weights.pth --data cue-conflict:PATH --out out",
        tables={
            "table": {
                "shape": text("class of the shape"),
                "texture": text("class of the texture"),
                "images": integer("images of this pair"),
                "chose_shape": integer("how many were decided for the shape"),
                "chose_texture": integer("how many were decided for the texture"),
            },
            "bias": {
                "shape": text("class of the shape, or all"),
                "images": integer("images"),
                "decisions": integer("how many were decided for either cue"),
                "shape_bias": number("share of these decisions that are for the shape", missing=True),
                "low": number("low end of its 95 % interval (Wilson)"),
                "high": number("high end of its 95 % interval"),
            },
        },
        needs=frozenset({"labels"}),
        joins_classes=True,
    )

    def open(self, subject: "Subject", batches: "Batches") -> "ShapeBiasWork":
        from alternet.instruments.shape_bias.measure import ShapeBiasWork

        return ShapeBiasWork(self, subject, batches)
