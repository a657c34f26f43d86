"""Run all that takes long, and write down what came out: `make thorough`.

The tests that `make test` takes run with the lowest versions that pyproject.toml allows, and with the newest that there
are, each in an environment of its own; then those marked `thorough` with the tested versions (constraints.txt). The
table with dates and versions stands in docs/verification.md. A run of some rows, `scripts/thorough.py lowest`, leaves
the others as they were.
"""

import json
import os
import platform
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import marks
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "verification.md"
EXTRAS = ("hf", "corruptions", "sam", "elpv", "shards", "cluster", "onnx")
"""What users may install besides."""
FORGIVING = ("-W", "default::DeprecationWarning", "-W", "default::PendingDeprecationWarning")
"""With untested versions other packages warn of one another, which is no defect of ours."""
SHOWN = ("torch", "torchvision", "timm", "numpy", "pandas", "matplotlib")


def lowest() -> Iterator[str]:
    """The lower bound of everything that the package and its extras for users ask for, as constraints for pip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked_for = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    for asked in map(Requirement, asked_for):
        (bound,) = [part.version for part in asked.specifier if part.operator == ">="]
        yield f"{asked.name}=={bound}"


def environment(folder: Path, constraints: list[str]) -> Path:
    """Make a virtual environment anew, with the package and its tests; its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    listed = folder / "constraints.txt"
    listed.write_text("\n".join(constraints), encoding="utf-8")
    pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-c", listed]
    subprocess.run([*pip, "-e", f"{ROOT}[{','.join(('test', 'dev', *EXTRAS))}]"], check=True)
    return folder / "bin" / "python"


def run(name: str, python: Path, *options: str) -> list[str]:
    """Run the tests with a Python: a row of the table, and behind it a line for each test that failed."""
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        tests = [python, "-m", "pytest", "-q", "-n", "auto", f"--junitxml={report}", *options]
        subprocess.run(tests, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    ends = [{child.tag for child in case} & {"failure", "error", "skipped"} for case in cases]
    failed = [
        f"- {name}: `{case.get('classname')}::{case.get('name')}`"
        for case, end in zip(cases, ends, strict=True)
        if end & {"failure", "error"}
    ]
    skipped = sum(end == {"skipped"} for end in ends)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True)
    installed = {package["name"]: package["version"] for package in json.loads(listed.stdout)}
    passed, minutes = len(cases) - skipped - len(failed), (time.monotonic() - begun) / 60
    counts = [passed, skipped, len(failed), f"{minutes:.0f}"]
    cells = [name, *map(installed.get, SHOWN), *counts, platform.python_version(), os.cpu_count(), date.today()]
    return [f"| {' | '.join(map(str, cells))} |", *failed]


ROWS: dict[str, Callable[[str], list[str]]] = {
    "lowest": lambda name: run(name, environment(ROOT / ".venv-lowest", list(lowest())), *FORGIVING),
    "newest": lambda name: run(name, environment(ROOT / ".venv-newest", []), *FORGIVING),
    "thorough": lambda name: run(name, Path(sys.executable), "-m", "thorough"),
}
HEAD = ("tests", *SHOWN, "passed", "skipped", "failed", "minutes", "Python", "cores", "date")


def write(name: str, lines: list[str]) -> None:
    """Put one row with its failures into the page, in place of what an earlier run of it left there."""
    earlier = marks.between(PAGE.read_text(encoding="utf-8"), "thorough")
    kept = [
        line for line in earlier.splitlines() if line.startswith(("| ", "- ")) and line.split()[1].rstrip(":") in ROWS
    ]
    kept = [line for line in kept if line.split()[1].rstrip(":") != name] + lines
    rows, failed = ([line for line in kept if line.startswith(mark)] for mark in ("| ", "- "))
    table = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *rows, *([""] if failed else []), *failed]
    marks.write(PAGE, "thorough", "\n".join(table))


def main(names: list[str]) -> int:
    """Run the rows of these names, each written as it ends, and end with 1 if anything failed."""
    failed = []
    for name in names or ROWS:
        lines = ROWS[name](name)
        write(name, lines)
        failed += lines[1:]
    print("\n".join(failed))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
