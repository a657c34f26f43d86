"""What scripts write into pages stands between marks."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("marks", ROOT / "scripts" / "marks.py")
assert SPEC is not None and SPEC.loader is not None
marks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(marks)

TEXT = "before\n<!-- sums -->\n<!-- end -->\n<!-- others -->\n1\n<!-- end -->\nafter\n"


@pytest.mark.parametrize("content", ["| a |\n| b |", "", r"\1 \g<0>"])
def test_what_is_written_is_read_and_nothing_else_changes(content: str) -> None:
    written = marks.replaced(TEXT, "sums", content)
    assert marks.between(written, "sums") == content
    assert marks.between(written, "others") == "1"
    assert marks.replaced(written, "sums", "") == marks.replaced(TEXT, "sums", "")


@pytest.mark.parametrize("text", ["", TEXT * 2, "<!-- sums -->\n"])
def test_marks_that_are_not_there_or_twice_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parts marked 'sums', expected one"):
        marks.replaced(text, "sums", "x")


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("promises", "hostile"),
        ("verification", "thorough"),
        ("verification", "references"),
        ("licences", "licences"),
        ("small-data", "accuracies"),
        ("small-data", "figures"),
        ("attention-into-your-cnn", "numbers"),
        ("claims", "verdicts"),
        ("which-instrument", "instruments"),
    ],
)
def test_pages_have_the_marks_that_scripts_write_between(page: str, name: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert marks.replaced(text, name, marks.between(text, name)) == text
