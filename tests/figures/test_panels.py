"""What every panel draws and says: each point at its place, in its order, with its model's look and its own text.

Faults that were planted in the drawings, one by one, each of which some test here or beside caught:
wrong column (sample variance for variance); sign turned (change of accuracy); rows left unsorted (frequency of the
noise); two models swapped; error bars halved (against depth, of corruptions); a wrong marker for a kind of unit; the
filling of attention given to all others; an axis with the label of the other; the text of the neighbouring point; the
last point left out; percentage points not multiplied by 100; a matrix turned upside down, and what its cells say; an
artist that belongs to no model, so that it could not be dimmed, or to another one; bars in the colour of no model; a
path in degrees instead of radians; counts for shares; a band that ends at the mean; an interval cut in half; NLL + L2
in the cut of NLL alone; the unit of another strip; rectangles whose y goes up. Who adds a drawing plants its faults.
"""

import math

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.collections import Collection, LineCollection, PathCollection
from matplotlib.colors import same_color, to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch
from tests.figures.crafted import MAKERS, STEP_ERROR, corruption, fourier, hessian, landscape, lesion, several
from tests.figures.drawn import drawn, told_apart

from alternet.instruments.figures import legend, panels
from alternet.instruments.lesion.figure import LEFT_ALONE
from alternet.kinds import kind_of
from alternet.measurement import Measurement
from alternet.plotting.panel import Cells, Points
from alternet.plotting.style import COLOURS

KINDS = {"stem": "stem", "msa": "attention", "conv": "convolution", "mlp": "MLP", "pool": "subsampling"}
TWO = ("ResNet", "ViT")


def unit(row) -> str:
    return f"{row.tap} ({KINDS[row.kind]}, depth {row.depth:.2f})"


def minus(text: str) -> str:
    return text.replace("-", "−")


def lost(row) -> str:
    at, most, least = (minus(f"{-100 * value + 0.0:.1f}") for value in (row.delta_accuracy, row.low, row.high))
    return f"{at} (95 %: {least} to {most})"


NOISE = "Accuracy under noise of one frequency band, RMS 0.05 of the image range"
POLAR = "Distance from the final weights, and angle to the initial ones"
PLANE = "The plane of the first two components"
DEPTH = "normalised depth (0: stem, 1: last unit)"
ENDS = "x (0: the network, 1: the other weights)"

CURVES = {
    ("variance", "{model}", "unit"): lambda r: (
        r.depth,
        r.variance,
        f"{unit(r)}\n{r.variance:.4g} ± {r.standard_error:.2g}"
        + ("" if math.isnan(r.step) else minus(f"\nstep {r.step:+.2g}, 95 %: {r.step_low:+.2g} to {r.step_high:+.2g}")),
    ),
    ("lesion", "{model}", "unit"): lambda r: (
        r.depth,
        100 * r.delta_accuracy,
        f"{unit(r)}\nloss {lost(r)} points\naccuracy {r.accuracy:.1%}, Δ NLL {r.delta_nll:+.3g}",
    ),
    ("frequency_noise", NOISE, "frequency"): lambda r: (
        r.frequency,
        100 * r.delta_accuracy,
        f"{r.frequency:.2f}π: loss {lost(r)} points\naccuracy {r.accuracy:.1%}, NLL {r.nll:.3f}",
    ),
    ("interpolation", "NLL alone", "x"): lambda r: (r.x, r.nll, f"x = {r.x:.3g}: {r.nll:.4g}"),
    ("interpolation", "NLL + L2", "x"): lambda r: (r.x, r.loss, f"x = {r.x:.3g}: {r.loss:.4g}"),
    ("interpolation", "Accuracy", "x"): lambda r: (r.x, r.accuracy, f"x = {r.x:.3g}: {r.accuracy:.1%}"),
    ("training", "Training loss", "epoch"): lambda r: (r.epoch, r.train_loss, f"epoch {r.epoch}: {r.train_loss:.4g}"),
    ("training", "Test accuracy", "epoch"): lambda r: (
        r.epoch,
        r.test_accuracy,
        f"epoch {r.epoch}: {r.test_accuracy:.1%}",
    ),
    ("trajectory", PLANE, "step"): lambda r: (r.pc1, r.pc2, f"step {r.step}\npc1 {r.pc1:.3f}, pc2 {r.pc2:.3f}"),
    ("trajectory", POLAR, "step"): lambda r: (
        0.0 if math.isnan(r.angle) else math.radians(r.angle),
        r.radius,
        f"step {r.step}\nradius {r.radius:.3f}" + ("" if math.isnan(r.angle) else f", angle {r.angle:.1f}°"),
    ),
}
"""Instrument, panel and order of rows; then where a row lies and what is said there."""


