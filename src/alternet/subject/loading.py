"""From a name to a Subject: timm's models and ours, torchvision's, transformers', weight files, training runs."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import interpolate_embeddings

from alternet.distributed import local_device
from alternet.errors import unknown
from alternet.models import NAMES, load_released
from alternet.models.released import CLASSIFIERS
from alternet.runs import RAW, TrainingRun
from alternet.seeding import random_state_kept
from alternet.subject.creating import create, require_known
from alternet.subject.subject import Subject
from alternet.subject.weights import fill, find_weights, number_of_classes, read_weights
from alternet.untouched import untouched


def load(
    model: str,
    *,
    img_size: int | None = None,
    num_classes: int | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    name: str | None = None,
) -> Subject:
    """Build a model by name and give it back as a Subject, in evaluation mode.

    Args:
        model: `NAME[@WEIGHTS]`. NAME is a timm name (AlterNet and its baselines included), `tv:NAME` for torchvision,
            `hf:ID` for transformers (a hub id or a local folder), or `run:DIR` for what `train` wrote. WEIGHTS is
            a `.safetensors`, `.pth`, `.pt` or `.bin` file, or `pretrained`; without it weights are random. After
            `run:DIR` it is a snapshot, such as `init`, `warmup` or `epoch-0100`; without it, or with `last`, weights
            are those that the training came to.
        img_size: Side of the images; position embeddings are resampled as timm does.
        num_classes: Number of classes; by default that of the weights, or of the model's own configuration.
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
    check(model)
    kind, rest = _split(model)
    target = local_device(None if device is None else str(device))
    with random_state_kept(seed=seed), _size_refused(model, img_size):
        network, facts = BUILDERS[kind](rest, img_size, num_classes)
    subject = Subject(network.to(target).eval(), name=name or model, **facts)
    if img_size is not None:
        # some networks of transformers state how many channels they take, but no size
        channels = (subject.input_size or (getattr(getattr(network, "config", None), "num_channels", 3),))[0]
        subject = replace(subject, input_size=(channels, img_size, img_size))
        with untouched(network), _size_refused(model, img_size):
            subject.logits(subject.example())
    return subject


@contextmanager
def _size_refused(model: str, img_size: int | None) -> Iterator[None]:
    """Say in one line that it is the size which a model refused, in whatever way it did."""
    try:
        yield
    except Exception as error:
        if img_size is None or isinstance(error, ValueError):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{model} cannot take images of side {img_size} ({reason}). Give another --img-size, or none for its own."
        ) from error


def check(model: str) -> None:
    """Refuse at once a name that `load` could not find, before anything long begins.

    Raises:
        ValueError: No such model, weight file, training run or snapshot.
    """
    kind, rest = _split(model)
    name, _, weights = rest.partition("@")
    if kind == "":
        require_known(name)
    if kind == "tv" and name not in (known := torchvision.models.list_models(module=torchvision.models)):
        raise unknown("There is no torchvision classifier", name, known, see="alternet list models")
    if kind == "run":
        run, snapshot = TrainingRun.named(rest)
        run.at(snapshot)
    elif kind != "hf" and weights not in ("", "pretrained"):
        find_weights(_path(weights))


def is_random(model: str) -> bool:
    """Whether a MODEL names no weights, so that they are drawn.

    Examples:
        >>> is_random("resnet18"), is_random("tv:resnet18"), is_random("resnet18@pretrained"), is_random("run:out")
        (True, True, False, False)
    """
    return _split(model)[0] in ("", "tv") and "@" not in model


def is_published(model: str) -> bool:
    """Whether somebody published weights for a MODEL, as far as timm or torchvision know."""
    return _split(model)[0] == "tv" or timm.is_model_pretrained(model)


def _split(model: str) -> tuple[str, str]:
    kind, colon, rest = model.partition(":")
    return (kind, rest) if colon and kind in BUILDERS else ("", model)


