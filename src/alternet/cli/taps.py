"""`alternet taps`: the units of a model, in forward order."""

from alternet.cli.options import ImgSize, Model, Settings, only_of_model
from alternet.shown import as_text


def taps(
    model: Model,
    img_size: ImgSize = None,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Show where in a model features are read and branches can be silenced.

    --set model.window_size=4 changes the model.
    """
    from rich.console import Console
    from rich.table import Table

    from alternet.subject.loading import load

    subject = load(model, img_size=img_size, **only_of_model(settings))
    table = Table(
        "unit", "tap", "kind", "stage", "depth", "c × h × w", title=as_text(f"Taps of {model}"), title_justify="left"
    )
    for tap in subject.taps:
        size = " × ".join(map(str, tap.shape))
        table.add_row(as_text(str(tap.unit)), as_text(tap.name), tap.kind, str(tap.stage), f"{tap.depth:.2f}", size)
    Console(soft_wrap=True, markup=False, emoji=False).print(table)  # names are not to be read as styles
