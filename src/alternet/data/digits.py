"""Digits: the 8 by 8 handwritten digits that scikit-learn ships."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from alternet.data.image_dataset import ArrayImages

TEST_EVERY = 5
"""Every fifth digit is a test digit, counted within its class, so both splits hold all classes and writers alike."""


class Digits(ArrayImages):
    """1797 digits; the split is fixed.

    Args:
        split: `train` (1433 digits) or `test` (364 digits).

    Examples:
        >>> len(Digits("train")), len(Digits("test")), Digits("test").size
        (1433, 364, (8, 8))
    """

    mean, std = (0.3055,) * 3, (0.3761,) * 3
    grey_mean, grey_std = 0.3055, 0.3761

    def __init__(self, split: str) -> None:
        table = np.loadtxt(_file(), delimiter=",")
        values, targets = table[:, :-1], table[:, -1].astype(np.int64)
        ranks = np.empty(len(targets), dtype=np.int64)  # how many of the same class came before
        for target in np.unique(targets):
            members = np.flatnonzero(targets == target)
            ranks[members] = np.arange(len(members))
        test = ranks % TEST_EVERY == 0
        taken = test if split == "test" else ~test
        grey = np.rint(values[taken].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)  # levels 0 to 16
        names = [str(digit) for digit in range(10)]
        super().__init__(np.repeat(grey, 3, axis=3), targets[taken], name="digits", classes=names, split=split)


def _file() -> Path:
    """Where scikit-learn keeps them: to ask it takes more than a second, which is how long it takes to import."""
    found = find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
