"""`alternet demo`: from real photographs to a report, in minutes, on a CPU."""

from pathlib import Path
from typing import Annotated

import typer

from alternet.cli.options import Device, writable

MODELS = ("preresnet_mini", "alternet_mini", "vit_mini")
INSTRUMENTS = ("fourier", "variance", "calibration")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the networks, the numbers and report.html.")] = Path(
        "runs/demo"
    ),
    device: Device = None,
) -> None:
    """Train three small networks on photographs, measure them, and write a report."""
    from alternet.cli.measure import choose, measure_models
    from alternet.data import batches
    from alternet.report import render
    from alternet.scale import local_device
    from alternet.training import Recipe, train

    folder, target = writable(out), local_device(device)
    for number, name in enumerate(MODELS, start=1):
        typer.echo(f"[{number}/{len(MODELS) + 2}] training {name} on photos")
        train(name, "photos", Recipe.load("quick"), folder / "trained" / name, device=target)
    typer.echo(f"[4/{len(MODELS) + 2}] measuring {', '.join(INSTRUMENTS)}")
    subjects = {name: f"run:{folder / 'trained' / name}" for name in MODELS}
    code = measure_models(
        choose(INSTRUMENTS, {}, seed=0), subjects, data="photos", out=folder / "measured", device=target
    )
    typer.echo(f"[5/{len(MODELS) + 2}] writing the report")
    page = render([folder], folder / "report.html")
    chance = 1 / len(batches("photos").classes)
    typer.echo(f"Chance is {chance:.1%}. Open {page} in a browser.")
    if code:
        raise typer.Exit(code)
