"""What is set for a precision acts inside, and is as it was outside, whatever the caller's code has set."""

from typing import Any

import pytest
import torch
from torch import nn

from alternet.arithmetic import SWITCHES, Precision, computed_in, known_precision
from alternet.untouched import AsFound

PRODUCTS: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # pyright: ignore[reportAttributeAccessIssue]


def state() -> list[object]:
    return [get() for get, _ in SWITCHES]


def product() -> torch.dtype:
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize(
    ("precision", "of_the_gpu", "dtype"),
    [
        ("float32", "ieee", torch.float32),
        ("tf32", "tf32", torch.float32),
        ("bfloat16", "ieee", torch.bfloat16),
    ],
)
def test_a_precision_acts_inside_alone(precision: Precision, of_the_gpu: str, dtype: torch.dtype) -> None:
    before = state()
    with computed_in(precision, "cpu"):
        assert product() == dtype
        # "none" rounds nothing either
        assert {"none": "ieee"}.get(PRODUCTS[0].fp32_precision, PRODUCTS[0].fp32_precision) == of_the_gpu
        assert PRODUCTS[1].fp32_precision == of_the_gpu  # convolutions of a GPU are rounded where nobody says otherwise
    assert state() == before
    with pytest.raises(ZeroDivisionError), computed_in(precision, "cpu"):
        _ = 1 / 0
    assert state() == before


def test_what_the_caller_has_set_does_not_reach_inside_and_is_there_again() -> None:
    with torch.autocast("cpu", torch.float16):
        before = state()
        with computed_in("float32", "cpu"):
            assert product() == torch.float32
            with computed_in("bfloat16", "cpu"):
                assert product() == torch.bfloat16
            assert product() == torch.float32
        assert state() == before
        assert product() == torch.float16


def test_no_weight_of_before_is_used() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with computed_in("bfloat16", "cpu"):
        layer(torch.ones(1, 2))
        with torch.no_grad():
            layer.weight.fill_(3.0)
        assert layer(torch.ones(1, 2)).tolist() == [[6.0, 6.0]]


def test_one_that_an_interrupt_left_open_is_closed() -> None:
    before, found = state(), AsFound(nn.Identity())
    computed_in("bfloat16", "cpu").__enter__()
    assert state() != before
    found.put_back()
    assert state() == before


def test_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'half', expected float32, tf32, bfloat16"):
        known_precision("half")
