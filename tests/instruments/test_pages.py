"""The pages about the instruments: their Python runs, and they name every setting, column and metric."""

import re
from pathlib import Path

import pytest
from tests.contract.optional import cases

from alternet.instruments.calibration.measure import METRICS
from alternet.instruments.catalogue import instruments
from alternet.settings import names

PAGES = Path(__file__).parents[2] / "docs" / "instruments"


@pytest.mark.slow
@pytest.mark.parametrize("name", cases(instruments()))
def test_the_page_of_an_instrument(name, capsys):
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        exec(compile(block, name, "exec"), {})
    assert "preresnet_mini" in capsys.readouterr().out
    kind = instruments()[name]
    named = {*names(kind), *(column for table in kind.spec.tables.values() for column in table)}
    assert {word for word in named if f"`{word}`" not in text} == set()
    if name == "calibration":
        assert {metric for metric in METRICS if f"`{metric}`" not in text} == set()
