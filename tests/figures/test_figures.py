"""What every figure promises: no display, no global change, the same bytes, clear errors, an open registry."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.figures.crafted import MAKERS, PUBLISHED, fourier, several, variance
from tests.figures.drawn import drawn

from alternet.instruments import figures
from alternet.instruments.figures import FIGURES, Exhibit, cast, draw, exhibit, register, save, sentences, svg
from alternet.instruments.spec import Spec, number
from alternet.measurement import Measurement
from alternet.plotting import style
from alternet.plotting.style import COLOURS, DASHES, model_styles

INSTRUMENTS = sorted(MAKERS)
HOSTILE = ("<script>alert(1)</script>", '_"quoted" $x$ & $', "long" * 40, "line\nbreak", "网络")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def renamed(measurement: Measurement, name: str) -> Measurement:
    (facts,) = measurement.provenances
    tables = {key: table.assign(model=name) for key, table in measurement.tables.items()}
    facts = {**facts, "model": {**facts["model"], "name": name}}
    return Measurement(instrument=measurement.instrument, tables=tables, provenances=(facts,))


def test_every_registered_figure_is_tested():
    assert set(FIGURES) == set(MAKERS)


@pytest.mark.thorough
@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize("models", [("ViT",), ("ResNet", "ViT", "Swin")], ids=["one", "three"])
def test_svg_is_the_same_bytes_every_time_whatever_the_users_style(instrument: str, models: tuple[str, ...]):
    measurement = several(instrument, *models)
    first = svg(draw(measurement))
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": True, "figure.dpi": 300}):
        assert svg(draw(measurement)) == first
    ElementTree.fromstring(first)
    assert "<dc:date>" not in first


def test_another_number_gives_another_svg():
    measurement = variance("ViT")
    changed = measurement.table.assign(variance=measurement.table["variance"] * [*[1.0] * 24, 1.05])
    other = Measurement(instrument="variance", tables={"table": changed}, provenances=measurement.provenances)
    assert svg(draw(measurement)) != svg(draw(other))


@pytest.mark.slow
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_drawing_changes_no_setting_and_no_number(instrument: str):
    measurement, before = several(instrument, "ResNet", "ViT"), dict(mpl.rcParams)
    tables = {name: table.copy() for name, table in measurement.tables.items()}
    svg(draw(measurement))
    sentences(measurement)
    assert dict(mpl.rcParams) == before
    for name, table in tables.items():
        pd.testing.assert_frame_equal(measurement.tables[name], table)


@pytest.mark.slow
def test_drawing_needs_no_display_no_pyplot_and_no_torch():
    code = (
        "import sys; from tests.figures.crafted import MAKERS, several\n"
        "from alternet.instruments.figures import draw, svg\n"
        "for instrument in MAKERS: svg(draw(several(instrument, 'ViT')))\n"
        "print({'torch', 'matplotlib.pyplot', 'plotly', 'tkinter'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    environment = {"MPLBACKEND": "TkAgg", "PYTHONPATH": f"{root / 'src'}:{root}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=root, check=False
    )
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_six_models_with_hostile_names_are_drawn_and_named_in_full(instrument: str):
    parts = [renamed(several(instrument, "ViT"), name) for name in HOSTILE]
    figure = draw(Measurement.concat([*parts, several(instrument, "ResNet")]))
    image = svg(figure)
    ElementTree.fromstring(image)
    assert "<script>" not in image
    drawn = " ".join(texts(figure)).replace("\n", "")
    assert r"_\"quoted\" \$x\$ & \$".replace('\\"', '"') in drawn
    if instrument not in (
        "buildup",
        "claims",
        "comparison",
        "variance",
        "similarity",
        "fourier_heatmap",
        "lesion",
        "calibration",
        "hessian",
        "spectral_density",
    ):
        # one axis for all models: the legend holds what a title shortens
        assert "long" * 40 in drawn


@pytest.mark.parametrize(
    ("instrument", "value"),
    [
        ("fourier", "delta_log_amplitude"),
        ("variance", "variance"),
        ("frequency_noise", "delta_accuracy"),
        ("fourier_heatmap", "delta_accuracy"),
    ],
)
def test_all_values_missing_says_so(instrument: str, value: str):
    measurement = several(instrument, "ViT")
    table = measurement.table.assign(**{value: float("nan")})
    empty = Measurement(instrument=instrument, tables={"table": table}, provenances=measurement.provenances)
    assert "no values" in texts(draw(empty))
    assert "no values" not in texts(draw(measurement))


def test_a_missing_table_a_missing_column_and_a_damaged_value_are_named():
    good = fourier("ViT")
    for tables, message in (
        ({"other": good.table}, r"the fourier measurement of ViT has no table 'table', only \['other'\]"),
        ({"table": good.table.drop(columns=["depth", "tap"])}, "lacks tap, depth; its columns are model, unit, kind"),
        ({"table": good.table.astype({"depth": object}).replace({"depth": {0.5: "0.5x"}})}, r"'depth'.*holds '0.5x'"),
        ({"table": good.table.head(0)}, "Table 'table' of .* has no row for ViT"),
        ({"table": good.table.assign(kind=None)}, "Column 'kind'.*expected a name in every row"),
    ):
        bad = Measurement(instrument="fourier", tables=tables, provenances=good.provenances)
        for use in (draw, sentences):
            with pytest.raises(ValueError, match=message):
                use(bad)


def test_an_unknown_instrument_gets_near_matches():
    with pytest.raises(ValueError, match="no figure for 'furier'. Did you mean fourier"):
        exhibit("furier")
    unknown = Measurement(instrument="furier", tables=fourier("ViT").tables, provenances=fourier("ViT").provenances)
    with pytest.raises(ValueError, match="alternet.instruments.figures.register"):
        draw(unknown)


def test_an_instrument_of_ones_own_gets_a_figure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "FIGURES", dict(FIGURES))
    sizes: list[float] = []

    def drawing(measurement: Measurement) -> Figure:
        sizes.append(mpl.rcParams["font.size"])
        return Figure()

    tables = {"table": {"radius": number("its length")}}
    spec = Spec(
        name="radius", order=0, title="Radius", question="How large?", caution="Nothing follows.", tables=tables
    )
    mine = Exhibit(
        spec=spec,
        draw=drawing,
        sentences=lambda m: [f"{m.models[0]}: {m.table['radius'].max()}"],
    )
    register("radius", mine)
    table = pd.DataFrame({"model": ["a"], "radius": [2.5]})
    measured = Measurement(instrument="radius", tables={"table": table}, provenances=({"model": {"name": "a"}},))
    assert isinstance(measured.draw(), Figure)
    assert sizes == [style.RC["font.size"]]
    assert sentences(measured) == ["a: 2.5"]
    with pytest.raises(ValueError, match="'radius' has a figure already"):
        register("radius", mine)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_saved_figure_is_the_same_bytes_every_time(ending: str, tmp_path: Path):
    files = [save(draw(variance("ViT")), tmp_path / f"{i}.{ending}").read_bytes() for i in range(2)]
    assert files[0] == files[1]
    assert len(files[0]) > 5000


def test_another_file_ending_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"'figure.bmp': its name must end in .svg, .png or .pdf"):
        save(Figure(), tmp_path / "figure.bmp")


def test_a_notebook_shows_a_figure():
    assert style.Drawing()._repr_svg_().startswith("<?xml")


def test_models_differ_in_colour_and_in_grey():
    styles = model_styles(tuple("abcdefghijkl"))
    looks = {(look["color"], str(look["linestyle"])) for look in styles.values()}
    assert len(looks) == 12
    assert len(set(COLOURS)) == len(set(map(str, DASHES))) == 6
    assert len({str(styles[name]["linestyle"]) for name in "abcdef"}) == 6


def test_the_crafted_tables_are_the_papers():
    assert PUBLISHED.groupby("model").size().to_dict() == {"PiT": 27, "ResNet": 17, "Swin": 28, "ViT": 25}


def test_a_model_looks_the_same_in_every_figure_of_a_cast():
    names = ("PiT", "ResNet", "ViT")
    with cast(names):
        assert (
            model_styles(names)["ViT"] == model_styles(("ViT",))["ViT"] == {"color": COLOURS[2], "linestyle": DASHES[2]}
        )
        assert model_styles(("new", "PiT"))["new"]["color"] == COLOURS[3]
        assert drawn(variance("ViT"))["ViT"].line("ViT").get_color() == COLOURS[2]
        inside = svg(draw(variance("ViT")))
    assert COLOURS[2].lower() in inside and COLOURS[2].lower() not in svg(draw(variance("ViT")))
    assert model_styles(("ViT",))["ViT"]["color"] == COLOURS[0]
