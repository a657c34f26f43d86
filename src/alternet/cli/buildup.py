"""`alternet buildup`: search where in a CNN attention pays."""

from enum import StrEnum
from typing import Annotated

import typer

from alternet.cli.options import (
    Data,
    Device,
    ImgSize,
    Model,
    Out,
    Seed,
    Settings,
    Timeout,
    of_model,
    parse_settings,
    say,
    set_timeout,
    writable,
)


class Form(StrEnum):
    """What attends."""

    UNIT = "unit"
    CONV = "conv"


def buildup(
    model: Model,
    data: Data,
    out: Out,
    recipe: Annotated[str, typer.Option(help="The budget of each training: a recipe or a YAML file.")] = "buildup",
    seeds: Annotated[int, typer.Option(min=2, help="How often each placement is trained.")] = 3,
    form: Annotated[Form, typer.Option(help="Replace whole residual units, or their convolution alone.")] = Form.UNIT,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, each in a process of its own.")] = 1,
    img_size: ImgSize = None,
    device: Device = None,
    seed: Seed = 0,
    timeout: Timeout = None,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Put attention into a CNN where validation accuracy says that it pays: late stages first, from their ends.

    Each placement is trained with the same budget and seeds; the test images are looked at once, at the end. An
    interrupted search goes on where it stopped.

    --set epochs=10 changes the recipe, --set model.stem=imagenet the model, --set msa.window_size=4 the attention.
    """
    from alternet.instruments import figures
    from alternet.measurement import folder_of
    from alternet.models.transplanted import Graft
    from alternet.settings import from_text
    from alternet.studies.buildup import BuildUp
    from alternet.studies.buildup import buildup as search
    from alternet.studies.executor import local
    from alternet.training import Recipe

    set_timeout(timeout)
    given = parse_settings(settings)
    attention = {key.removeprefix("msa."): text for key, text in given.items() if key.startswith("msa.")}
    changes = {key: text for key, text in given.items() if not key.startswith(("model.", "msa."))}
    study = BuildUp(
        model=model,
        data=data,
        recipe=Recipe.load(recipe).with_settings({"seed": seed, **changes}),
        seeds=seeds,
        form=form.value,
        settings={key: from_text(Graft, key, text) for key, text in attention.items()},
        img_size=img_size,
        model_args=of_model(given),
    )
    found = search(study, writable(out), executor=local(jobs, device), say=say)
    for line in figures.sentences(found):
        say(line)
    folder = folder_of(out, model, found.instrument)
    figures.save(figures.draw(found), folder / "buildup.svg")
    say(f"Drawn: {folder / 'buildup.svg'}. All of it: alternet report {out} --out {out / 'report.html'}")
    say(f"Train the chosen network on all training images: {found.provenance['train']}")
