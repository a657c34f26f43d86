"""Claim list: what the evidence says of each claim, in a line, below the first table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from alternet.instruments.verdicts import interval, records, say, word
from alternet.measurement import Measurement

SIGNS = {"supported": "✓", "contradicted": "✗", "undecided": "○"}
"""So that verdicts are told apart without their colours; all others are a dash."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One effect: what is compared, its verdict with a sign, and its numbers."""

    name: str
    word: str
    verdict: str
    sign: str
    numbers: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim with the verdict on each of its cases, `of` the evidence of that name where there are several."""

    text: str
    source: str
    of: str
    cases: list[Case]


def claims(measurement: Measurement) -> list[Claim]:
    """The claims of a measurement of verdicts, those with something measured first."""
    found = []
    for model in measurement.models:
        for _, cases in measurement.of(model).table.groupby("claim", sort=False):
            first = cases.iloc[0]
            found.append(
                Claim(
                    text=str(first["text"]),
                    source=str(first.get("source", "")),
                    of=model if len(measurement.models) > 1 else "",
                    cases=list(_cases(records(cases))),
                )
            )
    return sorted(found, key=lambda claim: not any(case.numbers for case in claim.cases))


def _cases(rows: Iterable[dict[str, Any]]) -> Iterable[Case]:
    for row in rows:
        verdict = str(row["verdict"])
        reach = interval(row["low"], row["high"], row["scale"])
        effect = say(row["effect"], row["scale"])
        yield Case(
            name=str(row["case"]),
            word=word(verdict).replace(" ", "-"),
            verdict=verdict,
            sign=SIGNS.get(word(verdict), "–"),
            numbers=f"{effect} ({reach})" if reach else effect,
        )
