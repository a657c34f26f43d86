"""The pages about the instruments: their Python runs, and they name every setting, column and metric."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from tests.contract.optional import cases

from alternet.instruments.calibration.measure import METRICS
from alternet.instruments.registry import INSTRUMENTS

PAGES = Path(__file__).parents[2] / "docs" / "instruments"


@pytest.mark.parametrize("name", cases(INSTRUMENTS))
def test_the_page_of_an_instrument(name, capsys):
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        exec(compile(block, name, "exec"), {})
    assert "preresnet_mini" in capsys.readouterr().out
    kind = INSTRUMENTS[name]
    named = {field.name for field in fields(kind)} | {column for table in kind.columns.values() for column in table}
    assert {word for word in named if f"`{word}`" not in text} == set()
    if name == "calibration":
        assert {metric for metric in METRICS if f"`{metric}`" not in text} == set()
