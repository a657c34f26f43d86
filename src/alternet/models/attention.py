"""Local self-attention on feature maps: in windows (AlterNet) and in a sliding neighbourhood (convolutional attention).

Both are scaled dot-product attention with an additive mask that says which keys a query sees and with which bias.
The pure functions build that mask and lay feature maps out as windows; the two modules hold the weights.

Second derivatives need the math kernel: `with torch.nn.attention.sdpa_kernel(SDPBackend.MATH): ...`.
"""

from itertools import repeat

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


def relative_position_bias(table: Float[Tensor, "a a"], window: tuple[int, int]) -> Float[Tensor, "l l"]:
    """Spread a table of relative positions over all pairs of tokens of one window.

    Entry `[i, j]` is what query `i` adds to its score for key `j`: the table's value at the offset `j - i`, the zero
    offset being its centre.

    Args:
        table: One value an offset; side `2p - 1` for windows of at most `p` a side.
        window: Height and width in tokens, each at most `p`.

    Returns:
        The bias of the `l = height * width` tokens in row-major order.

    Examples:
        >>> table = torch.arange(9.0).view(3, 3)  # windows of 2 x 2; the centre, 4, is the offset (0, 0)
        >>> relative_position_bias(table, (1, 2))
        tensor([[4., 5.],
                [3., 4.]])
    """
    p = (len(table) + 1) // 2
    h, w = window
    pairs = table.unfold(0, p, 1).unfold(1, p, 1).flip(0, 1)  # [query row, query column, key row, key column]
    return pairs[:h, :w, :h, :w].reshape(h * w, h * w)


