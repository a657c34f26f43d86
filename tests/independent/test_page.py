"""The page of references leaves no instrument out."""

import re
from pathlib import Path

from alternet.instruments.catalogue import instruments

PAGE = Path(__file__).parents[2] / "docs" / "verification.md"


def test_every_instrument_has_a_reference_on_the_page():
    table = PAGE.read_text(encoding="utf-8").partition("<!-- references -->")[2].partition("<!-- end -->")[0]
    assert set(re.findall(r"^\| (\w+) \|", table, flags=re.MULTILINE)) == {"instrument", *instruments()}
