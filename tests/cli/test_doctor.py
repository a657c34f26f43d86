"""The doctor: versions, machine, extras from the package's own metadata, without torch where there is no GPU."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from alternet import extras
from alternet.cli import run
from alternet.extras import BRINGS, Extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
doctor = import_module("alternet.cli.doctor")  # the package has the command of that name


def test_every_extra_says_what_it_brings():
    assert set(BRINGS) == set(PROJECT["optional-dependencies"])


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two extras: one whole, one with a package that is missing and one that is too old."""
    lines = ["pandas>=2", 'numpy>=1; extra == "hf"', 'no-such-package>=1; extra == "sam"', 'numpy>=999; extra == "sam"']
    monkeypatch.setattr(extras, "requires", lambda _: lines)
    monkeypatch.setattr(extras, "metadata", lambda _: type("Told", (), {"get_all": lambda *_: ["hf", "sam"]})())


@pytest.mark.usefixtures("declared")
def test_extras_are_read_from_the_package():
    whole, partly = extras.extras()
    assert whole == Extra("hf", BRINGS["hf"], ())
    missing, old = partly.missing
    assert missing == "no-such-package" and old.startswith("numpy ") and old.endswith("needs >=999")
    assert partly.install == "pip install 'alternet[sam]'"


@pytest.mark.usefixtures("declared")
def test_the_doctor_says_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(doctor, "DEVICES", ("no-such-device*",))
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert f"hf    there: {BRINGS['hf']}" in said
    assert "sam   missing (no-such-package, numpy" in said and "it brings training by sharpness-aware" in said
    assert "pip install 'alternet[sam]'" in said
    for word in ("Python", "torch", "timm", "CPU", "cores", "memory", "GiB", "GPU"):
        assert word in said
    assert "none" in next(line for line in said.splitlines() if line.startswith("GPU"))


def test_where_the_package_is_not_installed_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys):
    def absent(_: str) -> None:
        raise extras.PackageNotFoundError

    monkeypatch.setattr(extras, "metadata", absent)
    monkeypatch.setattr(doctor, "_gpus", lambda: "none")
    assert run(["doctor"]) == 0
    assert "not installed, so nothing is known of its extras" in capsys.readouterr().out


def test_requirements_are_read_as_pip_reads_them():
    asked = [Requirement('x; extra == "hf" and python_version < "3"')]
    assert extras._missing("hf", asked) == []


@pytest.mark.slow
def test_it_is_quick_where_there_is_no_gpu():
    lines = [
        "import sys",
        "from alternet.cli import run",
        "sys.modules['alternet.cli.doctor'].DEVICES = ()",
        "run(['doctor'])",
        "print('torch' in sys.modules)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
