"""What the project stands on, written down from what is installed: `make renew`.

constraints.txt gets the versions of the environment that the tests have just passed in; the table of docs/licences.md
gets each package with its version and licence, as the package itself states it.
"""

import platform
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

import marks

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PAGE = ROOT / "docs" / "licences.md"
OURS = {"alternet"}
TOOLS = {"pip", "setuptools", "wheel"}
"""Of the environment, not of the project."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, Distribution]:
    """All packages but ours by their canonical names."""
    found = {canonical(one.metadata["Name"]): one for one in distributions() if one.metadata["Name"]}
    return {name: found[name] for name in sorted(found) if name not in OURS | TOOLS}


def licence(package: Distribution) -> str:
    """What a package states: an SPDX expression, else its classifiers, else the first line of its licence field.

    Examples:
        >>> licence(installed()["numpy"]) != ""
        True
    """
    about = package.metadata
    if expression := about.get("License-Expression"):
        return expression
    classified = [line for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    names = [line.rpartition(" :: ")[2] for line in classified if not line.endswith("OSI Approved")]
    stated = (about.get("License") or "").strip().partition("\n")[0][:60]
    return ", ".join(names) or stated or "not stated"


def constraints() -> str:
    """The text of constraints.txt."""
    python = ".".join(platform.python_version_tuple()[:2])
    about = f"Python {python}, {platform.system()}, {platform.machine().replace('_', '-')}"
    head = f"# The versions that were tested together ({about}). Written by make renew."
    return "\n".join([head, *(f"{name}=={one.version}" for name, one in installed().items())]) + "\n"


def table() -> str:
    """The table of licences."""
    rows = (f"| {name} | {one.version} | {licence(one).replace('|', '/')} |" for name, one in installed().items())
    return "\n".join(["| package | version | licence |", "|---|---|---|", *rows])


def main(names: list[str]) -> None:
    """Write both, or `licences` alone."""
    marks.write(PAGE, "licences", table())
    if names != ["licences"]:
        CONSTRAINTS.write_text(constraints(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
