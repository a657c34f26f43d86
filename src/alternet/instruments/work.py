"""Work: an instrument opened on a model and data, as sums over one pass or as rows of independent items."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor

from alternet.data.image_batches import Batches
from alternet.shapes import FeatureMap, Images, Logits
from alternet.subject.subject import Subject
from alternet.taps.find import Tap

Item = tuple[Any, ...]
"""Names one item: numbers and text, as they stand in a journal."""

Row = Sequence[Any]
"""Numbers (also of NumPy or torch), text, or None for what is undefined; in a table, in the order of its columns."""

Tables = Mapping[str, Iterable[Row]]
"""The rows of each table by its name."""


def no_image(batches: Batches) -> ValueError:
    """The error where nothing is left to measure, since no image of the data could be read."""
    return ValueError(f"{batches.name!r} gave no image to measure. Check that its files can be read.")


class Work(ABC):  # noqa: B024 - its two kinds have the abstract methods
    """What an instrument opens: making it states data and facts, entering it begins the work.

    Attributes:
        instrument: The settings; those that are left to the model are filled in, as the provenance states them.
        subject: The model.
        batches: The data as this work looks at it; what the provenance describes.
        facts: What decides the numbers beside settings, model and data, as plain values. It stands in the provenance,
            and a stored result is taken up again only if it agrees.
        origin: Where the model comes from, which decides nothing; add what is known of a second one.
        others: Further models that decide the numbers.
        undo: What is closed on leaving.
    """

    def __init__(self, instrument: Any, subject: Subject, batches: Batches) -> None:
        """State the data; may read files, but runs no model and decodes no image."""
        self.instrument, self.subject, self.batches = instrument, subject, batches
        self.facts: Mapping[str, Any] = {}
        self.origin: Mapping[str, Any] = subject.origin
        self.others: Sequence[Subject] = ()
        self.undo = ExitStack()

    def __enter__(self) -> Self:
        """Begin; where that fails, what was opened is closed."""
        with ExitStack() as opened:
            self.undo = opened
            self.begin()
            self.undo = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self.undo.__exit__(*error)

    def begin(self) -> None:  # noqa: B027 - most works need nothing
        """What is needed before the first batch or item; contexts are entered on `undo`. Nothing by default."""


class Batch(NamedTuple):
    """One batch of a pass.

    Attributes:
        images: In [0, 1], not normalised [n, c, h, w].
        targets: Classes [n], -1 where there is no label, or distributions [n, k] where labels are mixed.
        logits: The model's answer [n, k]; [n, 0] where it gives no class scores and the work reads features.
    """

    images: Images
    targets: Tensor
    logits: Logits


class OnePass(Work):
    """Work that needs one pass over the data and keeps nothing but sums.

    The runner adds the parts of all batches and processes, so they must be additive over images: float64 tensors of the
    same shape for every batch. Works on the same images share the pass.

    Attributes:
        reads_features: Whether it looks at feature maps, or at logits alone.
        compares: Whether the numbers depend on which images come in a batch together. The pass then takes the batches
            of this work as they are; other works follow it through them.
        taps: Where, in forward order, with the shapes that the maps of these images have; known once the pass begins.
    """

    reads_features: ClassVar[bool] = True
    compares: bool = False
    taps: Sequence[Tap] = ()

    def read(self, tap: Tap, feature: FeatureMap) -> Tensor | None:
        """What to keep of the feature map of one batch at one tap; nothing by default. It must not change the map."""
        return None

    def part(self, batch: Batch, readings: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What one batch adds to the sums; by default what `read` kept of it, by name of the tap."""
        return readings

    @abstractmethod
    def tables(self, sums: Mapping[str, Tensor]) -> Tables:
        """The rows of every table, from the sums over all images."""


class PerItem(Work):
    """Work that falls into independent items, each stored as soon as it is finished.

    Attributes:
        record: Makes a record of the values of a row, which a journal holds as a plain list; None leaves them so.
    """

    record: ClassVar[Callable[..., Any] | None] = None

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """Names of the items, in the order of the table; the same in every process."""

    @abstractmethod
    def rows(self, item: Any) -> Sequence[Any]:
        """Measure one item. The rows must not depend on which items were measured before."""

    def tables(self, rows: Sequence[Any]) -> Tables:
        """The tables, from the records of all items in order; override to fill what relates items."""
        return {"table": rows}


def where(tap: Tap) -> tuple[int, str, str, float]:
    """What leads the row of a unit: its number, tap, kind and depth."""
    return tap.unit, tap.name, tap.kind, tap.depth
