"""`alternet export`: a model as a folder for timm and the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from alternet.cli.options import Device, Seed, Settings, only_of_model, say


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="run:DIR, or any MODEL of a timm name with weights, as measure takes it."),
    ],
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    measured: Annotated[
        list[Path], typer.Option(help="Folder that measure wrote; may be given several times. Goes into the card.")
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    recalibrate: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Estimate batch statistics behind transplanted attention on its images."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use so many of these images.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write model.onnx, checked with onnxruntime.")] = False,
    device: Device = None,
    seed: Seed = 0,
    settings: Settings = [],  # noqa: B006 - as above
) -> None:
    """Write a model as the Hugging Face Hub and timm expect it; nothing is uploaded.

    --set model.window_size=7 changes the model, --set model.mean and model.std say how its images are normalised.
    """
    from alternet.data import batches
    from alternet.sharing.export import export as write
    from alternet.subject.loading import load

    subject = load(model, device=device, seed=seed, **only_of_model(settings))
    on = None
    if recalibrate is not None:
        on = batches(recalibrate, split="train", limit=limit, seed=seed, **subject.takes)
    for note in write(subject, to, measured=measured, on=on, onnx=onnx):
        say(f"note: {note}", err=True)
    say(f"Exported: {to}. Load it: timm.create_model('local-dir:{to}', pretrained=True)")
