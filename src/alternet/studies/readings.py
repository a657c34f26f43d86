"""Readings: from the stored tables of an instrument, or the log of a training, to the numbers that a study compares.

Each is a pure function of the tables and the log of one network, with rows of quantity, x, value and standard error. A
log with a column `test_images` says how many its accuracies are over.
"""

from collections.abc import Callable, Iterator, Mapping
from math import nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from alternet.errors import unknown
from alternet.instruments.calibration.figure import overconfidence
from alternet.instruments.fourier.figure import highest
from alternet.instruments.fourier_heatmap.figure import once
from alternet.instruments.interpolation.figure import barrier
from alternet.runs import logged
from alternet.studies.similarity import block_structure


class Row(NamedTuple):
    """One number: `x` is nan for a scalar, the standard error (over images) where it is not known."""

    quantity: str
    x: float
    value: float
    standard_error: float = nan


Tables = Mapping[str, Any]
"""Frames by name; not typed as such, since pandas' stubs take a cell for anything."""
Reader = Callable[[Tables, Any], Iterator[Row]]
KINDS = {"msa": ("attention", "lowered", -1), "conv": ("conv", "raised", 1), "mlp": ("mlp", "raised", 1)}
"""Kinds of units: what quantities call them, and which way the paper says that they go."""


def training(tables: Tables, log: Any) -> Iterator[Row]:
    """The last epoch: errors on test images, and the loss on augmented training batches as released (mean over it)."""
    del tables
    last = log.iloc[-1]
    accuracy = logged(last, "test_accuracy")  # a run that tested validation images has none
    error = np.sqrt(accuracy * (1 - accuracy) / (last.get("test_images", nan) - 1 or nan))
    yield Row("accuracy", nan, accuracy, error)
    yield Row("test_error", nan, 1 - accuracy, error)
    yield Row("nll_test", nan, logged(last, "test_nll"))
    yield Row("nll_train", nan, last["train_loss"])
    if "images_per_second" in log:
        yield Row("images_per_second", nan, float(log["images_per_second"].median()))


def calibration(tables: Tables, log: Any) -> Iterator[Row]:
    """Accuracy, NLL, ECE, mean confidence less accuracy, and the reliability diagram at the middles of its bins."""
    del log
    table = tables["table"].set_index("metric")
    for metric, quantity in (("accuracy", "accuracy"), ("nll", "nll_test"), ("ece", "ece")):
        yield Row(quantity, nan, table.at[metric, "value"], table.at[metric, "standard_error"])
    yield Row("test_error", nan, 1 - table.at["accuracy", "value"], table.at["accuracy", "standard_error"])
    yield Row("overconfidence", nan, overconfidence(tables["reliability"]))
    for one in tables["reliability"].dropna(subset=["accuracy", "confidence"]).itertuples():
        error = np.sqrt(one.accuracy * (1 - one.accuracy) / one.count)
        yield Row("confidence", (one.low + one.high) / 2, one.accuracy, error)  # so that seeds stand at one place


def corruption(tables: Tables, log: Any) -> Iterator[Row]:
    """Accuracy on clean images, and its mean over all corrupted sets."""
    del log
    clean = tables["table"].set_index("corruption").loc["clean"]
    yield Row("accuracy", nan, clean["accuracy"], clean["standard_error"])
    mean = tables["summary"].set_index("metric").loc["mean_accuracy"]
    yield Row("corruption_accuracy", nan, mean["value"], mean["standard_error"])


def frequency_noise(tables: Tables, log: Any) -> Iterator[Row]:
    """What noise of each band changes in the accuracy."""
    del log
    for one in tables["table"].itertuples():
        yield Row("noise_drop", one.frequency, one.delta_accuracy, one.standard_error)


def hessian(tables: Tables, log: Any) -> Iterator[Row]:
    """The share of negative eigenvalues (NEP) and the mean of the positive ones (APE)."""
    del log
    summary = tables["summary"].set_index("metric")["value"]
    for metric in ("nep", "ape"):
        yield Row(metric, nan, summary[metric])


def landscape(tables: Tables, log: Any) -> Iterator[Row]:
    """How far NLL, weight decay · L2, and their sum rise above the centre, by radius."""
    del log
    columns = (
        ("rise_nll", "nll_rise", "nll_standard_error"),
        ("rise_l2", "l2_rise", "l2_standard_error"),
        ("rise_loss", "rise", "standard_error"),
    )
    for _, one in tables["flatness"].iterrows():
        for quantity, column, error in columns:
            yield Row(quantity, one["radius"], one[column], one[error])


def fourier(tables: Tables, log: Any) -> Iterator[Row]:
    """The highest frequency of every unit, and what units of each kind change in it; a 1 × 1 map has none."""
    del log
    top: Any = highest(tables["table"].assign(model="")).dropna(subset=["delta_log_amplitude"])
    for one in top.itertuples():
        yield Row("high_frequency", one.depth, one.delta_log_amplitude, one.standard_error)
    yield from _steps(top, "high")


def variance(tables: Tables, log: Any) -> Iterator[Row]:
    """The variance of every unit's map over positions, and what units of each kind change in it."""
    del log
    for one in tables["table"].itertuples():
        yield Row("variance", one.depth, one.variance, one.standard_error)
    yield from _steps(tables["table"], "variance")


