"""What each unit changes: counts by hand, the published counts, and sentences for none, one and many units."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from tests.figures.crafted import PUBLISHED, STEP_ERROR, fourier, several, variance

from alternet.instruments.figures import exhibit, sentences
from alternet.instruments.fourier.figure import highest
from alternet.instruments.spec import CLEARLY
from alternet.measurement import Measurement
from alternet.plotting.depth_axis import bars
from alternet.plotting.units import changes, signed, tally


def points(kinds: list[str], values: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"model": "a", "unit": range(len(kinds)), "kind": kinds, "x": values})


def hits(column: str, model: str, kind: str, sign: int) -> int:
    """Counted with plain Python, unit by unit."""
    rows = list(PUBLISHED[PUBLISHED["model"] == model].itertuples())
    pairs = pairwise(rows)
    return sum((getattr(b, column) - getattr(a, column)) * sign > 0 for a, b in pairs if b.kind == kind)


@pytest.mark.parametrize(
    ("model", "amplitude", "spread"),
    [("ViT", (9, 8), (12, 8)), ("PiT", (6, 10), (10, 12)), ("Swin", (8, 10), (4, 12))],
)
def test_the_papers_figures_are_counted_as_published(model: str, amplitude: tuple[int, int], spread: tuple[int, int]):
    (said,) = sentences(fourier(model))
    assert f"attention lowers the high-frequency amplitude in {amplitude[0]} of 12 units, clearly in " in said
    assert f"MLPs raise it in {amplitude[1]} of 12 units" in said
    assert (hits("delta_log_amplitude", model, "msa", -1), hits("delta_log_amplitude", model, "mlp", 1)) == amplitude
    (said,) = sentences(variance(model))
    assert f"attention lowers the variance of feature maps in {spread[0]} of 12 units" in said
    assert f"MLPs raise it in {spread[1]} of 12 units" in said
    assert (hits("variance", model, "msa", -1), hits("variance", model, "mlp", 1)) == spread


def test_changes_are_the_differences_within_each_model_in_order_of_units():
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"model": list("aaaabbb"), "unit": [0, 1, 2, 3, 0, 1, 2], "x": generator.normal(size=7)})
    known = {(model, unit): x for model, unit, x in zip(table["model"], table["unit"], table["x"], strict=True)}
    slow = np.array([x - known.get((model, unit - 1), np.nan) for (model, unit), x in known.items()])
    np.testing.assert_allclose(changes(table, "x"), slow)
    shuffled = table.sample(frac=1, random_state=1)
    np.testing.assert_allclose(changes(shuffled, "x").sort_index(), slow)


def test_the_order_of_rows_does_not_matter():
    measurement = several("fourier", "ViT", "ResNet")
    table = measurement.table.sample(frac=1, random_state=0, ignore_index=True)
    shuffled = Measurement(instrument="fourier", tables={"table": table}, provenances=measurement.provenances)
    assert sentences(shuffled) == sentences(measurement)


@pytest.mark.parametrize(
    ("kinds", "values", "said"),
    [
        (["stem"], [1.0], "only one unit, so nothing to compare"),
        (["stem", "msa"], [1.0, 0.5], "attention lowers X in 1 of 1 unit (median change −0.50)"),
        (["stem", "msa"], [1.0, 1.0], "attention lowers X in 0 of 1 unit (median change 0)"),
        (["stem", "conv"], [1.0, 3.0], "no attention; convolutions raise X in 1 of 1 unit (median change +2.0)"),
        (["stem", "pool", "pool"], [1, 2, 1], "no attention; subsampling raises X in 1 of 2 units (median change 0)"),
        (["stem", "gru"], [1.0, 2.0], "no attention; gru units raise X in 1 of 1 unit (median change +1.0)"),
        (["stem", "msa"], [np.nan, 1.0], "attention: no value to compare in 1 unit"),
        (
            ["stem", "msa", "mlp", "msa"],
            [1.0, 0.5, np.nan, 0.1],
            "attention lowers X in 1 of 1 unit (median change −0.50), with no value to compare in 1 more; "
            "MLPs: no value to compare in 1 unit",
        ),
        (
            ["stem", "msa", "mlp", "mixer"],
            [np.nan, 0.5, 0.7, 0.8],
            "attention: no value to compare in 1 unit; MLPs raise X in 1 of 1 unit (median change +0.20); "
            "token mixing raises it in 1 of 1 unit (+0.10)",
        ),
    ],
)
def test_sentences_for_none_one_and_many(kinds: list[str], values: list[float], said: str):
    assert tally(points(kinds, values), "x", quantity="X") == said


def test_signs_are_right_at_every_size():
    given = [-1234.5, -12.4, -0.04449, 0.0, 3e-7, 0.999, 99.9]
    assert [signed(x) for x in given] == ["−1,234", "−12", "−0.044", "0", "+3.0e−07", "+1.0", "+100"]


def test_the_highest_frequency_is_that_of_each_map_and_never_zero():
    table = pd.DataFrame(
        {
            "model": "a",
            "unit": [0, 0, 0, 1, 1, 2],
            "frequency": [1.0, 0.0, 0.5, 0.0, 6 / 7, 0.0],
            "delta_log_amplitude": [-3.0, 0.0, -2.0, 0.0, -1.0, 0.0],
        }
    )
    top = highest(table).sort_values("unit")
    np.testing.assert_allclose(top["delta_log_amplitude"], [-3.0, -1.0, np.nan])
    np.testing.assert_allclose(top["frequency"], [1.0, 6 / 7, 0.0])


def test_sentences_claim_no_cause():
    said = " ".join(sentences(several("fourier", "ViT", "Swin")) + sentences(several("variance", "ViT", "Swin")))
    assert not any(word in said for word in ("because", "cause", "therefore", "leads to", "due to"))


@pytest.mark.parametrize("of", [fourier, variance])
def test_a_step_is_clear_if_its_interval_leaves_zero_out(of):
    """Steps of two errors at least, counted with plain Python."""
    measurement = of("ViT")
    column = {"fourier": "delta_log_amplitude", "variance": "variance"}[measurement.instrument]
    rows = list(PUBLISHED[PUBLISHED["model"] == "ViT"].itertuples())
    lower = [getattr(b, column) - getattr(a, column) for a, b in pairwise(rows) if b.kind == "msa"]
    clear = sum(step < -2 * STEP_ERROR for step in lower)
    (said,) = sentences(measurement)
    assert f"of 12 units, clearly in {clear} (median change" in said
    assert CLEARLY in exhibit(measurement.instrument).spec.caution


def test_without_intervals_nothing_is_called_clear():
    measurement = variance("ViT")
    few = measurement.table.assign(step_low=np.nan, step_high=np.nan)
    facts = {"instrument": "variance", "provenances": measurement.provenances}
    said, why = sentences(Measurement(tables={"table": few}, **facts))
    assert "clearly" not in said and why == "There are too few images for intervals of these steps."
    old = few.drop(columns=["step", "step_error", "step_low", "step_high"])
    assert sentences(Measurement(tables={"table": old}, **facts)) == [said]


def test_the_bars_are_the_intervals_of_the_steps_and_two_standard_errors_where_there_are_none():
    table = variance("ViT").table
    low, high = bars(table, "variance")
    np.testing.assert_allclose((high - low)[1:], 4 * STEP_ERROR)
    np.testing.assert_allclose(((high + low) / 2)[1:], table["variance"][1:])
    low, high = bars(table.assign(step_low=np.nan, step_high=np.nan), "variance")
    np.testing.assert_allclose(high - low, 4 * table["standard_error"])
