"""Small networks written by hand, one for each thing that finding the units of a network must get right."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from alternet.subject.subject import Subject

CHANNELS, CLASSES = 8, 5


class Net(nn.Module):
    """A stem, a body, and a classifier of the mean over positions."""

    def __init__(self, body: nn.Module, stem: nn.Module | None = None, channels: int = CHANNELS) -> None:
        super().__init__()
        self.stem = stem or nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.body = body
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(self.stem(images)).flatten(2).mean(2))


class Function(nn.Module):
    """Layers by name, and a function of them and the input."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


class Tokens(nn.Module):
    """Patches as tokens after prefix tokens with position embedding; layers; the mean of the patches."""

    def __init__(self, *layers: nn.Module, prefix: int = 1, grid: tuple[int, int] = (3, 5), first: bool = True) -> None:
        super().__init__()
        self.prefix, self.first = prefix, first
        self.patches = nn.Conv2d(3, CHANNELS, 2, stride=2)
        self.cls = nn.Parameter(torch.randn(1, prefix, CHANNELS))
        self.position = nn.Parameter(torch.randn(1, prefix + grid[0] * grid[1], CHANNELS))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(CHANNELS, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls.expand(len(tokens), -1, -1), tokens), 1) + self.position
        tokens = self.layers(tokens if self.first else tokens.transpose(0, 1))
        tokens = tokens if self.first else tokens.transpose(0, 1)
        return self.head(tokens[:, self.prefix :].mean(1))


class Attention(nn.Module):
    """Self-attention of two heads, as a fused function, by hand, or through torch's module."""

    def __init__(self, how: str = "fused", inner: bool = False) -> None:
        super().__init__()
        self.how, self.inner = how, inner
        self.norm = nn.LayerNorm(CHANNELS)
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS)
        self.proj = nn.Linear(CHANNELS, CHANNELS)
        if how == "module":
            self.mha = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "module":
            y = self.norm(x)
            return self.mha(y, y, y, need_weights=False)[0]
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        if self.how == "fused":
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        elif self.how == "linear":
            mixed = q.relu() @ (k.relu().transpose(-2, -1) @ v)
        elif self.how == "channels":
            mixed = ((q.transpose(-2, -1) @ k).softmax(-1) @ v.transpose(-2, -1)).transpose(-2, -1)
        else:
            mixed = torch.einsum("nhij,nhjc->nhic", torch.einsum("nhic,nhjc->nhij", q, k).softmax(-1), v)
        if self.inner:
            mixed = mixed + q
        return self.proj(mixed.transpose(1, 2).reshape(n, t, c))


def residual(branch: nn.Module) -> Function:
    return Function(lambda self, x: x + self.branch(x), branch=branch)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 16), nn.GELU(), nn.Linear(16, CHANNELS))


def conv(kernel: int = 3, channels: int = CHANNELS) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, channels, kernel, padding=kernel // 2)


def subject(model: nn.Module, height: int = 6, width: int = 10) -> Subject:
    """A subject of random weights for rectangular images."""
    return Subject(model.eval(), name="net", input_size=(3, height, width))
