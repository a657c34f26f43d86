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
    steps, chance = len(MODELS) + 2, 1 / len(batches("photos").classes)
    for number, name in enumerate(MODELS, start=1):
        typer.echo(f"[{number}/{steps}] training {name} on photographs")
        trained = train(name, "photos", Recipe.load("quick"), folder / "trained" / name, device=target)
        typer.echo(f"      test accuracy {trained.test_accuracy:.1%} (chance {chance:.1%})")
    typer.echo(f"[{steps - 1}/{steps}] measuring {', '.join(INSTRUMENTS)}")
    models = {name: f"run:{folder / 'trained' / name}" for name in MODELS}
    code = measure_models(
        choose(INSTRUMENTS, {}, seed=0), models, data="photos", out=folder / "measured", device=target
    )
    typer.echo(f"[{steps}/{steps}] writing the report")
    typer.echo(f"Open {render([folder], folder / 'report.html')} in a browser.")
    if code:
        raise typer.Exit(code)
