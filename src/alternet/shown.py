"""Text as a terminal or a page may show it: what comes from outside is one line, and nothing in it is a command."""

import re

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters, ends of lines, what has no width or turns the writing around, and bytes that are no text."""


def as_text(words: object) -> str:
    r"""One line, in which whatever is not shown as it stands is written as Python writes it.

    Examples:
        >>> as_text("caf\udce9.png"), as_text("\x1b[2Ja\nb")
        ('caf\\udce9.png', '\\x1b[2Ja\\nb')
    """
    return HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(words))


def as_cell(value: object) -> object:
    r"""A value of a table: a text as `as_text` shows it, anything else as it is.

    Examples:
        >>> as_cell("a\x1bb"), as_cell(1.5), as_cell(None)
        ('a\\x1bb', 1.5, None)
    """
    return as_text(value) if isinstance(value, str) else value


def as_lines(words: object) -> str:
    r"""The same of a text of several lines, which stay lines.

    Examples:
        >>> as_lines("a\n\x1bb")
        'a\n\\x1bb'
    """
    return "\n".join(map(as_text, str(words).split("\n")))


MARKUP = re.compile(r"[\\`*_{}\[\]|~$#]")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "://": "&#58;//", "www.": "www&#46;", "@": "&#64;"}
"""In their order, since `&` stands in all of them."""


def as_markdown(words: object) -> str:
    r"""One line of Markdown in which nothing is markup: no tag, link, table, emphasis, formula, mention or address.

    Examples:
        >>> print(as_markdown("<b>|[x](http://y) $a$ @me"))
        &lt;b&gt;\|\[x\](http&#58;//y) \$a\$ &#64;me
    """
    line = MARKUP.sub(r"\\\g<0>", as_text(words))
    for sign, entity in ENTITIES.items():
        line = line.replace(sign, entity)
    return line
