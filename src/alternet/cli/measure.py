"""`alternet measure`: instruments on models, model by model, storing what is finished."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alternet.cli.options import (
    Data,
    Device,
    ImgSize,
    Models,
    Out,
    Seed,
    Settings,
    parse_settings,
    writable,
)

if TYPE_CHECKING:
    import torch

    from alternet.data import Batches
    from alternet.instruments.base import Instrument
    from alternet.measurement import Measurement
    from alternet.views.subject import Subject


def measure(
    instruments: Annotated[list[str], typer.Argument(metavar="INSTRUMENT...", help="See: alternet list instruments.")],
    model: Models,
    data: Data,
    out: Out,
    limit: Annotated[int | None, typer.Option(min=1, help="Use a fixed, spread-out subset of so many images.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time; the numbers do not depend on it.")] = 64,
    img_size: ImgSize = None,
    device: Device = None,
    seed: Seed = 0,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Measure models; results lie in OUT/<model>/<instrument>/."""
    from alternet.scale import local_device, processes

    chosen = choose(instruments, parse_settings(settings), seed)
    target = local_device(device)
    options = {"limit": limit, "batch_size": batch_size, "seed": seed}
    with processes(target):
        models = {name: name for name in model}
        code = measure_models(chosen, models, data=data, out=writable(out), device=target, img_size=img_size, **options)
    if code:
        raise typer.Exit(code)


def choose(names: Sequence[str], settings: Mapping[str, Any], seed: int) -> "list[Instrument]":
    """The instruments named, with the settings that belong to each and the seed where they take one.

    A setting may be addressed to one instrument as `fourier.axis`; otherwise every instrument that knows it gets it.

    Raises:
        ValueError: No such instrument, or a setting that none of them knows.
    """
    from dataclasses import fields

    from alternet.instruments.registry import instrument

    kinds = {name: instrument(name) for name in dict.fromkeys(names)}
    known = {name: {field.name for field in fields(kind)} for name, kind in kinds.items()}
    chosen = {name: {"seed": seed} if "seed" in known[name] else {} for name in kinds}
    for key, value in settings.items():
        scope, _, setting = key.rpartition(".")
        if scope and scope not in kinds:
            raise ValueError(f"--set {key}=... addresses {scope!r}, but what is measured is {', '.join(kinds)}.")
        takers = [name for name in kinds if scope in ("", name) and setting in known[name]]
        for name in takers or [scope or next(iter(kinds))]:
            chosen[name][setting] = value  # without a taker, the first one refuses it and offers near matches
    return [kinds[name].with_settings(chosen[name]) for name in kinds]


def measure_models(
    instruments: "Sequence[Instrument]",
    models: Mapping[str, str],
    *,
    data: str,
    out: Path,
    device: "torch.device",
    img_size: int | None = None,
    **options: Any,
) -> int:
    """Measure each of `models` (display name → MODEL) with each instrument; returns the exit code.

    It is 1 where some measurement failed, and 2 where nothing at all could be measured of what was asked for.
    """
    from alternet.storage import safe_name
    from alternet.views.loading import check, load

    folders = [safe_name(name) for name in models]
    if twice := sorted({name for name in folders if folders.count(name) > 1}):
        raise ValueError(f"Several of the models would share the folder {', '.join(twice)}. Measure them one by one.")
    others = [other for kind in instruments if isinstance(other := kind.settings.get("other"), str)]
    for model in (*models.values(), *others):
        check(model)
    for other in others:
        _note_random_weights(other, other)
    results: list[Measurement | Exception] = []
    for name, model in models.items():
        subject = load(model, img_size=img_size, device=device, seed=options.get("seed", 0), name=name)
        _note_random_weights(name, model)
        for part, split in _by_split(instruments):
            results += _measure_model(part, subject, _images(data, subject, {**options, "split": split}), out)
    if not any(isinstance(result, Exception) for result in results):
        return 0
    return 2 if all(isinstance(result, ValueError) for result in results) else 1


def _note_random_weights(name: str, model: str) -> None:
    if "@" not in model and ":" not in model:
        _say(f"note: {name} has random weights; name a file or write {model}@pretrained for trained ones.", err=True)


def _by_split(instruments: "Sequence[Instrument]") -> "list[tuple[list[Instrument], str]]":
    """The instruments that ask about the test data, and those that ask about what was trained on."""
    parts = [([kind for kind in instruments if kind.split == split], split) for split in ("test", "train")]
    return [(part, split) for part, split in parts if part]


def _images(data: str, subject: "Subject", options: Mapping[str, Any]) -> "Batches":
    """The data at the size and with the channels that the model takes."""
    from alternet.data import batches

    channels, height, width = subject.input_size or (3, None, None)
    size = {} if height is None else {"img_size": height if height == width else (height, width)}
    return batches(data, colour=channels == 3, **size, **{key: value for key, value in options.items() if value})


def _measure_model(
    instruments: "Sequence[Instrument]", subject: "Subject", images: "Batches", out: Path
) -> "list[Measurement | Exception]":
    """Measure one model with all instruments, together where they can share a pass."""
    from alternet.instruments.runner import measure_each

    results = []
    for instrument, result in measure_each(instruments, subject, images, out=out):
        results.append(result)
        if isinstance(result, Exception):
            _say(f"alternet: {instrument.name} of {subject.name} failed: {result}", err=True)
        else:
            _tell(result, out)
    if images.skipped:
        _say(f"note: {len(images.skipped)} files could not be read: {', '.join(list(images.skipped)[:5])}", err=True)
    return results


def _tell(measurement: "Measurement", out: Path) -> None:
    """Where the numbers lie and, in a sentence, what they say."""
    from alternet.figures import FIGURES
    from alternet.measurement import folder_of

    (model,) = measurement.models
    _say(f"{measurement.instrument:<12} {folder_of(out, model, measurement.instrument) / 'table.csv'}")
    if figure := FIGURES.get(measurement.instrument):
        for sentence in figure.sentences(measurement):
            _say(f"{'':<12} {sentence}")


def _say(line: str, *, err: bool = False) -> None:
    from alternet.scale import rank

    if rank() == 0:
        typer.echo(line, err=err)
