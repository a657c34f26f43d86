"""Measurement: what an instrument found, as tidy tables, with where every number comes from."""

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from alternet.errors import damage, shortened
from alternet.files import read_file, read_json
from alternet.shown import as_text
from alternet.storage import (
    as_bytes,
    require_same,
    safe_name,
    sha256_of,
    sole_writer,
    sweep,
    write_atomically,
    write_json,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROVENANCE = "provenance.json"
ORDER = "models.json"
"""In a folder of results: the names of its models, in the order in which they are shown."""
ROWS = "rows"
"""How many rows each table has, in the stored provenance alone: what is cut off is noticed."""

RANDOM, RANDOM_HEAD, PARTLY_RANDOM = "random weights", "random head", "partly random weights"
MARKS = tuple(f" ({mark})" for mark in (RANDOM, RANDOM_HEAD, PARTLY_RANDOM))
"""What stands behind the name of a model that was not trained, or not all of it, wherever its numbers are shown."""

TYPES = "columns"
"""Whether each column holds text or numbers, likewise: a layer called 0 is no number."""

SUMS = "sha256"
"""Checksum of each table's file, likewise; results of version 0.1.0 have none."""

DECIDING = ("instrument", "version", "settings", "model", "input", "dtype", "data", "architectures")
"""What two measurements of one thing have in common; the rest of a provenance is circumstances."""

NAMES = ("model", "model_b", "tap", "tap_a", "tap_b", "kind", "metric", "corruption", "shape", "texture")
"""Columns of text in results of version 0.1.0, which did not say so."""

EXACT: Any = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
"""For `pandas.read_csv`: floats as they were written, which is its default from 3.1 on."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Measurement:
    """The tables of one instrument for one or more models.

    Attributes:
        instrument: Name of the instrument, e.g. `fourier`.
        tables: Tidy tables by name, one observation a row, first column `model`; the main one is called `table`.
        provenances: For each model, in the order of the tables, the settings, weights, data, versions and device that
            the numbers come from.

    Examples:
        >>> table = pd.DataFrame({"model": ["a"], "metric": ["accuracy"], "value": [0.5]})
        >>> m = Measurement(instrument="calibration", tables={"table": table}, provenances=({"model": {"name": "a"}},))
        >>> m.models
        ('a',)
        >>> m
        Measurement(calibration of a; table: 1 rows)
    """

    instrument: str
    tables: Mapping[str, pd.DataFrame]
    provenances: tuple[Mapping[str, Any], ...]

    def __repr__(self) -> str:
        """Instrument, models and the size of each table; the tables themselves are long."""
        tables = ", ".join(f"{name}: {len(table)} rows" for name, table in self.tables.items())
        return as_text(f"Measurement({self.instrument} of {', '.join(self.models)}; {tables})")

    @property
    def table(self) -> pd.DataFrame:
        """The main table."""
        return self.tables["table"]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The provenance of the one model measured; for several models see `provenances`."""
        if len(self.provenances) != 1:
            raise ValueError(
                f"This {self.instrument} measurement holds {len(self.provenances)} models, so it has no single "
                "provenance. Read `provenances`, one for each of `models`."
            )
        return self.provenances[0]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in order."""
        return tuple(provenance["model"]["name"] for provenance in self.provenances)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Models that are runs of one network, by the name of their group; groups of one run are none."""
        found: dict[str, list[str]] = {}
        for provenance in self.provenances:
            if group := provenance.get("group"):
                found.setdefault(str(group), []).append(provenance["model"]["name"])
        return {group: tuple(runs) for group, runs in found.items() if len(runs) > 1}

    def of(self, model: str) -> "Measurement":
        """The part of this measurement that belongs to one model."""
        if model not in self.models:
            raise ValueError(f"No model {model!r} in this {self.instrument} measurement; it holds {self.models}.")
        tables = {name: t[t["model"] == model].reset_index(drop=True) for name, t in self.tables.items()}
        return replace(self, tables=tables, provenances=(self.provenances[self.models.index(model)],))

    def renamed(self, names: Mapping[str, str]) -> "Measurement":
        """The same with other names of models, also where one stands as the second of a pair."""
        tables = {
            key: table.assign(
                **{column: table[column].replace(dict(names)) for column in ("model", "model_b") if column in table}
            )
            for key, table in self.tables.items()
        }
        provenances = tuple(
            {**facts, "model": {**facts["model"], "name": names.get(facts["model"]["name"], facts["model"]["name"])}}
            for facts in self.provenances
        )
        return replace(self, tables=tables, provenances=provenances)

    def marked(self) -> "Measurement":
        """The same for showing: behind the name of a model with random weights, or a random head, it says so.

        Examples:
            >>> table = pd.DataFrame({"model": ["a"], "metric": ["accuracy"], "value": [0.5]})
            >>> facts = {"model": {"name": "a"}, "origin": {"weights": {"from": "random", "seed": 0}}}
            >>> Measurement(instrument="calibration", tables={"table": table}, provenances=(facts,)).marked().models
            ('a (random weights)',)
        """
        names = {}
        for facts in self.provenances:
            origin, second = facts.get("origin") or {}, facts.get("other") or {}
            pairs = ((facts["model"]["name"], origin), (second.get("model", {}).get("name"), origin.get("other")))
            names |= {name: f"{name} ({mark})" for name, where in pairs if name and (mark := drawn(where))}
        return self.renamed({name: new for name, new in names.items() if not name.endswith(MARKS)}) if names else self

    def save(self, out: str | Path) -> Path:
        """Write `OUT/<model>/<instrument>/` for every model: the tables as CSV, then the provenance as JSON.

        Returns:
            The folder `out`. The provenance is written last, so a folder that has one is complete. Their order is kept.

        Raises:
            ValueError: Two of the models would share a folder, or a folder holds another measurement, or is being
                written by somebody else.
            OSError: The folder cannot be written.
        """
        folders = [folder_of(out, model, self.instrument) for model in self.models]
        if twice := sorted({str(folder) for folder in folders if folders.count(folder) > 1}):
            raise ValueError(
                f"Several of {', '.join(self.models)} would share {', '.join(twice)}. Save them one by one."
            )
        keep_order(out, self.models)
        for model, folder in zip(self.models, folders, strict=True):
            with sole_writer(folder):
                self.of(model)._require_place(folder)
                self.of(model).store(folder)
        return Path(out)

    def store(self, folder: Path) -> None:
        """Write the measurement of one model; the caller holds the folder's lock (see `save`)."""
        texts = {name: table.to_csv(index=False, lineterminator="\n") for name, table in self.tables.items()}
        for name, text in texts.items():
            write_atomically(folder / f"{name}.csv", text)
        rows = {name: len(table) for name, table in self.tables.items()}
        types = {
            name: {str(key): "number" if is_numeric_dtype(table[key]) else "text" for key in table}
            for name, table in self.tables.items()
        }
        sums = {name: hashlib.sha256(as_bytes(text)).hexdigest() for name, text in texts.items()}
        write_json(folder / PROVENANCE, {**self.provenance, ROWS: rows, TYPES: types, SUMS: sums})

    def _require_place(self, folder: Path) -> None:
        """Refuse a folder that holds another measurement: results are not overwritten."""
        if not (folder / PROVENANCE).exists():
            return
        stored, again = Measurement.load(folder), "save this one there"
        mine = json.loads(json.dumps({fact: self.provenance[fact] for fact in DECIDING if fact in self.provenance}))
        require_same(folder, stored.provenance, mine, holds="measurement", again=again)
        for name, table in self.tables.items():
            text = table.to_csv(index=False, lineterminator="\n")
            if not (folder / f"{name}.csv").is_file() or (folder / f"{name}.csv").read_bytes() != as_bytes(text):
                raise ValueError(
                    f"{folder} holds a measurement of the same thing with other numbers in {name}.csv. Give another "
                    f"folder, or delete that one to {again}."
                )

    @staticmethod
    def load(folder: str | Path) -> "Measurement":
        """Read back one `OUT/<model>/<instrument>` folder.

        Raises:
            ValueError: The folder is not a finished measurement, or one of its files cannot be read.
        """
        folder = Path(folder)
        if not (folder / PROVENANCE).is_file():
            raise ValueError(f"{folder} is not a finished measurement: it has no {PROVENANCE}. Measure it again.")
        try:
            provenance = read_json(folder / PROVENANCE)
            types, sums = provenance.pop(TYPES, {}), provenance.pop(SUMS, {})
            for name, sum_then in sums.items():
                if (folder / f"{name}.csv").is_file() and sha256_of(folder / f"{name}.csv") != sum_then:
                    raise ValueError(f"{name}.csv is not the table that {PROVENANCE} was written for")
            rows = provenance.pop(ROWS, None)
            files = [path for path in sorted(folder.glob("*.csv")) if rows is None or path.stem in rows]
            tables = {path.stem: _read(path, types.get(path.stem)) for path in files}
            _require_whole(tables, rows or {"table": None})
            measurement = Measurement(instrument=provenance["instrument"], tables=tables, provenances=(provenance,))
            if not isinstance(measurement.models[0], str):
                raise TypeError("its model has no name")
            measurement.marked()  # reads what it says of the origin of the weights
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{folder} holds a damaged measurement ({damage(error)}). Delete it and measure again."
            ) from error
        return measurement

    @staticmethod
    def concat(measurements: "Iterable[Measurement]") -> "Measurement":
        """One measurement with the models of several, in order; all of the same instrument."""
        parts = list(measurements)
        if len({part.instrument for part in parts}) != 1:
            got = sorted({part.instrument for part in parts})
            raise ValueError(f"concat joins measurements of one instrument, got {got or 'none'}. Group them first.")
        names = [name for part in parts for name in part.models]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"concat got {', '.join(twice)} more than once. Give each model a name of its own.")
        tables = {key: pd.concat([part.tables[key] for part in parts], ignore_index=True) for key in parts[0].tables}
        provenances = tuple(provenance for part in parts for provenance in part.provenances)
        return Measurement(instrument=parts[0].instrument, tables=tables, provenances=provenances)

    def draw(
        self,
        axes: Any = None,
        *,
        names: Mapping[str, str] | None = None,
        order: Sequence[str] | None = None,
        colours: Mapping[str, str] | None = None,
        style: str = "screen",
    ) -> "Figure":
        """The instrument's figure, in the paper's layout.

        Args:
            axes: Axes of matplotlib to draw the panels on, in their order, one or several; what is left over is left
                out, and there is no legend. By default a figure of its own.
            names: What models are called in it, by their names.
            order: Which models it shows, in this order; by default all as they are.
            colours: Colours of models, by their names, as matplotlib takes them.
            style: `screen`, or `paper`: as wide as one column of a conference paper (3.25 in) or both (6.75 in), as the
                figure needs, in its letters, which are embedded; `paper-single` and `paper-double` name the width.

        Raises:
            ValueError: A model or style that is named is not there, or the figure cannot be drawn on axes of yours.
        """
        # Named and not imported: what a table is does not hang on how it is drawn, and imports go one way.
        draw = import_module("alternet.instruments.figures").draw
        return draw(self, axes, names=names, order=order, colours=colours, style=style)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the figure, and what its numbers say; nothing where it cannot be drawn."""
        return import_module("alternet.instruments.notebook").html(self)


def drawn(origin: Mapping[str, Any] | None) -> str:
    """What of a model was drawn and not trained, by the `origin` in a provenance; empty where nothing is known to be.

    Examples:
        >>> drawn({"weights": {"from": "hub", "id": "a/b", "drawn": ["classifier.weight"]}}), drawn({})
        ('random head', '')
    """
    weights = (origin or {}).get("weights") or {}
    if weights.get("from") == "random":
        return RANDOM
    names = weights.get("drawn") or ()
    if not names:
        return ""
    heads = all(re.search(r"classif|head|\bfc\b|logits|score", name) for name in names)
    return RANDOM_HEAD if heads else PARTLY_RANDOM


def folder_of(out: str | Path, model: str, instrument: str) -> Path:
    """Where the measurement of a model by an instrument lies under `out`."""
    return Path(out) / safe_name(model) / safe_name(instrument)


def keep_order(out: str | Path, models: Iterable[str]) -> None:
    """Note in which order the models of a folder are shown: these in the order given, new ones behind the others.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> keep_order(folder, ["b", "a"]), keep_order(folder, ["c", "b"])
        (None, None)
        >>> kept_order(folder)
        ['c', 'a', 'b']
    """
    given = list(dict.fromkeys(models))
    sweep(Path(out) / ORDER)
    before = kept_order(out)
    turns = iter(given)
    names = [next(turns) if name in given else name for name in before]
    if (names := [*names, *turns]) == before:
        return
    with suppress(OSError):  # what cannot be written here says so where numbers are written
        write_json(Path(out) / ORDER, {"models": names})


def kept_order(out: str | Path) -> list[str]:
    """The models of a folder in the order in which they are shown; those that are not named come behind."""
    try:
        names = read_json(Path(out) / ORDER)["models"]
        return [name for name in names if isinstance(name, str)]
    except (OSError, ValueError, KeyError, TypeError):  # none, or not ours: then paths tell the order
        return []


def in_order(folders: Iterable[Path]) -> list[Path]:
    """Folders of measurements and runs: by the order of the models in the folder above, and then by their paths."""
    kept: dict[Path, dict[str, int]] = {}

    def place(folder: Path) -> tuple[Path, int, Path]:
        out, model = folder.parent.parent, folder.parent.name
        if out not in kept:
            kept[out] = {safe_name(name): number for number, name in enumerate(kept_order(out))}
        return (out, kept[out][model], folder) if model in kept[out] else (folder, len(kept[out]), folder)

    return sorted(folders, key=place)


def find_measurements(out: str | Path) -> list[Measurement]:
    """Every finished measurement under a folder, in the order of their models as kept, or else of their paths.

    Raises:
        ValueError: There is none.
    """
    folders = in_order(path.parent for path in Path(out).rglob(PROVENANCE))
    found = [Measurement.load(folder) for folder in folders]
    if not found:
        raise ValueError(f"No finished measurement under {out}: expected {out}/<model>/<instrument>/{PROVENANCE}.")
    return found


def _require_whole(tables: Mapping[str, pd.DataFrame], rows: Mapping[str, int | None]) -> None:
    """Refuse a table that is missing or, where it is known how many rows it had, cut off."""
    for name, count in rows.items():
        if name not in tables:
            raise ValueError(f"{name}.csv is missing")
        if count is not None and len(tables[name]) != count:
            raise ValueError(f"{name}.csv has {len(tables[name])} rows, {count} were written")


def _read(path: Path, types: Mapping[str, str] | None) -> pd.DataFrame:
    content = read_file(path, most=sys.maxsize)
    if not content.endswith(b"\n"):
        raise ValueError(f"{path.name} is cut off")
    words = NAMES if types is None else [name for name, kind in types.items() if kind == "text"]
    # Only \n ends a row: a name from outside may hold a carriage return.
    options: Any = {"keep_default_na": False, "na_values": [""], "lineterminator": "\n", **EXACT}
    table = pd.read_csv(io.BytesIO(content), dtype=dict.fromkeys(words, str), **options)
    if "model" not in table:
        raise ValueError(f"{path.name} has no column model, but {shortened(list(table.columns), 100)}")
    return table
