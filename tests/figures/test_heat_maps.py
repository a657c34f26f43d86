"""Heat maps: the numbers in them, borders, strips, what is below 0 or undefined, and what the sentences count."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tests.figures.crafted import similarity
from tests.figures.drawn import drawn

from alternet.instruments.figures import draw, legend, sentences
from alternet.instruments.similarity.figure import heat
from alternet.measurement import Measurement
from alternet.plotting.depth_axis import SHADES


def changed(measurement: Measurement, **tables: pd.DataFrame) -> Measurement:
    return Measurement(
        instrument="similarity", tables={**measurement.tables, **tables}, provenances=measurement.provenances
    )


def panel(figure: Figure) -> Axes:
    return next(axis for axis in figure.axes if axis.images)


def values(measurement: Measurement) -> np.ndarray:
    """The matrix by plain indexing, rows the first model's units."""
    table = measurement.table
    made = np.full((table["unit_a"].max() + 1, table["unit_b"].max() + 1), np.nan)
    for row in table.itertuples():
        made[row.unit_a, row.unit_b] = row.cka
    return made


@pytest.mark.parametrize("beside", [None, "ViT"])
def test_the_heat_map_holds_the_numbers_whatever_the_order_of_rows(beside: str | None):
    measurement = similarity("Swin", beside=beside)
    shuffled = changed(
        measurement,
        table=measurement.table.sample(frac=1, random_state=0),
        units=measurement.tables["units"].sample(frac=1, random_state=1),
    )
    (image,) = panel(draw(shuffled)).images
    drawn = image.get_array()
    assert drawn is not None
    assert drawn.shape == (28, 25 if beside else 28)
    np.testing.assert_array_equal(drawn, values(measurement))
    assert image.origin == "lower"
    assert image.get_clim() == (0, 1)


def test_borders_stand_where_a_stage_ends_and_strips_show_kinds():
    axis = panel(draw(similarity("Swin", beside="PiT")))
    lines = [np.asarray(line.get_xydata()) for line in axis.get_lines()]
    upright = sorted({float(line[0, 0]) for line in lines if line[0, 0] == line[1, 0]})
    flat = sorted({float(line[0, 1]) for line in lines if line[0, 1] == line[1, 1]})
    kinds = {side: heat(similarity(side)).down.kinds for side in ("Swin", "PiT")}
    assert flat == [place - 0.5 for place, kind in enumerate(kinds["Swin"]) if kind == "pool"]
    assert upright == [place - 0.5 for place, kind in enumerate(kinds["PiT"]) if kind == "pool"]
    cells = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    grey = [cell for cell in cells if same_color(to_rgb(cell.get_facecolor()), SHADES["msa"]["facecolor"])]
    below = sorted(round(cell.get_x() + 0.5) for cell in grey if cell.get_y() < -0.5)
    aside = sorted(round(cell.get_y() + 0.5) for cell in grey if cell.get_x() < -0.5)
    assert below == [place for place, kind in enumerate(kinds["PiT"]) if kind == "msa"]
    assert aside == [place for place, kind in enumerate(kinds["Swin"]) if kind == "msa"]


def bar(measurement: Measurement) -> Axes:
    return next(axis for axis in draw(measurement).axes if not axis.images)


def test_what_is_below_zero_is_told_from_zero():
    (image,) = panel(draw(similarity("Swin"))).images
    below, zero = (image.cmap(image.norm(value)) for value in (-0.01, 0.0))
    assert not same_color(below, zero)
    assert bar(similarity("Swin")).get_ylabel() == "CKA (black: below 0)"
    assert bar(similarity("ViT")).get_ylabel() == "CKA"


def test_what_is_undefined_is_told_from_everything():
    measurement = similarity("ViT")
    table = measurement.table.assign(cka=measurement.table["cka"].where(measurement.table["unit_a"] != 3))
    figure = draw(changed(measurement, table=table))
    assert any(patch.get_hatch() == "xxxx" for patch in panel(figure).patches)
    assert "undefined" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any(patch.get_hatch() == "xxxx" for patch in panel(draw(measurement)).patches)
    nothing = changed(measurement, table=measurement.table.assign(cka=np.nan))
    assert sentences(nothing) == ["ViT: no similarity is defined."]
    assert "no values" in [text.get_text() for text in panel(draw(nothing)).texts]