def window_of(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Height and width of the windows on a map: at most so many tokens a side, a smaller map is one window.

    Comparisons and no `min`, of which `torch.export` would make a window of open size where that of the map is open.

    Examples:
        >>> window_of((10, 3), 4)
        (4, 3)
    """
    height, width = size
    return most if height >= most else height, most if width >= most else width


def tiled(size: tuple[int, int], window: tuple[int, int]) -> bool:
    """Whether windows cover a map without padding; of a side that an export or a compiler leaves open it is not known.

    Nothing is asked there that would hold for some sizes alone, or each of them would be compiled anew.

    Examples:
        >>> tiled((4, 6), (2, 3)), tiled((4, 7), (2, 3))
        (True, False)
    """
    known = bool
    if torch.compiler.is_compiling():
        from torch.fx.experimental.symbolic_shapes import statically_known_true as known
    return all(known(side % part == 0) for side, part in zip(size, window, strict=True))


def corner(x: Float[Tensor, "n c h w"], size: tuple[int, int]) -> Float[Tensor, "n c p q"]:
    """The top left of feature maps."""
    h, w = size
    if not any(isinstance(side, torch.SymInt) for side in size):
        return x[..., :h, :w]
    # A slice that may be the whole map lets torch.export ask whether it is; a copy does not.
    rows, columns = (torch.arange(side, device=x.device) for side in size)
    return x.index_select(2, rows).index_select(3, columns)


def to_windows(x: Float[Tensor, "n c h w"], window: tuple[int, int]) -> Float[Tensor, "m l c"]:
    """Cut feature maps into windows of tokens, padded with zeros at the bottom and the right where they do not divide.

    Args:
        x: Feature maps.
        window: Height and width of a window, in tokens.

    Returns:
        `m = n * rows * columns` windows in row-major order, image by image, each of `l` tokens in row-major order.

    Examples:
        >>> to_windows(torch.arange(8.0).view(1, 1, 2, 4), (2, 2)).squeeze(-1)
        tensor([[0., 1., 4., 5.],
                [2., 3., 6., 7.]])
    """
    (p, q), (n, c, h, w) = window, x.shape
    rows, columns = (h + p - 1) // p, (w + q - 1) // q  # ONNX rounds a negative quotient up
    if not tiled((h, w), window):
        x = corner(F.pad(x, (0, q, 0, p)), (rows * p, columns * q))
    tiles = x.unflatten(3, (columns, q)).unflatten(2, (rows, p))  # [n, c, rows, p, columns, q]
    return tiles.permute(0, 2, 4, 3, 5, 1).reshape(n * rows * columns, p * q, c)


def from_windows(
    tokens: Float[Tensor, "m l c"], window: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "n c h w"]:
    """Put windows of tokens back on the feature maps that `to_windows` cut, without the padding.

    Args:
        tokens: Windows as `to_windows` orders them.
        window: Height and width of a window, in tokens.
        size: Height and width of the feature maps.

    Examples:
        >>> maps = torch.randn(2, 3, 5, 7)
        >>> torch.equal(from_windows(to_windows(maps, (2, 4)), (2, 4), (5, 7)), maps)
        True
    """
    (p, q), (h, w) = window, size
    rows, columns = (h + p - 1) // p, (w + q - 1) // q
    tiles = tokens.view(-1, rows, columns, p, q, tokens.shape[2]).permute(0, 5, 1, 3, 2, 4)
    maps = tiles.reshape(tiles.shape[0], tokens.shape[2], rows * p, columns * q)
    return maps if tiled(size, window) else corner(maps, size)


def as_map(tokens: Float[Tensor, "m l c"], window: tuple[int, int]) -> Float[Tensor, "m c p q"]:
    """Look at windows of tokens as small feature maps in the channels-last format; nothing is copied.

    Examples:
        >>> as_map(torch.zeros(5, 6, 8), (2, 3)).is_contiguous(memory_format=torch.channels_last)
        True
    """
    return tokens.unflatten(1, window).permute(0, 3, 1, 2)


def as_tokens(maps: Float[Tensor, "m c p q"]) -> Float[Tensor, "m l c"]:
    """Undo `as_map`: the positions of feature maps in row-major order, channels last."""
    return maps.flatten(2).transpose(1, 2)


def is_token(size: tuple[int, int], window: tuple[int, int], device: torch.device) -> Bool[Tensor, "windows l"] | None:
    """Which tokens of each window lie on the map; None if all do, because then nothing is padded.

    Args:
        size: Height and width of the feature maps.
        window: Height and width of a window, in tokens.
        device: Where to build the mask.

    Examples:
        >>> is_token((2, 3), (2, 2), torch.device("cpu"))
        tensor([[ True,  True,  True,  True],
                [ True, False,  True, False]])
    """
    if tiled(size, window):
        return None
    h, w = size
    return to_windows(torch.ones(1, 1, h, w, device=device), window).squeeze(-1).bool()


def hide(scores: Float[Tensor, "*s"], visible: Bool[Tensor, "*t"]) -> Tensor:
    """Give the keys that must not be seen a score so low that their softmax weight is exactly zero.

    A finite value, because a row of minus infinities is not a number after the softmax.
    """
    return scores.masked_fill(~visible, torch.finfo(scores.dtype).min / 2)


def split_heads(tokens: Float[Tensor, "m l e"], heads: int) -> Float[Tensor, "m h l d"]:
    """Give each head its share of the channels.

    Examples:
        >>> split_heads(torch.zeros(2, 16, 12), heads=3).shape
        torch.Size([2, 3, 16, 4])
    """
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


AT_ONCE = 65_535
"""Windows: PyTorch's memory-efficient attention on a GPU cannot go backward over more if the bias learns."""


def attend(
    q: Float[Tensor, "m h l d"], k: Float[Tensor, "m h l d"], v: Float[Tensor, "m h l d"], bias: Float[Tensor, "*s"]
) -> Float[Tensor, "m h l d"]:
    """Scaled dot-product attention within any number of windows.

    Args:
        q: Queries of each window and head.
        k: Keys.
        v: Values.
        bias: Added to the scores: [l, l] for all windows, or [m, 1, l, l].

    Examples:
        >>> tokens = torch.randn(6, 2, 16, 4)
        >>> attend(tokens, tokens, tokens, torch.zeros(16, 16)).shape
        torch.Size([6, 2, 16, 4])
    """
    if q.shape[0] <= AT_ONCE:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    biases = bias.split(AT_ONCE) if bias.ndim == 4 else repeat(bias)
    parts = zip(q.split(AT_ONCE), k.split(AT_ONCE), v.split(AT_ONCE), biases, strict=False)
    return torch.cat([F.scaled_dot_product_attention(*qkv, attn_mask=part) for *qkv, part in parts])


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learnt relative position bias (Park and Kim 2022, section 4).

    All heads share one table of `(2p - 1)^2` biases. Maps of any size are taken: windows that hang over the edge are
    padded and the padding masked; a map smaller than the window is one window. The projections are 1 x 1 convolutions
    of the windows, as in the released code, and not linear layers: on processors where PyTorch's matrix products do not
    use all vector units, its convolutions still do.

    Attributes:
        relative_position_bias: [2p - 1, 2p - 1], initialised to 0.02 N(0, 1); None without `relative_bias`.

    Examples:
        >>> attention = WindowAttention(8, 32, heads=2, head_dim=4, window_size=4)
        >>> attention(torch.randn(1, 8, 10, 6)).shape
        torch.Size([1, 32, 10, 6])
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        heads: int,
        head_dim: int = 64,
        window_size: int = 7,
        relative_bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.window_size = heads, window_size
        self.q, self.k, self.v = (nn.Conv2d(dim_in, heads * head_dim, 1, bias=False) for _ in range(3))
        table = torch.randn(2 * window_size - 1, 2 * window_size - 1) * 0.02 if relative_bias else None
        self.relative_position_bias = None if table is None else nn.Parameter(table)
        self.proj = nn.Conv2d(heads * head_dim, dim_out, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Attend within each window of feature maps."""
        size = (x.shape[-2], x.shape[-1])
        window = window_of(size, self.window_size)
        tiles = as_map(to_windows(x, window), window)
        q, k, v = (split_heads(as_tokens(project(tiles)), self.heads) for project in (self.q, self.k, self.v))
        y = attend(q, k, v, self._mask(x, window).to(q.dtype))
        y = as_map(y.transpose(1, 2).flatten(2), window)
        return from_windows(as_tokens(self.proj(y)), window, size)

    def _mask(self, x: Tensor, window: tuple[int, int]) -> Tensor:
        if self.relative_position_bias is None:
            bias = x.new_zeros(window[0] * window[1], window[0] * window[1])
        else:
            bias = relative_position_bias(self.relative_position_bias, window)
        real = is_token((x.shape[-2], x.shape[-1]), window, x.device)
        if real is None:
            return bias
        return hide(bias, real[:, None]).repeat(x.shape[0], 1, 1)[:, None]

    def extra_repr(self) -> str:
        """Show the settings that the sub-modules do not."""
        return f"heads={self.heads}, window_size={self.window_size}"


class StaticWindowAttention(nn.Module):
    """Attention inside windows whose weights are learnt and the same for every image.

    It reaches as far as `WindowAttention` and has its values and projection; only the dependence of the weights on the
    image is taken away. So it tells the reach of attention from its being specific to the data, which Park and Kim
    (2022, section 1) hold to be what counts.

    Attributes:
        scores: [heads, p * p, p * p], what each query gives to each key before the softmax; at first 0.02 N(0, 1).

    Examples:
        >>> attention = StaticWindowAttention(8, 32, heads=2, head_dim=4, window_size=4)
        >>> attention(torch.randn(1, 8, 10, 6)).shape
        torch.Size([1, 32, 10, 6])
    """

    def __init__(self, dim_in: int, dim_out: int, *, heads: int, head_dim: int = 64, window_size: int = 7) -> None:
        super().__init__()
        self.heads, self.window_size = heads, window_size
        self.v = nn.Conv2d(dim_in, heads * head_dim, 1, bias=False)
        self.scores = nn.Parameter(torch.randn(heads, window_size**2, window_size**2) * 0.02)
        self.proj = nn.Conv2d(heads * head_dim, dim_out, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Average within each window of feature maps, as the learnt weights say."""
        size, p = (x.shape[-2], x.shape[-1]), self.window_size
        window = window_of(size, p)
        values = split_heads(as_tokens(self.v(as_map(to_windows(x, window), window))), self.heads)
        pairs = self.scores.unflatten(2, (p, p)).unflatten(1, (p, p))  # [heads, query y, query x, key y, key x]
        pairs = pairs[:, : window[0], : window[1], : window[0], : window[1]]
        scores, real = pairs.flatten(3).flatten(1, 2), is_token(size, window, x.device)
        if real is not None:
            scores = hide(scores, real[:, None, None]).repeat(x.shape[0], 1, 1, 1)
        y = as_map((scores.softmax(-1) @ values).transpose(1, 2).flatten(2), window)
        return from_windows(as_tokens(self.proj(y)), window, size)

    def extra_repr(self) -> str:
        """Show the settings that the sub-modules do not."""
        return f"heads={self.heads}, window_size={self.window_size}"


def neighbourhood_bias(size: tuple[int, int], kernel_size: int) -> Float[Tensor, "l l+1"]:
    """Mask of convolutional attention: a token sees the `k x k` tokens around it, and the zero padding at the border.

    A zero-padded neighbour has score 0 and value 0 and takes part in the softmax. All of a query's padded neighbours
    together are one more key, the last, of score `log(count)`. An even kernel reaches one token further down and right
    than up and left.

    Args:
        size: Height and width of the map, in tokens.
        kernel_size: Side `k` of the neighbourhood.

    Returns:
        Scores to add, for `l = height * width` queries and as many keys plus the padding.

    Examples:
        >>> neighbourhood_bias((1, 3), 3).exp().round()  # 6 of the middle token's 9 neighbours are padding
        tensor([[1., 1., 0., 7.],
                [1., 1., 1., 6.],
                [0., 1., 1., 7.]])
    """
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    near = []
    for side in size:
        offset = torch.arange(side)[None, :] - torch.arange(side)[:, None]
        near.append((offset >= -before) & (offset <= after))
    seen = torch.kron(near[0].int(), near[1].int()).bool()
    padded = kernel_size**2 - seen.sum(1, keepdim=True)
    scores = torch.cat([torch.zeros(seen.shape, dtype=torch.float32), padded.float().log()], dim=1)
    return hide(scores, torch.cat([seen, padded > 0], dim=1))


class ConvAttention(nn.Module):
    """Multi-head self-attention of each token over its neighbourhood (Yang et al. 2019; Park and Kim 2022, figure 7).

    Examples:
        >>> attention = ConvAttention(8, heads=2, head_dim=4)
        >>> attention(torch.randn(1, 8, 5, 6), neighbourhood_bias((5, 6), 3)).shape
        torch.Size([1, 8, 5, 6])
    """

    def __init__(self, dim: int, *, heads: int, head_dim: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(dim, heads * head_dim, bias=False) for _ in range(3))
        self.proj = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Float[Tensor, "n c h w"], bias: Float[Tensor, "l l+1"]) -> Float[Tensor, "n c h w"]:
        """Attend to what `neighbourhood_bias` lets each token see."""
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = (split_heads(project(tokens), self.heads) for project in (self.q, self.k, self.v))
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(y.transpose(1, 2).flatten(2)).transpose(1, 2).unflatten(2, x.shape[-2:])

    def extra_repr(self) -> str:
        """Show the settings that the sub-modules do not."""
        return f"heads={self.heads}"
