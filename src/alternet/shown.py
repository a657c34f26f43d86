"""Text as a terminal may show it: what comes from outside can neither move the cursor nor turn the line around."""

import re

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, ends of lines, marks that turn the writing around, and bytes of file names that are no text."""


def as_text(line: str) -> str:
    r"""One line, in which whatever is not shown as it stands is written as Python writes it.

    Examples:
        >>> as_text("caf\udce9.png"), as_text("\x1b[2Ja\nb")
        ('caf\\udce9.png', '\\x1b[2Ja\\nb')
    """
    return HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), line)
