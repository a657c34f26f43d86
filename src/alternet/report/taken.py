"""Taken away: every figure of a report as files for a paper, with the numbers that it draws beside it."""

from collections.abc import Sequence
from pathlib import Path

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.plotting.style import ENDINGS
from alternet.report.contents import in_one_order
from alternet.storage import safe_name, write_atomically


def take_away(measurements: Sequence[Measurement], folder: Path) -> list[Path]:
    """Write each figure as SVG, PDF and PNG in a paper's size and letters, and its numbers as CSV.

    Args:
        measurements: One an instrument, as a report shows them; one without a figure leaves its tables alone.
        folder: Gets `INSTRUMENT.svg`, `.pdf` and `.png`, and a `.csv` a table: `INSTRUMENT.csv` is the main one, others
            are `INSTRUMENT-TABLE.csv`. Numbers are those drawn, so runs of a group are their mean with its error.

    Returns:
        The files, in order.

    Raises:
        OSError: One cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with figures.cast(in_one_order([figures.as_shown(one) for one in measurements])):
        for one in measurements:
            for name, table in figures.as_shown(one).tables.items():
                called = safe_name(one.instrument)  # which a provenance says, and it may say a path
                file = folder / (f"{called}.csv" if name == "table" else f"{called}-{name}.csv")
                write_atomically(file, table.to_csv(index=False, lineterminator="\n"))
                files.append(file)
            if one.instrument in figures.FIGURES:
                drawn = figures.draw(one, style="paper")
                files += [figures.save(drawn, folder / f"{one.instrument}{ending}") for ending in ENDINGS]
    return files
