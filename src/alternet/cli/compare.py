"""`alternet compare`: in what two networks differ, over everything that was measured of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alternet.cli.options import say, writable
from alternet.cli.tables import cell, print_table

if TYPE_CHECKING:
    import pandas as pd

    from alternet.measurement import Measurement
    from alternet.studies.key_numbers import Network


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="[CALLED=]FOLDER/NAME: a model, or a group of runs, in what measure wrote; or a FOLDER with one.",
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="The same; effects are B less A. A pattern in quotes, 'out/vit_*', takes several runs as one.",
        ),
    ],
    out: Annotated[
        list[Path],
        typer.Option(
            help="File to write: a report (.html), the table (.csv, .tex, .md) or the figure (.svg, .pdf, .png); "
            "a folder keeps it for alternet report. May be given several times."
        ),
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Compare two models or groups of runs: effects with 95 % intervals, corrected after Holm."""
    from alternet.instruments.figures import sentences
    from alternet.studies.comparison import between
    from alternet.studies.network_names import two_networks

    for file in out:
        _require_writable(file)
    first, second, notes = two_networks(a, b)
    for note in notes:
        say(f"note: {note}", err=True)
    compared = between(first, second)
    _show(compared.table)
    for sentence in sentences(compared):
        say(sentence)
    for file in out:
        _write(compared, (first, second), notes, file)


def _require_writable(file: Path) -> None:
    from alternet.plotting.style import ENDINGS as FIGURES
    from alternet.report.tables import ENDINGS as TABLES

    known = (".html", *TABLES, *FIGURES)
    if file.suffix and file.suffix not in known and not file.is_dir():
        raise ValueError(f"--out got {file}, expected a folder, or a file that ends in {', '.join(known)}.")
    writable(file.parent if file.suffix in known else file)


def _show(table: "pd.DataFrame") -> None:
    """The rows in words, on a terminal."""
    from rich.table import Table

    from alternet.instruments.differences import in_words

    words = in_words(table)
    shown = Table(title=cell(table["model"].iloc[0]), title_justify="left")
    for column in words:
        right = column in ("difference", "p", "p (Holm)") or column in words.columns[1:3]
        shown.add_column(cell(column), justify="right" if right else "left")
    for row in words.itertuples(index=False):
        shown.add_row(*map(cell, row))
    print_table(shown)


def _write(compared: "Measurement", networks: "Sequence[Network]", notes: list[str], file: Path) -> None:
    from alternet.instruments import figures
    from alternet.instruments.differences import in_words
    from alternet.measurement import Measurement
    from alternet.plotting.style import ENDINGS as FIGURES
    from alternet.report.render import write
    from alternet.report.tables import write_table

    if file.suffix == ".html":
        found = [one for network in networks for one in network.measured.values() for one in one.values()]
        by: dict[str, list[Measurement]] = {}
        for one in found:
            by.setdefault(one.instrument, []).append(one)
        write([compared, *map(Measurement.concat, by.values())], notes, file)
    elif file.suffix in FIGURES:
        figures.save(figures.draw(compared), file)
    elif file.suffix == ".csv":
        write_table(compared.table, file)
    elif file.suffix:
        write_table(in_words(compared.table), file)
    else:
        compared.save(file)
    say(f"Written: {file}")
