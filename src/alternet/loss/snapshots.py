"""Snapshots: the weights of a training run from its start to its end, without holding them all in memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from alternet.files import open_file
from alternet.loss.parameters import ParameterVector
from alternet.runs import AVERAGED, LAST, RAW, WEIGHTS, TrainingRun
from alternet.storage import is_file
from alternet.subject.history import history_of
from alternet.subject.subject import Subject

VALUES = 2**22
"""How many values of all snapshots together are in memory at once."""


class WeightPath:
    """The snapshots of the run that a Subject comes from and its final weights, inside a `with` block.

    All are of the Subject's own kind: moving averages where it is one, else the weights that were stepped.

    Attributes:
        files: The snapshots by rising step, then the final weights.
        steps: Optimisation steps done at each.

    Raises:
        ValueError: The Subject has no run, or the run no snapshots of its kind; a file is missing, damaged, or of
            another model.
    """

    def __init__(self, subject: Subject) -> None:
        """Find the files; they are opened by `with`."""
        run = TrainingRun(history_of(subject, "no weights on the way"))
        self._name = subject.name
        self.space = ParameterVector({name: p.shape for name, p in subject.model.named_parameters()})
        snapshots = run.averages if subject.averaged else run.snapshots
        if subject.averaged and (missing := [file for file in snapshots.values() if not is_file(file)]):
            raise ValueError(
                f"{subject.name!r} is the moving average of {run.name}, which kept none on the way: {missing[0]} is "
                f"missing. Take the weights themselves, {run.name}@{LAST}{RAW}, or train again into another folder."
            )
        self.steps = (*snapshots, max(run.steps, *snapshots))
        self.files = (*snapshots.values(), run.folder / (AVERAGED if subject.averaged else WEIGHTS))
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Open the files and see that they hold weights of this model."""
        try:
            self._opened = [self._open(file) for file in self.files]
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Close them."""
        self._undo.close()

    def gram(self, names: Sequence[str] | None = None) -> Tensor:
        """Inner products ⟨w_s − w_final, w_t − w_final⟩ of the named parameters, by default all: float64 [t, t]."""
        total = torch.zeros(len(self.files), len(self.files), dtype=torch.float64)
        for name in self.space.names if names is None else names:
            for part in self._slices(name):
                differences = (part - part[-1]).double()
                total += differences @ differences.T
        for file, square in zip(self.files, total.diagonal(), strict=True):
            if not square.isfinite():
                raise ValueError(f"{file} holds weights that are not finite, or the final weights do. Train again.")
        return total

    def combination(self, factors: Tensor, names: Sequence[str] | None = None) -> Tensor:
        """Σ factor · w over the files, for each column of factors [t, k]: float64 [k, p] of the named parameters."""
        factors = factors.double()
        parts = [torch.cat([factors.T @ p.double() for p in self._slices(n)], dim=1) for n in names or self.space.names]
        return torch.cat(parts, dim=1)

    def _slices(self, name: str) -> Iterator[Tensor]:
        """A parameter in all files [t, n], a few rows at a time."""
        shape = self.space.shapes[name]
        if not shape:
            yield torch.stack([file.get_tensor(name).reshape(1) for file in self._opened])
            return
        rows = max(1, VALUES // (len(self.files) * max(1, shape[1:].numel())))
        for start in range(0, shape[0], rows):
            yield torch.stack([file.get_slice(name)[start : start + rows].flatten() for file in self._opened])

    def _open(self, file: Path) -> Any:
        try:
            open_file(file).close()  # says if it is no file, for which the library would wait
            opened = self._undo.enter_context(safe_open(file, framework="pt"))
            # shapes stand in the head of the file; no tensor is read
            given = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"The snapshot {file} cannot be read ({error}). Train again into another folder."
            ) from error
        for name, shape in self.space.shapes.items():
            if given.get(name) != tuple(shape):
                got = f"has the shape {given[name]}" if name in given else "is missing"
                raise ValueError(
                    f"The snapshot {file} is of another model than {self._name!r}: {name} {got}, expected "
                    f"{tuple(shape)}. Take the run's own model, at its own image size."
                )
        return opened