def small(stages: list[int], cka: list[list[float]], errors: float = np.nan) -> Measurement:
    names = [f"t{unit}" for unit in range(len(stages))]
    rows = [
        ("a", i, names[i], "a", j, names[j], cka[i][j], errors) for i in range(len(stages)) for j in range(len(stages))
    ]
    columns = ["model", "unit_a", "tap_a", "model_b", "unit_b", "tap_b", "cka", "standard_error"]
    units = {"model": "a", "side": "a", "unit": range(len(stages)), "tap": names, "kind": "conv", "stage": stages}
    tables = {"table": pd.DataFrame(rows, columns=columns), "units": pd.DataFrame(units)}
    return Measurement(instrument="similarity", tables=tables, provenances=({"model": {"name": "a"}},))


NAN = float("nan")


@pytest.mark.parametrize(
    ("stages", "cka", "said"),
    [
        (
            [0, 0, 1],
            [[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]],
            "units of one stage have a mean CKA of 0.80, those of different stages 0.20 (block structure +0.60); "
            "stem and last unit 0.100",
        ),
        (
            [0, 0, 1],
            [[1, 0.1, 0.8], [0.1, 1, NAN], [0.8, NAN, 1]],
            "units of one stage have a mean CKA of 0.10, those of different stages 0.80 (block structure −0.70); "
            "stem and last unit 0.800",
        ),
        (
            [0, 0],
            [[1, 0.25], [0.25, 1]],
            "all pairs are of one stage, with a mean CKA of 0.25, so there are no blocks to compare; "
            "stem and last unit 0.250",
        ),
        (
            [0, 1],
            [[1, NAN], [NAN, 1]],
            "no similarity of two different units is defined; stem and last unit undefined",
        ),
        (
            [0, 1],
            [[1, 0.5], [0.5, 1]],
            "all pairs are of different stages, with a mean CKA of 0.50; stem and last unit 0.500",
        ),
        ([0], [[1]], "only one unit, so nothing to compare"),
    ],
)
def test_block_structure_by_hand(stages: list[int], cka: list[list[float]], said: str):
    measurement = small(stages, cka)
    assert sentences(measurement) == [f"a: {said}."]
    draw(measurement)


def test_two_models_are_compared_at_their_best_pair_their_stems_and_their_ends():
    measurement = similarity("Swin", beside="ViT")
    table = measurement.table.copy()
    table.loc[(table["unit_a"] == 9) & (table["unit_b"] == 2), ["cka", "standard_error"]] = (1.0, 0.004)
    table.loc[(table["unit_a"] == 0) & (table["unit_b"] == 0), "cka"] = 0.5
    (said,) = sentences(changed(measurement, table=table))
    assert said.startswith("Swin beside ViT: most alike are blocks.9 and blocks.2, with a CKA of 1.000 ± 0.004;")
    assert "the two stems 0.500 ± 0.010" in said
    assert sentences(similarity("Swin"))[0].endswith("stem and last unit −0.018 ± 0.010.")


def test_the_cells_say_their_numbers_and_name_both_units():
    measurement = similarity("Swin", beside="ViT")
    panel = drawn(measurement)["Swin beside ViT"]
    cells, matrix = panel.cells, values(measurement)
    assert cells.rows[4].startswith("4 · blocks.4 (") and cells.columns[1] == "1 · blocks.1 (attention)"
    assert len(set(cells.columns)) == 25 and len(cells.rows) == 28
    said = [[f"CKA {value:.3f} ± 0.01".replace("-", "−") for value in row] for row in matrix]
    assert cells.texts == said
    (image,) = panel.axis.images
    assert cells.extent == tuple(image.get_extent()) and image.origin == "lower"
    entries = [entry.text for entry in legend(measurement)]
    assert entries == ["attention", "subsampling", "other units", "a stage ends"]
    alone = drawn(small([0, 0], [[1, NAN], [NAN, 1]]))["a"].cells
    assert alone.texts == [["CKA 1.000", "CKA undefined"], ["CKA undefined", "CKA 1.000"]]
    assert [entry.text for entry in legend(small([0, 0], [[1, NAN], [NAN, 1]]))] == ["unit", "undefined"]
