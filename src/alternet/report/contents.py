"""Contents: the report as plain values, before it becomes a page."""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pandas as pd

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel
from alternet.report.claim_list import Claim, claims
from alternet.report.differences import cautions, differences
from alternet.report.front import NETWORKS, Front, front
from alternet.report.inline import Picture, Sign, picture, sign, whole

NOT_MEASURED = ("training", "epochs", "claims", "comparison")
"""Of its model a log knows the name alone, and what was trained on is not what was measured on; verdicts and
comparisons have none."""

ROWS = 12
"""How many rows of a table the page shows; the whole table can be saved from it."""

LONG = 20_000
"""Letters beyond which a table is saved compressed, as pandas and R read it; those of many networks are long."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The first rows of a table as text, and all of it as a CSV file inside a link."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    count: int
    file: str
    link: str


FEW = 6
"""Figures of studies that a headline names, and a list of sections with their titles."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One instrument."""

    instrument: str
    title: str
    called: str = ""
    """In the list of sections, where all titles would fill a screen."""
    question: str = ""
    sentences: list[str] = field(default_factory=list)
    caution: str = ""
    notes: list[str]
    cautions: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    legend: list[Sign] = field(default_factory=list)
    provenances: list[tuple[str, str]]
    tables: list[Table]


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One network: as far as its measurements tell."""

    name: str
    kind: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Everything that the page shows."""

    headline: str
    summary: str
    notes: list[str]
    front: Front | None
    claims: list[Claim]
    models: list[ModelRow]
    sections: list[Section]
    several: bool


@dataclass(frozen=True, kw_only=True)
class Study:
    """Several networks and one question, drawn ahead of the instruments.

    Attributes:
        figure: Its name.
        title: What it shows.
        arms: The networks, by the names in its panels.
        panels: What is drawn.
        entries: Its legend.
        sentences: What the numbers say.
        note: What one may not conclude.
        tables: Its numbers by name.
    """

    figure: str
    title: str
    arms: Sequence[str]
    panels: Sequence[Panel]
    entries: Sequence[Entry]
    sentences: Sequence[str]
    note: str
    tables: Mapping[str, pd.DataFrame]


def contents(measurements: Iterable[Measurement], notes: Iterable[str], *, studies: Sequence[Study] = ()) -> Contents:
    """What a report says about measurements; an instrument without a figure is shown by its tables.

    Args:
        measurements: One an instrument.
        notes: What a reader must know first.
        studies: What is shown ahead of them.
    """
    ordered = in_order(measurements)
    names = in_one_order([figures.as_shown(one) for one in ordered], studies)

    measured = [p for one in ordered if one.instrument not in NOT_MEASURED for p in one.provenances]
    models = _models(measured, in_one_order(ordered))
    # where nothing was measured, the headline is of what was trained
    groups = {run: name for one in ordered for name, runs in one.groups.items() for run in runs}
    shown = list(dict.fromkeys(groups.get(row.name, row.name) for row in models)) or names
    data = [(p.get("data"), p.get("images")) for p in measured]
    sets = {str(facts["name"]) for facts, _ in data if isinstance(facts, Mapping) and "name" in facts}
    images = {count for _, count in data if isinstance(count, int)}
    count = f" ({images.pop():,} images)" if len(images) == 1 else ""

    twice = [name for name in sorted(shown) if sum(row.name == name for row in models) > 1]
    differ = [
        f"{name} stands for different weights in different instruments; see the list of models." for name in twice
    ]
    links = {one.instrument: f"section-{number}" for number, one in enumerate(ordered, start=len(studies) + 1)}
    return Contents(
        headline=_headline(shown, ordered, studies, measured=bool(models)),
        summary=f"Measured on {', '.join(sorted(sets))}{count}." if sets else "",
        notes=[*notes, *differ],
        front=front(ordered, names, links | {NETWORKS: NETWORKS}),
        claims=[claim for one in ordered if one.instrument == "claims" for claim in claims(one)],
        models=models,
        sections=[
            *(
                _of_study(study, names, f"f{number}", short=len(studies) > FEW)
                for number, study in enumerate(studies, start=1)
            ),
            *(_section(one, names, f"s{number}") for number, one in enumerate(ordered, start=1)),
        ],
        several=len(names) > 1,
    )


def _headline(
    shown: Sequence[str], measurements: Sequence[Measurement], studies: Sequence[Study], *, measured: bool
) -> str:
    if not measured and {one.instrument for one in measurements} == {"claims"}:
        return figures.exhibit("claims").spec.question
    if len(studies) > FEW:
        return f"{len(studies)} figures of {len({arm for study in studies for arm in study.arms})} networks"
    if studies:
        return f"Figures {', '.join(study.figure for study in studies)}"
    if len(shown) == 1:
        return f"How {shown[0]} {'works inside' if measured else 'was trained'}"
    names = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) <= 3 else f"{len(shown)} networks"
    return f"How {names} {'work inside' if measured else 'were trained'}"


