"""Draw every figure of the paper for the docs, and write the page that lists them: `make figures`.

Run it after a table or a drawing has changed; a test sees whether it was done. Nothing is measured here: the package
holds what the paper published, and docs/results/smoke the evidence of the studies at smoke scale, where they were run.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import marks
import pandas as pd
from matplotlib.figure import Figure

from alternet.instruments.verdicts import interval, records, say
from alternet.plotting import style
from alternet.plotting.panel import sheet
from alternet.plotting.style import save
from alternet.studies import drawing
from alternet.studies.claims import judged_claims
from alternet.studies.declaration import Study
from alternet.studies.evidence import COLUMNS, checked, read_evidence
from alternet.studies.plan import Plan
from alternet.studies.reproduce import ALL, studies_named
from alternet.studies.results import figure_of, of_evidence
from alternet.studies.scale import CIFAR, SMOKE
from alternet.studies.units import units_of

DOCS = Path(__file__).parents[1] / "docs"
EVIDENCE = DOCS / "results" / "smoke" / "evidence.csv"


def drawings() -> Iterator[tuple[Path, Figure]]:
    """Every figure, with its place below docs."""
    for study in studies():
        if (figure := of_study(study)) is not None:
            yield Path("paper") / f"{study.figure}.svg", figure


def studies() -> tuple[Study, ...]:
    return studies_named([ALL], SMOKE)


def measured() -> pd.DataFrame:
    """The evidence of the studies that were run."""
    return read_evidence(EVIDENCE) if EVIDENCE.exists() else checked(pd.DataFrame(columns=list(COLUMNS)))


def of_study(study: Study) -> Figure | None:
    """A figure of the paper, ours beside it; what networks are made of is drawn from the paper's own."""
    if not study.units:
        evidence = measured()
        return figure_of(of_evidence(study, evidence[evidence["figure"] == study.figure], "ours, smoke"))
    (own,) = studies_named([study.figure], CIFAR)
    units = units_of(Plan(studies=(own,), scale=CIFAR, out=Path()), own)
    with style.context():
        return sheet([drawing.units_panel(units, study.title)], drawing.units_legend(units), columns=6)


def pages() -> Iterator[tuple[Path, str, str]]:
    """Every page with a list of figures, the mark in it, and the list."""
    yield Path("paper.md"), "figures", "\n\n".join(map(section, studies()))


@cache
def verdicts() -> dict[str, pd.DataFrame]:
    """The verdicts on all claims, of the paper's numbers and of ours."""
    paper = judged_claims(published=True)[0].table
    ours = {"ours": judged_claims([EVIDENCE])[0].table} if EVIDENCE.exists() else {}
    return {"the paper's numbers": paper, **ours}


def section(study: Study) -> str:
    """A figure of the paper: what it shows, the drawing, the verdicts on what it is said to show, and the command."""
    lines = [f"## {study.figure} · {study.title}", ""]
    if (DOCS / "paper" / f"{study.figure}.svg").exists():
        lines += [f"![Figure {study.figure}: {study.title}](paper/{study.figure}.svg)", ""]
    cases: dict[tuple[str, str], dict[str, str]] = {}
    for whose, table in verdicts().items():
        for row in records(table[table["figure"] == study.figure]):
            effect, inside = (f(*(row[key] for key in keys), row["scale"]) for f, keys in SAID)
            said = f"{effect} {inside}".strip()
            verdict = f"{row['verdict']}: {said}" if said else row["verdict"]
            cases.setdefault((row["text"], row["case"]), {})[whose] = verdict
    if cases:
        lines += [f"| claim | case | {' | '.join(verdicts())} |", "|---|---" + "|---" * len(verdicts()) + "|"]
        lines += [
            f"| {text} | {case} | {' | '.join(said.get(whose, '') for whose in verdicts())} |"
            for (text, case), said in cases.items()
        ]
        lines.append("")
    lines += [f"`alternet reproduce {study.figure} --out runs/paper`"]
    if study.note:
        lines += ["", study.note]
    return "\n".join(lines)


SAID = ((say, ("effect",)), (interval, ("low", "high")))
"""How an effect is said, and from which columns."""


def main(docs: Path) -> None:
    """Write all of it."""
    for place, figure in drawings():
        (docs / place).parent.mkdir(parents=True, exist_ok=True)
        save(figure, docs / place)
    for place, mark, text in pages():
        marks.write(docs / place, mark, text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--docs", type=Path, default=DOCS, help="where to write")
    main(parser.parse_args().docs)
