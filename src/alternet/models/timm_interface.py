"""What timm expects of a model beyond its forward pass, for networks that are a row of units."""

from abc import abstractmethod
from typing import Any, ClassVar

from timm.models._features import feature_take_indices
from torch import Tensor, nn


class TimmInterface(nn.Module):
    """timm's interface around an entrance, a row of units (stages or blocks) and a `head`.

    A network says what its units are, and how to come in, through one of them, and out. What `enter` gives beside the
    feature map is handed to every unit.
    """

    trunk: ClassVar[str]
    """The attribute that holds the units."""
    isotropic: ClassVar[bool]
    """Whether the last normalisation and the head fit behind any unit."""

    head: Any
    num_classes: int
    grad_checkpointing: bool = False

    @property
    def units(self) -> Any:
        """The units in order."""
        return getattr(self, self.trunk)

    @abstractmethod
    def enter(self, x: Tensor) -> tuple[Tensor, ...]:
        """The first feature map of images, and whatever else units need."""

    @abstractmethod
    def run(self, unit: nn.Module, x: Tensor, *more: Tensor) -> Tensor:
        """A unit's feature map, recomputed in the backward pass where `grad_checkpointing` says so."""

    @abstractmethod
    def normed(self, x: Tensor, unit: int) -> Tensor:
        """The feature map after a unit, normalised as the head sees it, where it has a norm."""

    @abstractmethod
    def drop_norm(self) -> None:
        """Leave the last normalisation out."""

    def leave(self, x: Tensor) -> Tensor:
        """What follows the last unit before the head."""
        return x

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute the last feature map, [n, c, h, w], of images [n, in_chans, height, width]."""
        x, *more = self.enter(x)
        for unit in self.units:
            x = self.run(unit, x, *more)
        return self.leave(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Compute logits [n, num_classes] of a feature map, or the features that they are made of if `pre_logits`."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [n, num_classes] of images [n, in_chans, height, width]."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Compute the feature maps after chosen units, as every timm model does.

        Args:
            x: Images [n, in_chans, height, width].
            indices: The last so many units, these units, or all of them (None).
            norm: Apply the last normalisation to the maps that it fits.
            stop_early: Do not compute what follows the last chosen unit.
            output_fmt: "NCHW", the only layout.
            intermediates_only: Leave out the final feature map.

        Returns:
            The final feature map and the list of chosen ones, or that list alone.

        Raises:
            ValueError: For another layout.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt!r} is not possible: expected 'NCHW'.")
        chosen, last = feature_take_indices(len(self.units), indices)
        units = self.units[: last + 1] if stop_early else self.units
        x, *more = self.enter(x)
        maps = []
        for i, unit in enumerate(units):
            x = self.run(unit, x, *more)
            if i in chosen:
                maps.append(self.normed(x, i) if norm else x)
        if intermediates_only:
            return maps
        return (self.leave(x) if len(units) == len(self.units) else x), maps

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the units after the last chosen one, and what no longer fits behind them.

        Args:
            indices: The last so many units, or these units.
            prune_norm: Drop the last normalisation.
            prune_head: Drop the classifier.

        Returns:
            The indices of the chosen units.
        """
        chosen, last = feature_take_indices(len(self.units), indices)
        misfits = last < len(self.units) - 1 and not self.isotropic
        setattr(self, self.trunk, self.units[: last + 1])
        if prune_norm or misfits:
            self.drop_norm()
        if prune_head or misfits:
            self.reset_classifier(0, "")
        return chosen

    def get_classifier(self) -> nn.Module:
        """The linear layer that makes logits."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in place; 0 classes leave it out, `global_pool=None` keeps the pooling."""
        self.num_classes = num_classes
        self.head.reset(num_classes, pool_type=global_pool)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the units in the backward pass instead of keeping their activations.

        As in timm, batch normalisation then sees each training batch twice, which its running statistics follow.
        """
        self.grad_checkpointing = enable
