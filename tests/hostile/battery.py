"""What the batteries have in common: a case with the line that it must end in, and what makes a line readable.

A kind of input is a module with a table `CASES` and a function `met(case, folder)`, which puts the case's input into an
empty folder, does with it what the package does, and returns the line that came of it: the message of an error, or what
was taken up, told in a word. Whatever is not a ValueError or an error of the file system goes through, and fails.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alternet.errors import in_one_line
from alternet.shown import as_text

KINDS = (
    *("pictures", "weights", "folders", "runs", "recipes", "settings"),
    *("names", "tables", "provenances", "snapshots", "plans"),
)
"""The modules of cases."""

EXECUTED = "executed-by-the-battery"
"""Name of a file that appears in the working folder if anything in an input is run."""

BARE = re.compile(r"^(alternet: )?\[?([A-Z]\w*(Error|Exception|Warning|Exit|Interrupt)\b|Errno|errno)")
"""How a message begins that is nothing but an exception's own."""

LONGEST = 1000
"""Characters of a line that somebody can read."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: What it is.
        content: What it is made of, as the module of its kind understands it.
        line: What must stand in the line, a regular expression.
        got: What the line must repeat of the input: where, or what was got.
        environment: Variables that are set meanwhile.
    """

    name: str
    content: Any
    line: str
    got: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def fault(case: Case, line: str) -> str:
    """What is wrong with a line, empty if nothing is."""
    faults: dict[str, bool] = {
        "is no single line": "\n" in line or "\r" in line,
        "holds control characters": any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line),
        "is empty": not line.strip(),
        f"is longer than {LONGEST} characters": len(line) > LONGEST,
        "begins with the name of an exception": bool(BARE.match(line)),
        f"does not say {case.line!r}": not re.search(case.line, line),
        f"lacks what was got, {case.got!r}": case.got not in line and repr(case.got)[1:-1] not in line,
        "came beside a file that was executed": os.path.exists(EXECUTED),
    }
    return "; ".join(what for what, wrong in faults.items() if wrong)


def said(work: Callable[[], Any]) -> str:
    """The line that a piece of work ends in, as it leaves the program: an addressed error, or what it gave."""
    try:
        return as_text(str(work()))
    except (ValueError, OSError) as error:
        return as_text(in_one_line(error))