@pytest.mark.slow
@pytest.mark.parametrize(("instrument", "title", "order"), CURVES)
def test_a_curve_has_every_row_at_its_place_in_its_order_with_its_own_text_and_look(instrument, title, order):
    measurement, expected = told_apart(instrument, *TWO), CURVES[instrument, title, order]
    for place, model in enumerate(TWO):
        panel = drawn(measurement)[title.format(model=model)]
        rows = [expected(row) for row in measurement.of(model).table.sort_values(order).itertuples()]
        known = [row for row in rows if not math.isnan(row[1])]
        points = panel.points(model)[: len(known)]
        np.testing.assert_allclose([point[:2] for point in points], [row[:2] for row in known], rtol=1e-6)
        assert [point[2] for point in points] == [row[2] for row in known]
        line = panel.line(model)
        np.testing.assert_allclose(line.get_xydata(), [row[:2] for row in known], rtol=1e-6)
        assert same_color(line.get_color(), COLOURS[place])


LABELS_OF_BUILDUP = ("Validation accuracy of what was tried", "Accuracy on the test images")
LABELS = {
    "fourier": {"At the highest frequency of each feature map": (DEPTH, "Δ log amplitude")}
    | dict.fromkeys(TWO, ("frequency", "Δ log amplitude")),
    "variance": dict.fromkeys(TWO, (DEPTH, "feature-map variance")),
    "lesion": dict.fromkeys(TWO, (DEPTH, "Δ accuracy (percentage points)")),
    "similarity": dict.fromkeys(TWO, ("unit, from the stem on", "unit, from the stem on")),
    "calibration": dict.fromkeys(TWO, ("confidence", "accuracy")),
    "corruption": {
        "Each corruption, mean over its severities": ("accuracy (±2 standard errors)", ""),
        "Mean over corruptions": ("severity", "accuracy (±2 standard errors)"),
    }
    | {f"{model}: accuracy on every set": ("severity", "") for model in TWO},
    "hessian": {
        "Extreme eigenvalues of the Hessian": ("eigenvalue of the Hessian of one batch", "density on this axis")
    },
    "frequency_noise": {NOISE: ("frequency of the noise", "change of accuracy (percentage points)")},
    "fourier_heatmap": dict.fromkeys(TWO, ("frequency across", "frequency down")),
    "shape_bias": {"Shape or texture?": ("share of decisions for the shape", "")},
    "spectral_density": {"All eigenvalues": ("eigenvalue of the Hessian of all the data", "eigenvalues, smoothed")},
    "landscape": {f"{model}: NLL + L2 above the centre": ("x", "y") for model in TWO}
    | {f"{model}: the same from above": ("x", "y") for model in TWO}
    | {f"Cuts: {name}": ("x or y", "above the centre") for name in ("NLL + L2", "NLL alone")}
    | {"Mean rise over directions (±2 SE)": ("", "")},
    "interpolation": dict.fromkeys(("NLL alone", "NLL + L2", "Accuracy"), (ENDS, "")),
    "trajectory": {POLAR: ("radius", ""), PLANE: ("pc1", "pc2")},
    "training": {"Training loss": ("epoch", ""), "Test accuracy": ("epoch", "")},
    "epochs": dict.fromkeys(("calibration: accuracy", "fourier: high-frequency step of msa"), ("epoch", "")),
    "buildup": {f"Validation accuracy of what was tried · {model}": ("", "validation accuracy") for model in TWO}
    | {f"Accuracy on the test images · {model}": ("", "test accuracy") for model in TWO},
    "claims": {f"{topic} · {model}": ("", "") for topic in ("Feature maps", "Loss landscape") for model in TWO},
    "comparison": {
        f"{title}: {model}": (f"B {words}", "")
        for title, words in {
            "Shares": "less A, percentage points",
            "Losses": "less A, nat",
            "Ratios": "over A, times as much",
            "Other numbers": "less A, each in its own unit",
        }.items()
        for model in TWO
    },
}