def in_order(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Measurements in the order in which a report shows them, models that were not trained marked as such."""
    place = {name: number for number, name in enumerate(figures.FIGURES)}
    shown_as = [measurement.marked() for measurement in measurements]
    return sorted(shown_as, key=lambda one: (place.get(one.instrument, len(place)), one.instrument))


def in_one_order(measurements: Iterable[Measurement], studies: Sequence[Study] = ()) -> list[str]:
    """The names of all models, in the order of the studies, then of the measurements; those of the largest lead.

    Examples:
        >>> def m(*names):
        ...     return Measurement(instrument="i", tables={}, provenances=tuple({"model": {"name": n}} for n in names))
        >>> in_one_order([m("b"), m("c", "a", "b")])
        ['c', 'a', 'b']
    """
    largest_first = sorted(measurements, key=lambda one: -len(one.models))
    arms = [name for study in studies for name in study.arms]
    return list(dict.fromkeys([*arms, *(name for one in largest_first for name in one.models)]))


def _of_study(study: Study, names: Sequence[str], prefix: str, *, short: bool) -> Section:
    return Section(
        instrument=f"figure {study.figure}",
        title=f"{study.figure}: {study.title}",
        called=study.figure if short else "",
        sentences=list(study.sentences),
        caution=study.note,
        notes=[],
        pictures=[picture(panel, names, f"{prefix}p{number}") for number, panel in enumerate(study.panels)],
        legend=[sign(entry, names, f"{prefix}l{number}") for number, entry in enumerate(study.entries)],
        provenances=[],
        tables=[_table(f"figure-{study.figure}", name, table) for name, table in study.tables.items()],
    )


def _models(measured: Iterable[Mapping[str, Any]], names: Sequence[str]) -> list[ModelRow]:
    rows: dict[tuple[str, str], str] = {}
    for provenance in measured:
        model = provenance["model"]
        rows.setdefault((model["name"], str(model.get("weights_sha256") or "")), str(model.get("class", "")))
    found = [ModelRow(name=name, checksum=checksum, kind=kind) for (name, checksum), kind in rows.items()]
    return sorted(found, key=lambda row: names.index(row.name))


def _section(measurement: Measurement, names: Sequence[str], prefix: str) -> Section:
    shared: dict[str, Any] = {
        "instrument": measurement.instrument,
        "notes": differences(measurement),
        "cautions": cautions(measurement),
        "provenances": [
            (p["model"]["name"], json.dumps(p, indent=2, ensure_ascii=False)) for p in measurement.provenances
        ],
        "tables": [
            _table(measurement.instrument, name, measurement.tables[name])
            for name in sorted(measurement.tables, key=lambda k: (k != "table", k))
        ],
    }
    if measurement.instrument not in figures.FIGURES:
        return Section(title=measurement.instrument, **shared)
    exhibit = figures.exhibit(measurement.instrument)
    drawn = [picture(panel, names, f"{prefix}p{k}") for k, panel in enumerate(figures.panels(measurement))]
    return Section(
        title=exhibit.title,
        question=exhibit.spec.question,
        sentences=figures.sentences(measurement),
        caution=exhibit.spec.caution,
        pictures=drawn or [whole(figures.draw(measurement), exhibit.title, names, prefix)],
        legend=[sign(entry, names, f"{prefix}l{k}") for k, entry in enumerate(figures.legend(measurement))],
        **shared,
    )


def _table(of: str, name: str, table: pd.DataFrame) -> Table:
    file = f"{of}.csv" if name == "table" else f"{of}-{name}.csv"
    # Six digits, for the page: all of them are in the stored file, and would make a third of the page.
    csv = table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    # What is safe here keeps the link short: a blank or comma as %20 or %2C would triple a file of numbers.
    link = f"data:text/csv;charset=utf-8,{quote(csv, safe=',. /:[]()')}"
    if len(link) > LONG:
        file, packed = f"{file}.gz", gzip.compress(csv.encode("utf-8"), mtime=0)
        link = f"data:application/gzip;base64,{base64.b64encode(packed).decode('ascii')}"
    return Table(
        name=name,
        columns=[str(column) for column in table.columns],
        rows=[[_cell(value) for value in row] for row in table.head(ROWS).itertuples(index=False)],
        count=len(table),
        file=file,
        link=link,
    )


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
