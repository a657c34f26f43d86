"""Hold every instrument against its independent reference, and write the table of docs/verification.md: `make verify`.

The tests in tests/independent say, in the report of pytest, what they compared and by how much it differed.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import marks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "verification.md"
HEAD = ("instrument", "independent reference", "networks and sizes", "largest difference")


def records(report: Path) -> list[dict[str, str | float]]:
    """What the tests compared, from pytest's report in JUnit's XML."""
    found = ElementTree.parse(report).iter("property")
    return [json.loads(each.get("value", "")) for each in found if each.get("name") == "reference"]


def table(compared: Iterable[Mapping[str, str | float]]) -> str:
    """One row for each instrument and reference, its quantities in falling order of their difference."""
    rows: dict[tuple[str, str], tuple[dict[str, None], dict[str, float]]] = {}
    for each in compared:
        on, differences = rows.setdefault((str(each["instrument"]), str(each["reference"])), ({}, {}))
        on[str(each["on"])] = None
        quantity = str(each["quantity"])
        differences[quantity] = max(differences.get(quantity, 0.0), float(each["difference"]))
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for (instrument, reference), (on, differences) in sorted(rows.items()):
        falling = sorted(differences.items(), key=lambda item: -item[1])
        # below a thousandth of what double precision can tell apart, a difference is the order of a sum
        said = ", ".join(f"{name} {value:.0e}" if value > 1e-15 else f"{name} 0" for name, value in falling)
        lines.append(f"| {instrument} | {reference} | {', '.join(on)} | {said} |")
    return "\n".join(lines)


def main() -> int:
    """Run the tests and write the page; ends as pytest does."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        tests = [sys.executable, "-m", "pytest", "-q", "tests/independent", f"--junitxml={report}", *sys.argv[1:]]
        code = subprocess.run(tests, cwd=ROOT, check=False).returncode
        text = table(records(report))
    if code == 0:
        marks.write(PAGE, "references", text)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
