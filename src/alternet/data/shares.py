"""Shares: parts of a data set in which every class keeps its part, the same in every run."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from alternet.data.image_dataset import UNLABELLED


def as_share(value: Any) -> str:
    """A part of a whole as a fraction in its lowest terms.

    Examples:
        >>> as_share("2/32"), as_share(0.5), as_share("1")
        ('1/16', '1/2', '1')
    """
    try:
        share = None if isinstance(value, bool) else Fraction(str(value).replace(" ", ""))
    except (ValueError, ZeroDivisionError):
        share = None
    if share is None or not 0 <= share <= 1:
        raise PydanticCustomError("share", "a part of the whole, such as 1/16, 0.5 or 1")  # pyright: ignore[reportArgumentType]
    return str(share)


PartOfData = Annotated[str, BeforeValidator(as_share)]
"""A setting that says which part of the images, kept as a fraction in its lowest terms."""


def divide(
    targets: Sequence[int] | np.ndarray, *, subset: str = "1", validation: str = "0", name: str = "the data"
) -> tuple[np.ndarray, np.ndarray]:
    """Take a share of every class for validation, and a share of what is left for training.

    The images of a class are put into one random order that follows from its number and size alone. Training takes from
    its beginning and validation from its end, so a smaller share is always a part of a larger one. Numbers of images
    are rounded to the nearest, halves up.

    Args:
        targets: Class number of every image; images without one are left out.
        subset: Which part of what validation leaves is trained on.
        validation: Which part of all is validated on.
        name: Name of the data, for the messages.

    Returns:
        Positions of the images to train on and of those to validate on, both ascending.

    Raises:
        ValueError: A class would be left without an image to train on, or to validate on where that is asked for.

    Examples:
        >>> train, held_out = divide([0, 1] * 8, subset="1/2", validation="1/4")
        >>> train.tolist(), held_out.tolist()
        ([2, 3, 4, 5, 12, 15], [7, 8, 10, 11])
    """
    numbers, trained, validated = np.asarray(targets), [], []
    for target in np.unique(numbers[numbers != UNLABELLED]):
        members = np.flatnonzero(numbers == target)
        members = members[np.random.RandomState(int(target)).permutation(len(members))]
        held_out = _count(len(members), validation)
        kept = _count(len(members) - held_out, subset)
        if not kept or (not held_out and Fraction(validation)):
            raise ValueError(
                f"Of the {len(members)} images of class {target} of {name}, {held_out} would be left to validate on "
                f"and {kept} to train on (validation: {validation}, subset: {subset}). Every class needs one: take "
                "other shares."
            )
        trained.append(members[:kept])
        validated.append(members[len(members) - held_out :])
    return tuple(np.sort(np.concatenate([*part, np.arange(0)])) for part in (trained, validated))  # pyright: ignore[reportReturnType]


def _count(images: int, share: str) -> int:
    return int(images * Fraction(share) + Fraction(1, 2))
