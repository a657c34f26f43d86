"""The kinds of units: apart in every drawing, the same in the documentation, and a way out for unknown ones."""

import re
import subprocess
import sys
from pathlib import Path

from alternet.kinds import KINDS, kind_of


def test_kinds_are_apart_in_words_and_in_drawings() -> None:
    for what in ("words", "plural", "marker"):
        assert len({getattr(kind, what) for kind in KINDS.values()}) == len(KINDS)
    shaded = [kind for kind in KINDS.values() if kind.shade]
    assert len({kind.shade["facecolor"] for kind in shaded}) == len(shaded)


def test_an_unknown_kind_stands_for_itself_and_looks_like_no_other() -> None:
    kind = kind_of("gru")
    assert (kind.words, kind.plural, kind.shade) == ("gru", "gru units", {})
    assert kind.marker not in {known.marker for known in KINDS.values()}


def test_the_page_on_taps_lists_these_kinds() -> None:
    page = (Path(__file__).parents[1] / "docs" / "taps.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(KINDS)


def test_kinds_need_no_torch() -> None:
    code = "import sys, alternet.kinds; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
