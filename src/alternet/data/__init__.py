"""Data: named, re-iterable batches of images, and the augmentation of training images; names bring torch when used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
