"""What scripts write into a page: it stands between `<!-- NAME -->` and `<!-- end -->`, and is not edited by hand."""

import re
from pathlib import Path


def between(text: str, name: str) -> str:
    r"""What stands between the marks.

    Raises:
        ValueError: They are not there, or more than once.

    Examples:
        >>> between("before\n<!-- sums -->\none\ntwo\n<!-- end -->\n", "sums")
        'one\ntwo'
    """
    found = [match[2] for match in _marked(name).finditer(text)]
    if len(found) != 1:
        raise ValueError(f"The text has {len(found)} parts marked {name!r}, expected one.")
    return found[0]


def replaced(text: str, name: str, content: str) -> str:
    r"""The text with something else between the marks.

    Raises:
        ValueError: They are not there, or more than once.

    Examples:
        >>> replaced("<!-- sums -->\n<!-- end -->", "sums", r"\1")
        '<!-- sums -->\n\\1\n<!-- end -->'
    """
    between(text, name)
    return _marked(name).sub(lambda found: f"{found[1]}{content}\n{found[3]}", text)


def write(page: Path, name: str, content: str) -> None:
    """Put something else between the marks of a page."""
    page.write_text(replaced(page.read_text(encoding="utf-8"), name, content), encoding="utf-8")


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n)(.*?)\n?(<!-- end -->)", flags=re.DOTALL)
