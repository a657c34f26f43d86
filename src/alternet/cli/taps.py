"""`alternet taps`: the units of a model, in forward order."""

from alternet.cli.options import ImgSize, Model


def taps(model: Model, img_size: ImgSize = None) -> None:
    """Show where in a model features are read and branches can be silenced."""
    from rich.console import Console
    from rich.table import Table

    from alternet.subject.loading import load

    subject = load(model, img_size=img_size)
    table = Table("unit", "tap", "kind", "stage", "depth", "c × h × w", title=f"Taps of {model}", title_justify="left")
    for tap in subject.taps:
        size = " × ".join(map(str, tap.shape))
        table.add_row(str(tap.unit), tap.name, tap.kind, str(tap.stage), f"{tap.depth:.2f}", size)
    Console(soft_wrap=True, markup=False, emoji=False).print(table)  # names are not to be read as styles
