"""`alternet train`: train a model by a recipe."""

from typing import TYPE_CHECKING

import typer

from alternet.cli.options import Data, Device, ImgSize, Model, Out, Seed, Settings, parse_settings, writable

if TYPE_CHECKING:
    from alternet.training import Row


def train(
    model: Model,
    data: Data,
    out: Out,
    recipe: str = typer.Option("paper", help="A recipe of ours (alternet list recipes) or a YAML file."),
    img_size: ImgSize = None,
    device: Device = None,
    seed: Seed = 0,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Train a model; an interrupted training goes on where it stopped."""
    from alternet.scale import local_device, processes, rank
    from alternet.training import Recipe
    from alternet.training import train as train_model

    changed = Recipe.load(recipe).with_settings({"seed": seed} | parse_settings(settings))
    target = local_device(device)
    with processes(target):
        train_model(
            model, data, changed, writable(out), img_size=img_size, device=target, report=_say if rank() == 0 else None
        )
        if rank() == 0:
            typer.echo(f"Trained. Measure it: alternet measure fourier -m run:{out} --data {data} --out {out}-measured")


def _say(row: "Row") -> None:
    typer.echo(
        f"epoch {row['epoch']:>4}  loss {row['train_loss']:.3f}  "
        f"test accuracy {row['test_accuracy']:.3f}  test nll {row['test_nll']:.3f}  {row['seconds']:.0f} s"
    )
