"""Whatever a name holds, the terminal shows it: nothing moves its cursor, colours it, or turns its lines around."""

import logging
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.figures.crafted import calibration

from alternet.cli import run
from alternet.cli.options import say

NAMES = (
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "a\rb",
    "a\nalternet: done",
    "\u202egnp.exe",
    "\x9b2J",
    "[/x]",
    "[red]a",
    "a\x00b",
)


def shown(text: str) -> str:
    """What was printed, if it holds no more than lines of text."""
    assert [
        c for c in text if c != "\n" and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c == "\u202e")
    ] == []
    return text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "call",
    [
        ["taps", "-m"],
        ["measure", "fourier", "--data", "photos", "--out", "o", "-m"],
        ["train", "--data", "photos", "-m", "vit_mini", "--out", "o", "--recipe"],
        ["report", "--out", "r.html"],
        ["list", "instruments"],
        ["measure"],
        [],
        ["taps", "-m", "vit_mini", "--set"],
        ["taps", "--nonsense"],
    ],
)
def test_names_in_errors(name: str, call: list[str], capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*call, name]) == 2
    said = capsys.readouterr()
    line = shown(said.err)
    assert said.out == "" and line.count("\n") == 1 and line.startswith("alternet: ")


@pytest.mark.parametrize("name", NAMES)
def test_names_in_lines(name: str, capsys) -> None:
    say(name)
    assert shown(capsys.readouterr().out).count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize(
    "call", [["claims", "--published"], ["reproduce", "1a", "--dry-run", "--out", "o"], ["taps", "-m", "test_resnet"]]
)
def test_an_output_without_room_costs_no_result(call: list[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(call) == 0


def test_names_of_files_and_folders(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES[:-1]):
        folder = tmp_path / "\x1b[5m" / f"{number}[/x]"
        folder.mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / f"{name.replace('/', '')}.png")
    (folder / "\x1b[31mbroken[/x].png".replace("/", "")).write_bytes(b"no image")
    call = [
        "measure",
        "calibration",
        "-m",
        "test_resnet",
        "--data",
        "./\x1b[5m",
        "--out",
        "\x1b[1mo",
        "--img-size",
        "32",
    ]
    assert run(call) == 0
    said = capsys.readouterr()
    assert r"\x1b[31mbroken[x].png" in shown(said.err) and shown(said.out)


@pytest.mark.parametrize("name", NAMES)
def test_names_in_tracebacks_and_logs(name: str, capsys, monkeypatch) -> None:
    def load(model: str, **_: object) -> None:
        logging.getLogger("of another package").warning("logged: %s", model)
        raise ValueError(f"There is nothing called {model}")

    monkeypatch.setattr("alternet.subject.loading.load", load)
    monkeypatch.setattr(logging.root, "handlers", [])  # as without pytest's own
    assert run(["taps", "-m", name]) == 2 and run(["taps", "-m", name], debug=True) == 2
    said = shown(capsys.readouterr().err)
    assert "Traceback" in said and said.count("logged: ") >= 2


def test_names_of_modules_in_a_table_for_a_script(capsys, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "def net():\n"
        "    net = torch.nn.Sequential()\n"
        "    net.add_module('\\x1b[2J', torch.nn.Conv2d(3, 4, 3))\n"
        "    net.add_module('pool', torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()))\n"
        "    return net.append(torch.nn.Linear(4, 2))\n"
    )
    call = ["taps", "-m", f"{tmp_path / 'own.py'}:net", "--img-size", "8"]
    assert [run([*call, *how]) for how in ([], ["--csv"], ["--json"])] == [0, 0, 0]
    assert shown(capsys.readouterr().out)


def test_a_measurement_is_printed_and_shown_in_a_notebook_as_it_stands() -> None:
    for name in NAMES:
        measured = calibration("ResNet", name)
        other = replace(measured, instrument="nobodys")
        page = measured._repr_html_(), other._repr_html_()
        assert all(map(shown, (repr(measured), *filter(None, page)))) and all(page)
