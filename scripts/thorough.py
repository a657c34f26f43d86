"""Run all that takes long, and write down what came out: `make thorough`.

Every test runs with the tested versions (constraints.txt). The tests that `make test` takes run once more with the
lowest versions that pyproject.toml allows, and once with the newest that there are, each in an environment of its own.
The table with the date and the versions stands in docs/verification.md.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "verification.md"
MARKED = re.compile(r"(<!-- thorough -->\n).*?(\n<!-- end -->)", flags=re.DOTALL)
EXTRAS = ("hf", "corruptions", "sam", "elpv", "shards", "onnx")
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


def row(name: str, python: Path, *options: str) -> tuple[str, list[str]]:
    """Run the tests with a Python: a row of the table, and a line for each test that failed."""
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
    cells = [name, *map(installed.get, SHOWN), passed, skipped, len(failed), f"{minutes:.0f}"]
    return f"| {' | '.join(map(str, cells))} |", failed


def main() -> int:
    """Run, write the page, and end with 1 if anything failed."""
    runs = [
        row("tested versions, every test", Path(sys.executable), "-m", ""),
        row("lowest versions", environment(ROOT / ".venv-lowest", list(lowest())), *FORGIVING),
        row("newest versions", environment(ROOT / ".venv-newest", []), *FORGIVING),
    ]
    head = ["versions", *SHOWN, "passed", "skipped", "failed", "minutes"]
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(line for line, _ in runs)]
    failed = [test for _, tests in runs for test in tests]
    when = f"On {date.today().isoformat()}, with Python {platform.python_version()} on {os.cpu_count()} cores:"
    said = "\n".join([when, "", *table, *([""] if failed else []), *failed])
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKED.sub(lambda found: f"{found[1]}{said}{found[2]}", text), encoding="utf-8")
    print(said)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
