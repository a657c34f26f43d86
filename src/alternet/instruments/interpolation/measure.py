"""Interpolation: NLL + L2 on the straight line from one set of weights to another of the same architecture.

R((1 − x)·θ + x·θ') with the network itself at x = 0 and the other weights at x = 1: the initial weights of its training
run (Goodfellow et al. 2015), the end of another run, or a file. Two networks without a barrier on the line between them
lie in one basin (Frankle et al. 2020); one with a barrier may still be joined by a curve.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from alternet.instruments.loss_work import LossWork, Point
from alternet.instruments.work import Row
from alternet.runs import TrainingRun
from alternet.subject.history import history_of
from alternet.subject.weights import read_weights

if TYPE_CHECKING:
    from alternet.instruments.interpolation import Interpolation


class InterpolationWork(LossWork):
    """An item is a point of the line, in steps from the network.

    Attributes:
        start: The network's own weights.
        end: The others.
        buffers: The floating-point buffers by name, at both ends.
    """

    instrument: "Interpolation"

    def begin(self) -> None:
        asked, subject = self.instrument, self.subject
        other = read_weights(asked.file if asked.towards else self._initial())
        own = {key: value for key, value in subject.model.state_dict().items() if isinstance(value, Tensor)}
        wrong = [key for key, value in own.items() if key not in other or other[key].shape != value.shape]
        if wrong:
            raise ValueError(
                f"The weights of {asked.towards or subject.history} do not fit {subject.name!r}: {wrong[0]} is missing "
                "or has another shape. Both ends must be of one architecture."
            )
        super().begin()  # after what may be refused, since it runs the model
        risk = self.risk
        self.start = risk.theta
        self.end = risk.space.join({name: other[name].to(risk.theta) for name in risk.space.names})
        if not self.end.isfinite().all():
            raise ValueError(f"The weights of {asked.towards or subject.history} are not finite. Give other ones.")
        self.buffers = {
            name: (buffer.detach().to(risk.theta, copy=True), other[name].to(risk.theta))
            for name, buffer in subject.model.named_buffers()
            if name in other and buffer.is_floating_point()
        }

    def _initial(self) -> Path:
        """Where the run began: of the weights and of their average alike."""
        if self.subject.history is None:
            raise ValueError(
                f"{self.subject.name!r} comes from no training run, so the weights it began with are not known. Name "
                "the other end: Interpolation(towards='weights.pth'), or --set towards=weights.pth."
            )
        return next(iter(TrainingRun(history_of(self.subject, "no initial weights")).snapshots.values()))

    def items(self) -> Sequence[tuple[int]]:
        return [(step,) for step in range(-self.instrument.beyond, self.instrument.steps + self.instrument.beyond + 1)]

    def rows(self, item: tuple[int]) -> Sequence[Row]:
        x = item[0] / self.instrument.steps
        # variances of BatchNorm may turn negative beyond the ends, so buffers stop there
        inside = min(1.0, max(0.0, x))
        buffers = {name: a.lerp(b, inside) for name, (a, b) in self.buffers.items()}
        return [(x, *Point.of(self.risk.value(self.start.lerp(self.end, x), buffers=buffers)))]
