"""Whatever a name holds, the terminal shows it: nothing moves its cursor, colours it, or turns its lines around."""

import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

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
