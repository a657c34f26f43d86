"""AlterNet's training step against the same network with plain einsum-softmax window attention: time and peak memory.

The rival does what the released code does: cut the map into windows first, 1 x 1 convolutions for queries and for keys
with values, einsum, softmax, einsum, 1 x 1 convolution, put the windows back. All else, and all weights, are the same.

It is measured twice: both networks in PyTorch's own memory format, so that attention alone differs; and ours channels
last, which is how the shipped recipes train it, against the rival as it stands.

Time: forward and backward passes of both, taken in turn in one process; the ratio is the median over the turns of
rival / ours. Memory: the peak, during one step, of what PyTorch's allocator holds beyond what it held before (weights
and images): on a CPU the running sum of the profiler's allocation events, on a GPU CUDA's own statistics. Ratios above
1 are in our favour.
"""

import copy
import statistics
import time
from functools import partial
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import alternet.models  # noqa: F401 - registers the models
from alternet.models.attention import WindowAttention
from benchmarks.turns import peak_bytes, row

TARGET_TIME, TARGET_MEMORY = ">= 1.2", "> 1"
CASES: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "AlterNet-50, 32 x 32": ("alternet_50", 16, 32, {}),
    "AlterNet-50, 224 x 224": ("alternet_50", 4, 224, {"stem": "imagenet"}),
    "AlterNet-18, 32 x 32": ("alternet_18", 32, 32, {}),
    "AlterNet mini, 32 x 32": ("alternet_mini", 64, 32, {}),
}


class EinsumWindowAttention(nn.Module):
    """Window attention written out, with the weights of ours."""

    def __init__(self, ours: WindowAttention) -> None:
        super().__init__()
        self.heads, self.head_dim = ours.heads, ours.q.out_channels // ours.heads
        self.window_size = ours.window_size
        assert ours.relative_position_bias is not None
        self.bias = nn.Parameter(ours.relative_position_bias.detach().clone())
        place = torch.cartesian_prod(torch.arange(ours.window_size), torch.arange(ours.window_size))
        self.index: Tensor = place[None] - place[:, None] + ours.window_size - 1
        self.to_q, self.to_out = ours.q, ours.proj
        self.to_kv = nn.Conv2d(ours.k.in_channels, 2 * ours.k.out_channels, 1, bias=False)
        self.to_kv.weight = nn.Parameter(torch.cat([ours.k.weight, ours.v.weight]).detach())

    def forward(self, x: Tensor) -> Tensor:
        """Attend within windows of maps that divide into them."""
        n, c, h, w = x.shape
        p = self.window_size
        x = x.view(n, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, p, p)
        parts = [self.to_q(x), *self.to_kv(x).chunk(2, dim=1)]
        q, k, v = (part.view(len(x), self.heads, self.head_dim, p * p).transpose(2, 3) for part in parts)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) * self.head_dim**-0.5
        scores = scores + self.bias[self.index[..., 0], self.index[..., 1]]
        y = torch.einsum("bhij,bhjd->bhid", scores.softmax(dim=-1), v)
        y = self.to_out(y.transpose(2, 3).reshape(len(x), -1, p, p))
        return y.view(n, h // p, w // p, -1, p, p).permute(0, 3, 1, 4, 2, 5).reshape(n, -1, h, w)


def rival_of(net: nn.Module) -> nn.Module:
    """Copy a network with its window attention written out."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, WindowAttention):
                setattr(module, name, EinsumWindowAttention(child))
    return net


def step(net: nn.Module, images: Tensor, targets: Tensor) -> float:
    """One forward and backward pass; returns the loss."""
    net.zero_grad(set_to_none=True)
    loss = F.cross_entropy(net(images), targets)
    loss.backward()
    return loss.item()


def seconds(net: nn.Module, images: Tensor, targets: Tensor) -> float:
    """Wall time of one step; reading the loss waits for the device, and so does the synchronisation after it."""
    start = time.perf_counter()
    step(net, images, targets)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(case: str, turns: int, device: str) -> list[dict[str, Any]]:
    """Measure one network and its rival; they must compute the same loss."""
    name, batch, size, settings = CASES[case]
    torch.manual_seed(0)
    ours = timm.create_model(name, num_classes=100, **settings).to(device)
    rival = rival_of(ours)
    images = torch.randn(batch, 3, size, size, device=device)
    targets = torch.randint(100, (batch,), device=device)
    as_trained = copy.deepcopy(ours).to(memory_format=torch.channels_last)
    runs = [
        (ours, images, targets),
        (as_trained, images.to(memory_format=torch.channels_last), targets),
        (rival, images, targets),
    ]
    losses = [step(*run) for run in runs]
    if max(losses) - min(losses) > 1e-3:
        raise RuntimeError(f"{case}: the losses are {losses}; expected the same three times, so check the rival.")
    times = [[seconds(*run) for run in runs] for _ in range(turns)]
    memory = [peak_bytes(partial(step, *run), device) / 2**20 for run in runs]
    lines = []
    for side, how in enumerate(("same memory format", "ours channels last")):
        ratio = statistics.median(turn[-1] / turn[side] for turn in times)
        mine, theirs = (statistics.median(turn[i] for turn in times) for i in (side, -1))
        what = f"{case}, batch {batch}, {how}"
        lines.append(row(f"{what}: training step", mine, theirs, ratio, TARGET_TIME))
        mine, theirs = memory[side], memory[-1]
        lines.append(row(f"{what}: peak memory", mine, theirs, theirs / mine, TARGET_MEMORY, "MiB"))
    return lines


def rows(turns: int = 7) -> list[dict[str, Any]]:
    """All results, on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return [line for case in CASES for line in compare(case, turns, device)]


if __name__ == "__main__":
    for line in rows():
        print(
            f"{line['what']:75} ours {line['ours']:9.3f} rival {line['rival']:9.3f} {line['unit']:3} "
            f"ratio {line['ratio']:.3f} (target {line['target']})"
        )
