"""Drawings of curvature and landscapes: positions and texts of what is drawn."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.projections.polar import PolarAxes
from mpl_toolkits.mplot3d.axes3d import Axes3D
from tests.figures.crafted import (
    hessian,
    interpolation,
    landscape,
    several,
    spectral_density,
    trajectory,
)
from tests.figures.test_drawings import axes, lines

from alternet.instruments.figures import FIGURES, draw, panels, sentences
from alternet.instruments.hessian.figure import axis_of, bandwidth, density, spectra
from alternet.instruments.spectral_density.figure import curves, kernel
from alternet.loss.spectrum import summary
from alternet.measurement import Measurement
from alternet.plotting.asinh_axis import AsinhAxis
from alternet.plotting.surface import heights, scale, turning, within


def test_the_density_is_that_of_scipy_with_silvermans_rule():
    from scipy.stats import gaussian_kde

    values = hessian("ViT").table["eigenvalue"].to_numpy()
    grid = np.linspace(-100, 300, 41)
    width = bandwidth(values)
    quarters = np.quantile(values, 0.75) - np.quantile(values, 0.25)
    assert width == pytest.approx(0.9 * min(values.std(ddof=1), quarters / 1.349) * len(values) ** -0.2)
    for side, points in ((values[values < 0], grid[grid < 0]), (values[values > 0], grid[grid >= 0])):
        scipys = gaussian_kde(side, bw_method=width / side.std(ddof=1))
        reflected = (scipys(points) + scipys(-points)) * len(side) / len(values)
        np.testing.assert_allclose(density(values, points, width), reflected, rtol=1e-6, atol=1e-12)


def test_hessian_draws_densities_of_area_one_and_shades_what_is_negative():
    figure = draw(several("hessian", "ResNet", "ViT"))
    above, below = (axis for axis in figure.findobj(Axes) if isinstance(axis, Axes))
    axis = axis_of(spectra(several("hessian", "ResNet", "ViT")))
    for line, model in zip(above.get_lines()[:2], ("ResNet", "ViT"), strict=True):
        x, y = np.asarray(line.get_xydata()).T
        places, values = axis.place(x), hessian(model).table["eigenvalue"]
        assert np.trapezoid(y, places) == pytest.approx(1, abs=0.002)
        assert np.trapezoid(y[x < 0], places[x < 0]) == pytest.approx((values < 0).mean(), abs=0.002)
        low, high = below.get_xlim()
        assert low < values.min() and values.max() < high
    assert all(path.vertices[:, 0].max() <= 0 for patch in above.collections for path in patch.get_paths())


def test_hessian_says_which_matrix_it_shows_and_how_much_of_the_gradient_it_holds():
    vit = hessian("ViT")
    assert panels(vit)[0].title == "Extreme eigenvalues of the Hessian"
    of_part = [{**vit.provenance, "settings": {"of": "gauss-newton"}}]
    table = vit.table.assign(overlap=np.where(vit.table["rank"] == 0, 0.3, 0.05))
    part = replace(vit, tables={**vit.tables, "table": table}, provenances=tuple(of_part))
    assert panels(part)[0].title == "Extreme eigenvalues of the Gauss-Newton matrix"
    (said,) = sentences(part)
    assert "of 300 eigenvalues of the Gauss-Newton matrix over 60 batches" in said
    assert said.endswith(" Along their eigenvectors lies 50% of the gradient's squared length.")
    joined = Measurement.concat([part, hessian("ResNet")])
    assert panels(joined)[0].title == "Extreme eigenvalues of matrices of several kinds"


def test_hessian_says_nep_and_ape_with_intervals_and_the_worst_residual():
    vit = hessian("ViT")
    nep, ape = (vit.tables["summary"].set_index("metric").loc[m, ["value", "low", "high"]] for m in ("nep", "ape"))
    (said,) = sentences(vit)
    assert said.startswith("ViT: of 300 eigenvalues of 60 batches 9.67% (")
    assert f"({100 * nep['low']:.3g} to {100 * nep['high']:.3g})" in said
    assert f"{ape['value']:.3g} ({ape['low']:.3g} to {ape['high']:.3g})" in said
    assert said.endswith("the worst residual is 0.0001 of the largest eigenvalue of its batch.")
    assert "batches none are negative (NEP)" in sentences(hessian("ResNet"))[0]
    one = vit.of("ViT").table.assign(batch=0, eigenvalue=-1.0, residual=0.0)
    rows = pd.DataFrame(summary(one["batch"], one["eigenvalue"]), columns=["metric", "value", "low", "high"])
    alone = replace(vit, tables={"table": one, "summary": rows.assign(model="ViT")})
    assert "1 batch 100% are negative (NEP), the mean of the positive ones is undefined" in sentences(alone)[0]
    assert draw(alone).axes


def test_an_asinh_axis_has_few_ticks_that_read_as_numbers_whatever_it_spans():
    for far in (1e-9, 1e-3, 0.7, 300.0, 1e12):
        for linear in (far, 1e-2 * far, 1e-6 * far):
            axis = AsinhAxis.of([-0.3 * far, far], linear=linear)
            assert 3 <= len(axis.ticks) <= 9 and 0.0 in axis.ticks
            np.testing.assert_allclose([float(t.replace("−", "-").replace(",", "")) for t in axis.labels], axis.ticks)
            np.testing.assert_allclose(axis.value(axis.place([-far, 0, far])), [-far, 0, far])


def test_the_spectral_density_counts_eigenvalues():
    measured = several("spectral_density", "a", "longer")
    axis, drawn = curves(measured)
    for counts in drawn.values():
        area = np.trapezoid(counts, axis.grid) / (kernel(axis) * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(area, 1000, rtol=1e-3)
    (axes,) = draw(measured).axes
    across, a, longer = (np.asarray(line.get_xydata()) for line in axes.get_lines()[1:])
    assert (across[:, 1] == 1).all()
    for line, far in ((a, 1), (longer, 6)):  # the last outlier holds a hundredth of 1000 eigenvalues
        assert line[np.abs(line[:, 0] - far).argmin(), 1] == pytest.approx(10, rel=0.02)
    low, high = axes.get_ylim()
    assert low < 1 and high > drawn["a"].max()
    band = np.asarray(axes.collections[1].get_paths()[0].vertices)
    assert band[:, 1].max() == pytest.approx(drawn["longer"].max())


def test_the_spectral_density_says_its_trace_with_its_error():
    said = sentences(spectral_density("longer"))
    assert said == [
        "longer: 1,000 eigenvalues from −1 to 6 add up to 75 ± 5 (standard error) (the trace), of which L2 makes 25; "
        "those below zero add up to −15 ± 5 (standard error)."
    ]
    one = spectral_density("longer")
    many = replace(one, tables={**one.tables, "moments": one.tables["moments"].assign(low=60.0, high=90.0)})
    assert "add up to 75 (60 to 90) (the trace)" in sentences(many)[0]
    table = one.table.assign(eigenvalue=np.nan)
    nothing = replace(one, tables={**one.tables, "table": table})
    assert sentences(nothing) == ["longer: no eigenvalue could be measured."]
    assert draw(nothing).axes


@pytest.mark.slow
def test_landscapes_share_one_height_and_the_cuts_hold_the_numbers():
    measured = Measurement.concat([landscape("a", sharp=3.0), landscape("b", sharp=20.0)])
    figure = draw(measured)
    surfaces = [a for a in figure.findobj(Axes3D) if isinstance(a, Axes3D)]
    assert [a.get_title() for a in surfaces] == ["a", "b"]
    assert {a.get_zlim() for a in surfaces} == {(0.0, 50.0)}
    cuts = lines(axes(figure, "Cuts: NLL + L2"))
    np.testing.assert_allclose(cuts[0], [[x, 8 * x**2] for x in (-1, -0.5, 0, 0.5, 1)])
    alone = lines(axes(figure, "Cuts: NLL alone"))
    np.testing.assert_allclose(alone[2][:, 1], [20, 5, 0, 5, 20])
    assert len(alone) == 4 and len(cuts) == 6
    for known in cuts[4:]:  # what L2 adds by itself
        np.testing.assert_allclose(known[:, 1], 5 * known[:, 0] ** 2, atol=1e-12)
    bars = [p for p in axes(figure, "Mean rise over directions (±2 SE)").patches if isinstance(p, Rectangle)]
    np.testing.assert_allclose([p.get_height() for p in bars[:4]], [0.75, 1.25, 3, 5])
    np.testing.assert_allclose([p.get_y() for p in bars[:4]], [0, 0.75, 0, 3])


def test_a_spike_and_a_point_without_a_loss_are_gaps_in_the_surface():
    one = landscape("a", sharp=3.0)
    table = one.table.copy()
    table.loc[0, ["nll", "loss"]] = np.nan
    table.loc[4, ["nll", "loss"]] = 900.0
    grid = heights(table)
    shown = scale([grid])
    assert np.isnan(grid.loss[0, 0]) and grid.loss[0, 4] == 894 and shown.high < 30
    assert np.isnan(within(grid, shown)).sum() == 2
    (surface,) = turning(grid, shown)["data"]
    json.dumps(surface, allow_nan=False)
    assert surface["z"][0][0] is None and surface["z"][0][4] is None and surface["z"][2][2] == 0


def test_landscapes_say_how_far_the_nll_rises_and_what_l2_adds():
    assert sentences(landscape("a", sharp=3.0)) == [
        "a: at r = 0.5 the NLL stands 0.75 ± 0.10 above the centre, and L2 adds 1.25; at r = 1 the NLL stands 3.00 ± "
        "0.10 above the centre, and L2 adds 5 (mean over 10 random directions, ± one standard error); what L2 adds is "
        "5·r² by identity, whatever the data."
    ]


def test_a_path_is_drawn_in_both_planes_and_called_a_diagnostic():
    figure = draw(trajectory("ViT"))
    polar = next(a for a in figure.findobj(PolarAxes) if isinstance(a, PolarAxes))
    np.testing.assert_allclose(lines(polar)[0][:, 0], np.deg2rad([0, 36.2, 63.3, 0]))
    np.testing.assert_allclose(lines(polar)[0][:, 1], [1, 0.64, 0.25, 0])
    plane = axes(figure, "The plane of the first two components")
    np.testing.assert_allclose(lines(plane)[0][0], [0.995, -0.03])
    assert "withdrew" in figure.get_suptitle() and "withdrew" in FIGURES["trajectory"].spec.caution
    assert sentences(trajectory("ViT")) == [
        "ViT: over 4 snapshots the distance from the final weights falls from snapshot to snapshot and the angle "
        "reaches 63°; two components show 97% of the path, where a random walk of as many points would show 88%."
    ]


def test_a_barrier_is_what_stands_above_the_straight_line_between_the_ends():
    one = interpolation("a")
    np.testing.assert_allclose(lines(axes(draw(one), "NLL alone"))[0][:, 1], one.table["nll"])
    assert sentences(one) == [
        "a: on the line the NLL stands up to 0.5 above what the two ends lead to expect, at x = 0.5."
    ]
    sinking = one.table.assign(nll=one.table["x"] ** 2)
    smooth = Measurement(instrument="interpolation", tables={"table": sinking}, provenances=one.provenances)
    assert sentences(smooth) == [
        "a: no barrier on the line; the NLL is nowhere above what the two ends lead to expect."
    ]
    for gaps, count in ((one.table["x"] == 1, 1), (one.table["x"] >= 0.5, 3)):
        table = one.table.assign(nll=one.table["nll"].mask(gaps & (one.table["x"] <= 1)))
        lost = Measurement(instrument="interpolation", tables={"table": table}, provenances=one.provenances)
        assert sentences(lost) == [f"a: the NLL is not finite at {count} of 5 points from one end to the other."]
