"""`alternet report`: one HTML file from everything that was measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alternet.cli.options import say, writable

if TYPE_CHECKING:
    from alternet.measurement import Measurement


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that measure, train or demo wrote.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write; figures/ is written beside it.")],
    take: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="FOLDER",
            help="Also write every figure for a paper (.svg, .pdf, .png, in its size and letters) with its numbers, "
            "and the table of models (.csv, .tex, .md, and model-index.yml for the Hub).",
        ),
    ] = None,
) -> None:
    """Write a report that opens anywhere."""
    from alternet.report.gather import gather
    from alternet.report.render import write

    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"There is no folder {folder}. Give the --out folder of alternet measure.")
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out names the HTML file to write, got {out}; for example --out {out / 'report.html'}.")
    writable(out.parent)
    if take is not None:
        writable(take)
    measurements, notes = gather(folders)
    say(f"Report: {write(measurements, notes, out)}")
    if take is not None:
        say(f"Figures: {len(_take_away(measurements, take))} files in {take}")


def _take_away(measurements: "list[Measurement]", folder: Path) -> list[Path]:
    """Figures and their numbers, and the table of models."""
    from alternet.report.model_table import model_table
    from alternet.report.tables import write_table
    from alternet.report.taken import take_away
    from alternet.sharing.index import model_index
    from alternet.storage import write_atomically

    files = take_away(measurements, folder)
    numbers, texts = model_table(measurements)
    files.append(write_table(numbers, folder / "models.csv"))
    if len(texts):
        files += [write_table(texts, folder / f"models{ending}") for ending in (".tex", ".md")]
    write_atomically(folder / "model-index.yml", model_index(measurements))
    return [*files, folder / "model-index.yml"]
