"""`alternet report`: one HTML file from everything that was measured."""

from pathlib import Path
from typing import Annotated

import typer

from alternet.cli.options import say, writable


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that measure, train or demo wrote.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write; figures/ is written beside it.")],
) -> None:
    """Write a report that opens anywhere."""
    from alternet.report import render

    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder}. Give the --out folder of alternet measure.")
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out names the HTML file to write, got {out}; for example --out {out / 'report.html'}.")
    writable(out.parent)
    say(f"Report: {render(folders, out)}")
