"""Instruments during training: for our `train`, for Lightning, and for the Trainer of transformers."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from alternet.data.image_batches import Batches
from alternet.errors import Doubt, in_one_line
from alternet.instruments.base import Instrument
from alternet.instruments.figures import numbers
from alternet.instruments.runner import measure_each
from alternet.subject.subject import Subject

MEASURED = "measured"
"""Folder beside the weights of a run in which the measurements lie, one folder an epoch."""


@dataclass(kw_only=True)
class Measure:
    """Measures a network every so many epochs while it is trained; the training is not changed by a bit.

    It is a callback of `alternet.train(..., callbacks=[Measure(...)])`; `lightning()` and `transformers()` make those
    of these two. Measurements lie in `RUN/measured/NAME_epoch-0002/INSTRUMENT`, and a report of the run's folder shows
    each key number against the epoch. An instrument that fails costs the training nothing: a warning says why.

    Args:
        instruments: What is measured.
        data: The images.
        every: How many epochs lie between two measurements; the start and the end are always measured.
        name: How the network is called.
        out: Folder for the measurements, where not beside the weights.
        facts: Input size, mean and std as `Subject` takes them, for trainings that do not say them.

    Examples:
        >>> import alternet as an
        >>> watch = Measure([an.Variance()], an.batches("digits", limit=4), every=2)
        >>> short, out = an.Recipe(epochs=1, lr=1e-3, batch_size=4), getfixture("tmp_path")
        >>> run = an.train("test_vit", "digits", short, out, device="cpu", limit=4, callbacks=[watch])
        >>> sorted(path.name for path in (run.folder / "measured").glob("network*"))
        ['network_epoch-0000', 'network_epoch-0001']
    """

    instruments: Sequence[Instrument] = field(kw_only=False)
    data: Batches = field(kw_only=False)
    every: int = 1
    name: str = "network"
    out: str | Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"Measure got every={self.every}, expected a number of epochs from 1 on.")

    def __call__(self, moment: Any) -> dict[str, float]:
        """Measure if it is time to; the key numbers by instrument and name."""
        if moment.epoch % self.every and moment.epoch != moment.epochs:
            return {}
        facts = {"input_size": moment.input_size, "mean": moment.mean, "std": moment.std, **self.facts}
        return self.look(moment.model, moment.epoch, Path(self.out or moment.folder / MEASURED), facts)

    def look(self, model: nn.Module, epoch: int, out: Path, facts: Mapping[str, Any]) -> dict[str, float]:
        """Measure a network at an epoch; the key numbers, as `INSTRUMENT/NUMBER`."""
        origin = {"weights": {"from": "training"}, "run": self.name, "epoch": epoch}
        subject = Subject(model, name=f"{self.name}@epoch-{epoch:04d}", origin=origin, **facts)
        found: dict[str, float] = {}
        for instrument, result in measure_each(self.instruments, subject, self.data, out=out):
            name = instrument.spec.name
            if isinstance(result, Exception):
                line = f"{name} of {subject.name} failed, and the training goes on: {in_one_line(result)}"
                warnings.warn(line, Doubt, stacklevel=2)
                continue
            found |= {f"{name}/{key}": value for key, value in numbers(result).items()}
        return found

    def lightning(self) -> Any:
        """The callback of a Lightning `Trainer`; key numbers go to its loggers (TensorBoard, W&B).

        Raises:
            ValueError: Lightning is not installed.
        """
        kind, measure = _base(("lightning.pytorch", "pytorch_lightning"), "Callback", "lightning"), self

        class MeasureCallback(kind):
            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                done, last = trainer.current_epoch + 1, trainer.max_epochs
                if done % measure.every == 0 or done == last:
                    out = Path(measure.out or Path(trainer.default_root_dir) / MEASURED)
                    found = measure.look(pl_module, done, out, measure.facts)
                    pl_module.log_dict(found, rank_zero_only=True)

        return MeasureCallback()

    def transformers(self) -> Any:
        """The callback of a `transformers.Trainer`; key numbers go into its log and to whatever it reports to.

        Raises:
            ValueError: transformers is not installed.
        """
        kind, measure = _base(("transformers",), "TrainerCallback", "transformers"), self

        class MeasureCallback(kind):
            def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
                done = round(state.epoch)
                if done % measure.every == 0 or done == round(args.num_train_epochs):
                    out = Path(measure.out or Path(args.output_dir) / MEASURED)
                    found = measure.look(model, done, out, measure.facts)
                    state.log_history.append({"epoch": state.epoch, "step": state.global_step, **found})

        return MeasureCallback()


def _base(modules: Sequence[str], name: str, package: str) -> Any:
    """The class that a callback of another library must be of."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except ImportError:
            continue
    raise ValueError(f"Measure.{package}() needs {package}, which is not installed. pip install {package}")
