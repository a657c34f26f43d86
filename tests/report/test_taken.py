"""What is taken away from a report: figures for a paper with their numbers, and the table of models."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tests.figures.crafted import calibration, fourier, hessian, training

from alternet import Measurement
from alternet.cli import run
from alternet.instruments.figures import as_shown
from alternet.report.model_table import model_table
from alternet.report.tables import write_table
from alternet.report.taken import take_away


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for one in (calibration("ViT"), calibration("ResNet"), fourier("ViT"), hessian("ResNet")):
        one.save(tmp_path / "out")
    return tmp_path / "out"


def test_every_figure_lies_there_with_its_numbers(results: Path, tmp_path: Path, capsys):
    folder = tmp_path / "paper"
    assert run(["report", f"{results}", "--out", f"{tmp_path / 'r.html'}", "--figures", f"{folder}"]) == 0
    assert "Figures: " in capsys.readouterr().out
    for instrument, tables in {
        "fourier": [""],
        "calibration": ["", "-reliability"],
        "hessian": ["", "-summary"],
    }.items():
        assert all((folder / f"{instrument}{ending}").stat().st_size > 2000 for ending in (".svg", ".pdf", ".png"))
        assert all((folder / f"{instrument}{table}.csv").is_file() for table in tables)
    stored = pd.read_csv(folder / "calibration.csv")
    whole = Measurement.concat([calibration("ResNet"), calibration("ViT")]).table
    assert sorted(stored["value"]) == pytest.approx(sorted(whole["value"]))
    assert {one["name"] for one in yaml.safe_load((folder / "model-index.yml").read_text())["model-index"]} == {
        "ViT",
        "ResNet",
    }
    assert (folder / "models.md").read_text().startswith("|  ")
    latex = (folder / "models.tex").read_text()
    assert latex.isascii() and latex.count("&") % (latex.count(r"\\")) == 0


def test_numbers_of_a_group_are_those_that_are_drawn(tmp_path: Path):
    runs = [calibration("ViT", f"a {k}") for k in range(2)]
    runs = [
        Measurement(instrument="calibration", tables=one.tables, provenances=({**one.provenance, "group": "a"},))
        for one in runs
    ]
    both = Measurement.concat(runs)
    take_away([both], tmp_path)
    assert (
        pd.read_csv(tmp_path / "calibration.csv")["model"].unique().tolist()
        == ["a (2 runs)"]
        == [*as_shown(both).models]
    )


def test_the_table_of_models_has_errors_over_runs_or_images():
    logs = []
    for k, accuracy in enumerate([0.6, 0.7, 0.8]):
        one = training(f"a {k}")
        one.table.loc[2, "test_accuracy"] = accuracy
        logs.append(
            Measurement(instrument="training", tables=one.tables, provenances=({**one.provenance, "group": "a"},))
        )
    numbers, texts = model_table([Measurement.concat(logs), calibration("ViT")])
    accuracy = numbers[numbers["number"] == "Accuracy"].set_index("model")
    assert accuracy.loc["a", ["value", "runs"]].tolist() == [pytest.approx(0.7), 3]
    assert accuracy.loc["a", "high"] - 0.7 == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)  # Student's, two degrees
    assert accuracy.loc["a 1", ["value", "runs"]].tolist() == [pytest.approx(0.7), 0]
    words = texts.set_index("")
    assert words.loc["a (3 runs)", "Accuracy"].startswith("70 % (45") and words.loc["ViT", "Parameters"] == "25.6 M"
    assert words.loc["a (3 runs)", "ECE"] == "–"


def test_tables_escape_what_their_format_reads(tmp_path: Path):
    table = pd.DataFrame({"model": ["a_b & c|d", "<b>", "$a$ {b} @me"], "x": ["−1 %", "× 2", ""]})
    latex, page = (write_table(table, tmp_path / f"t{end}").read_text() for end in (".tex", ".md"))
    assert r"a\_b \& c|d & $-$1 \%" in latex and r"$\times$ 2" in latex
    assert r"a\_b &amp; c\|d" in page and "&lt;b&gt;" in page and r"\$a\$ \{b\} &#64;me" in page
    with pytest.raises(ValueError, match="must end in .csv, .tex, .md"):
        write_table(table, tmp_path / "t.docx")


def test_an_instrument_that_is_called_by_a_path_stays_in_its_folder(tmp_path: Path):
    foreign = replace(calibration("ResNet"), instrument="../../elsewhere")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    written = [*take_away([foreign], tmp_path / "in" / "deep"), foreign.save(tmp_path / "in" / "deep")]
    assert written and [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["deep"]
