"""Tables that are not ours, or not any more: of measurements, and the logs of training runs, given to a report."""

import json
from pathlib import Path

from tests.figures.crafted import calibration
from tests.hostile import runs
from tests.hostile.battery import EXECUTED, Case, said
from tests.hostile.values import PLACES, TEXTS

from alternet.measurement import Measurement
from alternet.report.gather import gather
from alternet.studies.evidence import read_evidence
from alternet.studies.published import published_landscape

REFUSED = "holds a damaged measurement|cannot be shown|holds a damaged training run"

FOREIGN: dict[str, str] = {
    "of another program": "date,open,high,low\n2020-01-01,1,2,3\n",
    "with semicolons": "model;metric;value\na;accuracy;0.5\n",
    "with tabs": "model\tmetric\tvalue\na\taccuracy\t0.5\n",
    "with quotes that do not end": 'model,metric,value\na,"accuracy,0.5\n',
    "with more cells than columns": "model,metric,value\na,accuracy,0.5,1,2,3\n",
    "with fewer cells than columns": "model,metric,value\na\n",
    "of a header alone": "model,metric,value\n",
    "without a header": "a,accuracy,0.5\n",
    "with a column twice": "model,model,metric,value\na,b,accuracy,0.5\n",
    "with words for numbers": "model,metric,value\na,accuracy,high\n",
    "with a formula": f"model,metric,value\n=cmd|'/C touch {EXECUTED}'!A1,accuracy,0.5\n",
    "of another model": "model,metric,value\nb,accuracy,0.5\n",
    "with infinity": "model,metric,value\na,accuracy,inf\n",
    "with a number of 1000 digits": f"model,metric,value\na,accuracy,{'9' * 1000}\n",
    "with zero bytes": "model,metric,value\na,acc\0uracy,0.5\n",
    "with escape codes": "model,metric,value\n\x1b[2J,accuracy,0.5\n",
    "with carriage returns": "model,metric,value\r\na,accuracy,0.5\r\n",
    "cut off": "model,metric,value\na,accuracy,0.5",
    "of 10 000 columns": ",".join(f"c{n}" for n in range(10_000)) + "\n",
    "of one cell of a megabyte": f"model,metric,value\n{'x' * 2**20},accuracy,0.5\n",
    "of empty lines": "\n\n\n\n",
    "of commas": ",,,,\n,,,,\n",
    "with an empty name": "model,metric,value\n,accuracy,0.5\n",
}
"""Tables as other programs write them."""

SHOWN = {"with infinity", "with a column twice", "with zero bytes"}
"""Those that are shown as they are: the numbers stand in the figure or, where they cannot, outside of it."""

LOGS: dict[str, str] = {
    "without steps": "epoch,lr\n1,0.1\n",
    "of words": "epoch,step,lr\none,two,three\n",
    "with half a row": "epoch,step,lr,train_loss\n1,2\n",
    "with infinite epochs": "epoch,step,lr\ninf,1,0.1\n",
    "with NaN for a step": "epoch,step,lr\n1,nan,0.1\n",
    "with more cells than columns": "epoch,step\n1,2,3,4\n",
    "of a header alone": "epoch,step,lr\n",
}
"""Logs of training."""

CASES = [
    *(Case(f"a table {name}", ("table", text.encode()), f"{REFUSED}|^shown" if name in SHOWN else REFUSED, "calibration") for name, text in FOREIGN.items()),
    *(Case(f"a table of {name}", ("table", text), REFUSED, "calibration") for name, text in TEXTS.items()),
    *(Case(f"a table that is {name}", ("table", make), REFUSED, "calibration") for name, make in PLACES.items()),
    *(Case(f"a log {name}", ("log", text.encode()), REFUSED, "run") for name, text in {**FOREIGN, **LOGS}.items()),
    *(Case(f"a log of {name}", ("log", text), REFUSED, "run") for name, text in TEXTS.items()),
    *(Case(f"a log that is {name}", ("log", make), f"{REFUSED}|Nothing to report", "run") for name, make in PLACES.items()),
    *(Case(f"another table {name}", ("other", text.encode()), "^shown") for name, text in FOREIGN.items()),
    *(Case(f"an order of models that is {name}", ("order", make), "^shown") for name, make in PLACES.items()),
    *(Case(f"an order of models of {name}", ("order", text), "^shown") for name, text in TEXTS.items()),
    *(Case(f"evidence that is {name}", ("evidence", make), "cannot be read as evidence", "evidence.csv") for name, make in PLACES.items()),
    *(Case(f"evidence {name}", ("evidence", text.encode()), "is no evidence|cannot be read as evidence", "evidence.csv") for name, text in FOREIGN.items()),
    *(Case(f"a released landscape that is {name}", ("landscape", make), "cannot be read as a released landscape", "evidence.csv") for name, make in PLACES.items()),
    Case("a table as it was", ("table", None), "^shown"),
]  # fmt: skip
"""All tables."""


def met(case: Case, folder: Path) -> str:
    """What a report says of a folder with such a table in it."""
    kind, content = case.content
    if kind in ("evidence", "landscape"):
        file = folder / "evidence.csv"
        content(file) if callable(content) else file.write_bytes(content)
        return said(lambda: read_evidence(file) if kind == "evidence" else published_landscape(file, "a"))
    if kind == "log":
        (folder / "run").mkdir()
        (folder / "run" / "run.json").write_text(json.dumps(runs.GOOD))
        file = folder / "run" / "log.csv"
    else:
        calibration("ResNet", "a").save(folder)
        (file,) = folder.rglob("table.csv")
        facts = json.loads((file.parent / "provenance.json").read_text())
        if kind == "table" and content is not None:  # as version 0.1.0 wrote it, without checksums
            facts = {key: value for key, value in facts.items() if key not in ("sha256", "rows", "columns")}
            (file.parent / "provenance.json").write_text(json.dumps(facts))
            file.unlink()
        if kind == "order":
            file = folder / "models.json"
            file.unlink(missing_ok=True)
        elif kind == "other":
            file = file.with_name("other.csv")
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        content(file)
    return said(lambda: f"shown: {', '.join(_named(one) for one in gather([folder])[0])}")


def _named(measurement: Measurement) -> str:
    return f"{measurement.instrument} of {', '.join(measurement.models)}"
