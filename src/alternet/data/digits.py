"""Digits: the 8 by 8 handwritten digits that scikit-learn ships."""

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
        from sklearn.datasets import load_digits  # takes more than a second to import

        values, targets = (np.asarray(part) for part in load_digits(return_X_y=True))
        ranks = np.empty(len(targets), dtype=np.int64)  # how many of the same class came before
        for target in np.unique(targets):
            members = np.flatnonzero(targets == target)
            ranks[members] = np.arange(len(members))
        test = ranks % TEST_EVERY == 0
        taken = test if split == "test" else ~test
        grey = np.rint(values[taken].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)  # levels 0 to 16
        names = [str(digit) for digit in range(10)]
        super().__init__(np.repeat(grey, 3, axis=3), targets[taken], name="digits", classes=names, split=split)