def _path(text: str) -> Path:
    """A path, with ~ for the user's home, which no shell spells out behind a `:` or an `@`."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user
        return Path(text)


Built = tuple[nn.Module, dict[str, Any]]


def _from_timm(name: str, img_size: int | None, num_classes: int | None) -> Built:
    name, _, weights = name.partition("@")
    if weights in ("", "pretrained"):
        return _create_timm(name, img_size, num_classes, pretrained=bool(weights)), {}
    state = read_weights(_path(weights))
    classes = num_classes or number_of_classes(state, _classifier(name))
    if name in NAMES:
        model = _create_timm(name, None, classes)
        if not set(state) & set(model.state_dict()):  # the names are not ours, but those of the authors' released code
            load_released(model, state)
            return model, {}
    try:
        # timm loads them as it would load its own, which adapts names and position embeddings
        overlay = {"num_classes": classes, "state_dict": state}
        return _create_timm(name, img_size, classes, pretrained=True, pretrained_cfg_overlay=overlay), {}
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        fill(_create_timm(name, img_size, classes), state, name)  # says in one line what does not fit, if it can
        raise ValueError(f"{weights} does not fit {name}: {str(error).splitlines()[0]}") from error


def _create_timm(name: str, img_size: int | None, num_classes: int | None, **options: Any) -> nn.Module:
    if num_classes is not None:
        options["num_classes"] = num_classes
    if img_size is not None:
        options["img_size"] = img_size
    try:
        return create(name, **options)[0]
    except (OSError, RuntimeError) as error:
        if options.get("pretrained") and "pretrained_cfg_overlay" not in options:
            raise ValueError(_unreachable(name, error)) from error
        raise


def _classifier(name: str) -> tuple[str, ...]:
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    classifier = getattr(config, "classifier", None) or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return (*names, *CLASSIFIERS) if name in NAMES else names


POSITIONED = "vit_"
"""How the names of those torchvision networks begin that are made for one image size: they have position embeddings."""


def _from_torchvision(name: str, img_size: int | None, num_classes: int | None) -> Built:
    name, _, weights = name.partition("@")
    best = torchvision.models.get_model_weights(name).DEFAULT  # pyright: ignore[reportAttributeAccessIssue]
    preset = best.transforms()
    side = img_size or preset.crop_size[0]
    facts = {"input_size": (3, side, side), "mean": tuple(preset.mean), "std": tuple(preset.std)}
    if weights == "pretrained":
        model = _published(name, best, num_classes)
        if side == preset.crop_size[0] or not name.startswith(POSITIONED):
            return model, facts
        state = model.state_dict()
    else:
        state = read_weights(_path(weights)) if weights else {}

    # GoogLeNet and Inception warn unless they are told to initialise themselves
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    classes = num_classes
    if not classes and weights:
        # all of torchvision's networks define the layer that makes the logits last
        net = torchvision.models.get_model(name, weights=None, **options)
        layers = [path for path, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        classes = number_of_classes(state, tuple(layers[-1:]))
    if classes:
        options["num_classes"] = classes
    if name.startswith(POSITIONED):
        options["image_size"] = side
        if "encoder.pos_embedding" in state:
            state = interpolate_embeddings(side, int(name.rpartition("_")[2]), OrderedDict(state))
    model = torchvision.models.get_model(name, weights=None, **options)
    return (fill(model, state, f"tv:{name}") if weights else model), facts


def _published(name: str, weights: Any, num_classes: int | None) -> nn.Module:
    known = len(weights.meta["categories"])
    if num_classes not in (None, known):
        raise ValueError(
            f"The published weights of tv:{name} tell {known} classes apart, got num_classes={num_classes}. "
            "Leave it out, or train the model on your classes and give its weights as a file."
        )
    try:
        return torchvision.models.get_model(name, weights=weights)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(_unreachable(f"tv:{name}", error)) from error


def _from_transformers(name: str, img_size: int | None, num_classes: int | None) -> Built:
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError as error:
        raise ValueError("hf: models need transformers. Install it with: pip install 'alternet[hf]'") from error
    if "@" in name and not _path(name).is_dir():
        raise ValueError(f"hf:{name}: a transformers id brings its own weights; write hf:{name.split('@')[0]}.")
    options = {} if num_classes is None else {"num_labels": num_classes, "ignore_mismatched_sizes": True}
    try:
        model = AutoModelForImageClassification.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        raise ValueError(_unreachable(f"hf:{name}", error)) from error
    if img_size is not None and getattr(model.config, "image_size", img_size) not in (img_size, [img_size] * 2):
        raise ValueError(f"hf:{name} takes images of side {model.config.image_size}, got --img-size {img_size}.")
    try:
        processor = AutoImageProcessor.from_pretrained(name)
        facts = {"mean": tuple(processor.image_mean), "std": tuple(processor.image_std)}
    except (OSError, ValueError, AttributeError, ImportError):
        facts = {}
    return model, facts


def _from_run(name: str, img_size: int | None, num_classes: int | None) -> Built:
    run, snapshot = TrainingRun.named(name)
    weights, facts = read_weights(run.at(snapshot)), run.model
    if num_classes not in (None, facts.num_classes):
        raise ValueError(f"{run.name} has {facts.num_classes} classes, got {num_classes}. Leave the number out.")
    try:
        model, _ = create(facts.model, num_classes=facts.num_classes, **facts.model_args)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{run.name} names a model that cannot be built ({error}). Is alternet up to date?") from error
    fill(model, weights, f"run:{name}")
    resize = getattr(model, "set_input_size", None)
    if img_size not in (None, facts.input_size[-1]) and callable(resize):
        resize(img_size=img_size)
    averaged = run.averaging and not snapshot.endswith(RAW)
    built = {"input_size": facts.input_size, "mean": facts.mean, "std": facts.std}
    return model, {**built, "history": run.folder, "averaged": averaged}


BUILDERS = {"": _from_timm, "tv": _from_torchvision, "hf": _from_transformers, "run": _from_run}


def _unreachable(name: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if reason.startswith("No pretrained weights exist"):
        return f"Nobody published pretrained weights of {name}. Give a file: {name}@weights.safetensors."
    way = "the folder of a saved model: hf:PATH" if name.startswith("hf:") else "a file: NAME@weights.safetensors"
    return (
        f"The weights of {name} cannot be fetched ({reason[:120].rstrip(' .')}). Check the name and the network, or "
        f"give {way}."
    )
