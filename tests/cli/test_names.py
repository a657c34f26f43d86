"""My names: what a model is called on the command line stands in tables, figures and report, in the order given."""

import re
from pathlib import Path

import pandas as pd
import pytest

from alternet import find_measurements, load
from alternet.cli import run
from alternet.measurement import kept_order
from alternet.subject.names import by_name, named

DIGITS = ["--data", "digits", "--limit", "4", "--img-size", "32"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mine=run:DIR", ("mine", "run:DIR")),
        ("my net 2.1_b-c = resnet18@w=1.pth", ("my net 2.1_b-c", "resnet18@w=1.pth")),
        ("größer=vit_mini", ("größer", "vit_mini")),
        ("resnet18", ("", "resnet18")),
        ("run:runs/lr=0.1@init", ("", "run:runs/lr=0.1@init")),
        ("a=run:runs/lr=0.1@init", ("a", "run:runs/lr=0.1@init")),
        ("local-dir:a=b", ("", "local-dir:a=b")),
        ("vit_mini@a=b.pth", ("", "vit_mini@a=b.pth")),
        ("resnet50+msa(layer4.2:heads=12,form=unit)@w.pth", ("", "resnet50+msa(layer4.2:heads=12,form=unit)@w.pth")),
        ("planned=resnet50+msa(layer4.2,form=unit)", ("planned", "resnet50+msa(layer4.2,form=unit)")),
        ("ensemble(run:a=1,run:b=2)", ("", "ensemble(run:a=1,run:b=2)")),
        ("both=ensemble(run:a=1,run:b=2)", ("both", "ensemble(run:a=1,run:b=2)")),
    ],
)
def test_a_name_stands_ahead_of_the_first_equals_sign_of_a_model(text: str, meant: tuple[str, str]):
    assert named(text) == meant


@pytest.mark.parametrize("text", ["=run:a", "mine=", " =vit_mini", "a/b=vit_mini", "a(b)=vit_mini", "x,y=run:a"])
def test_a_name_that_is_none_is_refused(text: str):
    with pytest.raises(ValueError, match="expected NAME=MODEL"):
        named(text)


def test_two_models_of_one_name_are_refused_and_the_same_twice_is_one():
    with pytest.raises(ValueError, match="Two models are called 'a'"):
        by_name(["a=resnet18", "a=resnet50"])
    assert by_name(["a=resnet18", "b=vit_mini", "a=resnet18"]) == {"a": "resnet18", "b": "vit_mini"}


def test_a_loaded_model_bears_its_name():
    assert load("mine=test_vit").name == load("test_vit", name="mine").name == "mine"
    assert load("other=test_vit", name="mine").name == "mine"


@pytest.mark.slow
def test_names_and_their_order_go_through_tables_figures_and_report(tmp_path: Path, capsys):
    out, page = tmp_path / "out", tmp_path / "report.html"
    models = ["-m", "Zebra net=test_vit", "-m", "ant=test_resnet"]
    call = ["measure", "variance", *models, *DIGITS, "--out", f"{out}"]
    assert run(call) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert said.index("Zebra net (random weights)") < said.index("ant (random weights)")
    assert set(pd.read_csv(out / "Zebra_net/variance/table.csv")["model"]) == {"Zebra net"}
    assert [one.models for one in find_measurements(out)] == [("Zebra net",), ("ant",)]

    assert run(["report", f"{out}", "--out", f"{page}"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "How Zebra net (random weights) and ant (random weights) work inside" in text
    shown = re.findall(r"(Zebra net|ant) \(random weights\)", (tmp_path / "figures/variance.svg").read_text())
    assert list(dict.fromkeys(shown)) == ["Zebra net", "ant"]

    # another order of the same models is that of the next report; one more model comes behind
    assert (
        run(["measure", "variance", "-m", "ant=test_resnet", "-m", "Zebra net=test_vit", *DIGITS, "--out", f"{out}"])
        == 0
    )
    assert run(["measure", "variance", "-m", "Bee=tv:resnet18", *DIGITS, "--out", f"{out}"]) == 0
    assert kept_order(out) == ["ant", "Zebra net", "Bee"]
    assert [one.models for one in find_measurements(out)] == [("ant",), ("Zebra net",), ("Bee",)]
