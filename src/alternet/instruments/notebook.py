"""Notebook: a measurement as a cell shows it, its figure above its sentences; never an error."""

import base64
import io
import logging
from html import escape

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.shown import as_cell, as_text

LOG = logging.getLogger("alternet")
DPI = 100
ROWS = 12


def html(measurement: Measurement) -> str | None:
    """Figure and sentences as HTML in which names are escaped, or the first rows of a table without a figure.

    Returns:
        None where that fails, so that a notebook falls back to the plain text.
    """
    try:
        if measurement.instrument not in figures.FIGURES:
            return measurement.table.head(ROWS).rename(columns=as_text).map(as_cell).to_html(index=False)
        picture = io.BytesIO()
        figures.draw(measurement).savefig(picture, format="png", dpi=DPI)  # its size hangs on no number of points
        said = [as_text(line) for line in figures.sentences(measurement)]
        data = base64.b64encode(picture.getvalue()).decode("ascii")
        lines = "".join(f"<li>{escape(line)}</li>" for line in said)
        alternative = escape(" ".join(said), quote=True)
        return f'<img alt="{alternative}" src="data:image/png;base64,{data}"><ul>{lines}</ul>'
    except Exception as error:  # a cell that shows a result must not fail for its picture
        LOG.debug("a measurement could not be shown", exc_info=error)
        return None
