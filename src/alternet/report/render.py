"""Render: the folders of measurements as one HTML file, with its figures beside it."""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.report.contents import Contents, Study, contents, in_one_order
from alternet.report.gather import gather
from alternet.shown import as_lines
from alternet.storage import write_atomically

SHORT: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}
"""Without blanks and escapes the page is shorter."""


def render(paths: Sequence[str | Path], out: str | Path) -> Path:
    """Write a report on everything measured under some folders.

    The page is one file and loads nothing from anywhere: under 1 MB for a few networks, or about 6 MB with
    plotly.js where it holds surfaces that turn. The figures are also written as files, `figures/<instrument>.svg` and
    `.png` in its folder.

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
    return write(*gather([Path(path) for path in paths]), Path(out))


def write(
    measurements: Sequence[Measurement], notes: Sequence[str], out: Path, *, studies: Sequence[Study] = ()
) -> Path:
    """Write a report on measurements, one an instrument, behind the figures of studies.

    Raises:
        OSError: The page or a figure cannot be written.
    """
    with figures.cast(in_one_order([figures.as_shown(one) for one in measurements], studies)):
        drawn = {m.instrument: figures.draw(m) for m in measurements if m.instrument in figures.FIGURES}
        page = html(contents(measurements, notes, studies=studies))
    try:  # by now all is drawn, so what cannot be drawn leaves no half of a report
        for instrument, figure in drawn.items():
            write_atomically(out.parent / "figures" / f"{instrument}.svg", figures.svg(figure))
            figures.save(figure, out.parent / "figures" / f"{instrument}.png")
        write_atomically(out, page)
    except OSError as error:
        line = f"The report {out} cannot be written ({error.strerror or error}). Make room there or give another --out."
        raise OSError(line) from error
    return out


def html(shown: Contents) -> str:
    """The page as text; plotly.js is in it only where there are surfaces to turn."""
    environment = Environment(
        loader=PackageLoader("alternet.report", "."),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = SHORT  # for surfaces
    environment.filters |= {"strips": _strips, "packed": _packed}
    pictures = [picture for section in shown.sections for picture in section.pictures]
    surfaces = any(picture.surface for picture in pictures)
    plotly = None
    if surfaces:
        try:
            from plotly.offline import get_plotlyjs
        except ImportError:  # then the page says that its surfaces stand still
            pass
        else:
            plotly = get_plotlyjs().replace("</script", r"<\/script")  # or the page would take it for its own end tag
    answers = pictures or (shown.front and len(shown.front.rows) > 1)  # or there is nothing to point at
    scripts = ([plotly] if plotly else []) + [_asset(name) for name in ("figures.js", "front.js") if answers]
    digests = [hashlib.sha256(script.encode("utf-8")).digest() for script in scripts]
    return environment.get_template("page.html.jinja").render(
        **asdict(shown),
        css=_asset("page.css"),
        scripts=scripts,
        hashes=[base64.b64encode(digest).decode("ascii") for digest in digests],  # the page runs no other scripts
        surfaces=plotly is not None,
        still=surfaces and plotly is None,
    )


def _strips(pictures: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Pictures in a row, a row of narrow ones and one of wide ones by turns, as their order has it."""
    return [list(strip) for _, strip in groupby(pictures, key=lambda picture: picture["wide"])]


def _packed(targets: Sequence[Mapping[str, Any]]) -> str:
    """What places say, compressed, as `figures.js` unpacks it: in plain text it would be a third of a page."""
    told = [{key: _shown_in(value) for key, value in target.items()} for target in targets]
    return base64.b64encode(zlib.compress(json.dumps(told, **SHORT).encode("utf-8"), 9)).decode("ascii")


def _shown(value: Any) -> Any:
    """What stands in the page: texts from outside hold nothing that hides or turns around what is beside it."""
    return as_lines(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _shown_in(value: Any) -> Any:
    return [_shown(one) for one in value] if isinstance(value, list) else _shown(value)


def _asset(name: str) -> str:
    return (files("alternet.report") / name).read_text(encoding="utf-8")
