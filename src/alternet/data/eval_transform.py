"""EvalTransform: how a picture of any size becomes pixels [c, h, w] of the size a model takes."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torch import Tensor
from torch.utils.data import get_worker_info
from torchvision.transforms import Compose

LONGEST = 32
"""Pictures longer than this many times what is cut out of them lose their ends before they are resized."""


@dataclass(frozen=True, kw_only=True)
class EvalTransform:
    """Resize the shorter side, then cut out the centre, as timm's evaluation transform does.

    A picture that already has the wanted size passes through untouched.

    Attributes:
        img_size: Height and width of the result.
        colour: Three channels, or one of grey values (luma of ITU-R BT.601).
        crop_pct: Side of the result as a part of the resized picture's.
        interpolation: `bilinear`, `bicubic`, `lanczos` or `nearest`; always with antialiasing, as Pillow does.

    Examples:
        >>> EvalTransform(img_size=(32, 48), colour=False)(Image.new("RGB", (200, 100))).shape
        torch.Size([1, 32, 48])
    """

    img_size: tuple[int, int]
    colour: bool = True
    crop_pct: float = 1.0
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if min(self.img_size) < 1:
            raise ValueError(f"img_size must be positive, got {self.img_size}.")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must lie in (0, 1], got {self.crop_pct}. timm's usual value is 0.875.")
        if self.interpolation not in (known := ("bilinear", "bicubic", "lanczos", "nearest")):
            raise ValueError(f"There is no interpolation {self.interpolation!r}. Choose one of {', '.join(known)}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (3 if self.colour else 1, *self.img_size)

    @property
    def facts(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self) | {"img_size": list(self.img_size)}

    def keeps(self, size: tuple[int, int] | None) -> bool:
        """Whether pictures of this height and width pass through untouched."""
        return size == self.img_size

    def __call__(self, picture: Image.Image) -> Tensor:
        """The pixels of an RGB picture, uint8 [c, h, w]."""
        return self.channels(self.resized(picture))

    def resized(self, picture: Image.Image) -> Image.Image:
        """The picture at the wanted size, still in colour."""
        if self.keeps((picture.height, picture.width)):
            return picture
        return self._resize(without_far_ends(picture, LONGEST * max(self.img_size) // min(self.img_size)))

    def channels(self, picture: Image.Image) -> Tensor:
        """The pixels as a tensor, in colour or grey."""
        return self.tensor(np.asarray(picture)[None])[0]

    def tensor(self, pixels: np.ndarray) -> Tensor:
        """Many pictures, uint8 [n, h, w, 3], as uint8 [n, c, h, w]."""
        # a copy, because Pillow's and the kept pixels cannot be written, of which torch warns
        images = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)
        return images if self.colour else luma(images)

    @cached_property
    def _resize(self) -> Compose:
        side = self.img_size[0] if self.img_size[0] == self.img_size[1] else self.img_size
        steps = transforms_imagenet_eval(
            side, crop_pct=self.crop_pct, interpolation=self.interpolation, normalize=False
        ).transforms
        return Compose(steps[:-1])  # all but the conversion to a tensor


def without_far_ends(picture: Image.Image, ratio: int) -> Image.Image:
    """The middle of a picture whose longer side is more than `ratio` times the shorter one.

    Of a line one pixel high, resized as a whole, the ends alone would take gigabytes.

    Examples:
        >>> without_far_ends(Image.new("RGB", (20000, 2)), 32).size, without_far_ends(Image.new("RGB", (9, 2)), 32).size
        ((64, 2), (9, 2))
    """
    width, height = picture.size
    longest = ratio * min(width, height)
    across, down = (max(0, (side - longest) // 2) for side in (width, height))
    return picture.crop((across, down, width - across, height - down)) if across or down else picture


def unit_range(images: Tensor) -> Tensor:
    """Bytes as floats in [0, 1].

    Examples:
        >>> unit_range(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    if get_worker_info() is None:
        return images.to(torch.float32).div_(255)
    # a process that reads hands over what lies in shared memory as it is; anything else would be copied there first
    shared = torch.UntypedStorage._new_shared(images.numel() * torch.float32.itemsize)
    floats = torch.empty(0, dtype=torch.float32).set_(shared, 0, images.shape, images.stride())  # pyright: ignore[reportArgumentType]
    return torch.div(images, 255, out=floats)


def luma(images: Tensor) -> Tensor:
    """Grey values uint8 [n, 1, h, w] of colours uint8 [n, 3, h, w] with Pillow's rounding (ITU-R BT.601).

    Examples:
        >>> luma(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)).item()
        76
    """
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32).view(1, 3, 1, 1)
    return ((images.to(torch.int32) * weights).sum(1, keepdim=True) + 0x8000 >> 16).to(torch.uint8)
