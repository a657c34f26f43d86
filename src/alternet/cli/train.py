"""`alternet train`: train a model by a recipe."""

from typing import TYPE_CHECKING, Annotated

import typer

from alternet.cli.options import (
    Data,
    Device,
    ImgSize,
    Out,
    Seed,
    Settings,
    Timeout,
    Trained,
    Workers,
    cleared,
    of_model,
    parse_settings,
    say,
    set_timeout,
    writable,
)

if TYPE_CHECKING:
    from alternet.training import Row


def train(
    model: Trained,
    data: Data,
    out: Out,
    recipe: Annotated[str, typer.Option(help="A recipe of ours (alternet list recipes) or a YAML file.")] = "paper",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Train and test on a fixed subset of so many images.")
    ] = None,
    img_size: ImgSize = None,
    device: Device = None,
    seed: Seed = 0,
    workers: Workers = 0,
    timeout: Timeout = None,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Train a model; an interrupted training goes on where it stopped.

    --set epochs=10 changes the recipe, --set model.stem=imagenet the model.
    """
    from alternet.distributed import local_device, processes, rank
    from alternet.training import Recipe
    from alternet.training import train as train_model

    set_timeout(timeout)
    given = parse_settings(settings)
    changes = {"seed": seed, **{key: text for key, text in given.items() if not key.startswith("model.")}}
    chosen, target = Recipe.load(recipe).with_settings(changes), local_device(device)
    with processes(target):
        first = rank() == 0
        options = {"img_size": img_size, "device": target, "model_args": of_model(given), "workers": workers}
        options["limit"] = limit
        with cleared(out):
            train_model(model, data, chosen, writable(out), report=_say if first else None, say=say, **options)
        if first:
            say(f"Trained. Measure it: alternet measure fourier -m run:{out} --data {data} --out {out}-measured")


def _say(row: "Row") -> None:
    tested = "test" if "test_accuracy" in row else "validation"
    accuracy, nll = (dict(row)[f"{tested}_{what}"] for what in ("accuracy", "nll"))
    say(
        f"epoch {row['epoch']:>4}  loss {row['train_loss']:.3f}  "
        f"{tested} accuracy {accuracy:.3f}  {tested} nll {nll:.3f}  {row['seconds']:.0f} s"
    )
