"""What an instrument is: settings, columns, and either sums over batches or rows of independent items."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar, get_args, get_origin, get_type_hints

from torch import Tensor

from alternet.data.batches import Batches
from alternet.measurement import Measurement
from alternet.shapes import FeatureMap, Logits
from alternet.subject.subject import Subject
from alternet.taps.find import Tap

View = TypeVar("View")
Item = tuple[Any, ...]
"""Names one item: numbers and text, as they stand in a journal."""

Row = Sequence[Any]
"""Numbers (also of NumPy or torch), text, or None for what is undefined, in the order of the columns."""

Tables = Mapping[str, Iterable[Row]]
"""The rows of each table by its name."""


class Observation(Protocol):
    """A view that streaming instruments look through, as `Probe` and `Predictions` are.

    Attributes:
        taps: The taps whose feature maps it shows, in forward order.
    """

    @property
    def taps(self) -> Sequence[Tap]: ...

    def observe(self, images: Tensor, visit: Callable[[Tap, Tensor], None]) -> Tensor:
        """Run the model once, hand every feature map over as it arises, and give the logits."""
        ...


@dataclass(frozen=True, kw_only=True)
class Instrument(ABC):
    """One way to look into a model. A final subclass is a frozen dataclass whose fields are its settings.

    Attributes:
        name: Stem of its files, folders and command.
        question: What it answers, in one line.
        columns: Columns of every table it fills, without the leading `model`; the main one is `table`.
        needs_labels: Whether the data must have labels.
        split: Which part of a data set that has several the command line gives it: `test`, or `train` where the
            question is about what was trained on.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    columns: ClassVar[Mapping[str, tuple[str, ...]]]
    needs_labels: ClassVar[bool] = False
    split: ClassVar[Literal["test", "train"]] = "test"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            _check_setting(self.name, field.name, getattr(self, field.name), hints[field.name])

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

    def ready(self, subject: Subject) -> Self:
        """This instrument, ready to look at a model; by default as it is.

        Override it to load what a setting only names, such as a second model, and say in `facts` what was loaded.
        """
        return self

    @property
    def facts(self) -> Mapping[str, Any]:
        """What decides the numbers beside settings, model and data, as plain values; by default nothing.

        It stands in the provenance, and a stored result is taken up again only if it agrees.
        """
        return {}

    def prepare(self, batches: Batches) -> Batches:
        """The data as this instrument needs it; by default as given.

        Override it to freeze an augmentation, or where images of a batch are compared with one another and its size
        is a setting. What comes out is what the provenance describes.
        """
        return batches

    @classmethod
    def with_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The instrument with some settings changed; an unknown name is refused with near matches."""
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                near = ", ".join(get_close_matches(key, known) or known)
                way = f"Did you mean {near}?" if near else "It has no settings: leave this out."
                raise ValueError(f"{cls.name} has no setting {key!r}. {way}")
        return cls(**settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values, as they stand in the provenance."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Streaming(Instrument):
    """An instrument that needs one pass over the data and keeps nothing but sums.

    The runner adds the sums of all batches and all processes, so they must be additive over images: float64 tensors
    of the same shape for every batch. Streaming instruments with the same `view` share one pass.

    Attributes:
        view: How it looks at the model: `Probe` for feature maps, `Predictions` for logits alone.
    """

    view: ClassVar[Callable[[Subject], AbstractContextManager[Observation]]]

    def read(self, tap: Tap, feature: FeatureMap) -> Tensor | None:
        """What to keep of the feature map of one batch at one tap; nothing by default. It must not change the map."""
        return None

    def sums(self, readings: Mapping[str, Tensor], logits: Logits, targets: Tensor) -> Mapping[str, Tensor]:
        """What one batch adds to the sums; by default the readings themselves, by name of the tap.

        Args:
            readings: What `read` kept of this batch.
            logits: The model's answer [n, k].
            targets: Classes [n], -1 where there is no label, or distributions [n, k] where labels are mixed.
        """
        return readings

    @abstractmethod
    def tables(self, taps: Sequence[Tap], sums: Mapping[str, Tensor]) -> Tables:
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
    def rows(self, view: View, item: Any) -> Sequence[Row]:
        """Measure one item. The rows must not depend on which items were measured before."""

    def tables(self, rows: Sequence[Row]) -> Tables:
        """The tables, from the rows of all items in order; override to fill columns that relate items."""
        return {"table": rows}


def _check_setting(instrument: str, setting: str, value: object, hint: Any) -> None:
    if get_origin(hint) is Literal:
        known, expected = value in get_args(hint), "one of " + ", ".join(map(repr, get_args(hint)))
    elif hint in (bool, int, float, str):
        accepted = (int, float) if hint is float else hint
        known, expected = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool)), hint.__name__
        if known and isinstance(value, float) and not isfinite(value):
            known, expected = False, "a finite number"
    else:
        return
    if not known:
        raise ValueError(f"{instrument} got {setting}={value!r}, expected {expected}.")
