"""Declarations: a study as plain data, which trainings, which measurements of them, what is read; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple

from alternet.instruments.base import Instrument


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training, but for its seed.

    Attributes:
        network: A network of the paper by its name there, such as `ViT`, or a MODEL as `alternet train` takes it.
        model_args: Keyword arguments of the model, beside those of the paper's network.
        recipe: `base`, `strong` or `weak`, which mean the recipes of the scale; or any recipe as `alternet train` takes
            it.
        options: What is changed in the recipe.
        data: A data set by name; by default that of the scale.

    Examples:
        >>> Training(network="ViT", options={"subset": "1/16"}).recipe
        'base'
    """

    network: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "base"
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What is measured of a trained network.

    Attributes:
        instrument: With its settings.
        snapshot: Of which weights: `last`, `warmup`, `epoch-0100`, ...
        limit: How many images, spread over all.
        data: A data set by name; by default the one that was trained on.
    """

    instrument: Instrument
    snapshot: str = "last"
    limit: int | None = None
    data: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What of the stored tables becomes evidence.

    Attributes:
        of: The measurement; None for the log of the training.
        read: Which function of `alternet.studies.readings` reads it; by default the one called as the instrument, or
            `training`.
        x: Where the values of all arms stand, as the epoch of a snapshot; nan leaves them where the arm says.
        only: Names of the arms that are measured; by default all.
    """

    of: Measuring | None = None
    read: str = ""
    x: float = nan
    only: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """Name of the function that reads it."""
        return self.read or ("training" if self.of is None else self.of.instrument.spec.name)


class Arm(NamedTuple):
    """What is compared.

    Attributes:
        name: As the figure calls it.
        of: How it is trained.
        x: Where it stands on the axis of the study, if it is one setting of several; nan otherwise.
    """

    name: str
    of: Training
    x: float = nan


class Show(NamedTuple):
    """One panel of a study's figure.

    Attributes:
        y: The quantity.
        over: The quantity on the other axis, for a scatter of the arms.
        along: What the other axis is, for a curve.
        log: Whether that axis is logarithmic.
    """

    y: str
    over: str = ""
    along: str = ""
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Study:
    """One question to several networks, and how its answer is drawn.

    Every arm is trained with as many seeds as are asked for, and all readings are taken of each.

    Attributes:
        figure: Its name: that of the paper's figure, or your own.
        title: What it shows, in a line.
        arms: What is compared.
        readings: What is read.
        shows: The panels of its figure.
        exhibits: Instruments whose own figures are drawn beside it, of the first seed.
        units: Whether the units of the networks are drawn; of such a study nothing is trained.
        note: What a reader should know before concluding anything.
        published: Which of the paper's figures has the series to compare with; by default the one of its own name.

    Raises:
        ValueError: There is no arm, two stand at one place, or a reading names an arm that is none.

    Examples:
        >>> study = Study(
        ...     figure="mine", title="Does ViT overfit?", arms=(Arm("ViT", Training(network="ViT")),),
        ...     readings=(Reading(),), shows=(Show("test_error", over="nll_train"),),
        ... )
        >>> study.readings[0].how
        'training'
    """

    figure: str
    title: str
    arms: tuple[Arm, ...]
    readings: tuple[Reading, ...] = ()
    shows: tuple[Show, ...] = ()
    exhibits: tuple[str, ...] = ()
    units: bool = False
    note: str = ""
    published: str = ""

    def __post_init__(self) -> None:
        if not self.arms:
            raise ValueError(f"Study {self.figure!r} has no arm: give it one for each network that is compared.")
        places = [(arm.name, str(arm.x)) for arm in self.arms]
        if twice := sorted({name for name, x in places if places.count((name, x)) > 1}):
            raise ValueError(
                f"Study {self.figure!r} has several arms {', '.join(twice)} at one x. Give each a name or an x of its "
                "own."
            )
        known = {arm.name for arm in self.arms}
        if unknown := sorted({name for reading in self.readings for name in reading.only} - known):
            raise ValueError(
                f"A reading of study {self.figure!r} is for {', '.join(unknown)}, but its arms are "
                f"{', '.join(sorted(known))}."
            )
