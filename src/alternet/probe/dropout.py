"""Dropout that samples: its layers drop in evaluation mode, each image by draws of its own."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from alternet.seeding import derived_seed
from alternet.shapes import Images

CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""What drops whole channels; `nn.Dropout` drops single values, stochastic depth the branch of an image."""


def dropouts(model: nn.Module) -> dict[str, float]:
    """The layers of a model that drop in training, by path, with their rates.

    Examples:
        >>> dropouts(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1), nn.Dropout(0.0)))
        {'1': 0.1}
    """
    found = {}
    for path, module in model.named_modules():
        rate = module.drop_prob if isinstance(module, DropPath) else getattr(module, "p", 0.0)
        if isinstance(module, (nn.Dropout, DropPath, *CHANNELS)) and rate:
            found[path] = float(rate)
    return found


class Sampler:
    """Draws what is dropped: of an image by its own pixels, the seed, the layer and the number of the pass.

    So the draws of an image are the same in any batch, order and process. The modules stay in evaluation mode.

    Args:
        model: The network.
        seed: What all draws derive from.

    Examples:
        >>> net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
        >>> images = torch.ones(2, 1, 2, 2)
        >>> with Sampler(net.eval(), seed=0).dropping(images, number=0):
        ...     one, other = net(images)
        >>> torch.equal(one, other)
        True
    """

    def __init__(self, model: nn.Module, *, seed: int) -> None:
        self.model, self.seed = model, seed
        self.rates: Mapping[str, float] = dropouts(model)
        self.reached: set[str] = set()

    def dropping(self, images: Images, number: int) -> AbstractContextManager[Any]:
        """Let the layers drop in a pass over these images, the pass of this number. A context manager."""
        prints = [hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest() for image in images]
        calls: dict[str, int] = {}
        with ExitStack() as hooks:
            for path in self.rates:
                hook = self.model.get_submodule(path).register_forward_hook(self._hook(path, prints, number, calls))
                hooks.callback(hook.remove)
            return hooks.pop_all()

    def _hook(self, path: str, prints: Sequence[str], number: int, calls: dict[str, int]) -> Any:
        def drop(module: nn.Module, given: Any, output: Tensor) -> Tensor:
            del given
            self.reached.add(path)
            calls[path] = calls.get(path, 0) + 1
            each, rest = divmod(len(output), len(prints))
            if rest or not each:
                raise ValueError(
                    f"The dropout {path} is given {len(output)} rows for {len(prints)} images, so no image has rows of "
                    "its own. Measure without samples."
                )
            rate, size = self.rates[path], _mask_shape(module, output)
            masks = []
            for one in prints:
                seed = derived_seed(self.seed, "dropout", number, path, calls[path], one)
                kept = torch.rand(each, *size[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
                masks.append(kept >= rate)
            scale = 1 / (1 - rate) if getattr(module, "scale_by_keep", True) and rate < 1 else 1.0
            return output * (torch.cat(masks).to(output.device) * scale).to(output.dtype)

        return drop


def _mask_shape(module: nn.Module, output: Tensor) -> tuple[int, ...]:
    """What is drawn for each row: a value, a channel, or all of it."""
    if isinstance(module, DropPath):
        return (len(output), *(1 for _ in output.shape[1:]))
    if isinstance(module, CHANNELS):
        return (*output.shape[:2], *(1 for _ in output.shape[2:]))
    return tuple(output.shape)
