"""The model under study with the facts that belong to it: name, input, normalisation, output, weights' checksum."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from alternet.shapes import Images, Logits
from alternet.stamp import stamp_of
from alternet.subject.architecture import Architecture, architecture_of, settings_of
from alternet.taps.find import Tap, find_taps

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A vision classifier and what one must know to measure it.

    Facts that are not given are read from what the model declares (timm's `pretrained_cfg`, a `transformers` config).
    Nothing is guessed: where a fact is missing and needed, the error names the argument that states it.

    Attributes:
        model: The network; it maps normalised images [n, c, h, w] to logits [n, k].
        name: How tables, folders and figures call it.
        input_size: Channels, height and width of the images it takes.
        mean: Mean of each channel that the input is normalised with, in units of the image range [0, 1].
        std: Standard deviation of each channel, likewise.
        prefix_tokens: Class and register tokens before the grid of patches, for models made of tokens.
        grid: Height and width of the patch grid, where it does not follow from the image and the strides.
        history: Folder of the training run with its snapshots, if there is one.

    Examples:
        >>> net = Subject(model=nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), name="mine", input_size=(3, 2, 2))
        >>> net.logits(torch.zeros(7, 3, 2, 2)).shape
        torch.Size([7, 5])
    """

    model: nn.Module = field(kw_only=False)
    name: str
    input_size: tuple[int, int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    prefix_tokens: int | None = None
    grid: tuple[int, int] | None = None
    history: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(
                f"Subject takes a torch nn.Module, got {type(self.model).__name__}. Load a name with alternet.load()."
            )
        for fact, value in _declared(self.model).items():
            if getattr(self, fact) is None:
                object.__setattr__(self, fact, value)
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"Subject {self.name!r} got only one of mean and std; state both or neither.")

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Every unit of the network in forward order, found by tracing one forward pass."""
        return self.taps_on(self.example())

    def taps_on(self, images: Images) -> tuple[Tap, ...]:
        """The units for images of this size: addresses are the same for every size, maps are not.

        Each size is traced once, on the images of whoever asks first, until modules are put in or taken out.
        """
        if len(images) == 1:  # of one image alone nothing would tell which axis holds the samples
            images = images.repeat(2, 1, 1, 1)
        facts = {"prefix_tokens": self.prefix_tokens or 0, "grid": self.grid, "name": self.name}
        modules = tuple((path, id(module)) for path, module in self.model.named_modules())
        size = tuple(images.shape[1:])
        return self._remembered(
            ("taps", size), modules, lambda: find_taps(self.model, self.normalise(images[:2]), **facts)
        )

    def architecture(self, shape: tuple[int, ...]) -> Architecture:
        """The checksum of what the network computes for images of this shape (c, h, w), whatever its weights are."""
        images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
        modules = tuple(
            (
                path,
                id(module),
                tuple(settings_of(module)),
                tuple(module._forward_hooks),
                tuple(module._forward_pre_hooks),
            )
            for path, module in self.model.named_modules()
        )
        built = (modules, stamp_of(self.model.buffers()))
        return self._remembered(
            ("architecture", shape),
            built,
            lambda: architecture_of(self.model, lambda: self.model(self.normalise(images))),
        )

    def _remembered(self, what: Any, stamp: Any, made: Callable[[], T]) -> T:
        """What was made of the model, anew if its stamp has changed since."""
        before = self._memory.get(what)
        if before is None or before[0] != stamp:
            before = self._memory[what] = (stamp, made())
        return before[1]

    @cached_property
    def _memory(self) -> dict[Any, tuple[Any, Any]]:
        return {}

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the model's parameters."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    @property
    def facts(self) -> dict[str, Any]:
        """What is particular to this model, as it stands in a provenance."""
        model = {
            "name": self.name,
            "class": type(self.model).__name__,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "weights_sha256": self.weights_sha256,
        }
        entry = {"size": self.input_size, "mean": self.mean, "std": self.std}
        return {"model": model, "input": entry, "dtype": str(self.dtype).removeprefix("torch.")}

    def example(self) -> Images:
        """Two images of grey noise [2, c, h, w] of the declared size, the same at every call."""
        if self.input_size is None:
            raise ValueError(
                f"The input size of {self.name!r} is not known: the model declares none. "
                "State it: Subject(model, name=..., input_size=(3, 224, 224))."
            )
        return torch.rand(2, *self.input_size, generator=torch.Generator().manual_seed(0))

    def normalise(self, images: Images) -> Tensor:
        """Move images in [0, 1] to the model's device and type, and normalise each channel."""
        images = images.to(device=self.device, dtype=self.dtype)
        if self.mean is None or self.std is None:
            return images
        mean, std = (images.new_tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return (images - mean) / std

    def logits(self, images: Images) -> Logits:
        """The model's class scores for images in [0, 1]."""
        return logits_of(self.model(self.normalise(images)), self.name)

    @property
    def weights_sha256(self) -> str:
        """Checksum of all parameters and persistent buffers: names, types, shapes and values, as they are now."""
        # the extra state of a module may be anything
        state = {name: value for name, value in self.model.state_dict().items() if isinstance(value, Tensor)}
        return self._remembered("weights", (*state, *stamp_of(state.values())), lambda: _checksum(state))


def logits_of(output: Any, name: str = "the model") -> Logits:
    """The logits in what a classifier returned: a tensor, an object or mapping with `logits`, or a tuple led by them.

    Examples:
        >>> logits_of((torch.zeros(2, 5), "auxiliary")).shape
        torch.Size([2, 5])
    """
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    output = getattr(output, "logits", output)
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        got = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"{name} returned {got}, expected logits [n, classes]. Wrap the model so that it returns its class scores."
        )
    return output


def _checksum(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # as a vector first, because a scalar cannot be viewed as bytes; as bytes, because NumPy has no bfloat16
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _declared(model: nn.Module) -> dict[str, Any]:
    """What the model itself states about its input."""
    cfg = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not isinstance(cfg, Mapping):  # not of timm; perhaps of transformers
        config = getattr(model, "config", None)
        size = getattr(config, "image_size", None)
        if size is None:
            return {}
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        return {"input_size": (getattr(config, "num_channels", 3), height, width)}
    channels, height, width = cfg.get("input_size", (3, 224, 224))
    embed = getattr(model, "patch_embed", None)
    height, width = getattr(embed, "img_size", None) or (height, width)  # built for another size than it declares
    facts: dict[str, Any] = {"input_size": (getattr(model, "in_chans", channels), height, width)}
    if cfg.get("mean") is not None and len(cfg["mean"]) == facts["input_size"][0]:
        facts |= {"mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])}
    prefix = getattr(model, "num_prefix_tokens", None)
    return facts | ({"prefix_tokens": prefix} if isinstance(prefix, int) else {})
