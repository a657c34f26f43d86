"""Whatever stands in the text columns of any table, it is drawn or refused in a line, and hides nothing in the page."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.figures.crafted import MAKERS

from alternet.report import render
from alternet.report.gather import gather
from alternet.report.taken import take_away

HOSTILE = "\x1b[31m\u202e<b>$x_{\\"
HIDES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:Attempting to set identical low and high")  # of a table whose units are no more one
@pytest.mark.parametrize("instrument", MAKERS)
def test_texts_in_tables(instrument: str, tmp_path: Path) -> None:
    measured = MAKERS[instrument]("ResNet")
    for name, table in measured.tables.items():
        for column in (column for column in table if table[column].map(lambda cell: isinstance(cell, str)).all()):
            hostile = table.assign(**{str(column): HOSTILE + table[column]})
            folder = tmp_path / f"{name}-{column}"
            if column == "model":
                changed = measured.renamed({model: HOSTILE + model for model in measured.models})
            else:
                changed = replace(measured, tables={**measured.tables, name: hostile})
            changed.save(folder / "measured")
            with suppress(ValueError):  # some columns have words of their own, and all others are refused
                page = render([folder / "measured"], folder / "report.html").read_text(encoding="utf-8")
                assert not HIDES.search(page.partition("<main")[2].partition("</main>")[0])
                assert take_away(gather([folder / "measured"])[0], folder / "taken")
