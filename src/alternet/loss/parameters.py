"""Parameters: some or all of a model's parameters as one flat vector, and which of them weight decay acts on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from timm.optim import param_groups_weight_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from alternet.errors import nearest
from alternet.kinds import KINDS

if TYPE_CHECKING:
    from alternet.subject.subject import Subject


@dataclass(frozen=True)
class ParameterVector:
    """Where each named parameter lies in the flat vector.

    Attributes:
        shapes: Shape of each parameter by name, in the order of the vector.

    Examples:
        >>> space = ParameterVector({"weight": torch.Size([2, 3]), "bias": torch.Size([2])})
        >>> space.size, {name: tuple(part.shape) for name, part in space.split(torch.zeros(8)).items()}
        (8, {'weight': (2, 3), 'bias': (2,)})
    """

    shapes: Mapping[str, torch.Size]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters in order."""
        return tuple(self.shapes)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def split(self, vector: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """The parameters by name, as views of the vector; on a GPU some are copies."""
        parts = vector.split([math.prod(shape) for shape in self.shapes.values()])
        if vector.is_cuda:  # kernels read 16 bytes at once and fail ("misaligned address") where a part begins between
            parts = [part if part.storage_offset() * part.element_size() % 16 == 0 else part.clone() for part in parts]
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def join(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, " p"]:
        """One vector of the named parameters, a copy."""
        return torch.cat([parameters[name].reshape(-1) for name in self.shapes])


def chosen(subject: "Subject", pattern: str, *, frozen: bool = False) -> list[str]:
    """Names of the parameters that a pattern means.

    Args:
        subject: The model.
        pattern: `all`; a kind of unit (`msa`, `mlp`, `conv`, ...), meaning all parameters in such units; or names of
            parameters with wildcards, as in `blocks.3.*`.
        frozen: Whether those with `requires_grad=False` are among them.

    Parameters that are whole numbers are none of a vector's: they cannot move a little.

    Raises:
        ValueError: Nothing answers to the pattern; near names are offered. Or all that does is frozen, or it is
            complex.

    Examples:
        >>> from alternet.subject.subject import Subject
        >>> chosen(Subject(nn.Linear(3, 2), name="mine"), "b*")
        ['bias']
    """
    own = dict(subject.model.named_parameters())
    names = [name for name, p in own.items() if p.is_floating_point() or p.is_complex()]
    frozen_ones = set() if frozen else {name for name in names if not own[name].requires_grad}
    kinds = "msa, mlp, conv, ..."
    if not names:
        raise ValueError(f"{subject.name!r} has no parameter to vary. Give a model that can be trained.")
    if pattern in KINDS:
        units = {tap.name.partition(":")[0] for tap in subject.taps if tap.kind == pattern}
        found = [name for name in names if any(name == unit or name.startswith(f"{unit}.") for unit in units)]
        kinds = ", ".join(sorted({tap.kind for tap in subject.taps}))
    else:
        found = [name for name in names if pattern == "all" or fnmatchcase(name, pattern)]
    if not found:
        raise ValueError(
            f"No parameter of {subject.name!r} answers to {pattern!r}. Give all, a kind of unit that it has "
            f"({kinds}), or names with wildcards, for example {nearest(pattern, names, shown=5)}."
        )
    if not (moving := [name for name in found if name not in frozen_ones]):
        raise ValueError(
            f"All {len(found)} parameters of {subject.name!r} that are meant are frozen, as {found[0]}. Call "
            "requires_grad_(True) on what may vary, or set frozen=true to vary them as they are."
        )
    if among := [name for name in moving if own[name].is_complex()]:
        raise ValueError(
            f"{subject.name!r} has the complex parameter {among[0]}, expected real ones. Hold its real and imaginary "
            "parts in a real one, and make it complex in the forward pass with torch.view_as_complex."
        )
    return moving


def decayed(model: nn.Module) -> set[str]:
    """Names of the parameters on which weight decay acts by timm's rule.

    Those with two or more axes, except what the model names in `no_weight_decay()`.

    Examples:
        >>> decayed(nn.Linear(3, 2))
        {'weight'}
    """
    spared = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # type: ignore[operator]
    # timm's rule passes over frozen parameters, so it is asked about likenesses, of which none is
    likenesses = {name: torch.empty(p.shape, device="meta", requires_grad=True) for name, p in model.named_parameters()}
    unfrozen = SimpleNamespace(named_parameters=likenesses.items)
    groups = param_groups_weight_decay(unfrozen, weight_decay=1.0, no_weight_decay_list=spared)  # type: ignore[arg-type]
    acted_on = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    return {name for name, likeness in likenesses.items() if id(likeness) in acted_on}
