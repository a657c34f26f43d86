"""Contents: the report as plain values, before it becomes a page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pandas as pd

from alternet.errors import not_seen
from alternet.instruments import figures
from alternet.measurement import PARTLY_RANDOM, RANDOM, RANDOM_HEAD, Measurement, drawn
from alternet.plotting.legend import Entry
from alternet.plotting.panel import Panel
from alternet.report.inline import Picture, Sign, picture, sign, whole

ROWS = 12
"""How many rows of a table the page shows; the whole table can be saved from it."""

FACTS = ("data", "images", "preparation", "normalisation", "dtype")
"""Besides the settings, what must agree before the numbers of two models may be compared."""

NO_NETWORKS = ("training", "epochs", "claims", "comparison")
"""What is shown like an instrument, but is no measurement of the weights that its provenance names."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The first rows of a table as text, and all of it as a CSV file inside a link."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    count: int
    file: str
    link: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One instrument."""

    instrument: str
    title: str
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
    parameters: str
    accuracy: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Everything that the page shows."""

    headline: str
    summary: str
    notes: list[str]
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
    place = {name: number for number, name in enumerate(figures.FIGURES)}
    shown_as = [measurement.marked() for measurement in measurements]
    ordered = sorted(shown_as, key=lambda one: (place.get(one.instrument, len(place)), one.instrument))
    names = in_one_order([figures.as_shown(one) for one in ordered], studies)

    # Of its model a training log knows the name alone, and it says what was trained on, not what was measured on.
    measured = [
        (one, provenance) for one in ordered if one.instrument not in NO_NETWORKS for provenance in one.provenances
    ]
    models = _models(measured, in_one_order(ordered))
    # where nothing was measured, the headline is of what was trained
    groups = {run: name for one in ordered for name, runs in one.groups.items() for run in runs}
    shown = list(dict.fromkeys(groups.get(row.name, row.name) for row in models)) or names
    if studies:
        headline = f"Figures {', '.join(study.figure for study in studies)}"
    elif len(shown) == 1:
        headline = f"How {shown[0]} works inside" if models else f"How {shown[0]} was trained"
    elif len(shown) <= 3:
        headline = f"How {', '.join(shown[:-1])} and {shown[-1]} {'work inside' if models else 'were trained'}"
    else:
        headline = f"How {len(shown)} networks {'work inside' if models else 'were trained'}"

    data = [(p.get("data"), p.get("images")) for _, p in measured]
    sets = {str(facts["name"]) for facts, _ in data if isinstance(facts, Mapping) and "name" in facts}
    images = {count for _, count in data if isinstance(count, int)}
    count = f" ({images.pop():,} images)" if len(images) == 1 else ""

    twice = [name for name in sorted(shown) if sum(row.name == name for row in models) > 1]
    differ = [
        f"{name} stands for different weights in different instruments; see the list of models." for name in twice
    ]
    return Contents(
        headline=headline,
        summary=f"Measured on {', '.join(sorted(sets))}{count}." if sets else "",
        notes=[*notes, *differ],
        models=models,
        sections=[
            *(_of_study(study, names, f"f{number}") for number, study in enumerate(studies, start=1)),
            *(_section(one, names, f"s{number}") for number, one in enumerate(ordered, start=1)),
        ],
        several=len(names) > 1,
    )


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


def _of_study(study: Study, names: Sequence[str], prefix: str) -> Section:
    return Section(
        instrument=f"figure {study.figure}",
        title=f"{study.figure}: {study.title}",
        sentences=list(study.sentences),
        caution=study.note,
        notes=[],
        pictures=[picture(panel, names, f"{prefix}p{number}") for number, panel in enumerate(study.panels)],
        legend=[sign(entry, names, f"{prefix}l{number}") for number, entry in enumerate(study.entries)],
        provenances=[],
        tables=[_table(f"figure-{study.figure}", name, table) for name, table in study.tables.items()],
    )


