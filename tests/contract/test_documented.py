"""The page on instruments of one's own runs as it stands, from the settings to the report."""

import sys
from types import ModuleType

import pytest
import torch
from tests.contract.documented import blocks, run
from tests.contract.networks import data, network

from alternet.data.image_batches import Batches
from alternet.instruments import figures
from alternet.probe.probe import Probe
from alternet.report import render


@pytest.fixture
def page(monkeypatch):
    """A fresh module for the page, and figures that the next test does not see."""
    monkeypatch.setattr(figures, "FIGURES", dict(figures.FIGURES))
    monkeypatch.setitem(sys.modules, "page", None)
    return ModuleType("page")


@pytest.mark.slow
def test_the_page_runs(page, capsys, tmp_path):
    run(page, *range(len(blocks())))
    printed = capsys.readouterr().out
    assert "share" in printed
    assert "accuracy" in printed
    m = page.Sparsity(below=0.1).measure(page.net, page.data, out=tmp_path)
    assert m.table["share"].between(0, 1).all()
    assert m.table["share"].iloc[0] > 0
    assert render([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8").count("Sparsity")


def test_each_instrument_is_short():
    for block in blocks()[:2]:
        assert len([line for line in block.splitlines() if line.strip()]) <= 40


def test_damping_is_measured_against_what_the_model_answers(page):
    run(page, 0, 1)
    subject = network("handwritten")
    batches = data(subject)
    images = torch.cat([x for x, _ in batches])
    with Probe(subject, taps=[]) as probe:
        own = Batches.of(images, probe.logits(images).argmax(1), classes=batches.classes)
    undamped, reversed_ = (page.Damping(factor=factor).measure(subject, own).table for factor in (1.0, -99.0))
    assert undamped["tap"].tolist() == [tap.name for tap in subject.taps if tap.silenceable]
    assert (undamped["accuracy"] == 1).all()
    assert (reversed_["accuracy"] < 1).any()
