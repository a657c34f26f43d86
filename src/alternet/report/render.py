"""Render: the folders of measurements as one HTML file, with its figures beside it."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from alternet.instruments import figures
from alternet.report.contents import Contents, contents
from alternet.report.gather import gather
from alternet.storage import write_atomically


def render(paths: Sequence[str | Path], out: str | Path) -> Path:
    """Write a report on everything measured under some folders.

    The page is one file of about 5 MB, most of it plotly.js, and loads nothing from anywhere. The figures are also
    written as files, `figures/<instrument>.svg` and `.png` in the folder of the page.

    Args:
        paths: Folders that measurements and training runs were written to; all that lies below them is shown.
        out: The HTML file to write.

    Returns:
        The file written.

    Raises:
        ValueError: A folder does not exist, nothing was measured under any, or a file of a measurement is damaged.
        OSError: The page or a figure cannot be written.

    Examples:
        >>> import pandas as pd
        >>> from alternet import Measurement
        >>> table = pd.DataFrame({"model": ["a"], "radius": [1.0]})
        >>> provenance = {"instrument": "radius", "model": {"name": "a"}}
        >>> measured = Measurement(instrument="radius", tables={"table": table}, provenances=(provenance,))
        >>> folder = getfixture("tmp_path")
        >>> render([measured.save(folder)], folder / "report.html").name
        'report.html'
    """
    out = Path(out)
    measurements, notes = gather([Path(path) for path in paths])
    with figures.cast(name for measurement in measurements for name in measurement.models):
        drawn = {m.instrument: figures.draw(m) for m in measurements if m.instrument in figures.FIGURES}
        images = {instrument: figures.svg(figure) for instrument, figure in drawn.items()}
        page = html(contents(measurements, images, notes), _plotly())
    try:
        for instrument, figure in drawn.items():
            write_atomically(out.parent / "figures" / f"{instrument}.svg", images[instrument])
            figures.save(figure, out.parent / "figures" / f"{instrument}.png")
        write_atomically(out, page)
    except OSError as error:
        line = f"The report {out} cannot be written ({error.strerror or error}). Make room there or give another --out."
        raise OSError(line) from error
    return out


def html(shown: Contents, plotly: str | None) -> str:
    """The page as text.

    Args:
        shown: What it says.
        plotly: The source of plotly.js, or None to show the figures as images.
    """
    environment = Environment(
        loader=PackageLoader("alternet.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    start = _asset("start.js")
    scripts = [plotly, start] if plotly and any(section.panels for section in shown.sections) else []
    return environment.get_template("page.html.jinja").render(
        **asdict(shown),
        css=_asset("page.css"),
        scripts=scripts,
        hashes=[_digest(script) for script in scripts],
        without_plotly=plotly is None,
    )


def _plotly() -> str | None:
    """The source of plotly.js, which comes with the Python package; None where that is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return None
    return get_plotlyjs().replace("</script", r"<\/script")


def _asset(name: str) -> str:
    return (files("alternet.report") / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """The hash by which the page's content policy knows a script."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
