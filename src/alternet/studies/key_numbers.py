"""Key numbers: what stored measurements say of each network, as evidence: a row a number, a network and a run of it.

Which numbers stand for an instrument is said by `readings`, what each is by `evidence.QUANTITIES`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import pandas as pd

from alternet.errors import unknown
from alternet.instruments.figures import FIGURES
from alternet.measurement import Measurement
from alternet.studies.evidence import COLUMNS, QUANTITIES
from alternet.studies.readings import READINGS, rows


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network: a model, or several that differ by the seed of their training.

    Attributes:
        name: What it is called.
        measured: By instrument and model, a measurement of that model alone.
        seeds: Of its models, what seed each was trained with, as far as that is stored.
    """

    name: str
    measured: Mapping[str, Mapping[str, Measurement]]
    seeds: Mapping[str, int]

    @property
    def models(self) -> list[str]:
        """Its models, in order."""
        return list(dict.fromkeys(model for found in self.measured.values() for model in found))

    @property
    def called(self) -> str:
        """Its name as figures have it: of several runs with their number.

        Examples:
            >>> Network(name="a", measured={}, seeds={}).called
            'a'
        """
        count = len(self.models)
        return f"{self.name} ({count} runs)" if count > 1 else self.name

    @property
    def seeds_known(self) -> bool:
        """Whether every model has a seed, and each one of its own."""
        known = [self.seeds.get(model) for model in self.models]
        return None not in known and len(set(known)) == len(known)


def networks(measurements: Iterable[Measurement], names: Sequence[str] = ()) -> list[Network]:
    """The networks that measurements are of: groups of runs, and models of none.

    Args:
        measurements: Of one or more models each.
        names: Which of them, by the name of a group or model; all by default.

    Raises:
        ValueError: One that is named is not there, or one model was measured twice by an instrument.
    """
    found: dict[str, dict[str, Measurement]] = {}
    for one in (measurement.of(model) for measurement in measurements for model in measurement.models):
        one = one.marked()
        if one.instrument not in READINGS:  # what is only shown: claims, build-ups, comparisons
            continue
        (model,) = one.models
        if model in found.setdefault(one.instrument, {}):
            raise ValueError(
                f"{model} was measured twice by {one.instrument}. Give each a name of its own (Measurement.renamed)."
            )
        found[one.instrument][model] = one
    # the log of a training knows no group, what is measured of it does
    groups = {
        model: str(name) for by in found.values() for model, m in by.items() if (name := m.provenance.get("group"))
    }
    runs = list(groups.values())
    of = {
        model: groups[model] if runs.count(groups.get(model, "")) > 1 else model
        for by in found.values()
        for model in by
    }
    seeds = {model: seed for by in found.values() for model, one in by.items() if (seed := _seed(one)) is not None}
    there = dict.fromkeys(of.values())
    if missing := [name for name in names if name not in there and name not in of]:
        raise unknown("No network", missing[0], [*there, *of])
    made = []
    for name in names or there:
        models = [model for model, group in of.items() if name in ((group,) if name in there else (model,))]
        measured = {
            instrument: {model: by[model] for model in models if model in by}
            for instrument, by in found.items()
            if any(model in by for model in models)
        }
        made.append(Network(name=name, measured=measured, seeds={m: seeds[m] for m in models if m in seeds}))
    return made


def _seed(one: Measurement) -> int | None:
    """The seed that a model was trained with, by the log of its training or by where its weights come from."""
    weights = (one.provenance.get("origin") or {}).get("weights") or {}
    stored = (
        (one.provenance.get("recipe") or {}).get("seed") if one.instrument == "training" else weights.get("recipe_seed")
    )
    return stored if isinstance(stored, int) else None


def evidence_of(network: Network) -> pd.DataFrame:
    """Every key number of every run of a network, with the columns of evidence.

    `figure` is the instrument, `arm` the network, `seed` what the run was trained with; where that is not stored, runs
    are counted from -2 downwards, so that they pair with nothing.
    """
    places = network.seeds if network.seeds_known else {m: -2 - k for k, m in enumerate(network.models)}
    found = []
    for instrument, by in network.measured.items():
        for model, one in by.items():
            one = completed(one)
            log = one.table if instrument == "training" else None
            found += [
                (instrument, network.name, row.quantity, row.x, places[model], row.value, row.standard_error)
                for row in rows(instrument, one.tables, log, nan)
            ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def completed(measurement: Measurement) -> Measurement:
    """The same with the columns that earlier versions did not write, empty."""
    shown = FIGURES.get(measurement.instrument)
    if shown is None:
        return measurement
    tables = {
        name: table.reindex(columns=[*table, *(c for c in shown.spec.tables.get(name, {}) if c not in table)])
        for name, table in measurement.tables.items()
    }
    return Measurement(instrument=measurement.instrument, tables=tables, provenances=measurement.provenances)


SUMMARIES = {"value": "", "low": ", low frequencies", "high": ", high frequencies", "edge": " at r = 1"}
"""How the title of a quantity goes on where a series became a number; `claim.Reading` says how it does."""


def title(quantity: str, summary: str) -> str:
    """What a key number is, in words.

    Examples:
        >>> title("rise_nll", "edge")
        'Rise of the NLL at r = 1'
    """
    return QUANTITIES[quantity].title + SUMMARIES[summary]
