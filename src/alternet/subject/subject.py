"""The model under study with the facts that belong to it: name, input, normalisation, output, weights' checksum."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from alternet.arithmetic import Precision, computed_in, known_precision
from alternet.errors import Doubt, in_one_line, not_seen, shortened
from alternet.patience import FINISHED
from alternet.seeding import noise
from alternet.shapes import Images, Logits
from alternet.stamp import stamp_of
from alternet.subject.architecture import Architecture, architecture_of, settings_of
from alternet.subject.declared import classifies, declared, quantised, tower_of, unwrapped
from alternet.taps.find import Tap, find_taps

T = TypeVar("T")

BACKEND = "inductor"
"""What compiles a network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A network for images and what one must know to measure it: a classifier, or one that gives features alone.

    Facts that are not given are read from what the model declares (timm's `pretrained_cfg`, a `transformers` config).
    Nothing is guessed: where a fact is missing and needed, the error names the argument that states it.

    Attributes:
        model: The network; it maps normalised images [n, c, h, w] to logits [n, k], or to anything else where only its
            feature maps are measured. Of `DataParallel`, DDP, a compiled
            module, an average of weights, or a class that only calls it, the network inside; of a pair of networks for
            images and text, as CLIP and SigLIP are, that for images.
        name: How tables, folders and figures call it.
        input_size: Channels, height and width of the images it takes.
        mean: Mean of each channel that the input is normalised with, in units of the image range [0, 1]; one that is
            given in units of 0 to 255 is divided by 255, together with `std`, with a warning.
        std: Standard deviation of each channel, likewise.
        prefix_tokens: Class and register tokens before the grid of patches, for models made of tokens.
        grid: Height and width of the patch grid, where it does not follow from the image and the strides.
        history: Folder of the training run with its snapshots, if there is one.
        group: Of which group of runs it is one, that differ by their seed alone; empty where of none.
        averaged: Whether the weights are the moving average that the run kept, and not those that it stepped.
        origin: Where model, weights and normalisation come from, as plain values: it stands in the provenance and
            decides nothing.
        precision: What it goes forward in where no derivative is taken: `float32`, as its weights are, or rounded on
            the way, as `tf32` (on an NVIDIA GPU) or `bfloat16`. Every measurement then says by how much that moved it.
        compiled: Whether `torch.compile` compiles it where it goes forward and nobody looks inside.

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
    averaged: bool = False
    group: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict, repr=False)
    precision: Precision = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(
                f"Subject takes a torch nn.Module, got {type(self.model).__name__}. Load a name with alternet.load()."
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"Subject {self.name!r} got only one of mean and std; state both or neither.")
        known_precision(self.precision)
        object.__setattr__(self, "model", unwrapped(self.model))
        tower = tower_of(self.model)
        if tower:
            object.__setattr__(self, "model", self.model.get_submodule(tower))
        source = "given" if self.mean is not None else "none"
        for fact, value in declared(self.model).items():
            if getattr(self, fact) is None:
                object.__setattr__(self, fact, value)
                source = "declared by the model" if fact == "mean" else source
        if self.mean is not None and self.std is not None:
            channels = None if self.input_size is None else self.input_size[0]
            mean, std = _in_unit_range(self.mean, self.std, channels, self.name)
            object.__setattr__(self, "mean", mean)
            object.__setattr__(self, "std", std)
        unseen = {"not_seen": layers} if (layers := quantised(self.model)) else {}
        towers = {"tower": tower} if tower else {}
        origin = {"weights": {"from": "given"}, "normalisation": source, **self.origin, **towers, **unseen}
        object.__setattr__(self, "origin", origin)

    @property
    def doubt(self) -> str:
        """What is not known about the normalisation, in a sentence; empty where it is known."""
        source = str(self.origin["normalisation"])
        if self.mean is None:
            return (
                f"The normalisation of {self.name} is not known: it states none, so it is given images as they are, in "
                f"[0, 1]. {_STATE}"
            )
        if source.startswith(ASSUMED):
            return (
                f"The normalisation of {self.name} is not known: its weights do not say it, so that of "
                f"{source.removeprefix(ASSUMED)} is taken, mean {self.mean} and std {self.std}. "
                f"{_STATE}"
            )
        return ""

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Every unit of the network in forward order, found by tracing one forward pass."""
        return self.taps_on(self.example())

    def taps_on(self, images: Images) -> tuple[Tap, ...]:
        """The units for images of this size: addresses are the same for every size, maps are not.

        Each size is traced once, on the images of whoever asks first, until modules are put in or taken out.
        """
        if getattr(self.model, "answers_only", False):
            raise ValueError(
                f"{self.name} is several networks, of which only the answers are averaged; it has no units of its own. "
                "Look at its members one by one."
            )
        if len(images) == 1:  # of one image alone nothing would tell which axis holds the samples
            images = images.repeat(2, 1, 1, 1)
        facts = {"prefix_tokens": self.prefix_tokens or 0, "grid": self.grid, "name": self.name}
        modules = tuple((path, id(module)) for path, module in self.model.named_modules())
        size = tuple(images.shape[1:])

        def find() -> tuple[Tap, ...]:
            if layers := self.origin.get("not_seen"):
                warnings.warn(
                    f"{self.name}: {not_seen(layers)} Measure it before it is quantised.", Doubt, stacklevel=4
                )
            return find_taps(self.model, self.normalise(images[:2]), **facts)

        return self._remembered(("taps", size), modules, find)

    def architecture(self, shape: tuple[int, ...]) -> Architecture:
        """The checksum of what the network computes for images of this shape (c, h, w), whatever its weights are."""
        images = noise(shape)
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
    def classifies(self) -> bool:
        """Whether it gives class scores, as far as it lets one see."""
        return "tower" not in self.origin and classifies(self.model)

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
        rounded = [] if self.precision == "float32" else [f"forward in {self.precision}"]
        words = [str(self.dtype).removeprefix("torch."), *rounded, *(["compiled"] if self.compiled else [])]
        return {"model": model, "input": entry, "dtype": ", ".join(words)}

    @property
    def takes(self) -> dict[str, Any]:
        """The images that it takes, as `batches` is told: height and width, where they are known, and colours.

        Examples:
            >>> Subject(nn.Flatten(), name="mine", input_size=(1, 28, 20)).takes
            {'img_size': (28, 20), 'colour': False}
        """
        channels, *size = self.input_size or (3,)
        return {"img_size": tuple(size) or None, "colour": channels == 3}

    def example(self) -> Images:
        """Two images of grey noise [2, c, h, w] of the declared size, the same at every call."""
        if self.input_size is None:
            raise ValueError(
                f"The input size of {self.name!r} is not known: the model declares none. Give --img-size, or in Python "
                "state it: Subject(model, name=..., input_size=(3, 224, 224))."
            )
        return noise(self.input_size)

    def normalise(self, images: Images) -> Tensor:
        """Move images in [0, 1] to the model's device and type, and normalise each channel."""
        images = images.to(device=self.device, dtype=self.dtype)
        if self.mean is None or self.std is None:
            return images
        mean, std = (images.new_tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return (images - mean) / std

    def logits(self, images: Images) -> Logits:
        """The model's class scores for images in [0, 1]."""
        return logits_of(self.forward(self.normalise(images)), self.name)

    def forward(self, inputs: Tensor) -> Any:
        """What the model gives for normalised images, in its precision, and compiled where that is asked for.

        Raises:
            ValueError: It cannot be compiled.
        """
        with self.going_forward():
            if not self.compiled:
                return self.model(inputs)
            with torch.compiler.set_stance("default"):  # `untouched` lets nothing run compiled
                try:
                    return self._compiled_model(inputs)
                except torch._dynamo.exc.TorchDynamoException as error:  # pyright: ignore[reportAttributeAccessIssue]
                    raise ValueError(
                        f"{self.name} cannot be compiled here ({in_one_line(error)[:200]}). Leave compile out."
                    ) from error

    def going_forward(self) -> AbstractContextManager[Any]:
        """Around a pass forward: its precision; without effect where nothing is rounded."""
        return nullcontext() if self.precision == "float32" else computed_in(self.precision, self.device.type)

    def in_arithmetic(self, precision: Precision = "float32", *, compiled: bool = False) -> "Subject":
        """The same model going forward otherwise; what is known of it is not found out again."""
        if (precision, compiled) == (self.precision, self.compiled):
            return self
        other = replace(self, precision=precision, compiled=compiled)
        vars(other)["_memory"] = self._memory
        return other

    @cached_property
    def _compiled_model(self) -> Any:
        torch.compiler.reset()  # what other networks of its class were compiled to counts against a limit
        return torch.compile(self.model, backend=BACKEND)

    @property
    def weights_sha256(self) -> str:
        """Checksum of all parameters and persistent buffers: names, types, shapes and values, as they are now."""
        state = dict(pair for name, value in self.model.state_dict().items() for pair in _tensors(name, value))
        return self._remembered("weights", (*state, *stamp_of(state.values())), lambda: _checksum(state))


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """What stands under a name in a state dict: a tensor, or weight and bias that a quantised module has packed."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple | list):  # any other extra state says nothing
        for number, part in enumerate(value):
            yield from _tensors(f"{name}.{number}", part)


_STATE = "State it: mean=..., std=..., or on the command line --set model.mean=... --set model.std=..."

ASSUMED = "assumed: that of "
"""How an origin begins that says of a normalisation that nobody stated it for these weights."""

Channels = tuple[float, ...]


def _in_unit_range(mean: Any, std: Any, channels: int | None, name: str) -> tuple[Channels, Channels]:
    """Mean and std in units of the image range [0, 1], with what was given in units of 0 to 255 divided.

    Raises:
        ValueError: They are in neither, or of another number of channels.
    """
    got = f"mean {shortened(mean, 100)} and std {shortened(std, 100)}"
    try:
        mean, std = (tuple(map(float, v)) if isinstance(v, Sequence) else (float(v),) for v in (mean, std))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name!r} got {got}, expected a number, or one number a channel.") from error
    if len(mean) != len(std) or (channels is not None and len(mean) not in (1, channels)):
        known = "" if channels is None else f" for {channels} channels"
        raise ValueError(f"{name!r} got {got}{known}; state one number a channel.")
    if all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std):
        return mean, std
    bytes_ = all(0 <= m <= 255 for m in mean) and all(1 <= s <= 255 for s in std) and not 0 < max(mean) <= 1
    if not bytes_:
        raise ValueError(
            f"{name!r} got {got}, expected a mean in [0, 1] and a std in (0, 1], in units of the "
            "image range [0, 1]. Divide both by 255 if they are in units of 0 to 255."
        )
    mean, std = (tuple(v / 255 for v in values) for values in (mean, std))
    warnings.warn(
        f"Mean and std of {name!r} are read in units of 0 to 255: mean {_short(mean)} and std {_short(std)} in [0, 1].",
        Doubt,
        stacklevel=4,  # whoever made the Subject
    )
    return mean, std


def _short(values: Channels) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def logits_of(output: Any, name: str = "the model") -> Logits:
    """The logits in what a classifier returned: a tensor, an object or mapping with `logits`, or a tuple led by them.

    Examples:
        >>> logits_of((torch.zeros(2, 5), "auxiliary")).shape
        torch.Size([2, 5])
    """
    FINISHED.one()
    if (logits := _logits_in(output)) is None:
        raise ValueError(
            f"{name} returned {_said(output)}, expected logits [n, classes]. Wrap the model so that it returns its "
            "class scores, or measure what needs none: fourier, variance, similarity."
        )
    return logits


def logits_or_none(output: Any, images: int) -> Logits:
    """The same, and [n, 0] where the model gives no class scores but features, maps, or anything else."""
    logits = _logits_in(output)
    return torch.zeros(images, 0) if logits is None else logits


def _logits_in(output: Any) -> Tensor | None:
    output = _answer(output)
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) and output.ndim == 2 else None


def _answer(output: Any) -> Any:
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    return getattr(output, "logits", output)


def _said(output: Any) -> str:
    """What a model returned that are no logits, in words."""
    output = _answer(output)
    if not isinstance(output, Tensor):
        inside = list(output.values()) if isinstance(output, Mapping) else output
        shapes = [tuple(one.shape) for one in inside if isinstance(one, Tensor)] if isinstance(inside, list) else []
        holding = f" with tensors of shape {', '.join(map(str, shapes[:3]))}" if shapes else ""
        return f"{type(output).__name__}{holding}"
    what = " (a map, with an answer for each position)" if output.ndim == 4 else ""
    return f"a tensor of shape {tuple(output.shape)}{what}"


def _checksum(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        whole = tensor.dequantize() if tensor.is_quantized else tensor
        # as a vector first, because a scalar cannot be viewed as bytes; as bytes, because NumPy has no bfloat16
        digest.update(whole.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
