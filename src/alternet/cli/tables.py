"""Tables on a terminal or in a pipe; in their cells nothing is markup, and nothing moves the cursor."""

import sys
from typing import TYPE_CHECKING

from alternet.cli.options import lost_output_borne
from alternet.shown import as_text

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

WIDEST = 10_000
"""Columns that a table is measured in, more than any of ours has."""


def cell(content: object) -> "Text":
    """What a cell, a heading or a title shows, as it stands."""
    from rich.text import Text

    return Text(as_text(content))


def print_table(table: "Table", *, fitted: bool = True) -> None:
    """Print a table, as wide as its content where it goes into a file or a pipe.

    Args:
        table: Whose texts are `cell`s.
        fitted: Whether what is too wide for a terminal is folded within its cells, and not by the terminal.
    """
    from rich.console import Console

    console = Console(soft_wrap=not fitted)
    wide = Console(width=WIDEST).measure(table).maximum
    if not console.is_terminal:
        console.width = wide
    elif not fitted:
        console.width = max(console.width, wide)
    with lost_output_borne(sys.stdout):
        console.print(table)
