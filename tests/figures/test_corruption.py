"""The figure of corruptions: the numbers in its rows and steps, and the sentences."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from tests.figures.crafted import CORRUPTIONS, corruption, several

from alternet.instruments.corruption.figure import by_corruption, by_severity, places
from alternet.instruments.figures import draw, sentences
from alternet.measurement import Measurement

MEANS = [0.66 - 0.02 * turn * 3 for turn in (1, 2, 3, 4)]
"""Of a ViT, by corruption: the mean over severities 1 to 5 is at severity 3."""


def changed(one: Measurement, **summary: float) -> Measurement:
    table = one.tables["summary"].copy()
    for name, value in summary.items():
        table.loc[table["metric"] == name, "value"] = value
    return Measurement(
        instrument="corruption", tables={"table": one.table, "summary": table}, provenances=one.provenances
    )


def axes(measurement: Measurement) -> tuple[Axes, Axes]:
    left, right = draw(measurement).axes
    return left, right


def test_rows_and_steps_are_the_means():
    one = corruption("ViT")
    rows = by_corruption(one)
    assert list(rows.index) == ["clean", "mean", *CORRUPTIONS]
    np.testing.assert_allclose(rows["accuracy"], [0.66, 0.51, *MEANS])
    np.testing.assert_allclose(by_severity(one)["accuracy"], [0.66 - 0.05 * severity for severity in range(6)])


def test_a_row_holds_a_mark_a_model_and_the_rows_are_named():
    left, right = axes(several("corruption", "ResNet", "ViT"))
    names = [text.get_text() for text in left.get_yticklabels()]
    assert names == ["clean", "mean of 20 sets", "gaussian noise", "defocus blur", "glass blur", "fog"]
    marks = [found for found in left.collections if isinstance(found, PathCollection)]
    np.testing.assert_allclose(np.asarray(marks[1].get_offsets())[:, 0], [0.66, 0.51, *MEANS])
    offsets = [np.asarray(mark.get_offsets())[:, 1] for mark in marks]
    np.testing.assert_allclose(offsets[1] - offsets[0], 0.3)
    np.testing.assert_allclose((offsets[0] + offsets[1]) / 2, left.get_yticks())
    line = np.asarray(right.get_lines()[1].get_ydata())
    np.testing.assert_allclose(line, [0.66 - 0.05 * severity for severity in range(6)])


def test_whiskers_are_two_standard_errors():
    left, _ = axes(corruption("ViT"))
    (bars,) = [found for found in left.collections if isinstance(found, LineCollection)]
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, np.array([0.66, 0.51, *MEANS])[:, None] + [[-0.02, 0.02]])


def test_families_stand_together_in_the_order_of_the_table():
    names = {"clean": "clean", "fog": "weather", "snow": "weather", "contrast": "digital", "spatter": "weather"}
    table = pd.DataFrame({"corruption": list(names), "family": list(names.values())})
    rows, families = places(table)
    assert list(rows) == ["clean", "mean", "fog", "snow", "spatter", "contrast"]
    assert families == {"weather": 3.6, "digital": 6.2}
    assert rows["contrast"] - rows["spatter"] == pytest.approx(1.6)


def test_the_sentence_says_which_mean_over_how_many_sets_and_which_mce():
    one = corruption("ViT")
    said = "ViT: accuracy 66.0% ± 1.0% on clean images, 51.0% ± 1.0% in the plain mean over 20 corrupted sets, "
    worst = "lowest under fog (42.0% ± 1.0%)"
    paper = ", mCE 90.0% ± 1.0% against the AlexNet released with the paper's code."
    assert sentences(one) == [said + worst + paper]
    assert sentences(changed(one, mce_paper=np.nan)) == [said + worst + "."]
    authors = changed(one, mce=0.767, mce_paper=np.nan)
    assert sentences(authors) == [said + worst + ", mCE 76.7% against the AlexNet of the benchmark's authors."]
    (nothing,) = sentences(changed(one, mean_accuracy=np.nan, mce_paper=np.nan))
    assert "plain mean" not in nothing


def test_models_with_other_sets_are_drawn_and_not_called_alike():
    part = corruption("ResNet")
    fog = part.table[part.table["corruption"].isin(["clean", "fog"])]
    other = changed(
        Measurement(instrument="corruption", tables=part.tables | {"table": fog}, provenances=part.provenances), sets=5
    )
    left, _ = axes(Measurement.concat([other, corruption("ViT")]))
    assert "mean" in [text.get_text() for text in left.get_yticklabels()]
    marks = [found for found in left.collections if isinstance(found, PathCollection)]
    assert [len(np.asarray(mark.get_offsets())) for mark in marks] == [3, 6]
