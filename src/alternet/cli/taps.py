"""`alternet taps`: the units of a model, in forward order."""

import csv
import io
import json
from typing import Annotated, Any

import typer

from alternet.cli.options import ImgSize, Model, Settings, only_of_model, put_out
from alternet.cli.tables import cell, print_table
from alternet.shown import as_cell


def taps(
    model: Model,
    img_size: ImgSize = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, for a spreadsheet or a script.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Show where in a model features are read and branches can be silenced.

    --set model.window_size=4 changes the model.
    """
    from alternet.subject.loading import load

    if as_csv and as_json:
        raise ValueError("--csv and --json are two ways to write one table. Give one of them.")
    subject = load(model, img_size=img_size, **only_of_model(settings))
    rows: list[dict[str, Any]] = [
        {
            "unit": tap.unit,
            "tap": tap.name,
            "kind": tap.kind,
            "stage": tap.stage,
            "depth": round(tap.depth, 4),
            "channels": tap.shape[0],
            "height": tap.shape[1],
            "width": tap.shape[2],
            "silenceable": tap.silenceable,
        }
        for tap in subject.taps
    ]
    if as_json:
        put_out(json.dumps(rows, indent=2) + "\n")
    elif as_csv:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{key: as_cell(value) for key, value in row.items()} for row in rows])
        put_out(table.getvalue())
    else:
        _show(rows, f"Taps of {subject.name}")


def _show(rows: list[dict[str, Any]], title: str) -> None:
    """A row a tap, whose path stays in one piece."""
    from rich.table import Table

    table = Table("unit", "tap", "kind", "stage", "depth", "c × h × w", title=cell(title), title_justify="left")
    for row in rows:
        size = " × ".join(str(row[side]) for side in ("channels", "height", "width"))
        table.add_row(*map(cell, (row["unit"], row["tap"], row["kind"], row["stage"], f"{row['depth']:.2f}", size)))
    print_table(table, fitted=False)
