"""Data: named, re-iterable batches of images, and the augmentation of training images."""

from alternet.data.augment import PAPER_CIFAR, PAPER_IMAGENET, WEAK, Augmentation, Augmented
from alternet.data.batches import Batches
from alternet.data.datasets import batches, dataset, known_datasets
from alternet.data.image_dataset import ArrayImages, ImageDataset
from alternet.data.photos import PHOTOGRAPHS

__all__ = [
    "PAPER_CIFAR",
    "PAPER_IMAGENET",
    "PHOTOGRAPHS",
    "WEAK",
    "ArrayImages",
    "Augmentation",
    "Augmented",
    "Batches",
    "ImageDataset",
    "batches",
    "dataset",
    "known_datasets",
]
