"""`alternet taps`: the units of a model, in forward order."""

import csv
import json
import sys
from typing import Annotated, Any

import typer

from alternet.cli.options import ImgSize, Model, Settings, only_of_model
from alternet.shown import as_text


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
        typer.echo(json.dumps(rows, indent=2))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _show(rows, f"Taps of {as_text(subject.name)}")


def _show(rows: list[dict[str, Any]], title: str) -> None:
    """A table as wide as its names: a pipe has no width, and a terminal wraps what is too long."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table("unit", "tap", "kind", "stage", "depth", "c × h × w", title=title, title_justify="left")
    for row in rows:
        size = " × ".join(str(row[side]) for side in ("channels", "height", "width"))
        table.add_row(
            str(row["unit"]), as_text(row["tap"]), row["kind"], str(row["stage"]), f"{row['depth']:.2f}", size
        )
    console = Console(soft_wrap=True, markup=False, emoji=False)  # names are not to be read as styles
    wide = Console(width=10_000)
    console.width = max(console.width, Measurement.get(wide, wide.options, table).maximum)
    console.print(table)
