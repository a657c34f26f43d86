"""What was not trained is marked wherever its numbers are shown, and what differs between models is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.text import Text
from tests.figures.crafted import fourier, provenance
from tests.report.page import Page, embedded, read

import alternet as an
from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.report import render
from alternet.report.contents import contents
from alternet.report.render import html as to_html

RANDOM = {"weights": {"from": "random", "seed": 0}}
HEAD = {"weights": {"from": "hub", "id": "a/b", "drawn": ["classifier.weight", "classifier.bias"]}}
PARTLY = {"weights": {"from": "hub", "id": "a/b", "drawn": ["classifier.weight", "blocks.3.bias"]}}
QUANTISED = {**HEAD, "weights": {"from": "given"}, "not_seen": ["fc", "blocks.0.fc"]}
TRAINED = {"weights": {"from": "file", "file": "w.pth", "sha256": "ab"}}


def stated(name: str, **facts: Any) -> Measurement:
    return replace(fourier(name), provenances=(provenance("fourier", name, **facts),))


def page_of(*measurements: Measurement) -> Page:
    page = Page()
    page.feed(to_html(contents([Measurement.concat(measurements)], ())))
    page.close()
    return page


@pytest.mark.parametrize(
    ("origin", "mark"),
    [
        (RANDOM, " (random weights)"),
        (HEAD, " (random head)"),
        (PARTLY, " (partly random weights)"),
        (TRAINED, ""),
        (None, ""),
    ],
)
def test_names_bear_the_mark_in_legend_sentences_and_tables(origin: Any, mark: str):
    measurement = stated("ViT", origin=origin)
    assert measurement.marked().models == (f"ViT{mark}",) == tuple(measurement.marked().table["model"].unique())
    assert measurement.marked().marked().models == (f"ViT{mark}",)
    assert measurement.models == ("ViT",)  # the stored name, the folder and the key of the tables stay as they are
    assert f"ViT{mark}" in {entry.text.partition(":")[0] for entry in figures.legend(measurement)}
    assert figures.sentences(measurement)[0].startswith(f"ViT{mark}:")
    texts = [text.get_text() for text in measurement.draw().findobj(Text)]
    assert any(f"ViT{mark}" in text.replace("\n", " ") for text in texts)


def test_the_second_model_of_a_pair_is_marked_as_well():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 3))
    one = an.Subject(net, name="one", input_size=(3, 8, 8))
    other = an.load("test_resnet", img_size=8, device="cpu")
    measured = an.Similarity(other=other, batch_size=8).measure(one, an.Batches.of(torch.rand(8, 3, 8, 8)))
    assert set(measured.table["model_b"]) == {"test_resnet"}
    assert set(measured.marked().table["model_b"]) == {"test_resnet (random weights)"}
    assert set(measured.marked().table["model"]) == {"one"}


@pytest.mark.slow
def test_the_report_marks_and_explains_in_its_section(tmp_path: Path):
    stated("ViT", origin=RANDOM).save(tmp_path)
    stated("ResNet", origin=TRAINED).save(tmp_path)
    source = render([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "How ViT (random weights) and ResNet work inside" in source
    assert "ViT (random weights): the weights are random, so the numbers say how the architecture starts" in source
    (saved,) = [
        link["href"] for link in read(tmp_path / "report.html").all("a") if link.get("download") == "fourier.csv.gz"
    ]
    assert "ViT (random weights),0" in embedded(saved)
    assert source.count("ResNet (random") == 0


@pytest.mark.slow
def test_layers_that_are_not_seen_are_said():
    said = "ViT: 2 quantised layers are not seen (fc, blocks.0.fc), so units that act in them are missing or of another"
    assert said in page_of(stated("ViT", origin=QUANTISED)).text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"input": {"size": [3, 32, 32], "mean": [0.2], "std": [0.25]}},
            "normalisation: mean 0.5, std 0.5 for ViT; mean 0.2, std 0.25 for ResNet",
        ),
        ({"input": {"size": [3, 32, 32], "mean": None, "std": None}}, "none for ResNet"),
        ({"images": 7}, "images: 1080 for ViT; 7 for ResNet"),
        (
            {"preparation": {"size": [3, 64, 64], "crop_pct": 0.875, "interpolation": "bicubic"}},
            "preparation: 3 × 32 × 32 for ViT; 3 × 64 × 64, crop 0.875, bicubic for ResNet",
        ),
    ],
)
def test_what_differs_between_compared_models_is_said(changed: dict, said: str):
    alike = {"input": {"size": [3, 32, 32], "mean": [0.5], "std": [0.5]}, "preparation": {"size": [3, 32, 32]}}
    text = page_of(stated("ViT", **alike), stated("ResNet", **alike | changed)).text
    assert "Measured with different settings" in text and said in text
    assert "different settings" not in page_of(stated("ViT", **alike), stated("ResNet", **alike)).text