def test_a_search_shows_every_placement_and_joins_those_that_were_kept():
    measurement = told_apart("buildup", *TWO)
    for place, model in enumerate(TWO):
        panels, rows = drawn(measurement), measurement.of(model).table.sort_values("step")
        path, test = (panels[f"{what} · {model}"] for what in LABELS_OF_BUILDUP)
        kept = rows[rows["kept"] == 1]
        np.testing.assert_allclose(path.line(model).get_xydata(), kept[["step", "accuracy"]])
        lines = [artist for artist in path.artists(model) if isinstance(artist, Line2D)]
        markers = [line for line in lines if line.get_marker() == "o"]
        assert [marker.get_ydata()[0] for marker in markers] == rows["accuracy"].tolist()
        assert [to_hex(marker.get_markerfacecolor()) == "#ffffff" for marker in markers] == (rows["kept"] == 0).tolist()
        assert [text for *_, text in path.points(model)] == [
            f"{r.units}\n{r.accuracy:.1%} ± {r.standard_error:.1%}"
            + ("" if r.step == 0 else minus(f"\n{r.gain:+.1%}") + f" ± {r.gain_error:.1%}, ")
            + ("" if r.step == 0 else "kept" if r.kept else "left out again")
            for r in rows.itertuples()
        ]
        assert [tick.get_text() for tick in path.axis.get_xticklabels()] == [
            "none",
            *(f"+ {u}" for u in rows["unit"][1:]),
        ]
        shown = measurement.of(model).tables["test"].set_index("network")["accuracy"]
        assert [y for _, y, _ in test.points(model)] == shown.loc[["no attention", "chosen"]].tolist()
        assert same_color(path.line(model).get_color(), COLOURS[place])


@pytest.mark.slow
@pytest.mark.parametrize("instrument", MAKERS)
def test_every_panel_has_its_title_and_the_labels_of_its_axes(instrument: str):
    found = {
        title: (panel.axes[-1].get_xlabel(), panel.axis.get_ylabel())
        for title, panel in drawn(several(instrument, *TWO)).items()
    }
    assert found == LABELS[instrument]


def colours(artist: Artist) -> list[tuple[float, float, float]]:
    if isinstance(artist, Line2D):
        return [to_rgb(artist.get_color()), to_rgb(artist.get_markeredgecolor())]
    assert isinstance(artist, Collection | Patch)
    both = (artist.get_facecolor(), artist.get_edgecolor())
    return [to_rgb(colour) for some in both for colour in np.atleast_2d(np.asarray(some)) if len(colour)]


@pytest.mark.slow
@pytest.mark.parametrize("instrument", MAKERS)
def test_what_belongs_to_a_model_has_its_colour_and_is_told_from_what_belongs_to_none(instrument: str):
    """Lines, bars and marks are in their model's colour, spectra in that of their depth; no such line is nobody's."""
    measurement = several(instrument, *TWO)
    for title, panel in drawn(measurement).items():
        if any(isinstance(target, Cells) for target in panel.targets) or not panel.targets:
            continue  # matrices and surfaces have colours of their own
        if (instrument == "fourier" and title in TWO) or instrument == "comparison":
            continue  # spectra, and rows, have the colour of their depth, or of the network that is better
        for place, model in enumerate(TWO):
            found = [colour for artist in panel.artists(model) for colour in colours(artist)]
            of_models = {colour for colour in found if colour in map(to_rgb, COLOURS)}
            assert of_models == ({to_rgb(COLOURS[place])} if found else set()), title
        owned = {id(artist) for model in TWO for artist in panel.artists(model)}
        loose = [line for axis in panel.axes for line in axis.get_lines() if id(line) not in owned]
        assert not any(same_color(line.get_color(), colour) for line in loose for colour in COLOURS)
        assert owned, title


@pytest.mark.slow
@pytest.mark.parametrize("instrument", MAKERS)
@pytest.mark.parametrize("models", [("ViT",), ("ResNet", "ViT", "Swin")], ids=["one", "three"])
def test_every_model_says_something_and_every_place_lies_within_its_axes(instrument: str, models: tuple[str, ...]):
    said: set[str] = set()
    for panel in drawn(several(instrument, *models)).values():
        for target in panel.targets:
            assert target.axis in panel.axes and target.model in models
            said.add(target.model)
            if isinstance(target, Points):
                assert len(target.boxes) == len(target.texts) and all(target.texts)
                (low, high), (bottom, top) = (sorted(side) for side in (target.axis.get_xlim(), target.axis.get_ylim()))
                middles = (target.boxes[:, :2] + target.boxes[:, 2:]) / 2
                inside = (middles >= [low - 1e-9, bottom - 1e-9]) & (middles <= [high + 1e-9, top + 1e-9])
                hidden = instrument == "spectral_density"  # its curves go on below the axis
                assert hidden or inside[np.isfinite(middles).all(axis=1)].all()
            else:
                assert [len(row) for row in target.texts] == [len(target.columns)] * len(target.rows)
    assert said == set(models)


