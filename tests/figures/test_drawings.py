"""What the single figures draw: the numbers in the axes, the shading, the surfaces and the sentences."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tests.figures.crafted import (
    ACCURACY,
    COUNT,
    LESIONS,
    LOST,
    PUBLISHED,
    calibration,
    fourier,
    fourier_heatmap,
    frequency_noise,
    lesion,
    several,
    shape_bias,
    training,
    variance,
)

from alternet.instruments.calibration.figure import overconfidence
from alternet.instruments.figures import draw, panels, sentences
from alternet.instruments.fourier_heatmap.figure import limits as heat_limits
from alternet.instruments.fourier_heatmap.figure import maps, once
from alternet.instruments.lesion.figure import LEFT_ALONE
from alternet.instruments.training_log import chance
from alternet.measurement import Measurement
from alternet.plotting import depth_axis
from alternet.plotting.depth_axis import SHADES, Span, alike, merged, spans
from alternet.plotting.surface import numbers


def axes(figure: Figure, title: str) -> Axes:
    return next(axis for axis in figure.findobj(Axes) if isinstance(axis, Axes) and axis.get_title(loc="left") == title)


def lines(axis: Axes) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata()) for line in axis.get_lines()]


def shaded(axis: Axes, kind: str) -> list[tuple[float, float]]:
    patches = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    found = [patch for patch in patches if same_color(to_rgb(patch.get_facecolor()), SHADES[kind]["facecolor"])]
    return [(round(patch.get_x(), 6), round(patch.get_x() + patch.get_width(), 6)) for patch in found]


def test_fourier_draws_every_unit_and_its_end_is_the_point_against_depth():
    figure = draw(several("fourier", "ResNet", "ViT"))
    published = PUBLISHED[PUBLISHED["model"] == "ViT"]
    spectra = [line for line in lines(axes(figure, "ViT")) if len(line) > 1]
    assert len(spectra) == 25
    np.testing.assert_allclose([line[-1, 1] for line in spectra], published["delta_log_amplitude"])
    against = lines(axes(figure, "At the highest frequency of each feature map"))
    np.testing.assert_allclose(against[1][:, 1], published["delta_log_amplitude"])
    np.testing.assert_allclose(against[1][:, 0], np.linspace(0, 1, 25))


def test_one_model_is_shaded_where_attention_acts_and_several_get_strips():
    alone = axes(draw(fourier("ViT")), "At the highest frequency of each feature map")
    wanted = [(round((u - 1) / 24, 6), round(u / 24, 6)) for u in range(1, 25, 2)]
    assert shaded(alone, "msa") == wanted
    figure = draw(several("fourier", "Swin", "ViT"))
    assert not shaded(axes(figure, "At the highest frequency of each feature map"), "msa")
    strips = next(
        a for a in figure.findobj(Axes) if isinstance(a, Axes) and len(a.get_yticklabels()) == 2 and a.patches
    )
    assert [text.get_text() for text in strips.get_yticklabels()] == ["ViT", "Swin"]
    cells = shaded(strips, "msa")
    assert len(cells) == 24
    assert sorted(cells)[:2] == [(0.0, round(1 / 27, 6)), (0.0, round(1 / 24, 6))]
    assert len(shaded(strips, "pool")) == 3


def test_models_of_one_layout_share_a_background():
    same = Measurement.concat([fourier("ViT", "a"), fourier("ViT", "b")])
    assert len(shaded(axes(draw(same), "At the highest frequency of each feature map"), "msa")) == 12


def test_variance_panels_hold_the_numbers_and_the_shading():
    figure = draw(several("variance", "ResNet", "PiT"))
    np.testing.assert_allclose(
        lines(axes(figure, "PiT"))[0][:, 1], PUBLISHED.loc[PUBLISHED["model"] == "PiT", "variance"]
    )
    assert len(shaded(axes(figure, "PiT"), "pool")) == 2
    assert not shaded(axes(figure, "ResNet"), "msa")
    assert axes(figure, "PiT").get_ylim()[0] == 0


def test_variance_says_where_it_is_largest():
    (said,) = sentences(variance("ResNet"))
    assert said.endswith("; it is largest, 0.836, at depth 0.81 (blocks.13).")
    empty = variance("ResNet").table.assign(variance=np.nan)
    nothing = Measurement(instrument="variance", tables={"table": empty}, provenances=variance("ResNet").provenances)
    assert sentences(nothing)[0] == "ResNet: no variance could be measured."


def test_lesion_draws_percentage_points_the_ends_of_stages_and_what_was_left_alone():
    figure = draw(several("lesion", "ResNet", "Swin"))
    axis = axes(figure, "ResNet")
    zero, curve, crosses, *borders = lines(axis)
    np.testing.assert_allclose(zero[:, 1], 0)
    np.testing.assert_allclose(curve[:, 1], LESIONS.loc[LESIONS["model"] == "ResNet", "points"])
    np.testing.assert_allclose(crosses, [[unit / 16, 0] for unit in (4, 8, 14)])
    np.testing.assert_allclose([border[0, 0] for border in borders], [3.5 / 16, 7.5 / 16, 13.5 / 16])
    assert axis.get_ylim()[0] < -13.69 and axis.get_ylim()[1] > 0
    assert axes(figure, "Swin").get_ylim()[0] > -5
    bars = axis.collections[1].get_segments()
    np.testing.assert_allclose(bars[0][:, 1], -13.69 + 2 * np.array([-1, 1]) * np.sqrt(13.69 / 100))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["attention", "convolution", "MLP", "95 % interval", LEFT_ALONE, "between stages"]
    alone = [text.get_text() for text in draw(lesion("ViT")).legends[0].get_texts()]
    assert alone == ["attention", "MLP", "95 % interval"]


def test_lesion_says_which_unit_costs_most_and_what_the_ends_of_stages_cost():
    (resnet,), (swin,), (vit,) = (sentences(lesion(name)) for name in ("ResNet", "Swin", "ViT"))
    assert resnet == (
        "ResNet: removing blocks.1 (convolution, depth 0.06) costs most, 13.7 (95 %: 13.0 to 14.4) points of accuracy, "
        "from 82.7% to 69.0%; left alone, as a convolution changes the map's shape: 3 units."
    )
    table = LESIONS[LESIONS["model"] == "Swin"].set_index("unit")["points"]
    ends = [3, 8, 21, 26]
    mean, other = -table[ends].mean(), -table.drop(ends).mean()
    wanted = (
        f"attention at the end of a stage (4 units) costs {mean:.1f} points on average, all else (18 units) {other:.1f}"
    )
    assert wanted in swin and "removing blocks.3 (attention" in swin
    assert "attention at the end of a stage (1 unit) costs 0.4 points" in vit


def test_lesion_says_so_where_no_unit_costs_anything_or_none_was_removed():
    one = lesion("ViT")
    for values, said in (
        ({"delta_accuracy": 0.001, "standard_error": 0.01}, "ViT: no unit costs more than chance explains"),
        ({"delta_accuracy": -0.0199, "standard_error": 0.01}, "ViT: no unit costs more than chance explains"),
        ({"delta_accuracy": -0.0201, "standard_error": 0.01}, "costs most, 2.0 ± 1.0 points of accuracy"),
        ({"delta_accuracy": -0.0201, "standard_error": np.nan}, "costs most, 2.0 points of accuracy"),
        ({"delta_accuracy": np.nan, "standard_error": np.nan}, "ViT: no unit could be removed."),
        ({"delta_accuracy": 0.0003, "standard_error": 0.0}, "(1 unit) costs 0.0 points on average"),
        ({"delta_accuracy": 0.011, "standard_error": 0.0}, "(1 unit) costs −1.1 points on average"),
    ):
        table = one.table.assign(**values).drop(columns=["low", "high"])
        changed = Measurement(instrument="lesion", tables={"table": table}, provenances=one.provenances)
        assert said in sentences(changed)[0]
        draw(changed)


def test_spans_run_from_unit_to_unit_and_merge_by_kind():
    table = pd.DataFrame(
        {"unit": [3, 0, 1, 2], "depth": [1, 0, 0.2, 0.5], "kind": ["msa", "stem", "conv", "conv"], "tap": list("dabc")}
    )
    assert spans(table) == [Span(0, 0.2, "conv", "b"), Span(0.2, 0.5, "conv", "c"), Span(0.5, 1, "msa", "d")]
    assert [span[:3] for span in merged(spans(table))] == [(0, 0.5, "conv"), (0.5, 1, "msa")]
    assert list(merged([])) == []
    assert alike([]) and alike([spans(table)]) and not alike([spans(table), spans(table)[:2]])


def test_a_unit_without_which_no_answer_flipped_still_has_an_interval():
    one = lesion("ViT")
    for ends, said in (((-0.003, 0.003), "no unit costs more than chance"), ((-0.02, -0.001), "95 %: 0.1 to 2.0)")):
        table = one.table.assign(delta_accuracy=-0.001, standard_error=0.0, low=ends[0], high=ends[1])
        changed = Measurement(instrument="lesion", tables={"table": table}, provenances=one.provenances)
        assert said in sentences(changed)[0]
        (bars,) = [c for c in axes(draw(changed), "ViT").collections if np.allclose(c.get_linewidths(), 0.9)]
        for segment in bars.get_segments():
            np.testing.assert_allclose(segment[:, 1], 100 * np.array(ends))


def test_standard_errors_are_drawn_where_they_are_known():
    without = [f"step{end}" for end in ("", "_error", "_low", "_high")]
    known, unknown = fourier("ViT").table.drop(columns=without), variance("ViT").table[["kind", "unit", "variance"]]
    assert "±2 standard errors" in [entry.text for entry in depth_axis.kind_entries(known)]
    assert "±2 standard errors" not in [entry.text for entry in depth_axis.kind_entries(unknown)]


def test_reliability_bars_are_the_accuracies_and_the_histogram_sums_to_one():
    figure = draw(several("calibration", "ResNet", "ViT"))
    heights = [patch.get_height() for patch in axes(figure, "ViT").patches if isinstance(patch, Rectangle)]
    np.testing.assert_allclose(heights[:10], ACCURACY)
    np.testing.assert_allclose(heights[10:], (np.arange(10) + 0.5) / 10 - np.array(ACCURACY))
    histogram = next(a for a in figure.findobj(Axes) if isinstance(a, Axes) and a.get_ylabel() == "share of images")
    np.testing.assert_allclose(sum(p.get_height() for p in histogram.patches if isinstance(p, Rectangle)), 1)


def test_calibration_says_by_how_much_confidence_errs():
    bins = calibration("ViT").tables["reliability"]
    slow = sum(c * ((i + 0.5) / 10 - a) for i, (a, c) in enumerate(zip(ACCURACY, COUNT, strict=True))) / sum(COUNT)
    np.testing.assert_allclose(overconfidence(bins), slow)
    assert "on average under-confident by 15.4 percentage points" in sentences(calibration("ViT"))[0]
    assert np.isnan(overconfidence(bins.assign(count=0)))


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        (0.9, "on average over-confident by 40.0 percentage points"),
        (0.5, "mean confidence equal to accuracy"),
        (0.1, "on average under-confident by 40.0 percentage points"),
    ],
)
def test_over_and_under_confidence_are_not_confused(confidence: float, said: str):
    one = calibration("ViT")
    bins = one.tables["reliability"].head(1).assign(accuracy=0.5, confidence=confidence, count=7)
    table = one.table.tail(1).assign(metric="brier")
    measured = Measurement(
        instrument="calibration", tables={"table": table, "reliability": bins}, provenances=one.provenances
    )
    assert sentences(measured) == [f"ViT: {said}."]


def test_empty_bins_and_errors_of_metrics():
    one = calibration("ViT")
    bins = one.tables["reliability"].copy()
    bins.loc[0, ["accuracy", "confidence"]] = np.nan
    bins.loc[0, "count"] = 0
    table = one.table.assign(standard_error=[0.0123, 0.1, np.nan])
    measured = Measurement(
        instrument="calibration", tables={"table": table, "reliability": bins}, provenances=one.provenances
    )
    heights = [p.get_height() for p in axes(draw(measured), "ViT").patches if isinstance(p, Rectangle)]
    np.testing.assert_allclose(heights[:9], ACCURACY[1:])
    assert "accuracy 83.0% ± 1.2%" in sentences(measured)[0]


def test_frequency_noise_draws_percentage_points_and_twice_their_error():
    figure = draw(several("frequency_noise", "ResNet", "ViT"))
    axis = axes(figure, "Accuracy under noise of one frequency band, RMS 0.05 of the image range")
    np.testing.assert_allclose(lines(axis)[1], np.transpose([np.arange(1, 10) / 10, -np.array(LOST["ViT"])]))
    shade = np.asarray(axis.collections[0].get_paths()[0].vertices)
    at_first = shade[np.isclose(shade[:, 0], 0.1), 1]
    np.testing.assert_allclose([at_first.min(), at_first.max()], [-5.8, -4.2])


def test_the_strength_is_in_the_title_only_where_it_is_one():
    stronger = frequency_noise("ViT")
    facts = {**stronger.provenances[0], "settings": {"energy": "equal", "strength": 0.1}}
    other = Measurement(instrument="frequency_noise", tables=stronger.tables, provenances=(facts,))
    both = draw(Measurement.concat([frequency_noise("ResNet"), other]))
    assert axes(both, "Accuracy under noise of one frequency band")


def test_frequency_noise_says_what_is_fragile_and_where_two_models_cross():
    resnet, vit, crossing = sentences(several("frequency_noise", "ResNet", "ViT"))
    worst = (
        "ResNet: right on 75.0% of the images without noise; noise at 0.9π costs most, 15.4 (95 %: 14.6 to 16.2) "
        "percentage points"
    )
    assert (
        resnet == f"{worst}; on average it loses 9.3 below 0.5π and loses 12.2 above: more fragile to high frequencies."
    )
    assert vit.endswith("on average it loses 11.5 below 0.5π and loses 6.3 above: more fragile to low frequencies.")
    assert crossing == "ResNet and ViT: ResNet loses less up to 0.5π, ViT from 0.7π on."
    same = sentences(Measurement.concat([frequency_noise("ViT", "a"), frequency_noise("ViT", "b")]))
    assert same[2] == "a and b: no band tells them apart."
    below = sentences(several("frequency_noise", "PiT", "ResNet"))
    assert below[2] == "PiT and ResNet: PiT loses less in 8 of 9 bands, the others do not tell them apart."
    assert below[0].endswith("it loses 4.0 below 0.5π and loses 4.0 above: no clear difference.")


def test_frequency_noise_that_costs_nothing_or_was_not_measured():
    one = frequency_noise("ViT")
    said = {
        "costs nothing in any band": one.table.assign(delta_accuracy=0.0),
        "no accuracy under noise was measured": one.table.assign(delta_accuracy=np.nan),
        "costs most, 14.9 percentage": one.table.assign(standard_error=np.nan).drop(columns=["low", "high"]),
        "costs most, 14.9 ± 0.4 percentage": one.table.drop(columns=["low", "high"]),
    }
    for words, table in said.items():
        changed = Measurement(instrument="frequency_noise", tables={"table": table}, provenances=one.provenances)
        assert words in sentences(changed)[0] and "-0.0" not in sentences(changed)[0]
        draw(changed)


def test_fourier_heatmap_draws_losses_with_zero_in_the_middle_and_one_scale_for_all():
    figure = draw(several("fourier_heatmap", "ResNet", "ViT"))
    drawn = [axes(figure, name).get_images()[0] for name in ("ResNet", "ViT")]
    np.testing.assert_allclose([image.get_clim() for image in drawn], [[0, 1.1 * LOST["ResNet"][-1]]] * 2)
    for name, image in zip(("ResNet", "ViT"), drawn, strict=True):
        values = np.asarray(image.get_array().filled(np.nan))
        assert values.shape == (9, 9) and np.isnan(values[4, 4]) and np.isnan(values).sum() == 1
        np.testing.assert_allclose(values[0, [0, 4]], [LOST[name][-1], 1.1 * LOST[name][-1]])
        np.testing.assert_allclose(values[::-1, ::-1], values)
        np.testing.assert_allclose(image.get_extent(), [-1.125, 1.125, 1.125, -1.125])
        assert axes(figure, name).get_ylim() == (1.125, -1.125)  # down, as rows of an image are


def test_fourier_heatmap_says_which_wave_costs_most_and_counts_the_rim_once():
    resnet, vit = sentences(several("fourier_heatmap", "ResNet", "ViT"))
    worst = (
        "ResNet: right on 75.0% of the images without a wave; the wave at 0 across and π down costs most, 16.9 "
        "(95 %: 16.1 to 17.7)"
    )
    assert resnet.startswith(f"{worst} percentage points; on average it loses ")
    assert resnet.endswith("above: more fragile to high frequencies.")
    assert "0 across and 0.25π down costs most" in vit and vit.endswith("more fragile to low frequencies.")
    table = fourier_heatmap("ViT").table
    rows = once(table)
    assert len(rows) == 63 and len(table) == 80
    np.testing.assert_allclose(rows["frequency"], rows[["fx", "fy"]].abs().max(axis=1))


def test_fourier_heatmap_that_gains_costs_nothing_or_was_not_measured():
    one = fourier_heatmap("ViT")
    gains = one.table["delta_accuracy"].where(one.table["fx"] > -1, 0.02)
    said = {
        "no wave costs anything": one.table.assign(delta_accuracy=0.0),
        "no accuracy under waves was measured": one.table.assign(delta_accuracy=np.nan),
        "costs most, 14.9 percentage": one.table.assign(standard_error=np.nan).drop(columns=["low", "high"]),
        "costs most, 14.9 (95 %": one.table.assign(delta_accuracy=gains),
        "no wave costs anything.": one.table[one.table["fy"] == 0].assign(delta_accuracy=0.0).query("abs(fx) < 0.5"),
    }
    for words, table in said.items():
        changed = Measurement(instrument="fourier_heatmap", tables={"table": table}, provenances=one.provenances)
        assert words in sentences(changed)[0] and "-0.0" not in sentences(changed)[0]
        draw(changed)
    assert heat_limits(maps(replace(one, tables={"table": one.table.assign(delta_accuracy=gains)})))[0] == -2
    figure = draw(replace(one, tables={"table": said["costs most, 14.9 (95 %"]}))
    assert any("black: a gain" in axis.get_ylabel() for axis in figure.axes)
    assert not any("black" in axis.get_ylabel() for axis in draw(one).axes)


def test_shape_bias_of_many_models_is_a_panel_a_model_on_one_axis_beside_all_classes():
    names = [f"net {number}" for number in range(5)]
    made = panels(Measurement.concat(shape_bias("ViT", name) for name in names))
    assert [panel.title for panel in made] == ["All classes", *names]
    figure = Figure()
    for place, panel in enumerate(made):
        axis = figure.add_subplot(2, 3, place + 1)
        targets = panel.draw(axis)
        assert axis.get_xlim() == (-0.02, 1.02)
        own = names if place == 0 else [panel.title]
        assert [target.name for target in targets] == own
        assert all(target.boxes[0, 0] == 42 / 88 for target in targets)  # all classes lead
        assert [len(target.boxes) for target in targets] == [1] * 5 if place == 0 else [3]


def test_shape_bias_draws_shares_with_their_intervals():
    figure = draw(several("shape_bias", "ResNet", "ViT"))
    axis = axes(figure, "Shape or texture?")
    assert [text.get_text() for text in axis.get_yticklabels()] == ["all classes", "cat", "dog", "page"]
    np.testing.assert_allclose(lines(axis)[0], [[42 / 88, -0.2], [0.25, 0.8], [0.75, 1.8]])
    segments = np.array(axis.collections[1].get_segments())
    np.testing.assert_allclose(segments[:, :, 0], [[0.38, 0.58], [0.15, 0.39], [0.6, 0.86]])
    np.testing.assert_allclose(segments[:, 0, 1], [0.2, 1.2, 2.2])


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.38, 0.58, "no clear preference"), (0.51, 0.6, "it goes by shape more"), (0.3, 0.49, "it goes by texture more")],
)
def test_shape_bias_says_which_cue_wins_only_where_the_interval_does(low: float, high: float, said: str):
    one = shape_bias("ViT")
    bias = one.tables["bias"].assign(low=low, high=high)
    changed = Measurement(instrument="shape_bias", tables={**one.tables, "bias": bias}, provenances=one.provenances)
    where = f"shape bias 47.7% (95 % interval {low:.1%} to {high:.1%})"
    assert sentences(changed) == [f"ViT: {where}, from 88 decisions for either cue on 180 images; {said}."]


def test_shape_bias_without_a_decision_says_so():
    one = shape_bias("ViT")
    bias = one.tables["bias"].assign(shape_bias=np.nan, decisions=0)
    changed = Measurement(instrument="shape_bias", tables={**one.tables, "bias": bias}, provenances=one.provenances)
    assert sentences(changed) == ["ViT: it decided for neither shape nor texture on any image."]
    assert "no values" in [text.get_text() for text in axes(draw(changed), "Shape or texture?").texts]


def test_training_curves_and_chance():
    figure = draw(several("training", "a", "b"))
    accuracy = axes(figure, "Test accuracy")
    np.testing.assert_allclose(lines(accuracy)[0], [[1, 0.2], [2, 0.5], [3, 0.61]])
    np.testing.assert_allclose(lines(accuracy)[-1][:, 1], 1 / 18)
    assert sentences(training("a")) == ["a: test accuracy 61.0% after 3 epochs (chance: 5.6%)."]
    mixed = Measurement.concat([training("a"), training("b", classes=10)])
    assert chance(mixed) is None
    assert sentences(mixed)[1] == "b: test accuracy 61.0% after 3 epochs."


def test_training_names_the_averaged_weights_and_copes_with_one_epoch():
    one = training("a")
    averaged = one.table.assign(ema_test_accuracy=[0.1, 0.4, 0.65])
    measured = Measurement(instrument="training", tables={"table": averaged}, provenances=one.provenances)
    assert "61.0%, 65.0% with the moving average of its weights after 3 epochs" in sentences(measured)[0]
    unknown = one.table.assign(test_accuracy=np.nan)
    for table, said in (
        (one.table.head(1), "a: test accuracy 20.0% after 1 epoch"),
        (unknown, "a: no test accuracy was measured"),
    ):
        short = Measurement(instrument="training", tables={"table": table}, provenances=one.provenances)
        assert sentences(short)[0].startswith(said)
        draw(short)


def test_missing_numbers_become_gaps():
    assert numbers([1.23456789, np.nan, np.inf]) == [1.23457, None, None]
