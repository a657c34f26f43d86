"""Readings: tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from alternet import Measurement
from alternet.instruments.catalogue import instruments
from alternet.instruments.figures import key_numbers
from alternet.studies.readings import READINGS, rows

LOG = pd.DataFrame(
    {"epoch": [1, 2], "step": [10, 20], "train_loss": [2.0, 1.0], "test_accuracy": [0.5, 0.75], "test_nll": [1.5, 0.9],
     "images_per_second": [100.0, 300.0]}
)  # fmt: skip


def values(name: str, **tables: pd.DataFrame) -> dict[tuple[str, float], tuple[float, float]]:
    found = rows(name, tables, LOG, x=-1)
    return {(row.quantity, round(row.x, 6)): (pytest.approx(row.value), row.standard_error) for row in found}


def test_a_training_is_read_at_its_end():
    found = values("training")
    assert found["test_error", -1][0] == 0.25
    assert found["nll_train", -1][0] == 1.0
    assert found["images_per_second", -1][0] == 200


def test_an_accuracy_of_the_log_has_the_error_of_so_many_images():
    found = {row.quantity: row for row in rows("training", {}, LOG.assign(test_images=49), x=-1)}
    assert found["accuracy"].standard_error == pytest.approx(np.sqrt(0.75 * 0.25 / 48))
    assert found["test_error"].standard_error == found["accuracy"].standard_error
    assert np.isnan(found["nll_test"].standard_error)
    (single, *_) = rows("training", {}, LOG.assign(test_images=1, test_accuracy=1.0), x=-1)
    assert np.isnan(single.standard_error)


def test_where_an_average_of_the_weights_was_kept_the_log_speaks_of_that():
    averaged = LOG.assign(ema_test_accuracy=[0.1, 0.9], ema_test_nll=[2.0, 0.5])
    found = {row.quantity: row.value for row in rows("training", {}, averaged)}
    assert (found["accuracy"], found["test_error"], found["nll_test"]) == pytest.approx((0.9, 0.1, 0.5))
    kept = Measurement(
        instrument="training",
        tables={"table": averaged.assign(model="a")},
        provenances=({"instrument": "training", "model": {"name": "a"}},),
    )
    assert {one.title: one.value for one in key_numbers(kept)}["Accuracy"] == 0.9


def test_calibration():
    table = pd.DataFrame(
        {"metric": ["accuracy", "nll", "ece"], "value": [0.6, 1.0, 0.2], "standard_error": [0.1, 0.2, np.nan]}
    )
    ends = {"low": [0.0, 0.8, 0.9], "high": [0.8, 0.9, 1.0]}
    bins = pd.DataFrame({"count": [1, 3, 0], "accuracy": [1.0, 0.5, np.nan], "confidence": [0.2, 0.9, np.nan], **ends})
    found = values("calibration", table=table, reliability=bins)
    assert found["test_error", -1][0] == 0.4
    assert found["overconfidence", -1][0] == (1 * (0.2 - 1.0) + 3 * (0.9 - 0.5)) / 4
    assert found["confidence", 0.85][0] == 0.5
    assert len([1 for quantity, _ in found if quantity == "confidence"]) == 2


def units(**columns) -> pd.DataFrame:
    return pd.DataFrame(
        {"unit": range(5), "kind": ["stem", "msa", "mlp", "msa", "mlp"], "depth": np.linspace(0, 1, 5), **columns}
    )


def test_steps_by_kind():
    steps = {"step": [np.nan, -1.0, 0.5, 0.5, 1.5], "step_error": [np.nan, 0.1, 0.2, 0.3, 0.4]}
    table = units(variance=[1.0, 0.0, 0.5, 1.0, 2.5], standard_error=0.1, **steps)
    found = values("variance", table=table)
    value, error = found["attention_variance_step", -1]
    assert value == -0.25
    assert error == pytest.approx(0.2)  # no smaller than that of the mean, however the steps vary together
    assert found["attention_variance_lowered", -1][0] == 0.5
    assert found["mlp_variance_raised", -1][0] == 1.0
    assert not any(quantity.startswith("conv") for quantity, _ in found)
    assert found["variance", 0.5][0] == 0.5


def test_the_highest_frequency_alone_is_read():
    low = units(frequency=0.5, delta_log_amplitude=9.0, standard_error=0.1, step=9.0, step_error=0.1)
    high = units(
        frequency=1.0, delta_log_amplitude=[-1.0, -2, -3, -4, -5], standard_error=0.1, step=-1.0, step_error=0.1
    )
    found = values("fourier", table=pd.concat([low, high]))
    assert found["high_frequency", 1.0][0] == -5
    assert found["attention_high_step", -1][0] == -1
    single = high.assign(frequency=[1.0, 1.0, 1.0, 1.0, 0.0])  # a 1 × 1 map
    assert ("high_frequency", 1.0) not in values("fourier", table=single)


def test_lesions_at_the_ends_of_stages():
    table = pd.DataFrame(
        {"unit": range(7), "kind": ["conv"] * 4 + ["msa"] * 3, "depth": np.linspace(0, 1, 7),
         "stage": [0, 0, 0, 1, 1, 1, 1], "standard_error": 0.01,
         "delta_accuracy": [-0.3, -0.2, -0.1, -0.5, -0.1, -0.2, -0.4]}
    )  # fmt: skip
    found = values("lesion", table=table)
    assert found["lesion_conv_start", -1][0] == -0.3  # the one convolution of the second stage is both of its ends
    assert found["lesion_conv_end", -1][0] == -0.1
    assert found["lesion_attention_start", -1][0] == -0.1
    assert found["lesion_attention_end", -1][0] == -0.4
    plain = values("lesion", table=table.assign(stage=0))
    assert not any("start" in quantity for quantity, _ in plain)


def test_similarity_by_stage():
    cka = np.array([[1, 0.9, 0.5, 0.4], [0.9, 1, 0.6, 0.5], [0.5, 0.6, 1, 0.9], [0.4, 0.5, 0.9, 1]])
    table = pd.DataFrame(
        [(a, b, cka[a, b], 0.05) for a in range(4) for b in range(4)],
        columns=["unit_a", "unit_b", "cka", "standard_error"],
    )
    stages = pd.DataFrame({"side": "a", "unit": range(4), "stage": [0, 0, 1, 1]})
    both = pd.concat([stages, stages.assign(side="b", stage=0)])
    found = values("similarity", table=table.sample(frac=1, random_state=0), units=both)
    assert found["cka_first_last", -1] == (0.4, 0.05)
    assert found["block_structure", -1][0] == 0.3


def test_a_trajectory_is_read_by_epochs():
    table = pd.DataFrame({"step": [0, 10, 15, 20], "radius": [1.0, 0.8, 0.7, 0.0], "angle": [0.0, 10, 20, np.nan]})
    found = values("trajectory", table=table)
    assert found["trajectory_r", 1][0] == 0.8
    assert found["trajectory_r", 2][0] == 0.0
    assert ("trajectory_angle", 2) not in found
    assert len([1 for quantity, _ in found if quantity == "trajectory_r"]) == 3  # between epochs there is no place


def test_every_reading_is_that_of_an_instrument_or_of_the_log():
    assert set(READINGS) - {"training"} <= set(instruments())


def test_a_reading_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="No reading 'fuorier'. Did you mean fourier"):
        rows("fuorier", {}, LOG)


def test_the_trace_the_barrier_and_the_mean_wave():
    moments = pd.DataFrame({"metric": ["trace", "largest"], "value": [30.0, 9.0], "standard_error": [2.0, np.nan]})
    assert values("spectral_density", moments=moments) == {("hessian_trace", -1): (30.0, 2.0)}
    line = pd.DataFrame({"x": [1.0, 0.0, 0.5], "nll": [3.0, 1.0, 2.5]})
    assert values("interpolation", table=line)["barrier", -1][0] == 0.5
    assert values("interpolation", table=line.assign(nll=[3.0, 1.0, np.nan])) == {}
    waves = pd.DataFrame({"fx": [0.5, 1.0, -1.0], "fy": 0.0, "delta_accuracy": [-0.1, -0.3, -0.3],
                          "standard_error": [0.02, 0.04, 0.04]})  # fmt: skip
    assert values("fourier_heatmap", table=waves)["wave_drop", -1] == (-0.2, pytest.approx(0.03))  # ±1 is one wave


def test_a_similarity_beside_another_network_says_nothing_of_the_one():
    table = pd.DataFrame(
        {"model": "a", "model_b": "b", "unit_a": 0, "unit_b": [0, 1], "cka": 0.5, "standard_error": 0.1}
    )
    assert values("similarity", table=table, units=pd.DataFrame()) == {}


def test_a_run_tested_on_validation_images_has_no_test_accuracy():
    log = LOG.drop(columns=["test_accuracy", "test_nll", "images_per_second"])
    assert [row.quantity for row in rows("training", {}, log)] == ["nll_train"]