def test_every_unit_has_the_marker_of_its_kind_filled_for_attention_alone():
    measurement = several("variance", "Swin")
    scattered = [a for a in drawn(measurement)["Swin"].artists("Swin") if isinstance(a, PathCollection)]
    found = {}
    for marks in scattered:
        filled = not same_color(to_rgb(marks.get_facecolor()[0]), "white")
        shape = marks.get_paths()[0].vertices
        for x, y in np.asarray(marks.get_offsets()):
            found[round(x, 6)] = (y, shape, filled)
    for row in measurement.table.itertuples():
        y, shape, filled = found[round(row.depth, 6)]
        marker = MarkerStyle(kind_of(row.kind).marker)
        assert y == row.variance and filled == (row.kind == "msa")
        np.testing.assert_allclose(shape, marker.get_path().transformed(marker.get_transform()).vertices)


def test_bars_against_depth_are_intervals_of_steps_or_two_standard_errors():
    steps = fourier("ViT")
    old = steps.table.drop(columns=[name for name in steps.table if name.startswith("step")])
    errors = Measurement(instrument="fourier", tables={"table": old}, provenances=steps.provenances)
    for measurement, reach, first in ((steps, 2 * STEP_ERROR, 1), (errors, 0.1, 0)):
        panel = drawn(measurement)["At the highest frequency of each feature map"]
        (bars,) = [a for a in panel.artists("ViT") if isinstance(a, LineCollection)]
        for (x, y, _), segment in list(zip(panel.points("ViT"), bars.get_segments(), strict=True))[first:]:
            np.testing.assert_allclose(segment, [[x, y - reach], [x, y + reach]])


def test_spectra_say_frequency_and_value_of_every_unit_and_strips_name_it():
    measurement = told_apart("fourier", *TWO)
    panels = drawn(measurement)
    for row, rows in measurement.of("ViT").table.sort_values("frequency").groupby("unit"):
        first = next(rows.itertuples())
        said = panels["ViT"].points(unit(first))
        assert said == [
            (r.frequency, r.delta_log_amplitude, f"{r.frequency:.2f}π: {r.delta_log_amplitude:.3f}")
            for r in rows.itertuples()
        ], row
    strips = panels["At the highest frequency of each feature map"].points("ViT", axis=1)
    assert strips[0] == (pytest.approx(1 / 24), 0.36, "blocks.1 (attention)")
    assert [text for *_, text in strips] == [f"blocks.{k} ({'attention' if k % 2 else 'MLP'})" for k in range(1, 25)]


def test_lesions_name_what_was_left_alone():
    *_, last = drawn(lesion("ResNet"))["ResNet"].targets
    assert isinstance(last, Points)
    np.testing.assert_allclose(last.boxes[:, :2], [[unit / 16, 0] for unit in (4, 8, 14)])
    assert last.texts[0] == f"blocks.4 (convolution, depth 0.25)\n{LEFT_ALONE}"


def test_reliability_says_of_every_bin_its_place_its_accuracy_and_its_images():
    measurement = told_apart("calibration", *TWO)
    panel = drawn(measurement)["ViT"]
    bins = measurement.of("ViT").tables["reliability"].rename(columns={"count": "images"})
    for axis, top in ((0, bins[["accuracy", "confidence"]].max(axis=1)), (1, bins["images"] / bins["images"].sum())):
        said = panel.points("ViT", axis=axis)
        np.testing.assert_allclose([s[:2] for s in said], np.stack([bins["high"], top], axis=1))
        for (*_, text), row in zip(said, bins.itertuples(), strict=True):
            place = f"confidence {row.low:.2f} to {row.high:.2f}, mean {row.confidence:.1%}"
            assert text.startswith(f"{place}\naccuracy {row.accuracy:.1%}\n{row.images} images, ")


def test_shape_bias_says_share_interval_and_counts():
    measurement = told_apart("shape_bias", *TWO)
    said = drawn(measurement)["Shape or texture?"].points("ViT")
    bias = measurement.of("ViT").tables["bias"].set_index("shape")
    shown = [name for name in ("all", "cat", "dog", "page", "clock") if name in bias.index and name != "page"]
    assert len(said) == len(shown)
    for x, _, text in said:
        name = text.partition(":")[0].replace("all classes", "all")
        row = bias.loc[name]
        assert x == row["shape_bias"]
        assert text.endswith(
            f"{row['shape_bias']:.1%} shape ({row['low']:.1%} to {row['high']:.1%})\n"
            f"{row['decisions']:.0f} decisions on {row['images']:.0f} images"
        )


