"""Write the lists that repeat what the code says: of the stub of the package, of the README, of the docs.

Run `python scripts/lists.py` after a change there; a test sees whether it was done. In a page the list stands between
two marks, `<!-- instruments -->` (or `<!-- verdicts -->`) and `<!-- end -->`; in the stub it is the lines that import
instruments. Neither is edited by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

import marks

from alternet.instruments.catalogue import instruments
from alternet.instruments.verdicts import records, say, summed_up
from alternet.studies.claims import judged_claims

ROOT = Path(__file__).parents[1]
STUB = ROOT / "src" / "alternet" / "__init__.pyi"


def exports() -> str:
    """The lines of the stub, in the order of their modules."""
    named = [(name, kind.__name__) for name, kind in instruments().items()]
    return "\n".join(
        f"from .instruments.{module} import {name} as {name}"
        for module, name in sorted([*named, ("during", "Measure")])
    )


def asked() -> str:
    """The table of the README: what one asks, and the command that answers."""
    rows = [f"| {kind.spec.question} | `{kind.spec.example}` |" for kind in instruments().values()]
    return "\n".join(["| you ask | you run |", "|---|---|", *rows])


def index() -> str:
    """The table of the docs: question, page, what is needed, and the cost."""
    rows = []
    for name, kind in instruments().items():
        needs = ", ".join(sorted(kind.spec.needs - {"features", "gradients"})) or "images alone"
        rows.append(f"| {kind.spec.question} | [`{name}`](instruments/{name}.md) | {needs} | {kind.spec.cost} |")
    return "\n".join(["| question | instrument | needs | cost |", "|---|---|---|---|", *rows])


def interface() -> str:
    """The page of the Python interface: every public name, in the order of the stub."""
    public = re.findall(r"^from \.(\S+) import (\w+) as", STUB.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return "\n".join(f"::: alternet.{module}.{name}" for module, name in public)


def verdicts() -> str:
    """The table of the docs: what the published numbers say of every claim."""
    table = judged_claims(published=True)[0].table
    rows = [
        f"{summed_up(table).capitalize()}.",
        "",
        "| claim | case | figure | effect | verdict |",
        "|---|---|---|---|---|",
    ]
    for (text, source), cases in table.groupby(["text", "source"], sort=False):
        rows.append(f"| **{text}** ({source}) | | | | |")
        rows += [
            f"| | {row['case']} | {row['figure']} | {say(row['effect'], row['scale'])} | {row['verdict']} |"
            for row in records(cases)
        ]
    return "\n".join(rows)


LISTS: dict[Path, tuple[str, Callable[[], str]]] = {
    STUB: ("", exports),
    ROOT / "README.md": ("instruments", asked),
    ROOT / "docs" / "index.md": ("instruments", index),
    ROOT / "docs" / "api.md": ("instruments", interface),
    ROOT / "docs" / "claims.md": ("verdicts", verdicts),
}
"""What is written into each page, and between which marks."""
EXPORTS = re.compile(
    r"^from \.instruments\.\w+ import .*?(?=\nfrom \.(?!instruments\.))", flags=re.DOTALL | re.MULTILINE
)


def written(page: Path) -> str:
    """The page with its list as it should be."""
    name, made = LISTS[page]
    text = page.read_text(encoding="utf-8")
    if name:
        return marks.replaced(text, name, made())
    text, count = EXPORTS.subn(lambda _: made(), text)
    if count != 1:
        raise ValueError(f"{page} has {count} lists of instruments, expected one.")
    return text


if __name__ == "__main__":
    for page in LISTS:
        page.write_text(written(page), encoding="utf-8")
