"""What an instrument is: settings, columns, and either sums over batches or rows of independent items."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from torch import Tensor

from alternet.data.batches import Batches
from alternet.measurement import Measurement
from alternet.views.subject import Subject

View = TypeVar("View")
Item = tuple[str | int | float, ...]
Row = Sequence[str | int | float | None]
Tables = Mapping[str, Iterable[Row]]


@dataclass(frozen=True, kw_only=True)
class Instrument(ABC):
    """One way to look into a model. A final subclass is a frozen dataclass whose fields are its settings.

    Attributes:
        name: Stem of its files, folders and command.
        question: What it answers, in one line.
        columns: Columns of every table it fills, without the leading `model`; the main one is `table`.
        needs_labels: Whether the data must have labels.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    columns: ClassVar[Mapping[str, tuple[str, ...]]]
    needs_labels: ClassVar[bool] = False

    def measure(self, subject: Subject, batches: Batches, *, out: str | Path | None = None) -> Measurement:
        """Measure a model on data.

        Args:
            subject: The model with its facts; it is left exactly as it was.
            batches: The images, and the labels where `needs_labels`.
            out: Folder to store results in. What is already there is not measured again, finished items are kept
                after a kill, and the tables lie in `OUT/<model>/<instrument>/`.

        Raises:
            ValueError: The data has no labels and they are needed, or `out` holds another measurement of that name.
        """
        from alternet.instruments.runner import run

        return run(self, subject, batches, out=None if out is None else Path(out))

    @classmethod
    def with_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The instrument with some settings changed; an unknown name is refused with near matches."""
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                near = get_close_matches(key, known) or known
                raise ValueError(f"{cls.name} has no setting {key!r}. Did you mean {', '.join(near) or 'none at all'}?")
        return cls(**settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values, as they stand in the provenance."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Streaming(Instrument, Generic[View]):
    """An instrument that needs one pass over the data and keeps nothing but sums.

    The runner adds the sums of all batches and all processes, so they must be additive over images: float64 tensors
    of the same shape for every batch.
    """

    @abstractmethod
    def view(self, subject: Subject) -> AbstractContextManager[View]:
        """How this instrument looks at the model while the data passes."""

    @abstractmethod
    def sums(self, view: View, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What one batch of images in [0, 1] adds to the sums."""

    @abstractmethod
    def tables(self, view: View, sums: dict[str, Tensor]) -> Tables:
        """The rows of every table, from the sums over all images."""


@dataclass(frozen=True, kw_only=True)
class Itemised(Instrument, Generic[View]):
    """An instrument whose work falls into independent items, each stored as soon as it is finished."""

    @abstractmethod
    def view(self, subject: Subject, batches: Batches) -> AbstractContextManager[View]:
        """What all items need: the model under observation, reference values, frozen data."""

    @abstractmethod
    def items(self, view: View) -> Sequence[Item]:
        """Names of the items, in the order of the table; the same in every process."""

    @abstractmethod
    def rows(self, view: View, item: Item) -> list[Row]:
        """Measure one item. The rows must not depend on which items were measured before."""

    def tables(self, rows: Sequence[Row]) -> Tables:
        """The tables, from the rows of all items in order; override to fill columns that relate items."""
        return {"table": rows}
