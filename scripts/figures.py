"""Draw the figures of the docs from committed tables, and write the pages that show them: `make figures`.

Run it after a table or a drawing has changed; a test sees whether it was done. Nothing is measured here: the package
holds what the paper published, docs/results/smoke the evidence of the studies at smoke scale, docs/results/smoke-elpv
that of three of them on solar cells, and docs/results/photos what the instruments found in the networks of the demo.
"""

import argparse
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

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
PHOTOS = DOCS / "results" / "photos"


class Reproduced(NamedTuple):
    """Studies that were run, and where they are shown.

    Attributes:
        results: In docs/results: a folder with `evidence.csv` and `provenance.json` for each call of `reproduce`, and
            `claims.csv`, the verdicts on all of them.
        page: In docs; the figures stand between its marks `figures`.
        pictures: In docs.
        ours: What the figures call these numbers.
        options: Of the command that makes them.
        figures: Which.
        heading: What the heading of each begins with.
    """

    results: str
    page: str
    pictures: str
    ours: str
    options: str
    figures: tuple[str, ...]
    heading: str


REPRODUCED = (
    Reproduced("smoke", "paper.md", "paper", "ours, smoke", "--out runs/paper", (ALL,), "##"),
    Reproduced(
        "smoke-elpv",
        "small-data.md",
        "solar-cells",
        "ours, solar cells",
        "--data elpv --seeds 3 --out runs/solar-cells",
        ("1a", "12b", "12c"),
        "###",
    ),
)


def of_study(study: Study, measured: pd.DataFrame, ours: str) -> Figure | None:
    """A figure of the paper, ours beside it; what networks are made of is drawn from the paper's own."""
    if not study.units:
        return figure_of(of_evidence(study, measured[measured["figure"] == study.figure], ours))
    (own,) = studies_named([study.figure], CIFAR)
    return figure_of(of_units(study, units_of(Plan(studies=(own,), scale=CIFAR, out=Path()), own)))


def section(study: Study, picture: str, verdicts: Mapping[str, pd.DataFrame], done: Reproduced) -> str:
    """A figure of the paper: what it shows, the drawing, the verdicts on what it is said to show, and the command."""
    lines = [f"{done.heading} {study.figure} · {study.title}", ""]
    if picture:
        lines += [f"![Figure {study.figure}: {study.title}]({picture})", ""]
    cases: dict[tuple[str, str], dict[str, str]] = {}
    for whose, table in verdicts.items():
        for row in records(table[table["figure"] == study.figure]):
            ends, said = interval(row["low"], row["high"], row["scale"]), say(row["effect"], row["scale"])
            verdict = ": ".join(filter(None, (row["verdict"], f"{said} ({ends})" if ends else said)))
            cases.setdefault((row["text"], row["case"]), {})[whose] = verdict
    if cases:
        lines += [f"| claim | case | {' | '.join(verdicts)} |", "|---|---" + "|---" * len(verdicts) + "|"]
        lines += [
            f"| {text} | {case} | {' | '.join(said.get(whose, '') for whose in verdicts)} |"
            for (text, case), said in cases.items()
        ]
        lines.append("")
    lines += [f"`alternet reproduce {study.figure} {done.options}`"]
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


def of_studies(docs: Path, done: Reproduced) -> None:
    """Draw every figure that there are numbers for; write them into their page, and the verdicts into a table."""
    parts = sorted(file.parent for file in (DOCS / "results" / done.results).glob("*/evidence.csv"))
    measured, ours = gather_evidence(parts), judged_claims(parts)[0].table
    verdicts, sections = {"the paper's numbers": judged_claims(published=True)[0].table, "ours": ours}, []
    for study in studies_named(done.figures, SMOKE):
        figure, picture = of_study(study, measured, done.ours), f"{done.pictures}/{study.figure}.svg"
        if figure is not None:
            save(figure, docs / picture)
        sections.append(section(study, "" if figure is None else picture, verdicts, done))
    marks.write(docs / done.page, "figures", "\n\n".join(sections))
    write_table(ours[ours["verdict"] != "not measured"], docs / "results" / done.results / "claims.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--docs", type=Path, default=DOCS, help="where to write")
    where = parser.parse_args().docs
    for folder in ("images", *(done.pictures for done in REPRODUCED)):
        (where / folder).mkdir(parents=True, exist_ok=True)
    of_instruments(where)
    for done in REPRODUCED:
        of_studies(where, done)
