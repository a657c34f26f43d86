"""Interpolation: NLL + L2 on the straight line from one set of weights to another of the same architecture.

R((1 − x)·θ + x·θ') with the network itself at x = 0 and the other weights at x = 1: the initial weights of its training
run (Goodfellow et al. 2015), the end of another run, or a file. Two networks without a barrier on the line between them
lie in one basin (Frankle et al. 2020); one with a barrier may still be joined by a curve.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import expanduser
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor

from alternet.data.batches import Batches
from alternet.instruments.base import Row
from alternet.instruments.of_risk import OfRisk, known
from alternet.loss.risk import Risk
from alternet.loss.snapshots import WeightPath
from alternet.runs import TrainingRun
from alternet.subject.subject import Subject
from alternet.subject.weights import read_weights


class Line(NamedTuple):
    """The loss, and both ends of the line.

    Attributes:
        risk: The loss.
        start: The network's own weights.
        end: The others.
        buffers: The floating-point buffers by name, at both ends.
    """

    risk: Risk
    start: Tensor
    end: Tensor
    buffers: Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Interpolation(OfRisk[Line]):
    """NLL + L2 between a network and other weights of the same architecture, an item a point.

    Floating-point buffers, such as the running statistics of BatchNorm, are interpolated like the weights, so both ends
    are the networks themselves; beyond the ends they stay. In between, the statistics fit neither the weights nor the
    data exactly: `batch_norm="batch"` takes those of the batches instead.

    Attributes:
        towards: The other weights: a file of them, as after `@` on the command line, or run:DIR for those that another
            run came to; empty for the initial weights of the model's own run.
        towards_sha256: Checksum of that file, filled in by itself; a result belongs to one content of it.
        steps: Steps from one end to the other.
        beyond: Steps beyond either end.
        batch_size: Images in a batch; the mixing of images depends on it.
    """

    towards: str = ""
    towards_sha256: str = ""
    steps: int = 20
    beyond: int = 4
    batch_size: int = 64

    name = "interpolation"
    question = "Is there a barrier between two sets of weights?"
    columns: ClassVar = {"table": ("x", "nll", "l2", "loss", "accuracy")}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 2 or self.beyond < 0:
            raise ValueError(
                f"interpolation got steps={self.steps} and beyond={self.beyond}, expected at least 2 and 0."
            )
        content = _checksum(self._file) if self.towards else ""
        if self.towards_sha256 not in ("", content):
            raise ValueError(
                f"towards={self.towards!r} is not what it was: its checksum is {content[:12] or 'none'}, expected "
                f"{self.towards_sha256[:12]}. Leave towards_sha256 out to take it as it is now."
            )
        object.__setattr__(self, "towards_sha256", content)

    @contextmanager
    def view(self, subject: Subject, batches: Batches) -> Iterator[Line]:
        """Both ends; raises what `Risk`, `WeightPath` and `read_weights` raise."""
        other = self._other(subject)
        own = {key: value for key, value in subject.model.state_dict().items() if isinstance(value, Tensor)}
        wrong = [key for key, value in own.items() if key not in other or other[key].shape != value.shape]
        if wrong:
            raise ValueError(
                f"The weights of {self.towards or subject.history} do not fit {subject.name!r}: {wrong[0]} is missing "
                "or has another shape. Both ends must be of one architecture."
            )
        with self.risk(subject, batches) as risk:
            end = risk.space.join({name: other[name].to(risk.theta) for name in risk.space.names})
            if not end.isfinite().all():
                raise ValueError(f"The weights of {self.towards or subject.history} are not finite. Give other ones.")
            buffers = {
                name: (buffer.detach().to(risk.theta, copy=True), other[name].to(risk.theta))
                for name, buffer in subject.model.named_buffers()
                if name in other and buffer.is_floating_point()
            }
            yield Line(risk, risk.theta, end, buffers)

    def items(self, view: Line) -> Sequence[tuple[int]]:
        """The points, in steps from the network."""
        return [(step,) for step in range(-self.beyond, self.steps + self.beyond + 1)]

    def rows(self, view: Line, item: tuple[int]) -> Sequence[Row]:
        """One point of the line."""
        x = item[0] / self.steps
        inside = min(1.0, max(0.0, x))
        buffers = {name: a.lerp(b, inside) for name, (a, b) in view.buffers.items()}
        return [(x, *known(view.risk.value(view.start.lerp(view.end, x), buffers=buffers)))]

    def _other(self, subject: Subject) -> Mapping[str, Tensor]:
        return read_weights(self._file if self.towards else WeightPath(subject).files[0])

    @property
    def _file(self) -> Path:
        path = Path(expanduser(self.towards.removeprefix("run:")))
        return TrainingRun(path).weights if self.towards.startswith("run:") else path


def _checksum(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(
            f"interpolation cannot read towards={str(file)!r} ({error.strerror or error}). Give a .safetensors or .pth "
            "file of weights, run:DIR, or leave it out for the initial weights of the model's own run."
        ) from error