def _steps(table: Any, what: str) -> Iterator[Row]:
    """Means over the units of a kind, and the share of them that go the way that the paper says.

    Their steps are measured on the same images, so that the error of the mean is at most the mean of their errors;
    that bound is given, since how they vary together is not stored.
    """
    for kind, (name, way, sign) in KINDS.items():
        steps = table[(table["kind"] == kind) & table["step"].notna()]
        if len(steps):
            yield Row(f"{name}_{what}_step", nan, steps["step"].mean(), steps["step_error"].mean())
            yield Row(f"{name}_{what}_{way}", nan, (sign * steps["step"] > 0).mean())


def lesion(tables: Tables, log: Any) -> Iterator[Row]:
    """What removing a unit changes in the accuracy; of the first and last of a kind, the means over stages."""
    del log
    table = tables["table"].dropna(subset=["delta_accuracy"]).sort_values("unit")
    for one in table.itertuples():
        yield Row("lesion", one.depth, one.delta_accuracy, one.standard_error)
    for kind in ("msa", "conv") if table["stage"].nunique() > 1 else ():  # a plain ViT has no ends of stages
        stages = [stage for _, stage in table[table["kind"] == kind].groupby("stage") if len(stage) > 1]
        for place, at in (("start", 0), ("end", -1)) if stages else ():
            ends = pd.DataFrame([stage.iloc[at] for stage in stages])
            error = ends["standard_error"].mean()  # a bound, as for the steps
            yield Row(f"lesion_{KINDS[kind][0]}_{place}", nan, ends["delta_accuracy"].mean(), error)


def similarity(tables: Tables, log: Any) -> Iterator[Row]:
    """Of one model: first unit against last, and how much more alike units of one stage are than of different ones."""
    del log
    table = tables["table"]
    if "model_b" in table and (table["model_b"] != table["model"]).any():  # beside another network
        return
    units = tables["units"].query("side == 'a'").sort_values("unit")
    cka, error = (
        table.pivot(index="unit_a", columns="unit_b", values=column).to_numpy() for column in ("cka", "standard_error")
    )
    yield Row("cka_first_last", nan, cka[0, -1], error[0, -1])
    yield Row("block_structure", nan, block_structure(cka, units["stage"].tolist()))


def trajectory(tables: Tables, log: Any) -> Iterator[Row]:
    """Radius and angle (in degrees) of every snapshot, by the epoch of the log; the final weights have no angle."""
    if log is None:
        return
    epochs = {0: 0, **log.set_index("step")["epoch"].to_dict()}
    for one in tables["table"].itertuples():
        if (epoch := epochs.get(one.step)) is not None:
            yield Row("trajectory_r", epoch, one.radius)
            yield Row("trajectory_angle", epoch, one.angle)


def spectral_density(tables: Tables, log: Any) -> Iterator[Row]:
    """The trace of the Hessian, with its error over random vectors."""
    del log
    trace = tables["moments"].set_index("metric").loc["trace"]
    yield Row("hessian_trace", nan, trace["value"], trace["standard_error"])


def interpolation(tables: Tables, log: Any) -> Iterator[Row]:
    """The highest that the NLL stands above the straight line between its ends; undefined where it is not finite."""
    del log
    yield Row("barrier", nan, barrier(tables["table"].sort_values("x")).max(skipna=False))


def fourier_heatmap(tables: Tables, log: Any) -> Iterator[Row]:
    """What a wave changes in the accuracy, in the mean over all waves."""
    del log
    waves = once(tables["table"])
    yield Row("wave_drop", nan, waves["delta_accuracy"].mean(), waves["standard_error"].mean())  # a bound, as for steps


def shape_bias(tables: Tables, log: Any) -> Iterator[Row]:
    """The share of decisions for the shape, with the binomial error of it."""
    del log
    bias = tables["bias"].set_index("shape").loc["all"]
    share, count = bias["shape_bias"], bias["decisions"]
    yield Row("shape_bias", nan, share, np.sqrt(share * (1 - share) / count) if count else nan)


READINGS: dict[str, Reader] = {
    function.__name__: function
    for function in (
        *(training, calibration, corruption, frequency_noise, hessian, landscape, fourier, variance, lesion),
        *(similarity, trajectory, shape_bias, spectral_density, interpolation, fourier_heatmap),
    )
}
"""By name, which is that of the instrument."""


def reader(name: str) -> Reader:
    """The reading of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in READINGS:
        raise unknown("No reading", name, READINGS)
    return READINGS[name]


def rows(name: str, tables: Tables, log: pd.DataFrame | None, x: float = nan) -> list[Row]:
    """What a reading gives, scalars at `x`; undefined values are left out. Published weights have no log.

    Examples:
        >>> log = pd.DataFrame({"test_accuracy": [0.75], "test_nll": [1.0], "train_loss": [2.0]})
        >>> rows("training", {}, log.assign(images_per_second=9.0), x=5)[1]
        Row(quantity='test_error', x=5, value=0.25, standard_error=nan)
    """
    found = (Row(row.quantity, row.x, float(row.value), float(row.standard_error)) for row in reader(name)(tables, log))
    kept = [row for row in found if np.isfinite(row.value)]
    return [row._replace(x=x) if np.isnan(row.x) else row for row in kept]
