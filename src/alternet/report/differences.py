"""Differences: what a reader must know before the numbers of several models are compared."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from alternet.errors import not_seen
from alternet.measurement import PARTLY_RANDOM, RANDOM, RANDOM_HEAD, Measurement, drawn

FACTS = ("data", "images", "preparation", "normalisation", "dtype")
"""Besides the settings, what must agree before the numbers of two models may be compared."""

MEANING = {
    RANDOM: "the weights are random, so the numbers say how the architecture starts, not what it learns.",
    RANDOM_HEAD: "the layer that gives the class scores is random, so what is computed from them says nothing yet.",
    PARTLY_RANDOM: "some of the weights are random, so the numbers say little of a trained network.",
}


def differences(
    measurement: Measurement, stated: Sequence[str] = FACTS, options: Sequence[str] = ("settings", "recipe")
) -> list[str]:
    """Options, and facts of those `stated`, that are not the same for all models."""
    facts: dict[str, dict[str, str]] = {}
    for provenance in measurement.provenances:
        flat: dict[str, Any] = {}
        for group in options:
            if isinstance(given := provenance.get(group), Mapping):
                flat |= given
        known = {**provenance, **_input(provenance)}
        flat |= {fact: _short(known[fact]) for fact in stated if fact in known}
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


def cautions(measurement: Measurement) -> list[str]:
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


def _short(value: Any) -> Any:
    """Data by its name and the beginning of its fingerprint."""
    if isinstance(value, Mapping) and "name" in value:
        return f"{value['name']} ({str(value.get('fingerprint', 'no fingerprint'))[:8]})"
    return value
