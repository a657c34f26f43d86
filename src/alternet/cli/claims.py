"""`alternet claims`: what evidence says of the paper's claims."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alternet.cli.options import say, writable
from alternet.cli.tables import cell, print_table

if TYPE_CHECKING:
    import pandas as pd


def claims(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR...]", help="Folders that reproduce wrote, or CSV files of evidence."),
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Judge the numbers that the paper publishes.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this CSV file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw it to this .svg, .png or .pdf file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep it in this folder, for alternet report.")] = None,
) -> None:
    """Judge the paper's claims by the 95 % interval of each effect: supported, contradicted or undecided."""
    from alternet.instruments import figures
    from alternet.instruments.verdicts import summed_up
    from alternet.measurement import Measurement
    from alternet.storage import write_atomically
    from alternet.studies.claims import judged_claims

    for file in filter(None, (csv, figure)):
        writable(file.parent)
    judged = judged_claims(folders or [], published=published)
    verdicts = Measurement.concat(judged)
    for one in judged:
        _show(one.table, one.models[0])
        say(f"{one.models[0]}: {summed_up(one.table)}.")
    if csv:
        write_atomically(csv, verdicts.table.to_csv(index=False, lineterminator="\n"))
    if figure:
        figures.save(figures.draw(verdicts), figure)
    if out:
        for one in judged:
            one.save(out)


def _show(table: "pd.DataFrame", name: str) -> None:
    """A row a case, under the sentence of its claim."""
    from rich.table import Table

    from alternet.instruments.differences import p_value
    from alternet.instruments.verdicts import interval, records
    from alternet.instruments.verdicts import say as in_words

    shown = Table(
        "claim", "effect", "95 % interval", "over", "p", "p (Holm)", "verdict",
        title=cell(f"Claims, {name}"), title_justify="left",
    )  # fmt: skip
    for claim, cases in table.groupby("claim", sort=False):
        first = cases.iloc[0]
        shown.add_section()
        shown.add_row(cell(f"{first['text']} ({first['source']}) [{claim}]"))
        for case in records(cases):
            over = f"{case['unit']}, {case['left_out']} left out" if case["left_out"] else case["unit"]
            numbers = in_words(case["effect"], case["scale"]), interval(case["low"], case["high"], case["scale"])
            row = f"  {case['case']}", *numbers, over, p_value(case["p"]), p_value(case["p_holm"]), case["verdict"]
            shown.add_row(*map(cell, row))
    print_table(shown)
