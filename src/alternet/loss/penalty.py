"""Penalty: the L2 part of the risk, with derivatives written out, since they need no differentiation.

`textbook` is ½·Σ‖w‖² over the parameters that weight decay acts on. `paper` is what the released code adds up and calls
L2: Σ‖w‖, the norms themselves and not their squares, over every parameter. The risk multiplies either by the weight
decay.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from alternet.loss.norms import norm, unit

Tensors = Mapping[str, Tensor]


class Penalty(ABC):
    """A function of the parameters by name."""

    @abstractmethod
    def value(self, parameters: Tensors) -> Tensor:
        """The penalty, a float64 scalar, without the factor of weight decay."""

    @abstractmethod
    def gradient(self, parameters: Tensors) -> dict[str, Tensor]:
        """Its derivative by each of these parameters."""

    @abstractmethod
    def product(self, parameters: Tensors, direction: Tensors) -> dict[str, Tensor]:
        """Its second derivative times a direction, by each of the direction's parameters."""


class SquaredNorm(Penalty):
    """½·Σ‖w‖² over the decayed parameters.

    Examples:
        >>> SquaredNorm({"a"}).value({"a": torch.tensor([3.0, 4.0]), "b": torch.ones(9)}).item()
        12.5
    """

    def __init__(self, decayed: Collection[str]) -> None:
        """Act on the parameters of these names."""
        self.decayed = decayed

    def value(self, parameters: Tensors) -> Tensor:
        """Half the sum of squares."""
        norms = _norms({name: p for name, p in parameters.items() if name in self.decayed})
        return norms.square().sum() / 2

    def gradient(self, parameters: Tensors) -> dict[str, Tensor]:
        """The decayed parameters themselves."""
        return {name: p if name in self.decayed else torch.zeros_like(p) for name, p in parameters.items()}

    def product(self, parameters: Tensors, direction: Tensors) -> dict[str, Tensor]:
        """The direction, in the decayed parameters."""
        return self.gradient(direction)


class SumOfNorms(Penalty):
    """Σ‖w‖ over all parameters; where a parameter is zero, so are the derivatives.

    Examples:
        >>> SumOfNorms().value({"a": torch.tensor([3.0, 4.0]), "b": torch.ones(9)}).item()
        8.0
    """

    def value(self, parameters: Tensors) -> Tensor:
        """The sum of norms, unsquared."""
        return _norms(parameters).sum()

    def gradient(self, parameters: Tensors) -> dict[str, Tensor]:
        """The unit vector along each parameter."""
        return {name: unit(p) for name, p in parameters.items()}

    def product(self, parameters: Tensors, direction: Tensors) -> dict[str, Tensor]:
        """What of the direction is across each parameter, over the parameter's norm."""
        products = {}
        for name, d in direction.items():
            along, length = unit(parameters[name]), norm(parameters[name]).to(d)
            across = d - along * (along * d).sum()
            products[name] = across / length if length > 0 else torch.zeros_like(d)
        return products


def _norms(parameters: Tensors) -> Tensor:
    if not parameters:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack([norm(p) for p in parameters.values()])
