"""What an instrument is: settings, a spec, and what it opens on a model and data; no torch until it measures."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from alternet.instruments.spec import Spec
from alternet.settings import from_text, require_known, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.work import Work
    from alternet.measurement import Measurement
    from alternet.subject.subject import Subject

Convention = Literal["textbook", "paper"]


@settings
class Instrument(ABC):
    """One way to look into a model: its fields are its settings. A final subclass is decorated with `settings`."""

    spec: ClassVar[Spec]
    old_spellings: ClassVar[Mapping[str, Mapping[Any, Any]]] = {}
    """Values of settings that were called otherwise in earlier versions, by setting; they are still understood."""
    older: ClassVar[Mapping[str, Any]] = {}
    """What was measured by results that are older than a setting and so do not state it, by setting."""

    @classmethod
    def understood(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that are meant by those given, in today's spelling."""
        return {name: cls.today(name, value) for name, value in given.items()}

    @classmethod
    def today(cls, name: str, value: Any) -> Any:
        """A setting's value as it is spelt today."""
        return cls.old_spellings.get(name, {}).get(value, value) if isinstance(value, str) else value

    @classmethod
    def from_text(cls, name: str, text: str) -> Any:
        """The value that a text on the command line gives to a setting.

        Raises:
            ValueError: The text is nothing of the setting's type.
        """
        return from_text(cls, name, cls.today(name, text))

    @abstractmethod
    def open(self, subject: "Subject", batches: "Batches") -> "Work":
        """This instrument at work on a model and data.

        Making it states which data and facts decide the numbers; it may read files, but runs no model and decodes no
        image. Entering it begins the work.
        """

    def measure(self, subject: "Subject", batches: "Batches", *, out: str | Path | None = None) -> "Measurement":
        """Measure a model on data.

        Args:
            subject: The model with its facts; it is left exactly as it was.
            batches: The images, and the labels where the spec needs them.
            out: Folder to store results in. What is already there is not measured again, finished items are kept
                after a kill, and the tables lie in `OUT/<model>/<instrument>/`.

        Raises:
            ValueError: The data has no labels and they are needed, or `out` holds another measurement of that name.
        """
        from alternet.seeding import random_state_kept

        with random_state_kept():  # packages that draw random numbers while they are imported
            from alternet.instruments.runner import run

        return run(self, subject, batches, out=None if out is None else Path(out))

    @classmethod
    def with_settings(cls, given: Mapping[str, Any]) -> Self:
        """The instrument with some settings changed; an unknown name is refused with near matches."""
        require_known(cls, given, cls.spec.name)
        return cls(**given)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values, as they stand in the provenance."""
        return asdict(self)


@settings
class TwoConventions(Instrument):
    """An instrument some of whose settings can do as the paper's code does, where that departs from the textbook."""

    convention: Convention = field(default="textbook", repr=False, compare=False)
    """`paper` sets at once all settings in which the paper's code departs from the textbook."""

    as_paper: ClassVar[Mapping[str, Any]]
    """Those settings with the values that follow the paper's code; each can still be set alone."""

    @classmethod
    def understood(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that are meant by those given, with what the convention sets at once."""
        implied = cls.as_paper if given.get("convention") == "paper" else {}
        return {**implied, **super().understood(given)}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain values; the convention by what it set."""
        return {name: value for name, value in super().settings.items() if name != "convention"}
