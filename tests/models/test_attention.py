"""Attention against loops over queries, heads and offsets; padding; second derivatives; low precision."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from alternet.models.attention import (
    ConvAttention,
    WindowAttention,
    from_windows,
    neighbourhood_bias,
    relative_position_bias,
    to_windows,
)
from alternet.seeding import default_dtype


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def strong(attention: Any) -> Any:
    """Give an attention module scores and biases that matter."""
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.7)
    return attention.double()


def projections(attention: WindowAttention | ConvAttention, pixel: Tensor) -> tuple[Tensor, ...]:
    return tuple(
        layer.weight.view(attention.heads, -1, len(pixel)) @ pixel for layer in (attention.q, attention.k, attention.v)
    )


def attend(attention: WindowAttention | ConvAttention, query: Tensor, others: list) -> Tensor:
    """One query's output; `others` are (pixel or None for padding, bias)."""
    out = []
    q = projections(attention, query)[0]
    for head in range(attention.heads):
        weights, values = [], []
        for pixel, bias in others:
            k, v = (t[head] for t in projections(attention, pixel)[1:])
            weights.append(math.exp(float(q[head] @ k) / math.sqrt(len(k)) + float(bias)))
            values.append(v)
        out.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return attention.proj.weight.flatten(1) @ torch.cat(out) + attention.proj.bias


def slow_windows(attention: WindowAttention, image: Tensor) -> Tensor:
    """Window attention of one image [c, h, w], query by query, with windows that end at the border."""
    _, h, w = image.shape
    p, table = attention.window_size, attention.relative_position_bias
    out = torch.zeros(attention.proj.out_channels, h, w, dtype=image.dtype)
    for y in range(h):
        for x in range(w):
            rows = range(y - y % p, min(y - y % p + p, h))
            columns = range(x - x % p, min(x - x % p + p, w))
            seen = [(image[:, b, a], table[b - y + p - 1, a - x + p - 1]) for b in rows for a in columns]
            out[:, y, x] = attend(attention, image[:, y, x], seen)
    return out


def slow_neighbourhood(attention: ConvAttention, image: Tensor, k: int) -> Tensor:
    """Convolutional attention of one image by unfolding its zero-padded neighbourhoods."""
    c, h, w = image.shape
    before, after = (k - 1) // 2, k // 2
    patches = F.unfold(F.pad(image[None], (before, after, before, after)), k).view(c, k * k, h, w)
    out = torch.zeros_like(image)
    for y in range(h):
        for x in range(w):
            out[:, y, x] = attend(attention, image[:, y, x], [(patches[:, i, y, x], 0.0) for i in range(k * k)])
    return out


@pytest.mark.parametrize("size", [(4, 4), (4, 6), (2, 2), (1, 3), (5, 3), (3, 1), (6, 7)])
@torch.no_grad()
def test_window_attention_equals_the_loop(size: tuple[int, int]) -> None:
    attention = strong(WindowAttention(4, 6, heads=2, head_dim=3, window_size=2 if size == (4, 4) else 3))
    images = torch.randn(2, 4, *size, dtype=torch.float64)
    for image, fast in zip(images, attention(images), strict=True):
        torch.testing.assert_close(fast, slow_windows(attention, image))


@pytest.mark.parametrize(("size", "k"), [((4, 4), 3), ((3, 5), 3), ((4, 3), 2), ((2, 2), 5), ((3, 4), 4), ((2, 3), 1)])
@torch.no_grad()
def test_convolutional_attention_equals_the_loop(size: tuple[int, int], k: int) -> None:
    attention = strong(ConvAttention(4, heads=2, head_dim=3))
    images = torch.randn(2, 4, *size, dtype=torch.float64)
    bias = neighbourhood_bias(size, k).double()
    if bias[:, -1].max() > 0:  # the logarithm was taken in single precision
        bias[:, -1] = bias[:, -1].exp().round().log().clamp(min=-1e300)
    for image, fast in zip(images, attention(images, bias), strict=True):
        torch.testing.assert_close(fast, slow_neighbourhood(attention, image, k))


def test_relative_position_bias_reads_the_offset_from_query_to_key() -> None:
    p, table = 3, torch.randn(5, 5)
    bias = relative_position_bias(table, (p, p)).view(p, p, p, p)
    for i, j, a, b in torch.cartesian_prod(*[torch.arange(p)] * 4).tolist():
        assert bias[i, j, a, b] == table[a - i + p - 1, b - j + p - 1]


@pytest.mark.parametrize("window", [(2, 2), (3, 2), (4, 5)])
def test_windows_come_back_where_they_were(window: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6)
    assert torch.equal(from_windows(to_windows(maps, window), window, (4, 6)), maps)
    assert torch.equal(to_windows(maps, window)[0, 0], maps[0, :, 0, 0])


