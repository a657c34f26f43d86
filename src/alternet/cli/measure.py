"""`alternet measure`: instruments on models, model by model, storing what is finished."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from alternet.cli.options import (
    Cache,
    Compiled,
    Data,
    Device,
    ImgSize,
    MeasuringWorkers,
    Models,
    Out,
    Rounded,
    Seed,
    Settings,
    Timeout,
    cleared,
    for_loading,
    of_model,
    parse_settings,
    parse_workers,
    say,
    set_cache,
    set_timeout,
    writable,
)
from alternet.errors import in_one_line
from alternet.shown import as_text

if TYPE_CHECKING:
    import torch

    from alternet.data import Batches, ImageDataset
    from alternet.instruments.base import Instrument
    from alternet.measurement import Measurement
    from alternet.subject.subject import Subject

LOG = logging.getLogger("alternet")
T = TypeVar("T")


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
    workers: MeasuringWorkers = "auto",
    cache: Cache = None,
    precision: Rounded = "float32",
    compiled: Compiled = False,
    timeout: Timeout = None,
    settings: Settings = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Measure models; results lie in OUT/<model>/<instrument>/.

    --set bins=10 changes an instrument, --set model.window_size=4 the models, --set model.mean and model.std say how
    their images are normalised.
    """
    from alternet.arithmetic import known_precision
    from alternet.distributed import local_device, processes
    from alternet.subject.names import by_name, groups

    set_cache(cache)
    set_timeout(timeout)
    given = parse_settings(settings)
    of_instruments = {key: text for key, text in given.items() if not key.startswith("model.")}
    chosen = choose(instruments, of_instruments, seed)
    target = local_device(device)
    options = {"limit": limit, "batch_size": batch_size, "seed": seed, "workers": parse_workers(workers)}
    with processes(target):
        models = {as_text(name): text for name, text in by_name(model).items()}
        options |= {"img_size": img_size, "of_model": of_model(given)}
        options["arithmetic"] = {"precision": known_precision(precision), "compiled": compiled}
        options["groups"] = {as_text(name): group for name, group in groups(model).items()}
        with cleared(out):
            code = measure_models(chosen, models, data=data, out=writable(out), device=target, **options)
    if code:
        raise typer.Exit(code)


def choose(names: Sequence[str], settings: Mapping[str, Any], seed: int) -> "list[Instrument]":
    """The instruments named, with the settings that belong to each and the seed where they take one.

    A setting may be addressed to one instrument as `fourier.axis`; otherwise every instrument that knows it gets it.

    Raises:
        ValueError: No such instrument, or a setting that none of them knows.
    """
    from alternet.instruments.catalogue import instrument
    from alternet.settings import names as settings_of

    kinds = {kind.spec.name: kind for kind in map(instrument, names)}
    known = {name: set(settings_of(kind)) for name, kind in kinds.items()}
    chosen: dict[str, dict[str, Any]] = {name: {"seed": seed} if "seed" in known[name] else {} for name in kinds}
    for key, value in settings.items():
        scope, _, setting = key.rpartition(".")
        scope = scope.replace("-", "_")
        if scope and scope not in kinds:
            raise ValueError(f"--set {key}=... addresses {scope!r}, but what is measured is {', '.join(kinds)}.")
        takers = [name for name in kinds if scope in ("", name) and setting in known[name]]
        if not takers:
            # One of them shall refuse it: the one addressed, or the one with a setting that may have been meant, since
            # it offers near matches among its own.
            near = get_close_matches(setting, {one for settings in known.values() for one in settings}, n=1)
            nearest = (name for name in known if near and near[0] in known[name])
            takers = [scope or next(nearest, next(iter(known)))]
        for name in takers:
            text = isinstance(value, str) and setting in known[name]
            chosen[name][setting] = kinds[name].from_text(setting, value) if text else value
    return [kinds[name].with_settings(chosen[name]) for name in kinds]


def measure_models(
    instruments: "Sequence[Instrument]",
    models: Mapping[str, str],
    *,
    data: str,
    out: Path,
    device: "torch.device",
    img_size: int | None = None,
    of_model: Mapping[str, Any] | None = None,
    groups: Mapping[str, str] | None = None,
    arithmetic: Mapping[str, Any] | None = None,
    **options: Any,
) -> int:
    """Measure each of `models` (display name → MODEL) with each instrument; returns the exit code.

    Models that `groups` names (display name → group) are runs that differ by their seed alone, and shown as one.

    It is 1 where some measurement failed, and 2 where nothing at all could be measured of what was asked for. A model
    that cannot be loaded costs the others nothing.
    """
    from alternet.distributed import rank
    from alternet.measurement import keep_order
    from alternet.subject.ensemble import members_of
    from alternet.subject.loading import load

    own = for_loading(of_model or {})
    opened = _Opened(data)
    _require_possible(instruments, models, opened)
    if rank() == 0:
        keep_order(out, models)
    results: list[Measurement | Exception] = []
    for name, model in models.items():
        with _noted(results, name):
            seed = options.get("seed", 0)
            ways = {"img_size": img_size, "device": device, "seed": seed, "name": name, **own}
            subject = replace(_everywhere(partial(load, model, **ways)), group=(groups or {}).get(name, ""))
            subject = subject.in_arithmetic(**(arithmetic or {}))
            if members_of(model):
                _note_random_weights(name, model)
            for part, split in _by_split(instruments):
                with _noted(results, f"{', '.join(kind.spec.name for kind in part)} of {name}"):
                    images = _everywhere(partial(opened.batches, split, subject, **options))
                    results += _measure_part(part, subject, images, out)
    if not any(isinstance(result, Exception) for result in results):
        return 0
    return 2 if all(isinstance(result, ValueError) for result in results) else 1