def _models(measured: Iterable[tuple[Measurement, Mapping[str, Any]]], names: Sequence[str]) -> list[ModelRow]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for measurement, provenance in measured:
        model = provenance["model"]
        count = model.get("parameters")
        row = rows.setdefault((model["name"], str(model.get("weights_sha256") or "")), {"accuracy": ""})
        row["kind"] = str(model.get("class", ""))
        row["parameters"] = f"{count / 1e6:.2f} M" if isinstance(count, int) else ""
        if measurement.instrument == "calibration" and {"metric", "value"} <= set(measurement.table):
            table = measurement.of(model["name"]).table
            value = table.loc[table["metric"] == "accuracy", "value"]
            row["accuracy"] = f"{value.iloc[0]:.1%}" if len(value) else row["accuracy"]
    found = [ModelRow(name=name, checksum=checksum, **row) for (name, checksum), row in rows.items()]
    return sorted(found, key=lambda row: names.index(row.name))


def _section(measurement: Measurement, names: Sequence[str], prefix: str) -> Section:
    shared: dict[str, Any] = {
        "instrument": measurement.instrument,
        "notes": _differences(measurement),
        "cautions": _cautions(measurement),
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


def _differences(measurement: Measurement) -> list[str]:
    """Settings and data that are not the same for all models."""
    facts: dict[str, dict[str, str]] = {}
    for provenance in measurement.provenances:
        flat: dict[str, Any] = {}
        for group in ("settings", "recipe"):
            if isinstance(options := provenance.get(group), Mapping):
                flat |= options
        stated = {**provenance, **_input(provenance)}
        flat |= {fact: _short(stated[fact]) for fact in FACTS if fact in stated}
        facts[provenance["model"]["name"]] = {
            key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in flat.items()
        }
    notes = []
    for key in dict.fromkeys(key for one in facts.values() for key in one):
        values: dict[str, list[str]] = {}
        for name, one in facts.items():
            values.setdefault(one.get(key, "unknown"), []).append(name)
        if len(values) > 1:
            notes.append(f"{key}: " + "; ".join(f"{value} for {', '.join(names)}" for value, names in values.items()))
    return notes


def _input(provenance: Mapping[str, Any]) -> dict[str, str]:
    """How the images were prepared and normalised, in words, as far as the provenance says so."""
    said = {}
    if isinstance(made := provenance.get("preparation"), Mapping):
        cut = f", crop {made['crop_pct']:g}, {made['interpolation']}" if "crop_pct" in made else ""
        said["preparation"] = " × ".join(map(str, made["size"])) + cut
    if isinstance(entry := provenance.get("input"), Mapping):
        mean, std = (", ".join(f"{v:.4g}" for v in entry.get(name) or ()) for name in ("mean", "std"))
        said["normalisation"] = f"mean {mean}, std {std}" if mean else "none"
    return said


def _cautions(measurement: Measurement) -> list[str]:
    """Which models were not trained, or not all of them, and of which some layers are not seen."""
    found: dict[str, list[str]] = {}
    for provenance in measurement.provenances:
        if kind := drawn(provenance.get("origin")):
            found.setdefault(kind, []).append(provenance["model"]["name"])
    unseen = {p["model"]["name"]: (p.get("origin") or {}).get("not_seen") for p in measurement.provenances}
    return [
        *(f"{', '.join(names)}: {MEANING[kind]}" for kind, names in found.items()),
        *(f"{name}: {not_seen(layers)}" for name, layers in unseen.items() if layers),
    ]


MEANING = {
    RANDOM: "the weights are random, so the numbers say how the architecture starts, not what it learns.",
    RANDOM_HEAD: "the layer that gives the class scores is random, so what is computed from them says nothing yet.",
    PARTLY_RANDOM: "some of the weights are random, so the numbers say little of a trained network.",
}


def _short(value: Any) -> Any:
    """Data by its name and the beginning of its fingerprint."""
    if isinstance(value, Mapping) and "name" in value:
        return f"{value['name']} ({str(value.get('fingerprint', 'no fingerprint'))[:8]})"
    return value


def _table(of: str, name: str, table: pd.DataFrame) -> Table:
    file = f"{of}.csv" if name == "table" else f"{of}-{name}.csv"
    # Six digits, for the page: all of them are in the stored file, and would make a third of the page.
    csv = table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    return Table(
        name=name,
        columns=[str(column) for column in table.columns],
        rows=[[_cell(value) for value in row] for row in table.head(ROWS).itertuples(index=False)],
        count=len(table),
        file=file,
        # What is safe here keeps the link short: a blank or comma as %20 or %2C would triple a file of numbers.
        link=f"data:text/csv;charset=utf-8,{quote(csv, safe=',. /:[]()')}",
    )


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
