"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from the published Python files, which are checked before they are read."""

import warnings
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torchvision.datasets

from alternet.data.eval_transform import luma
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
        self.kind, self.root = kind, root
        read = _read(kind, root, split)
        super().__init__(read.data, read.targets, name=f"cifar{kind}", classes=read.classes, split=split)
        self.mean, self.std = FACTS[kind]

    def statistics(self, colour: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of the training images, to normalise with."""
        return super().statistics(True) if colour else self._grey

    @cached_property
    def _grey(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of the grey values, which do not follow from those of the colours: these vary together."""
        train = self.images if self.split == "train" else _read(self.kind, self.root, "train").data
        counts = np.zeros(256)
        for part in np.array_split(train, max(len(train) // 1000, 1)):
            counts += np.bincount(luma(torch.from_numpy(part).permute(0, 3, 1, 2)).numpy().ravel(), minlength=256)
        grey = np.arange(256) / 255
        mean = float(np.average(grey, weights=counts))
        return (mean,), (float(np.average((grey - mean) ** 2, weights=counts)) ** 0.5,)


def _read(kind: int, root: str | Path, split: str) -> torchvision.datasets.CIFAR10:
    """One split by torchvision, whose CIFAR-100 is a kind of its CIFAR-10."""
    reader = READERS[kind]
    found = Path(root).expanduser()
    found = found.parent if found.name == reader.base_folder else found
    try:
        with warnings.catch_warnings():
            # some NumPy versions complain about array descriptions as old as these files
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            return reader(str(found), train=split == "train")
    except RuntimeError as error:
        raise ValueError(
            f"{found / reader.base_folder} does not hold the published files of CIFAR-{kind} (missing, or with "
            f"another checksum). Unpack {reader.url} there, set $ALTERNET_DATA, or say cifar{kind}:PATH."
        ) from error
