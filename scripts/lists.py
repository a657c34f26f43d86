"""Write the lists that repeat what the code says: of the stub of the package, of the README, of the docs.

Run `python scripts/lists.py` after a change there; a test sees whether it was done. In a page the list stands between
two marks, `<!-- instruments -->` (or `<!-- verdicts -->`, `<!-- options -->`) and `<!-- end -->`; in the stub it is the
lines that import instruments. Neither is edited by hand.
"""

import ast
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import marks

from alternet.instruments.catalogue import instruments
from alternet.instruments.verdicts import records, say, summed_up
from alternet.studies.claims import judged_claims

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "alternet"
STUB = SRC / "__init__.pyi"


def exports() -> str:
    """The lines of the stub, in the order of their modules."""
    named = [(name, kind.__name__) for name, kind in instruments().items()]
    return "\n".join(
        f"from .instruments.{module} import {name} as {name}"
        for module, name in sorted([*named, ("during", "Measure")])
    )


def asked() -> str:
    """The table of the README: what one asks, where the paper does, and the page of the instrument that answers."""
    rows = [
        f"| {kind.spec.question} | {kind.spec.paper or '–'} | [`{name}`](docs/instruments/{name}.md) |"
        for name, kind in instruments().items()
    ]
    return "\n".join(["| you ask | in the paper | NAME |", "|---|---|---|", *rows])


def index() -> str:
    """The table of the docs: question, page, what is needed, and the cost."""
    rows = []
    for name, kind in instruments().items():
        needs = ", ".join(sorted(kind.spec.needs - {"features", "gradients"})) or "images alone"
        rows.append(f"| {kind.spec.question} | [`{name}`](instruments/{name}.md) | {needs} | {kind.spec.cost} |")
    return "\n".join(["| question | instrument | needs | cost |", "|---|---|---|---|", *rows])


def interface() -> str:
    """The page of the Python interface: every public name, first in a table that can be read as it stands."""
    public = re.findall(r"^from \.(\S+) import (\w+) as", STUB.read_text(encoding="utf-8"), flags=re.MULTILINE)
    rows = [f"| `{name}` | {first_line(module, name)} |" for module, name in public]
    details = [f"::: alternet.{module}.{name}" for module, name in public]
    return "\n".join(["| `alternet.` | |", "|---|---|", *rows, "", *details])


def first_line(module: str, name: str) -> str:
    """What the docstring of a class or function says first; nothing is imported for it."""
    place = SRC / module.replace(".", "/")
    files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    raise ValueError(f"{module} defines no {name}.")


def options() -> str:
    """The table of a recipe's options, those of the augmentation last."""
    own = declared(SRC / "training" / "recipe.py", "Recipe"), declared(SRC / "data" / "augment.py", "Augmentation")
    rows = [f"| `{name}` | `{default}` | {says} |" for part in own for name, default, says in part]
    return "\n".join(["| option | default | |", "|---|---|---|", *rows])


def declared(file: Path, kind: str) -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of every setting of a class, as its source says them."""
    text = file.read_text(encoding="utf-8")
    (body,) = [node.body for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == kind]
    for field, said in pairwise(body):
        if isinstance(field, ast.AnnAssign) and field.value and isinstance(said, ast.Expr):
            default, says = (ast.get_source_segment(text, part) or "" for part in (field.value, said.value))
            yield ast.unparse(field.target), default, " ".join(says.strip('"').split()).replace("|", "\\|")


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
    ROOT / "docs" / "which-instrument.md": ("instruments", index),
    ROOT / "docs" / "api.md": ("instruments", interface),
    ROOT / "docs" / "claims.md": ("verdicts", verdicts),
    ROOT / "docs" / "training.md": ("options", options),
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