@torch.no_grad()
def test_padding_is_not_seen() -> None:
    """What lies in a padded window equals attention over its real tokens alone."""
    attention = strong(WindowAttention(4, 6, heads=2, head_dim=3, window_size=4))
    image = torch.randn(1, 4, 6, 9, dtype=torch.float64)
    whole = attention(image)
    torch.testing.assert_close(whole[..., :4, :8], attention(image[..., :4, :8]))
    torch.testing.assert_close(whole[..., 4:, 8:], attention(image[..., 4:, 8:]))
    torch.testing.assert_close(whole[..., 4:, :4], attention(image[..., 4:, :4]))


@torch.no_grad()
def test_content_under_the_mask_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    attention = strong(WindowAttention(4, 6, heads=2, head_dim=3, window_size=4))
    image = torch.randn(1, 4, 6, 9, dtype=torch.float64)
    clean = attention(image)
    pad = F.pad
    monkeypatch.setattr(F, "pad", lambda x, amount: pad(x, amount, value=7.0 if x.shape[1] > 1 else 0.0))
    torch.testing.assert_close(attention(image), clean)


@pytest.mark.parametrize("size", [(8, 8), (6, 9), (3, 5)])
def test_bfloat16_is_finite(size: tuple[int, int]) -> None:
    attention = WindowAttention(4, 6, heads=2, head_dim=8, window_size=4).bfloat16()
    image = torch.randn(2, 4, *size, dtype=torch.bfloat16, requires_grad=True)
    y = attention(image)
    y.square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_the_callers_default_dtype_does_not_matter() -> None:
    before = neighbourhood_bias((3, 5), 3)
    with default_dtype(torch.float64):
        assert torch.equal(neighbourhood_bias((3, 5), 3), before)


def test_autocast_is_close_to_single_precision() -> None:
    attention = WindowAttention(4, 6, heads=2, head_dim=8, window_size=4)
    image = torch.randn(2, 4, 6, 9)
    with torch.autocast("cpu", torch.bfloat16):
        low = attention(image)
    torch.testing.assert_close(low.float(), attention(image), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("size", [(2, 4), (3, 3)])
def test_second_derivatives_of_the_bias(size: tuple[int, int]) -> None:
    """Autograd's Hessian with the math kernel equals central differences of the gradient."""
    attention = strong(WindowAttention(2, 2, heads=1, head_dim=2, window_size=2))
    image = torch.randn(1, 2, *size, dtype=torch.float64)
    start = attention.relative_position_bias.detach().flatten()

    def loss(bias: Tensor) -> Tensor:
        weights = {"relative_position_bias": bias.view(3, 3)}
        return torch.func.functional_call(attention, weights, image).square().sum()

    with sdpa_kernel(SDPBackend.MATH):
        exact = hessian(loss, start)
        rows = []
        for direction in torch.eye(9, dtype=torch.float64) * 1e-5:
            ahead, behind = (torch.func.grad(loss)(start + s * direction) for s in (1, -1))
            rows.append((ahead - behind) / 2e-5)
    assert isinstance(exact, Tensor)
    torch.testing.assert_close(exact, torch.stack(rows), rtol=1e-5, atol=1e-7)
    assert exact.abs().max() > 1e-3


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_evaluation_attends_in_one_kernel(size: tuple[int, int]) -> None:
    """A learnt bias has no gradient there, which fused kernels cannot give; its padding is part of it."""
    attention = strong(WindowAttention(4, 6, heads=2, head_dim=8, window_size=4)).float()
    image = torch.randn(2, 4, *size)

    def kernels() -> set[str]:
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            attention(image)
        return {event.name for event in trace.events() if "_scaled_dot_product" in event.name}

    with torch.no_grad():
        assert kernels() == {"aten::_scaled_dot_product_flash_attention_for_cpu"}
        fused = attention(image)
        with sdpa_kernel(SDPBackend.MATH):
            torch.testing.assert_close(fused, attention(image))
    assert "aten::_scaled_dot_product_attention_math" in kernels()  # what learns is derived


def test_gradients_are_exact() -> None:
    attention = strong(WindowAttention(2, 3, heads=1, head_dim=2, window_size=2))
    image = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention, (image,))


def test_a_map_that_divides_needs_no_mask_per_window(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    attend = F.scaled_dot_product_attention

    def spy(*arguments: Tensor, attn_mask: Tensor) -> Tensor:
        shapes.append(tuple(attn_mask.shape))
        return attend(*arguments, attn_mask=attn_mask)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    attention = WindowAttention(2, 2, heads=1, head_dim=2, window_size=2)
    attention(torch.randn(3, 2, 4, 4))
    attention(torch.randn(3, 2, 4, 3))
    assert shapes == [(4, 4), (12, 1, 4, 4)]


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_more_windows_than_go_at_once_give_the_same(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    attention = WindowAttention(6, 6, heads=2, head_dim=3, window_size=4).double()
    maps = torch.randn(3, 6, *size, dtype=torch.float64)
    whole = attention(maps)
    whole.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in attention.parameters()]
    attention.zero_grad()
    monkeypatch.setattr("alternet.models.attention.AT_ONCE", 5)
    parts = attention(maps)
    parts.square().sum().backward()
    assert torch.equal(parts, whole)
    for before, now in zip(gradients, attention.parameters(), strict=True):
        torch.testing.assert_close(now.grad, before)
