"""Draw the figures of the docs from committed tables, and write the pages that show them: `make figures`.

Run it after a table or a drawing has changed; a test sees whether it was done. Nothing is measured here: the package
holds what the paper published, docs/results/smoke the evidence of the studies at smoke scale, and docs/results/photos
what the instruments found in the networks of the demo.
"""

import argparse
from functools import cache
from itertools import zip_longest
from pathlib import Path

import marks
import pandas as pd
from matplotlib.figure import Figure

from alternet.instruments.catalogue import instruments
from alternet.instruments.figures import cast, draw, sentences
from alternet.instruments.verdicts import interval, records, say
from alternet.plotting.style import save
from alternet.report.contents import in_one_order, in_order
from alternet.report.gather import gather
from alternet.report.model_table import model_table
from alternet.report.tables import as_markdown, write_table
from alternet.studies.claims import judged_claims
from alternet.studies.declaration import Study
from alternet.studies.evidence import gather_evidence
from alternet.studies.plan import Plan
from alternet.studies.reproduce import ALL, studies_named
from alternet.studies.results import figure_of, of_evidence, of_units
from alternet.studies.scale import CIFAR, SMOKE
from alternet.studies.units import units_of

DOCS = Path(__file__).parents[1] / "docs"
SMOKE_RESULTS = DOCS / "results" / "smoke"
"""A folder with `evidence.csv` and `provenance.json` for each call of `reproduce`, and the verdicts on all of them."""
PHOTOS = DOCS / "results" / "photos"


def of_study(study: Study, measured: pd.DataFrame) -> Figure | None:
    """A figure of the paper, ours beside it; what networks are made of is drawn from the paper's own."""
    if not study.units:
        return figure_of(of_evidence(study, measured[measured["figure"] == study.figure], "ours, smoke"))
    (own,) = studies_named([study.figure], CIFAR)
    return figure_of(of_units(study, units_of(Plan(studies=(own,), scale=CIFAR, out=Path()), own)))


def parts() -> list[Path]:
    """Where our evidence lies."""
    return sorted(file.parent for file in SMOKE_RESULTS.glob("*/evidence.csv"))


@cache
def verdicts() -> dict[str, pd.DataFrame]:
    """The verdicts on all claims, of the paper's numbers and of ours."""
    paper = judged_claims(published=True)[0].table
    return {"the paper's numbers": paper, "ours": judged_claims(parts())[0].table}


def section(study: Study, drawn: bool) -> str:
    """A figure of the paper: what it shows, the drawing, the verdicts on what it is said to show, and the command."""
    lines = [f"## {study.figure} · {study.title}", ""]
    if drawn:
        lines += [f"![Figure {study.figure}: {study.title}](paper/{study.figure}.svg)", ""]
    cases: dict[tuple[str, str], dict[str, str]] = {}
    for whose, table in verdicts().items():
        for row in records(table[table["figure"] == study.figure]):
            ends, said = interval(row["low"], row["high"], row["scale"]), say(row["effect"], row["scale"])
            verdict = ": ".join(filter(None, (row["verdict"], f"{said} ({ends})" if ends else said)))
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


def of_instruments(docs: Path) -> None:
    """Draw what each instrument found in the networks of the demo; write what it says, and pictures that lead to it."""
    measurements = in_order(gather([PHOTOS])[0])
    pictures, sections = [], [as_markdown(model_table(measurements)[1].set_index("").T.reset_index(names=""))]
    with cast(in_one_order(measurements)):
        for one in measurements:
            name, spec = one.instrument, instruments()[one.instrument].spec
            save(draw(one), docs / "images" / f"{name}.svg")
            pictures.append(f"[![{spec.question}](images/{name}.svg)](instruments/{name}.md)<br>{spec.title}")
            sections += [f"## {spec.title}", f"[![{spec.question}](images/{name}.svg)](instruments/{name}.md)"]
            sections.append("\n".join(f"- {line}" for line in sentences(one)))
    rows = [
        "| | |",
        "|---|---|",
        *(f"| {left} | {right} |" for left, right in zip_longest(*[iter(pictures)] * 2, fillvalue="")),
    ]
    marks.write(docs / "which-instrument.md", "pictures", "\n".join(rows))
    marks.write(docs / "photos.md", "photos", "\n\n".join(sections))


def of_paper(docs: Path) -> None:
    """Draw every figure of the paper that there are numbers for; write the page that lists them."""
    measured, sections = gather_evidence(parts()), []
    for study in studies_named([ALL], SMOKE):
        figure = of_study(study, measured)
        if figure is not None:
            save(figure, docs / "paper" / f"{study.figure}.svg")
        sections.append(section(study, drawn=figure is not None))
    marks.write(docs / "paper.md", "figures", "\n\n".join(sections))
    write_table(verdicts()["ours"], docs / SMOKE_RESULTS.relative_to(DOCS) / "claims.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--docs", type=Path, default=DOCS, help="where to write")
    where = parser.parse_args().docs
    for folder in ("images", "paper"):
        (where / folder).mkdir(parents=True, exist_ok=True)
    of_instruments(where)
    of_paper(where)
