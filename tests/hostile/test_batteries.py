"""Every bad input meets the line that it should; the suite takes a part of each battery, `make hostile` all of it."""

import os
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.hostile.battery import KINDS, fault

QUICK = 6
"""Of so many cases the suite takes one."""

ALL = [(kind, case) for kind in KINDS for case in import_module(f"tests.hostile.{kind}").CASES]


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind}: {case.name}", marks=[pytest.mark.thorough] if number % QUICK else [])
        for number, (kind, case) in enumerate(ALL)
    ],
)
def test_a_bad_input_meets_its_line(kind: str, case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input").mkdir()
    with patch.dict(os.environ, case.environment):
        line = import_module(f"tests.hostile.{kind}").met(case, tmp_path / "input")
    assert not fault(case, line), f"{case.name}: {line}"


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_enough_different_inputs_of_each_kind(kind: str) -> None:
    cases = import_module(f"tests.hostile.{kind}").CASES
    assert len({case.name for case in cases}) == len(cases) >= 60
