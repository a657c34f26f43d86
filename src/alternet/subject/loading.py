"""From a name to a Subject: timm's models and ours, torchvision's, transformers', weight files, training runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import timm
import torch

from alternet.distributed import local_device
from alternet.errors import first_line, shortened
from alternet.models.transplanted import as_data, grafted
from alternet.runs import PREFIX, RAW, RUN, TrainingRun
from alternet.seeding import random_state_kept
from alternet.storage import sha256_of
from alternet.subject.creating import create, require_known
from alternet.subject.ensemble import ensemble, members_of
from alternet.subject.names import named
from alternet.subject.own import OWN, check_own, from_own
from alternet.subject.subject import Subject
from alternet.subject.timm_models import Built, Side, from_folder, from_timm, of_folder, resized
from alternet.subject.torchvision_models import check_torchvision, from_torchvision
from alternet.subject.transformers_models import from_transformers
from alternet.subject.transplant import Written, plan_transplant
from alternet.subject.weight_checks import require_fitting
from alternet.subject.weight_facts import require_own, require_plain
from alternet.subject.weights import (
    fill,
    find_weights,
    path_of,
    read_weights,
)
from alternet.untouched import untouched


def load(  # noqa: PLR0913 - independent facts of one model; all but the first have a default
    model: str,
    *,
    img_size: int | None = None,
    num_classes: int | None = None,
    model_args: Mapping[str, Any] | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Subject:
    """Build a model by name and give it back as a Subject, in evaluation mode.

    Args:
        model: `[CALLED=]NAME[@WEIGHTS]`. NAME is a timm name (AlterNet and its baselines included), `tv:NAME` for
            torchvision, `hf:ID` for transformers (a hub id or a local folder), `run:DIR` for what `train` wrote, or
            `local-dir:FOLDER` for what `export`, or timm, wrote. WEIGHTS is
            a `.safetensors`, `.pth`, `.pt` or `.bin` file, or `pretrained`; without it weights are random. What the
            header of a file, or a `run.json` or timm's `config.json` beside it, says of model arguments, classes,
            size and normalisation is taken. After `run:DIR` it is a snapshot, such as `init`, `warmup` or
            `epoch-0100`; without it, or with `last`, weights are those that the training came to.
            `FILE.py:NAME[@WEIGHTS]` is what a class or function in a Python file of your own makes; the file is run.
            `MODEL+msa(UNIT,...)` puts attention in the place of units of any of these, as `alternet.transplant` does:
            `resnet50@pretrained+msa(layer4.2,layer3.5:heads=12)`. `ensemble(MODEL,MODEL,...)` are several as one, whose
            probabilities are the mean of theirs. CALLED is a `name`, as in `mine=run:DIR`.
        img_size: Side of the images; position embeddings are resampled as timm does.
        num_classes: Number of classes; by default that of the weights, or of the model's own configuration.
        model_args: More keyword arguments of the model, for example `{"window_size": 4}`.
        mean: Mean of each channel that the images are normalised with; by default what weights or model declare.
        std: Standard deviation of each channel, likewise.
        device: Where the model shall be; by default a GPU if there is one.
        seed: Seed of random weights.
        name: How tables and figures call it; by default `model` itself.

    Raises:
        ValueError: No such model, weights that are missing, damaged, unsafe or made for another model, or a size that
            the model cannot take.

    Examples:
        >>> load("test_vit", num_classes=5).input_size
        (3, 160, 160)
    """
    if img_size is not None and img_size < 1:
        raise ValueError(f"The image size must be at least 1, got {img_size}.")
    called, model = named(model)
    name = name or called or None
    check(model)
    if members := members_of(model):
        given = {"img_size": img_size, "num_classes": num_classes, "model_args": model_args, "mean": mean, "std": std}
        return ensemble([load(member, device=device, seed=seed, **given) for member in members], name or model)
    if written := Written.of(model):
        options = {"img_size": img_size, "num_classes": num_classes, "model_args": model_args, "mean": mean, "std": std}
        return _transplanted(load(written.base, device=device, seed=seed, **options), written, name or model, seed)
    target = local_device(None if device is None else str(device))
    given = dict(model_args or {})
    network, facts = build(model, img_size, num_classes, given, seed=seed)
    origin = {"weights": {"from": "random"}, **facts.pop("origin", {})}
    if origin["weights"]["from"] == "random" or origin["weights"].get("drawn"):
        origin["weights"] = {"seed": seed, **origin["weights"]}
    if mean is not None or std is not None:
        facts |= {"mean": mean, "std": std}
        origin["normalisation"] = "given"
    plain = model if source_of(model) == "hf" else model.partition("@")[0]
    origin = {"model": plain, "model_args": given, **origin}
    subject = Subject(network.to(target).eval(), name=name or model, origin=origin, **facts)
    if img_size is not None:
        # some networks of transformers state how many channels they take, but no size
        channels = (subject.input_size or (getattr(getattr(network, "config", None), "num_channels", 3),))[0]
        subject = replace(subject, input_size=(channels, img_size, img_size))
        with untouched(subject.model), _size_refused(model, img_size, of_ours=()):
            subject.model(subject.normalise(subject.example()))
    return subject


def build(
    model: str,
    img_size: Side,
    num_classes: int | None,
    given: Mapping[str, Any],
    *,
    seed: int,
) -> Built:
    """A model by name, without attention put into it, and what a Subject is told of it, as `load` says."""
    require_own(given, f"The call for {model}")
    kind, rest = _split(model)
    with random_state_kept(seed=seed), _size_refused(model, img_size):
        return BUILDERS[kind](rest, img_size, num_classes, given)


def _transplanted(base: Subject, written: Written, name: str, seed: int) -> Subject:
    """A loaded model with attention put into it: of other weights than its base, where a file of them is named."""
    plan = plan_transplant(base, written.units, **written.settings)
    network = grafted(deepcopy(base.model), plan, seed=seed)
    before = base.origin["weights"]
    weights = {**before, "drawn": [*(before.get("drawn") or ()), *(graft.module for graft in plan)], "seed": seed}
    if written.weights:
        file = path_of(written.weights)
        fill(network, read_weights(file), name)
        weights = {"from": "file", "file": str(file), "sha256": sha256_of(file)}
    origin = {**base.origin, "plan": as_data(plan), "weights": weights}
    return replace(base, model=network, name=name, origin=origin)


@contextmanager
def _size_refused(model: str, img_size: Side, of_ours: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """Say in one line that it is the size which a model refused, in whatever way it did."""
    try:
        yield
    except Exception as error:
        if img_size is None or isinstance(error, of_ours):
            raise
        raise ValueError(
            f"{model} cannot take images of side {img_size} ({first_line(error)}). Give another --img-size, or none "
            "for its own."
        ) from error


def check(model: str) -> None:
    """Refuse at once a name that `load` could not find, before anything long begins.

    Raises:
        ValueError: No such model, weight file, training run or snapshot.
    """
    model = named(model)[1]
    if members := members_of(model):
        for member in members:
            check(member)
        return
    if written := Written.of(model):
        check(written.base)
        if written.weights:
            find_weights(path_of(written.weights))
        return
    _check_one(*_split(model))


def _check_one(kind: str, rest: str) -> None:
    name, at, weights = rest.partition("@")
    if at and not weights and kind in UNTRAINED:
        raise ValueError(
            f"{rest} names no weights behind the @. Write {name}@FILE, {name}@pretrained, or {name} for random ones."
        )
    if kind == "":
        require_known(name)
    if kind == "tv":
        check_torchvision(name)
    if kind == "run":
        run, snapshot = TrainingRun.named(rest)
        run.at(snapshot)
    elif kind == "local-dir":
        of_folder(rest)
    elif kind == OWN:
        check_own(rest)
    elif kind != "hf" and weights not in ("", "pretrained"):
        find_weights(path_of(weights))


def is_random(model: str) -> bool:
    """Whether a MODEL names no weights, so that they are drawn.

    Examples:
        >>> is_random("resnet18"), is_random("tv:resnet18"), is_random("resnet18@pretrained"), is_random("run:out")
        (True, True, False, False)
    """
    if members := members_of(model):
        return any(map(is_random, members))
    if written := Written.of(model):
        return is_random(written.base) and not written.weights
    return source_of(model) in UNTRAINED and "@" not in model


def is_published(model: str) -> bool:
    """Whether somebody published weights for a MODEL, as far as timm or torchvision know."""
    return not members_of(model) and (source_of(model) == "tv" or timm.is_model_pretrained(model))


def source_of(model: str) -> str:
    """Whose model a MODEL is: `tv`, `hf`, `run`, the user's own, or timm's and ours, which is nothing."""
    return _split(model)[0]


def _split(model: str) -> tuple[str, str]:
    kind, colon, rest = model.partition(":")
    if OWN in model.partition("@")[0] and kind not in BUILDERS:
        return OWN, model
    return (kind, rest) if colon and kind in BUILDERS else ("", model)


def _from_run(name: str, img_size: Side, num_classes: int | None, given: Mapping[str, Any]) -> Built:
    run, snapshot = TrainingRun.named(name)
    file, facts = run.at(snapshot), run.model
    weights = read_weights(file)
    if num_classes not in (None, facts.num_classes):
        raise ValueError(f"{run.name} has {facts.num_classes} classes, got {num_classes}. Leave the number out.")
    try:
        require_known(facts.model)
    except ValueError as error:
        raise ValueError(
            f"{run.folder / RUN} names no model that is known here. {error} One of a Python file of yours is "
            f"FILE.py:{facts.model}@{file}."
        ) from error
    arguments = {**require_plain(facts.model_args, str(run.folder / RUN)), **given}
    try:
        build = partial(create, facts.model, num_classes=facts.num_classes, **arguments)
        require_fitting(build, weights, str(run.folder / RUN))
        model, _ = build()
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{run.name} names a model that cannot be built, {facts.model} with {shortened(arguments, 200)} "
            f"({type(error).__name__}: {first_line(error)}). Is alternet up to date?"
        ) from error
    resized(fill(model, weights, f"{PREFIX}{name}"), facts.input_size, img_size)
    recipe = run.facts.get("recipe")
    seed = {"recipe_seed": recipe["seed"]} if isinstance(recipe, dict) and isinstance(recipe.get("seed"), int) else {}
    origin = {
        "model": facts.model,
        "model_args": arguments,
        "weights": {"from": "run", "file": str(file), "sha256": sha256_of(file), **seed},
        "normalisation": str(run.folder / RUN),
    }
    return model, {
        "input_size": facts.input_size,
        "mean": facts.mean,
        "std": facts.std,
        "history": run.folder,
        "averaged": run.averaging and not snapshot.endswith(RAW),
        "origin": origin,
    }


BUILDERS: dict[str, Callable[..., Built]] = {
    "": from_timm,
    "tv": from_torchvision,
    "hf": from_transformers,
    "run": _from_run,
    "local-dir": from_folder,
    OWN: from_own,
}

UNTRAINED = ("", "tv", OWN)
"""Kinds of models whose weights are random where none are named."""
