"""Small networks at odd and rectangular sizes, with their units read by hand: by plain hooks, without taps or probe."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn

import alternet
from alternet.data.image_batches import Batches
from alternet.subject.subject import Subject

MEAN, STD, CLASSES = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 7


class Read(NamedTuple):
    """Where a unit's map lies, read off the network's code.

    Attributes:
        branch: The module whose output, set to zero, leaves the skip alone; empty where there is no skip.
        end: `in` or `out`: whether the map is what a module is given or what it returns.
        module: That module.
        grid: Height and width of a map that is a row of tokens; None of a map [n, c, h, w] or [n, h, w, c].
    """

    branch: str
    end: str
    module: str
    grid: tuple[int, int] | None = None


class Case(NamedTuple):
    """A network, the size of its images, and its units in forward order."""

    build: Callable[[], nn.Module]
    size: tuple[int, int]
    units: tuple[Read, ...]
    channels_last: bool = False

    def __str__(self) -> str:
        return f"{self.size[0]} × {self.size[1]}"


def _tokens(blocks: int, grid: tuple[int, int], *branches: str) -> tuple[Read, ...]:
    """Both units of blocks of tokens: the map between them is what the second norm is given."""
    mixing, mlp = branches
    between = [
        (
            Read(f"blocks.{b}.{mixing}", "in", f"blocks.{b}.norm2", grid),
            Read(f"blocks.{b}.{mlp}", "out", f"blocks.{b}", grid),
        )
        for b in range(blocks)
    ]
    return (Read("", "in", "blocks.0", grid), *(read for pair in between for read in pair))


def _swin() -> tuple[Read, ...]:
    units = [Read("", "in", "layers.0.blocks.0")]
    for block, grid in (("layers.0.blocks.0", (11, 15)), ("layers.1.blocks.0", (6, 8)), ("layers.1.blocks.1", (6, 8))):
        if block == "layers.1.blocks.0":
            units.append(Read("", "out", "layers.1.downsample"))
        units += [Read(f"{block}.attn", "in", f"{block}.norm2", grid), Read(f"{block}.mlp", "out", block)]
    return tuple(units)


def _create(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **settings)


NETWORKS: Mapping[str, Case] = {
    "ViT": Case(
        _create("vit_tiny_patch16_224", img_size=(48, 80), patch_size=8, embed_dim=24, depth=2, num_heads=3),
        (48, 80),
        _tokens(2, (6, 10), "attn", "mlp"),
    ),
    "padded Swin": Case(
        _create(
            "swin_tiny_patch4_window7_224",
            img_size=(44, 60),
            embed_dim=12,
            depths=(1, 2),
            num_heads=(2, 3),
            window_size=4,
        ),
        (44, 60),
        _swin(),
        channels_last=True,
    ),
    "ResNet": Case(
        _create("resnet18", layers=(1, 1, 1, 1), channels=(8, 12, 16, 20), stem_width=8),
        (75, 101),
        (
            Read("", "out", "maxpool"),
            *(Read(f"layer{stage}.0.bn2", "out", f"layer{stage}.0") for stage in range(1, 5)),
        ),
    ),
    "ConvNeXt": Case(
        _create("convnext_atto", depths=(1, 1, 2, 1), dims=(8, 12, 16, 20)),
        (97, 70),
        (
            Read("", "out", "stem"),
            Read("stages.0.blocks.0.mlp", "out", "stages.0.blocks.0"),
            Read("", "out", "stages.1.downsample"),
            Read("stages.1.blocks.0.mlp", "out", "stages.1.blocks.0"),
            Read("", "out", "stages.2.downsample"),
            Read("stages.2.blocks.0.mlp", "out", "stages.2.blocks.0"),
            Read("stages.2.blocks.1.mlp", "out", "stages.2.blocks.1"),
            Read("", "out", "stages.3.downsample"),
            Read("stages.3.blocks.0.mlp", "out", "stages.3.blocks.0"),
        ),
    ),
    "AlterNet": Case(
        _create("alternet_mini"),
        (30, 44),
        (
            Read("", "out", "stem"),
            *(
                Read(f"stages.{stage}.{block}.branch", "out", f"stages.{stage}.{block}")
                for stage in range(4)
                for block in range(2)
            ),
        ),
    ),
    "Mixer": Case(
        lambda: MlpMixer(num_classes=CLASSES, img_size=40, patch_size=8, embed_dim=16, num_blocks=2),
        (40, 40),
        _tokens(2, (5, 5), "mlp_tokens", "mlp_channels"),
    ),
}


@cache
def network(name: str) -> nn.Module:
    """The network in evaluation mode, with no weight and no running statistic at a value that hides an error."""
    generator = torch.Generator().manual_seed(len(name))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NETWORKS[name].build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        for key, buffer in model.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                buffer += 0.5 * torch.rand(buffer.shape, generator=generator)
    return model


def subject(name: str) -> Subject:
    """What is measured: a network in single precision."""
    size = NETWORKS[name].size
    return alternet.Subject(network(name), name="net", input_size=(3, *size), mean=MEAN, std=STD)


def images(size: tuple[int, int], n: int, *, seed: int = 0) -> Tensor:
    """Images [n, 3, h, w] of 256 levels in [0, 1], as pictures have, that are smooth with some noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=True)
    return (0.8 * smooth + 0.2 * torch.rand(n, 3, *size, generator=generator)).mul(255).round().div(255)


def data(size: tuple[int, int], n: int, *, batch_size: int, seed: int = 0, **facts: Any) -> Batches:
    """Batches of these images, of which the last one is smaller."""
    return Batches.of(images(size, n, seed=seed), labels(n), batch_size=batch_size, **facts)


def labels(n: int) -> Tensor:
    """The classes that the images are said to have."""
    return torch.arange(n) * 3 % CLASSES


def double(model: nn.Module) -> nn.Module:
    """A copy of a network in double precision."""
    return deepcopy(model).double()


def normalised(x: Tensor) -> Tensor:
    """What the network is shown, in double precision."""
    return (x.double() - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)


@torch.no_grad()
def answers(model: nn.Module, x: Tensor) -> np.ndarray:
    """Logits [n, k] of a network in double precision to images in [0, 1]."""
    return model(normalised(x)).numpy()


@torch.no_grad()
def maps(name: str, x: Tensor) -> list[np.ndarray]:
    """The map of every unit [n, c, h, w], by hooks on a copy in double precision."""
    case, model = NETWORKS[name], double(network(name))
    seen: dict[Read, Tensor] = {}
    for read in case.units:
        module = model.get_submodule(read.module)
        if read.end == "in":
            module.register_forward_pre_hook(lambda _, given, read=read: seen.__setitem__(read, given[0].clone()))
        else:
            module.register_forward_hook(lambda _m, _g, made, read=read: seen.__setitem__(read, made.clone()))
    model(normalised(x))
    return [_on_the_grid(seen[read], read, channels_last=case.channels_last).numpy() for read in case.units]


def _on_the_grid(x: Tensor, read: Read, *, channels_last: bool) -> Tensor:
    if read.grid is None:
        return x.permute(0, 3, 1, 2) if channels_last else x
    height, width = read.grid
    return x[:, -height * width :].transpose(1, 2).unflatten(2, read.grid)  # without the class token


def without(name: str, read: Read) -> nn.Module:
    """The network in double precision with the branch of a unit at zero."""
    model = double(network(name))
    model.get_submodule(read.branch).register_forward_hook(lambda _m, _given, made: torch.zeros_like(made))
    return model
