"""Preparation of pictures that are nearly lines."""

import numpy as np
import pytest
from PIL import Image

from alternet.data.eval_transform import EvalTransform


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(401, 4), (3, 300), (600, 5), (130, 4)])
@pytest.mark.parametrize("wanted", [(8, 8), (6, 12)])
def test_ends_that_are_not_seen_make_no_difference(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    transform, picture = EvalTransform(img_size=wanted), noise(*size)
    whole, cut = (np.asarray(one, dtype=int) for one in (transform._resize(picture), transform.resized(picture)))
    assert np.abs(whole - cut).max() <= 1  # a level, by the rounding of the longer side


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_line_takes_no_memory_to_speak_of(size: tuple[int, int]) -> None:
    assert EvalTransform(img_size=(224, 224))(noise(*size)).shape == (3, 224, 224)