def test_corruption_rows_steps_and_maps_say_their_numbers():
    panels = drawn(several("corruption", *TWO))
    rows = panels["Each corruption, mean over its severities"].points("ViT")
    assert [text for *_, text in rows][:3] == [
        "clean: 66.0% ± 1.0%",
        "mean of 20 sets: 51.0% ± 1.0%",
        "gaussian noise: 60.0% ± 1.0%",
    ]
    np.testing.assert_allclose([x for x, *_ in rows], [0.66, 0.51, 0.6, 0.54, 0.48, 0.42])
    steps = panels["Mean over corruptions"].points("ViT")
    assert [text for *_, text in steps][::5] == ["clean: 66.0% ± 1.0%", "severity 5: 41.0% ± 1.0%"]
    cells = panels["ViT: accuracy on every set"].cells
    (image,) = panels["ViT: accuracy on every set"].axis.get_images()
    assert cells.rows == ["gaussian noise", "defocus blur", "glass blur", "fog"]
    assert list(cells.columns) == [f"severity {severity}" for severity in range(1, 6)]
    np.testing.assert_allclose(image.get_array()[3], [0.66 - 0.08 * severity for severity in range(1, 6)])
    assert cells.texts[3] == ["58.0% ± 1.0%", "50.0% ± 1.0%", "42.0% ± 1.0%", "34.0% ± 1.0%", "26.0% ± 1.0%"]
    assert cells.extent == (-0.5, 4.5, -0.5, 3.5) and tuple(image.get_extent()) == (-0.5, 4.5, 3.5, -0.5)
    written = [text.get_text() for text in panels["ViT: accuracy on every set"].axis.texts]
    assert written[:5] == ["64%", "62%", "60%", "58%", "56%"]
    looks = [panels["Mean over corruptions"].line(model).get_marker() for model in TWO]
    assert looks == ["o", "s"]


def test_a_set_that_was_not_measured_is_a_gap_in_the_map():
    one = corruption("ViT")
    table = one.table[(one.table["corruption"] != "fog") | (one.table["severity"] != 2)]
    other = Measurement(instrument="corruption", tables={**one.tables, "table": table}, provenances=one.provenances)
    panel = drawn(other)["ViT: accuracy on every set"]
    assert panel.cells.texts[3][1] == "not measured" and len(panel.axis.texts) == 19


def test_heat_maps_of_waves_say_loss_error_and_accuracy_of_each():
    measurement = told_apart("fourier_heatmap", *TWO)
    panel = drawn(measurement)["ResNet"]
    (image,) = panel.axis.get_images()
    cells = panel.cells
    assert (cells.rows[0], cells.columns[-1], cells.rows[4]) == ("−π down", "π across", "0 down")
    assert cells.texts[4][4] == "not measured"
    for row in measurement.of("ResNet").table.itertuples():
        down, across = round(4 * row.fy + 4), round(4 * row.fx + 4)
        loss = f"loss {-100 * row.delta_accuracy:.1f} ± 0.4 points\naccuracy {row.accuracy:.1%}"
        assert cells.texts[down][across] == loss
        assert image.get_array()[down, across] == pytest.approx(-100 * row.delta_accuracy)
    left, right, bottom, top = image.get_extent()
    assert cells.extent == (left, right, top, bottom)


def test_extreme_eigenvalues_say_where_they_come_from():
    panel = drawn(told_apart("hessian", *TWO))["Extreme eigenvalues of the Hessian"]
    table = hessian("ViT").table.sort_values("eigenvalue")
    quantiles, single = (target for target in panel.targets if target.axis is panel.axes[1] and target.name == "ViT")
    assert isinstance(quantiles, Points) and isinstance(single, Points)
    np.testing.assert_allclose(quantiles.boxes[:, 0], table["eigenvalue"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]))
    assert quantiles.texts[2].startswith("50% of the eigenvalues lie below ")
    assert len(single.texts) == 200 and single.boxes[0, 0] == table["eigenvalue"].min()
    assert single.boxes[-1, 0] == table["eigenvalue"].max()
    last = table.iloc[-1]
    details = f"(batch {last['batch']}, rank {last['rank']}, residual {last['residual']:.1g})"
    assert single.texts[-1] == f"{last['eigenvalue']:.4g} {details}"
    ticks = panel.artists("ViT")
    drawn_at = next(a for a in ticks if isinstance(a, Line2D) and a.axes is panel.axes[1]).get_xdata()
    np.testing.assert_allclose(np.asarray(drawn_at)[::3], single.boxes[:, 0])
    for x, _, text in panel.points("ViT"):
        assert text.endswith(f"{(table['eigenvalue'] < x).mean():.1%} lie below")