class _Opened:
    """The data of one command, found once for all models: to list a folder of a million files takes seconds."""

    def __init__(self, data: str) -> None:
        self.data = data
        self.found: dict[tuple, ImageDataset] = {}

    def pictures(self, split: str, img_size: tuple[int, int] | None = None) -> "ImageDataset":
        from alternet.data import dataset

        for key in ((split,), (split, img_size)):
            if key in self.found:
                return self.found[key]
        pictures = dataset(self.data, split=split, img_size=img_size)
        # Pictures without a common size are files as they are; others may have been cut at the size asked for.
        self.found[(split,) if pictures.size is None else (split, img_size)] = pictures
        return pictures

    def batches(self, split: str, subject: "Subject", **options: Any) -> "Batches":
        """At the size and with the channels that the model takes."""
        from alternet.data import batches

        return batches(self.pictures(split, subject.takes["img_size"]), **subject.takes, **options)


def _require_possible(instruments: "Sequence[Instrument]", models: Mapping[str, str], opened: _Opened) -> None:
    """Refuse a wrong call before anything long begins: models or data that do not exist, or share a folder.

    Raises:
        ValueError: It is wrong.
    """
    from alternet.storage import safe_name
    from alternet.subject.loading import check
    from alternet.subject.names import named

    folders = [safe_name(name) for name in models]
    if twice := sorted({name for name in folders if folders.count(name) > 1}):
        raise ValueError(f"Several of the models would share the folder {', '.join(twice)}. Measure them one by one.")
    others = [other for kind in instruments if isinstance(other := kind.settings.get("other"), str)]
    for model in (*models.values(), *others):
        check(model)
    for other in others:
        _note_random_weights(named(other)[0] or other, other)
    refused: list[Exception] = []
    for _, split in _by_split(instruments):
        try:
            pictures = opened.pictures(split)
        except Exception as error:
            refused.append(error)
            continue
        if pictures.labelled or not all("labels" in kind.spec.needs for kind in instruments):
            return  # one split is enough to begin with; instruments that want another are told so on their own
        names = ", ".join(kind.spec.name for kind in instruments)
        raise ValueError(
            f"{names}: labels are needed, but {pictures.name!r} has none. Give a folder with one subfolder a class (at "
            "least two), or a labelled data set such as photos."
        )
    raise refused[0]


def _everywhere(work: Callable[[], T]) -> T:
    """What the work gave here, if no process failed at it: so none waits for another that has given up."""
    from alternet.distributed import together

    mine: list[T] = []
    together(lambda: mine.append(work()))
    return mine[0]


@contextmanager
def _noted(results: "list[Any]", what: str) -> Iterator[None]:
    """Take an error down as the result of what failed, and go on."""
    try:
        yield
    except Exception as error:
        results.append(error)
        _say_failed(what, error)


def _note_random_weights(name: str, model: str) -> None:
    from alternet.subject.ensemble import members_of
    from alternet.subject.loading import is_published, is_random
    from alternet.subject.names import named

    model = named(model)[1]
    if members := members_of(model):
        for member in members:
            _note_random_weights(member, member)
    elif is_random(model):
        way = f"write {model}@pretrained" if is_published(model) else f"train it: alternet train -m {model}"
        _say(f"note: {name} has random weights; name a file, {model}@FILE, or {way}.", err=True)


def _by_split(instruments: "Sequence[Instrument]") -> "list[tuple[list[Instrument], str]]":
    """The instruments that ask about the test data, and those that ask about what was trained on."""
    parts = [([kind for kind in instruments if kind.spec.split == split], split) for split in ("test", "train")]
    return [(part, split) for part, split in parts if part]


def _measure_part(
    instruments: "Sequence[Instrument]", subject: "Subject", images: "Batches", out: Path
) -> "list[Measurement | Exception]":
    """Measure one model with all instruments that ask about one split, together where they can share a pass."""
    from alternet.instruments.runner import measure_each

    results = []
    for instrument, result in measure_each(instruments, subject, images, out=out):
        results.append(result)
        if isinstance(result, Exception):
            _say_failed(f"{instrument.spec.name} of {subject.name}", result)
        else:
            _tell(result, out)
    if skipped := [f"{name} ({why})" for name, why in images.reasons.items()]:
        files = "1 file" if len(skipped) == 1 else f"{len(skipped)} files"
        _say(f"note: {files} could not be read: {', '.join(skipped[:5])}{', ...' if skipped[5:] else ''}", err=True)
    return results


def _say_failed(what: str, error: Exception) -> None:
    from alternet.instruments.runner import NotStoredError

    kept = ""
    if isinstance(error, NotStoredError):  # its own folder has no room for it, but the hours are not lost
        folder = ""
        try:
            folder = tempfile.mkdtemp(prefix="alternet-")
            kept = f" It is kept in {error.measurement.save(folder)}: move it to the --out folder."
        except OSError:  # nor is there room anywhere else
            shutil.rmtree(folder, ignore_errors=True)
    _say(f"alternet: {what} failed: {in_one_line(error)}{kept}", err=True)
    LOG.debug("the traceback of this failure", exc_info=error)


def _tell(measurement: "Measurement", out: Path) -> None:
    """Where the numbers lie and, in a sentence, what they say."""
    from alternet.instruments.figures import FIGURES, sentences
    from alternet.measurement import folder_of

    (model,) = measurement.models
    _say(f"{measurement.instrument:<12} {folder_of(out, model, measurement.instrument) / 'table.csv'}")
    if measurement.instrument in FIGURES:
        for sentence in sentences(measurement):
            _say(f"{'':<12} {sentence}")


def _say(line: str, *, err: bool = False) -> None:
    from alternet.distributed import rank

    if rank() == 0:
        say(line, err=err)
