"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from the published Python files, which are checked before they are read."""

import warnings
from pathlib import Path

import numpy as np
import torchvision.datasets

from alternet.data.image_dataset import ArrayImages

READERS = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}
FACTS = {
    10: ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    100: ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
"""Mean and standard deviation of the training images."""


class Cifar(ArrayImages):
    """CIFAR-10 or CIFAR-100: 50 000 training and 10 000 test images of 32 by 32 pixels.

    The files are pickles, which could run code; torchvision's reader compares their checksums with those of the
    published files before it opens any.

    Args:
        kind: 10 or 100 classes.
        root: Folder that holds `cifar-10-batches-py` or `cifar-100-python`, or that folder itself.
        split: `train` or `test`.

    Raises:
        ValueError: The files are not there, or are not the published ones.
    """

    def __init__(self, kind: int, root: str | Path, split: str) -> None:
        reader = READERS[kind]
        found = Path(root).expanduser()
        found = found.parent if found.name == reader.base_folder else found
        try:
            with warnings.catch_warnings():
                # some NumPy versions complain about array descriptions as old as these files
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                read = reader(str(found), train=split == "train")
        except RuntimeError as error:
            raise ValueError(
                f"{found / reader.base_folder} does not hold the published files of CIFAR-{kind} (missing, or with "
                f"another checksum). Unpack {reader.url} there, set $ALTERNET_DATA, or say cifar{kind}:PATH."
            ) from error
        super().__init__(read.data, read.targets, name=f"cifar{kind}", classes=read.classes, split=split)
        self.mean, self.std = FACTS[kind]
        self.grey_mean = sum(part * value for part, value in zip((0.299, 0.587, 0.114), self.mean, strict=True))
        self.grey_std = sum(self.std) / 3
