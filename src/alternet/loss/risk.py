"""Risk: NLL + L2 of a classifier as a function of one flat parameter vector, on frozen augmented batches.

R(θ) = mean over images of −Σ t·log softmax(logits(θ)) + weight decay · penalty(θ), with the targets t that the batches
give: classes, or the soft labels of mixup and label smoothing (Park and Kim 2022, Fig. 1 and appendix A). The NLL is
differentiated, the penalty's derivatives are written out. The model itself is never changed: it is called with other
parameters in place of its own.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import isfinite
from typing import Literal, Self, TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.func import functional_call

from alternet.data.image_batches import Batches
from alternet.loss.curvature import Curvature
from alternet.loss.krylov import Vector
from alternet.loss.likelihood import nll
from alternet.loss.parameters import ParameterVector, chosen, decayed
from alternet.loss.penalty import Penalty, SquaredNorm, SumOfNorms
from alternet.memory import AtOnce
from alternet.shapes import Images, Logits
from alternet.subject.architecture import device_caches
from alternet.subject.subject import Subject, logits_of
from alternet.taps.trace import nothing_hidden
from alternet.untouched import no_inference, untouched

T = TypeVar("T")


@dataclass(frozen=True)
class Value:
    """The risk at one point and what it is made of.

    Attributes:
        nll: Mean negative log-likelihood, in nats.
        l2: The penalty, without the factor of weight decay.
        loss: nll + weight decay · l2.
        accuracy: Share of images whose largest logit is their (largest) target.
        images: How many.
    """

    nll: float
    l2: float
    loss: float
    accuracy: float
    images: int


class Risk:
    """NLL + L2 of a model on batches, inside a `with` block; afterwards the model is as it was.

    The network is in evaluation mode, so that nothing random acts and BatchNorm uses its running statistics;
    `batch_norm="batch"` makes it use those of the batch. Derivatives take attention's math kernel, since fused
    ones have no second derivative.

    Attributes:
        subject: The model.
        batches: The data, the same at every evaluation.
        space: Which parameters make the vector, and where each lies.

    Examples:
        >>> from alternet.data.augment import PAPER_CIFAR
        >>> net = Subject(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), name="mine", input_size=(3, 2, 2))
        >>> data = Batches.of(torch.rand(8, 3, 2, 2), torch.arange(8) % 3, batch_size=4)
        >>> with Risk(net, data) as risk:
        ...     theta = risk.theta
        ...     risk.value(theta).loss > risk.value(theta - 0.1 * risk.gradient(theta)).loss
        True
    """

    @torch.inference_mode(False)  # its copies must be able to have gradients
    def __init__(  # noqa: PLR0913 - independent facts of the loss; all but the first two have a default
        self,
        subject: Subject,
        batches: Batches,
        *,
        weight_decay: float = 0.05,
        decays: Literal["timm", "all"] = "timm",
        l2: Literal["textbook", "paper"] = "textbook",
        parameters: str = "all",
        frozen: bool = False,
        batch_norm: Literal["running", "batch"] = "running",
        micro_batch: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        """State the loss.

        Args:
            subject: The model.
            batches: Images and targets; see `Batches.frozen` for augmented ones.
            weight_decay: Factor of the penalty.
            decays: Which parameters the textbook's penalty counts: all, or those of timm's rule, see
                `alternet.loss.parameters.decayed`.
            l2: Which penalty, see `alternet.loss.penalty`.
            parameters: Which parameters the vector holds, see `alternet.loss.parameters.chosen`; the others stay.
            frozen: Whether it holds those with `requires_grad=False` too.
            batch_norm: Whether BatchNorm uses its running statistics or those of each batch.
            micro_batch: Images that pass the network at a time in derivatives, 0 for whole batches. It changes no
                number, only the memory needed.
            dtype: Floating-point type to compute in; by default that of the model.

        Raises:
            ValueError: The batches have no labels, no parameter is meant, or micro-batches are negative, or asked for
                with the statistics of batches, which they would change.
        """
        if not (weight_decay >= 0 and isfinite(weight_decay)):
            raise ValueError(f"The loss got weight_decay={weight_decay}, expected a number from 0 on.")
        if micro_batch < 0:
            raise ValueError(
                f"The loss got micro_batch={micro_batch}, expected a number of images, 0 for whole batches."
            )
        if not batches.labelled:
            raise ValueError(f"The loss needs labels, but {batches.name!r} has none. Give labelled data.")
        if micro_batch and batch_norm == "batch":
            raise ValueError(
                f"micro_batch={micro_batch} would change the statistics of a batch that batch_norm='batch' asks for. "
                "Give batch_norm='running', or micro_batch=0."
            )
        self.subject, self.batches = subject, batches
        self.weight_decay, self.batch_norm, self.micro_batch = weight_decay, batch_norm, micro_batch
        self.dtype = dtype or subject.dtype
        own = {name: self._converted(p) for name, p in subject.model.named_parameters()}
        acted_on = set(own) if decays == "all" else decayed(subject.model)
        self._penalty: Penalty = SquaredNorm(acted_on) if l2 == "textbook" else SumOfNorms()
        self.space = ParameterVector({name: own[name].shape for name in chosen(subject, parameters, frozen=frozen)})
        self._others = {name: p for name, p in own.items() if name not in self.space.shapes}
        self._theta = self.space.join(own)
        self._places = _places(subject.model)
        held = (item for module in subject.model.modules() for item in vars(module).items())
        self._may_cache = any(isinstance(value, dict) and not name.startswith("_") for name, value in held)
        self._undo = ExitStack()
        self._at_once = AtOnce(subject)

    def __enter__(self) -> Self:
        """Switch to evaluation mode.

        Raises:
            ValueError: The model answers differently when asked the same twice, or with what is no number.
        """
        undo = self._undo
        undo.enter_context(no_inference())
        undo.enter_context(untouched(self.subject.model))
        undo.enter_context(nothing_hidden())
        try:
            if self.batch_norm == "batch":
                for module in self.subject.model.modules():
                    module.train(isinstance(module, nn.modules.batchnorm._BatchNorm))
            self._require_same_twice()
        except BaseException:
            undo.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Put the model back."""
        self._undo.close()

    @property
    def theta(self) -> Vector:
        """The model's own parameters, a copy."""
        return self._theta.clone()

    def value(
        self,
        theta: Vector | None = None,
        batches: Batches | None = None,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> Value:
        """The risk without derivatives, one forward pass a batch; on other batches or with other buffers if given."""
        parameters = self._parameters(theta)
        state = parameters | self._buffers() | dict(buffers or {})
        data = self.batches if batches is None else batches

        def answered() -> tuple[Float64[Tensor, "2"], int]:
            """NLL and right answers, summed over the images, and the number of these."""
            sums, images = torch.zeros(2, dtype=torch.float64, device=self._theta.device), 0
            for pictures, targets in data:
                answer = partial(self._answer, forward=True)
                logits = answer(pictures) if self.batch_norm == "batch" else self._at_once(answer, pictures)
                truth = targets.to(self._theta.device)
                hits = logits.argmax(1) == (truth if truth.ndim == 1 else truth.argmax(1))
                sums += torch.stack([nll(logits, targets).double(), hits.sum()])
                images += len(pictures)
            return sums, images

        with torch.no_grad():
            sums, images = self._called(state, answered)
            l2 = float(self._penalty.value(parameters))
        mean, hits = (sums / max(images, 1)).tolist()
        return Value(nll=mean, l2=l2, loss=mean + self.weight_decay * l2, accuracy=hits, images=images)

    def gradient(self, theta: Vector | None = None) -> Vector:
        """Derivative of the risk over all batches."""
        total, images = torch.zeros_like(self._theta), 0
        for pictures, targets in self.batches:
            curvature = self.on(pictures, targets, theta)
            total += len(pictures) * curvature.nll_gradient
            images += len(pictures)
        return total / images + self._penalty_gradient(theta)

    def product(self, vectors: Tensor, theta: Vector | None = None) -> Tensor:
        """Hessian of the risk over all batches times a vector [p], or each column of [p, k]."""
        total, images = torch.zeros_like(vectors), 0
        for pictures, targets in self.batches:
            total += len(pictures) * self.on(pictures, targets, theta).nll_product(vectors)
            images += len(pictures)
        return total / images + self.penalty_product(vectors, theta)

    def penalty_product(self, vectors: Tensor, theta: Vector | None = None) -> Tensor:
        """Hessian of weight decay · penalty times a vector [p], or each column of [p, k]."""
        if vectors.ndim == 2:
            return torch.stack([self.penalty_product(v, theta) for v in vectors.unbind(1)], dim=1)
        parameters = self.space.split(self._theta if theta is None else theta)
        parts = self._penalty.product(parameters, self.space.split(vectors.contiguous()))
        return self.weight_decay * self.space.join(parts)

    def on(self, images: Tensor, targets: Tensor, theta: Vector | None = None) -> Curvature:
        """The derivatives of the risk on one batch."""
        return Curvature(self, images, targets, theta)

    def within_memory(self, tried: int, said: str) -> None:
        """Let half as many images pass at a time from now on, after so many of them were too many.

        Raises:
            MemoryError: It was one, or the statistics of batches would be others.
        """
        if self.batch_norm == "batch":
            raise MemoryError(
                f"Out of memory with {tried} images of {self.subject.name} at a time ({said}), whose statistics "
                "batch_norm=batch asks for. Free memory on the device, or give batch_norm=running or smaller batches, "
                "which are another measurement."
            )
        self._at_once.halve(tried, said)
        self.micro_batch = self._at_once.most

    def _converted(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self.dtype if tensor.is_floating_point() else tensor.dtype).clone()

    def _parameters(self, theta: Vector | None) -> dict[str, Tensor]:
        return self.space.split(self._theta if theta is None else theta.to(self._theta)) | self._others

    def _buffers(self) -> dict[str, Tensor]:
        """Copies, so that batch statistics change none of the model's own."""
        return {name: self._converted(b) for name, b in self.subject.model.named_buffers()}

    def answer(self, images: Tensor, theta: Vector | None = None) -> tuple[list[Tensor], Logits]:
        """The parameters as leaves that gradients reach, and the logits that they give."""
        parameters = self._parameters(theta)
        leaves = [parameters[name].detach().requires_grad_() for name in self.space.names]
        parameters |= dict(zip(self.space.names, leaves, strict=True))
        return leaves, self._logits(parameters | self._buffers(), images)

    def _logits(self, state: dict[str, Tensor], images: Tensor) -> Logits:
        """The model's answer with these parameters and buffers."""
        return self._called(state, lambda: self._answer(images))

    def _answer(self, images: Tensor, *, forward: bool = False) -> Logits:
        inputs = self.subject.normalise(images).to(self.dtype)
        call = self.subject.forward if forward else self.subject.model  # derivatives are never rounded
        logits = logits_of(call(inputs), self.subject.name)
        return logits.to(torch.promote_types(logits.dtype, self.dtype))

    def _called(self, state: Mapping[str, Tensor], work: Callable[[], T]) -> T:
        """What work gives while these parameters and buffers stand in the place of the model's own."""
        for cache in device_caches(self.subject.model) if self._may_cache else ():
            cache.clear()  # LeViT and its kin keep what they made of other weights
        stage = _Stage(self.subject.model)
        placed = {f"model.{place}": state[name] for place, name in self._places.items()}
        # every place of a tied tensor is named already, so torch need not look for them
        return functional_call(stage, placed, (work,), tie_weights=False)

    def _penalty_gradient(self, theta: Vector | None) -> Vector:
        parts = self._penalty.gradient(self.space.split(self._theta if theta is None else theta))
        return self.weight_decay * self.space.join(parts)

    def _require_same_twice(self) -> None:
        first = next(iter(self.batches), None)
        if first is None:
            raise ValueError(f"{self.batches.name!r} holds no image to measure. Give a larger limit or other data.")
        images = first[0][: self.micro_batch or None]

        def plain(pictures: Images) -> Logits:
            return self._logits(self._parameters(None) | self._buffers(), pictures)

        once, again = (plain(images) if self.batch_norm == "batch" else self._at_once(plain, images) for _ in range(2))
        difference = float((once - again).abs().max())
        if not isfinite(difference):
            raise ValueError(
                f"{self.subject.name!r} gives logits that are infinite or not a number. Check its weights and the "
                "normalisation of its images."
            )
        if not difference <= 1e-4 * max(1.0, float(once.abs().max())):
            raise ValueError(
                f"{self.subject.name!r} answers the same images differently when asked twice (by up to "
                f"{difference:.2g}), though it is in evaluation mode, so its loss has no derivatives to speak of. "
                "Something random acts in its forward pass, for example F.dropout without training=self.training."
            )


class _Stage(nn.Module):
    """A model in which other parameters can be put once for several passes; each time costs a small pass by itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], T]) -> T:
        return work()


def _places(model: nn.Module) -> dict[str, str]:
    """Which parameter or buffer stands at each place of a model, every place once.

    A module that has two names is one place: putting a tensor there twice would leave the first one in the model.
    """
    tensors = list(chain(model.named_parameters(), model.named_buffers()))
    names = {id(tensor): name for name, tensor in tensors}
    return {
        f"{path}.{attribute}" if path else attribute: names[id(tensor)]
        for path, module in model.named_modules()
        for attribute, tensor in chain(
            module.named_parameters(recurse=False, remove_duplicate=False),
            module.named_buffers(recurse=False, remove_duplicate=False),
        )
    }