def test_the_spectral_density_says_eigenvalue_count_and_range():
    panel = drawn(several("spectral_density", "a", "longer"))["All eigenvalues"]
    line = np.asarray(panel.line("longer").get_xydata())
    said = panel.points("longer")
    np.testing.assert_allclose([s[:2] for s in said], line[::4])
    peak = max(said, key=lambda one: one[1])
    assert peak[2] == "eigenvalue 0\nsmoothed count 965 (960 to 970)"


def test_landscapes_say_loss_and_nll_at_each_point_and_on_the_cuts():
    measured = Measurement.concat([landscape("a", sharp=3.0), landscape("b", sharp=20.0)])
    panels = drawn(measured)
    cells = panels["b: the same from above"].cells
    assert (cells.rows[0], cells.columns[3], cells.texts[0][3]) == ("y = -1", "x = 0.5", "NLL +25\nloss +31.25")
    assert cells.extent == (-1.25, 1.25, -1.25, 1.25)
    cuts = panels["Cuts: NLL alone"]
    np.testing.assert_allclose(cuts.line("b").get_xydata(), [[x, 20 * x**2] for x in (-1, -0.5, 0, 0.5, 1)])
    assert cuts.points("b")[0] == (-1, 20, "x = −1: +20") and cuts.points("b")[-1] == (1, 20, "y = 1: +20")
    rise = panels["Mean rise over directions (±2 SE)"].points("a")
    assert rise[1][1:] == (8.0, "r = 1\nNLL 3.00 ± 0.10\nloss 8.00 ± 0.10")


def test_only_surfaces_turn_and_their_scale_is_one_for_all():
    turning = {name: [p.surface for p in panels(several(name, *TWO)) if p.surface is not None] for name in MAKERS}
    assert [name for name, found in turning.items() if found] == ["landscape"]
    one, other = turning["landscape"]
    assert (one["data"][0]["cmin"], one["data"][0]["cmax"]) == (other["data"][0]["cmin"], other["data"][0]["cmax"])
    assert one["layout"]["scene"]["zaxis"] == other["layout"]["scene"]["zaxis"]


def test_missing_values_are_neither_drawn_nor_said():
    one = fourier("ViT")
    table = one.table.assign(delta_log_amplitude=np.nan)
    empty = Measurement(instrument="fourier", tables={"table": table}, provenances=one.provenances)
    panel = drawn(empty)["At the highest frequency of each feature map"]
    assert np.isnan([y for _, y, _ in panel.points("ViT")]).all()
    assert all(isinstance(target, Points | Cells) for target in panel.targets)


@pytest.mark.slow
def test_a_table_in_another_order_gives_the_same_panels():
    for instrument in set(MAKERS) - {
        "claims",
        "comparison",
        "corruption",
        "shape_bias",
    }:  # whose rows stand in the order of the table
        measurement = several(instrument, *TWO)
        tables = {name: table.sample(frac=1, random_state=3) for name, table in measurement.tables.items()}
        other = Measurement(instrument=instrument, tables=tables, provenances=measurement.provenances)
        for title, panel in drawn(measurement).items():
            again = drawn(other)[title]
            for one, two in zip(panel.targets, again.targets, strict=True):
                if isinstance(one, Points) and isinstance(two, Points):
                    pairs = [sorted(map(str, zip(t.boxes.round(9).tolist(), t.texts, strict=True))) for t in (one, two)]
                    assert pairs[0] == pairs[1], (instrument, title)
                else:
                    assert one[1:] == two[1:], (instrument, title)


def test_the_legend_names_every_model_that_panels_share():
    shared = {"fourier", "corruption", "hessian", "frequency_noise", "shape_bias", "spectral_density", "landscape"}
    for instrument in shared | {"interpolation", "trajectory", "training"}:
        entries = legend(several(instrument, *TWO))
        named = {entry.model: entry.handle for entry in entries if entry.model}
        assert list(named) == list(TWO)
        assert [handle.get_color() for handle in named.values() if isinstance(handle, Line2D)] == list(COLOURS[:2])
