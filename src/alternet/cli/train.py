"""`alternet train`: train a model by a recipe."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alternet.cli.options import (
    Data,
    Device,
    ImgSize,
    Model,
    Out,
    Seed,
    Settings,
    Workers,
    of_model,
    parse_settings,
    writable,
)

if TYPE_CHECKING:
    from alternet.training import Row


def train(
    model: Model,
    data: Data,
    out: Out,
    recipe: Annotated[str, typer.Option(help="A recipe of ours (alternet list recipes) or a YAML file.")] = "paper",
    img_size: ImgSize = None,
    device: Device = None,
    seed: Seed = 0,
    workers: Workers = 0,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Train a model; an interrupted training goes on where it stopped.

    --set epochs=10 changes the recipe, --set model.stem=imagenet the model.
    """
    from alternet.distributed import local_device, processes, rank
    from alternet.training import Recipe, TrainData
    from alternet.training import train as train_model

    given = parse_settings(settings)
    changes = {"seed": seed, **{key: text for key, text in given.items() if not key.startswith("model.")}}
    chosen, target = Recipe.load(recipe).with_settings(changes), local_device(device)
    with processes(target):
        first = rank() == 0
        args, folder = of_model(given), writable(out)
        grey = args.get("in_chans") == 1
        images = TrainData.named(data, chosen, img_size=img_size, colour=not grey, workers=workers)
        if first and (shares := images.shares):
            held_out = (
                f"{shares.get('validation_images')} validation images, not on" if images.tested != "test" else "on"
            )
            typer.echo(f"Training on {shares['training_images']} images, testing {held_out} the test split.")
        train_model(model, images, chosen, folder, report=_say if first else None, device=target, model_args=args)
        if first:
            typer.echo(f"Trained. Measure it: alternet measure fourier -m run:{out} --data {data} --out {out}-measured")


def _say(row: "Row") -> None:
    tested = "test" if "test_accuracy" in row else "validation"
    found: Mapping[str, Any] = {**row}
    accuracy, nll = found[f"{tested}_accuracy"], found[f"{tested}_nll"]
    typer.echo(
        f"epoch {row['epoch']:>4}  loss {row['train_loss']:.3f}  "
        f"{tested} accuracy {accuracy:.3f}  {tested} nll {nll:.3f}  {row['seconds']:.0f} s"
    )
