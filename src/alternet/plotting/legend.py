"""Legend: what colours, markers and shades mean, an entry each, for a figure on paper and for a page."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from alternet.measurement import Measurement
from alternet.plotting import style
from alternet.plotting.style import label


class Entry(NamedTuple):
    """A sign and what it stands for.

    Attributes:
        handle: The sign, as matplotlib's legends take it.
        text: Its meaning, as it is: not wrapped, not escaped.
        model: The model that it stands for, if it does.
    """

    handle: Artist
    text: str
    model: str = ""


NARROW = 4.0
"""Inches below which two columns of a legend are as many as fit: one column of a paper."""


def models(looks: Mapping[str, Mapping[str, Any]], facts: Mapping[str, str] | None = None) -> list[Entry]:
    """An entry a model, with what there is to say about it in a word.

    Examples:
        >>> models({"a": {"color": "red"}}, {"a": "75%"})[0].text
        'a: 75%'
    """
    said = {model: f": {facts[model]}" if facts and model in facts else "" for model in looks}
    return [Entry(Line2D([], [], **look), f"{model}{said[model]}", model) for model, look in looks.items()]


def of_models(measurement: Measurement, *, points: bool = False) -> list[Entry]:
    """The models of a measurement alone, which is the legend of many figures."""
    return models(style.model_styles(measurement.models, points=points))


def put(part: FigureBase, entries: Sequence[Entry], *, width: int = 34, columns: int = 3, **where: Any) -> None:
    """Put entries into a figure, below it unless said otherwise, in columns of equal length."""
    if not entries:
        return
    whole = part.get_figure(root=True)
    if whole is not None and whole.get_figwidth() < NARROW:
        columns = min(columns, 2)
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": style.columns(len(entries), columns)} | where
    part.legend(
        handles=[entry.handle for entry in entries], labels=[label(entry.text, width) for entry in entries], **place
    )
