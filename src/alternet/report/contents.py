"""Contents: the report as plain values, before it becomes a page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pandas as pd

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.report.inline import Picture, Sign, picture, sign, whole

ROWS = 12
"""How many rows of a table the page shows; the whole table can be saved from it."""

FACTS = ("data", "images", "dtype")
"""Besides the settings, what must agree before the numbers of two models may be compared."""


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


def contents(measurements: Iterable[Measurement], notes: Iterable[str]) -> Contents:
    """What a report says about measurements; an instrument without a figure is shown by its tables.

    Args:
        measurements: One an instrument.
        notes: What a reader must know first.
    """
    ordered = sorted(measurements, key=_place)
    models = _models(ordered)
    names = list(dict.fromkeys(name for one in ordered for name in one.models))
    sections = [_section(one, names, f"s{number}") for number, one in enumerate(ordered, start=1)]
    return Contents(
        headline=_headline(list(dict.fromkeys(row.name for row in models))),
        summary=_summary(ordered),
        notes=[*notes, *_weights_differ(models)],
        models=models,
        sections=sections,
        several=len(names) > 1,
    )


def _place(measurement: Measurement) -> tuple[int, str]:
    known = list(figures.FIGURES)
    name = measurement.instrument
    return (known.index(name) if name in known else len(known)), name


def _headline(names: list[str]) -> str:
    if len(names) == 1:
        return f"How {names[0]} works inside"
    if len(names) <= 3:
        return f"How {', '.join(names[:-1])} and {names[-1]} work inside"
    return f"How {len(names)} networks work inside"


def _summary(measurements: list[Measurement]) -> str:
    provenances = [p for m in measurements for p in m.provenances if m.instrument != "training"]
    names = {str(p["data"]["name"]) for p in provenances if isinstance(p.get("data"), Mapping) and "name" in p["data"]}
    images = {p["images"] for p in provenances if isinstance(p.get("images"), int)}
    count = f" ({images.pop():,} images)" if len(images) == 1 else ""
    return f"Measured on {', '.join(sorted(names))}{count}." if names else ""


def _models(measurements: list[Measurement]) -> list[ModelRow]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for measurement in measurements:
        if measurement.instrument == "training":
            continue
        for provenance in measurement.provenances:
            model = provenance["model"]
            row = rows.setdefault((model["name"], str(model.get("weights_sha256") or "")), {})
            row["kind"] = str(model.get("class", ""))
            row["parameters"] = _million(model.get("parameters"))
            if accuracy := _accuracy(measurement, model["name"]):
                row["accuracy"] = accuracy
    return [
        ModelRow(
            name=name,
            checksum=checksum,
            kind=row["kind"],
            parameters=row["parameters"],
            accuracy=row.get("accuracy", ""),
        )
        for (name, checksum), row in rows.items()
    ]


def _million(count: Any) -> str:
    return f"{count / 1e6:.2f} M" if isinstance(count, int) else ""


def _accuracy(measurement: Measurement, model: str) -> str:
    if measurement.instrument != "calibration" or not {"metric", "value"} <= set(measurement.table):
        return ""
    table = measurement.of(model).table
    value = table.loc[table["metric"] == "accuracy", "value"]
    return f"{value.iloc[0]:.1%}" if len(value) else ""


def _weights_differ(models: list[ModelRow]) -> list[str]:
    names = [row.name for row in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{name} stands for different weights in different instruments; see the list of models." for name in twice]


def _section(measurement: Measurement, names: Sequence[str], prefix: str) -> Section:
    shared: dict[str, Any] = {
        "instrument": measurement.instrument,
        "notes": _differences(measurement),
        "provenances": [(p["model"]["name"], _json(p)) for p in measurement.provenances],
        "tables": [_table(measurement.instrument, name, table) for name, table in _main_first(measurement)],
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
    facts = {p["model"]["name"]: _comparable(p) for p in measurement.provenances}
    keys = dict.fromkeys(key for one in facts.values() for key in one)
    notes = []
    for key in keys:
        values: dict[str, list[str]] = {}
        for name, one in facts.items():
            values.setdefault(one.get(key, "unknown"), []).append(name)
        if len(values) > 1:
            notes.append(f"{key}: " + "; ".join(f"{value} for {', '.join(names)}" for value, names in values.items()))
    return notes


def _comparable(provenance: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, Any] = {}
    for group in ("settings", "recipe"):
        if isinstance(options := provenance.get(group), Mapping):
            flat |= options
    flat |= {fact: _short(provenance[fact]) for fact in FACTS if fact in provenance}
    return {key: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for key, value in flat.items()}


def _short(value: Any) -> Any:
    """Data by its name and the beginning of its fingerprint."""
    if isinstance(value, Mapping) and "name" in value:
        return f"{value['name']} ({str(value.get('fingerprint', 'no fingerprint'))[:8]})"
    return value


def _main_first(measurement: Measurement) -> list[tuple[str, pd.DataFrame]]:
    return sorted(measurement.tables.items(), key=lambda pair: (pair[0] != "table", pair[0]))


def _table(instrument: str, name: str, table: pd.DataFrame) -> Table:
    csv = table.to_csv(index=False, lineterminator="\n")
    head = table.head(ROWS)
    return Table(
        name=name,
        columns=[str(column) for column in table.columns],
        rows=[[_cell(value) for value in row] for row in head.itertuples(index=False)],
        count=len(table),
        file=f"{instrument}.csv" if name == "table" else f"{instrument}-{name}.csv",
        link=f"data:text/csv;charset=utf-8,{quote(csv, safe=',. /:[]()')}",
    )


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
