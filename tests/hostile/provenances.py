"""`provenance.json` and what it may say of a measurement."""

import json
from pathlib import Path
from typing import Any

from tests.figures.crafted import calibration
from tests.hostile.battery import Case, said
from tests.hostile.values import PLACES, TEXTS, VALUES, WORDS

from alternet.report.gather import gather

REFUSED = "holds a damaged measurement|names no instrument|cannot be shown"
FIELDS = ("instrument", "model", "rows", "columns", "sha256", "settings", "origin", "data")
DECIDING = FIELDS[:5]
"""Facts without which a table cannot be read or named."""

CASES = [
    Case("a provenance as it was", {}, "^shown calibration of a"),
    *(Case(f"a provenance of {name}", text, REFUSED, "calibration") for name, text in TEXTS.items()),
    *(Case(f"a provenance that is {name}", make, f"{REFUSED}|Nothing to report", "input") for name, make in PLACES.items()),
    *(Case(f"without {key}", {key: ...}, f"{REFUSED}|^shown") for key in FIELDS),
    *(Case(f"{key}: {name}", {key: value}, f"{REFUSED}|^shown") for key in FIELDS for name, value in VALUES.items()),
    *(Case(f"the name of a model: {name}", {"model": {"name": value}}, f"{REFUSED}|^shown") for name, value in VALUES.items()),
    *(Case(f"a model called {name}", {"model": {"name": word}}, f"{REFUSED}|^shown") for name, word in WORDS.items()),
    *(Case(f"an instrument called {name}", {"instrument": word}, f"{REFUSED}|^shown") for name, word in WORDS.items()),
    Case("a sum of another table", {"sha256": {"table": "0" * 64}}, "is not the table that provenance.json was written for"),
    Case("a table that there is not", {"rows": {"table": None, "other": 3}}, "other.csv is missing"),
    Case("another number of rows", {"rows": {"table": 10**9}}, "rows, 1000000000 were written"),
    Case("a table elsewhere", {"rows": {"../../secret": 1}}, "secret.csv is missing"),
]  # fmt: skip
"""All provenances."""


def met(case: Case, folder: Path) -> str:
    """What a report says of a measurement with such a provenance."""
    calibration("ResNet", "a").save(folder)
    (file,) = folder.rglob("provenance.json")
    if isinstance(case.content, dict):
        facts: dict[str, Any] = {**json.loads(file.read_text()), **case.content}
        file.write_text(json.dumps({key: value for key, value in facts.items() if value is not ...}))
    elif isinstance(case.content, bytes):
        file.write_bytes(case.content)
    else:
        file.unlink()
        case.content(file)
    return said(
        lambda: (
            "shown " + ", ".join(f"{one.instrument} of {', '.join(one.models)}"[:300] for one in gather([folder])[0])
        )
    )
