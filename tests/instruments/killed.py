"""A Hessian measurement that can be killed: `KILL_AT=2 python -m tests.instruments.killed OUT`."""

import os
import signal
import sys
from pathlib import Path

import torch
from tests.loss.test_risk import Softmax, data, subject
from torch import Tensor

from alternet.instruments.hessian import Hessian
from alternet.measurement import Measurement


class OneByOne(Softmax):
    """Notes each batch that passes it, and kills its process when told to."""

    seen: list[int] = []  # noqa: RUF012 - shared on purpose

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # what only checks the model has no gradient
            self.seen.append(len(x))
            if len(self.seen) - 1 == int(os.environ.get("KILL_AT", "-1")):
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def measure(out: Path | None) -> Measurement:
    """Four batches, from the start or on from where it was killed."""
    return Hessian(k=2).measure(subject(OneByOne), data(16, 4, side=2), out=out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure(Path(sys.argv[1]))
