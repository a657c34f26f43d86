"""In which arithmetic a model goes forward, its weights' own, TF32 or bfloat16, and what is set for that meanwhile."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal, get_args

import torch

Precision = Literal["float32", "tf32", "bfloat16"]
"""`float32`: as the weights are, nothing rounded on the way. `tf32`: matrix products and convolutions of an NVIDIA GPU
with 10 bits after the point. `bfloat16`: as `torch.autocast` does, products with 7 bits, norms and sums in float32."""

Switch = tuple[Callable[[], Any], Callable[[Any], Any]]
"""What is set for a whole process: how it is asked, and how it is set."""

DEVICES = ("cpu", "cuda", "mps", "xpu")

_CUDNN: Any = torch.backends.cudnn
_MKLDNN: Any = torch.backends.mkldnn
_GPU: tuple[Any, ...] = (torch.backends.cuda.matmul, _CUDNN.conv)
_PRODUCTS: tuple[Any, ...] = (*_GPU, _MKLDNN.matmul, _MKLDNN.conv)
_ROUNDED = ("tf32", "bf16")

SWITCHES: tuple[Switch, ...] = (
    *((partial(getattr, one, "fp32_precision"), partial(setattr, one, "fp32_precision")) for one in _PRODUCTS),
    *((partial(torch.is_autocast_enabled, one), partial(torch.set_autocast_enabled, one)) for one in DEVICES),
    *((partial(torch.get_autocast_dtype, one), partial(torch.set_autocast_dtype, one)) for one in DEVICES),
    (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
)
"""All that a precision is made of."""


def known_precision(text: str) -> Precision:
    """The precision that a text names.

    Raises:
        ValueError: It names none.

    Examples:
        >>> known_precision("tf32")
        'tf32'
    """
    for known in get_args(Precision):
        if text == known:
            return known
    raise ValueError(f"The precision got {text!r}, expected {', '.join(get_args(Precision))}.")


class computed_in(AbstractContextManager):
    """Compute in this precision inside, whatever the caller has set; restore the caller's settings afterwards.

    Autocast keeps no cast weights in here: they may be others in the next pass.

    Examples:
        >>> with computed_in("bfloat16", "cpu"):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """

    # no generator, as `untouched` is none; and no `torch.autocast`, which counts how often it was entered: were an
    # interrupt to cost it its end, the cast weights of whoever trains next would never be dropped

    def __init__(self, precision: Precision, device: str) -> None:
        self.precision, self.device = precision, device

    def __enter__(self) -> None:
        self._found = [get() for get, _ in SWITCHES]
        half = self.precision == "bfloat16"
        for product in _PRODUCTS:
            wanted = "tf32" if self.precision == "tf32" and product in _GPU else "ieee"
            if wanted in _ROUNDED or product.fp32_precision in _ROUNDED:
                product.fp32_precision = wanted
        if torch.is_autocast_enabled(self.device) != half:
            torch.set_autocast_enabled(self.device, half)
        if half:
            torch.set_autocast_dtype(self.device, torch.bfloat16)
            torch.set_autocast_cache_enabled(False)

    def __exit__(self, *error: object) -> None:
        for (get, put), value in zip(SWITCHES, self._found, strict=True):
            if get() != value:
                put(value)
