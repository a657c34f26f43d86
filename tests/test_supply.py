"""Everything that the project asks for is pinned, and its licence is in the table."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_asked_for_is_pinned_and_has_a_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (line for lines in project["optional-dependencies"].values() for line in lines)
    asked = {canonical(Requirement(line).name) for line in (*project["dependencies"], *extras)} - {"alternet"}
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    pinned = {canonical(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert asked - set(pinned) == set() and all(pinned.values())
    rows = re.findall(
        r"^\| ([\w-]+) \| (\S+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(encoding="utf-8"), re.M
    )
    licences = {canonical(name): licence for name, _, licence in rows if name != "package"}
    assert asked - set(licences) == set()
