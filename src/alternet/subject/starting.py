"""Where training begins: a timm model with random weights, or with those of a file, of a run, or published ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from alternet.runs import CHECKPOINT, INIT, RUN, SNAPSHOTS, WEIGHTS, TrainingRun
from alternet.seeding import random_state_kept
from alternet.storage import is_file, sha256_of
from alternet.subject.creating import create, create_for_data, require_known, with_attention
from alternet.subject.ensemble import members_of
from alternet.subject.loading import build, check, is_random, source_of
from alternet.subject.own import OWN, registered
from alternet.subject.subject import ASSUMED, Subject
from alternet.subject.timm_models import of_file
from alternet.subject.transplant import Written
from alternet.subject.weight_facts import facts_of, require_plain
from alternet.subject.weights import fill, fill_but_head, path_of, read_weights

OF_THE_IMAGES = ("in_chans", "img_size", "drop_path_rate")
"""Arguments of a trained model that another training decides anew: by its images, and by its recipe."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network as training takes it up.

    Attributes:
        model: The network.
        name: Its timm name.
        arguments: What builds it again, beside `num_classes`.
        mean: Mean of each channel that the weights were trained with; None where there are none, or they do not say.
        std: Standard deviation of each channel, likewise.
        origin: Where the weights come from, as plain values; None where they are random.
        said: What the user should know of them, in sentences.
    """

    model: nn.Module
    name: str
    arguments: dict[str, Any]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    origin: dict[str, Any] | None = None
    said: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any] | None:
        """What decides the weights that training begins with, beside the seed; None where they are random."""
        if self.origin is None:
            return None
        return {"sha256": self.origin["weights"]["sha256"], "drawn": self.origin["drawn"]}


def start(
    model: str, input_size: tuple[int, int, int], num_classes: int, arguments: Mapping[str, Any], *, seed: int
) -> Start:
    """The network that a training begins with.

    Args:
        model: `NAME[@WEIGHTS]` as `alternet.load` takes it, of timm or ours, `run:DIR[@SNAPSHOT]`, what a file of the
            user's own registers in timm, or any of these with attention put into it. Without weights they are random.
        input_size: Channels, height and width of the images.
        num_classes: Number of classes; if the weights know another number, the head is drawn anew.
        arguments: Keyword arguments of the model; they win over those that follow from the weights and the images.
        seed: Seed of what is drawn.

    Raises:
        ValueError: There is no such model, its weights cannot be read or are of another one, or it does not take the
            images.

    Examples:
        >>> begun = start("test_vit", (3, 32, 32), 5, {}, seed=0)
        >>> begun.name, begun.arguments, begun.origin
        ('test_vit', {'in_chans': 3, 'img_size': 32}, None)
    """
    if members_of(model):
        raise ValueError(f"An ensemble is trained member by member, got {model!r}. Train one of them.")
    if source_of(model) == OWN:
        model = registered(model)
    if is_random(model):
        network, name, taken = create_for_data(model, input_size, num_classes, arguments, seed=seed)
        return Start(model=network, name=name, arguments=taken)
    check(model)
    find = _transplanted if Written.of(model) else _loaded
    begun = find(model, input_size, num_classes, arguments, seed)
    asked = {"model": model, "given": as_json(arguments), "said": begun.said}
    return replace(begun, origin=(begun.origin or {}) | asked)


def taken_up(run: TrainingRun, model: str, arguments: Mapping[str, Any]) -> Start | None:
    """The start of a training that began before, from its folder alone: the weights may be gone by now.

    None where the call or the weights are others than then, so that they must be looked at, or nothing was stored yet.
    """
    origin = run.facts.get("origin") if run.begun else None
    if not isinstance(origin, dict) or (origin.get("model"), origin.get("given")) != (model, as_json(arguments)):
        return None
    file, init = Path(origin["weights"].get("file", "")), run.folder / SNAPSHOTS / f"{INIT}.safetensors"
    if is_file(file) and sha256_of(file) != origin["weights"]["sha256"]:
        return None
    if not any(map(is_file, (init, run.folder / CHECKPOINT, run.folder / WEIGHTS))):
        return None
    facts = run.model
    require_known(facts.model)
    arguments = require_plain(facts.model_args, str(run.folder / RUN))
    with random_state_kept(seed=0):
        network, _ = create(facts.model, num_classes=facts.num_classes, **arguments)
    if is_file(init):
        fill(network, read_weights(init), run.name)
    return Start(model=network, name=facts.model, arguments=arguments, mean=facts.mean, std=facts.std, origin=origin)


def _loaded(
    model: str, input_size: tuple[int, int, int], num_classes: int, arguments: Mapping[str, Any], seed: int
) -> Start:
    """A network with the weights that a MODEL names: they are loaded as ever, and taken over tensor by tensor."""
    if (kind := source_of(model)) in ("tv", "hf"):
        raise ValueError(f"Training takes a timm model; got {model!r}. Give a name of: alternet list models.")
    channels, height, width = input_size
    side = height if height == width else (height, width)
    loaded, facts = build(model, side, None, {"in_chans": channels, **arguments}, seed=seed)
    source = Subject(loaded, name=model, **facts)
    name = source.origin["model"] if kind == "run" else model.partition("@")[0]
    kept = {key: value for key, value in source.origin.get("model_args", {}).items() if key not in OF_THE_IMAGES}
    network, name, taken = create_for_data(name, input_size, num_classes, kept | dict(arguments), seed=seed)
    classes = fill_but_head(network, source.model.state_dict(), model)
    begun = Start(model=network, name=name, arguments=taken)
    return _told(begun, source, channels, _head(model, classes, num_classes, seed), drawn=list(classes))


def _transplanted(
    model: str, input_size: tuple[int, int, int], num_classes: int, arguments: Mapping[str, Any], seed: int
) -> Start:
    """Attention put into a network that starts from weights, or weights of the whole put into it afterwards."""
    written = Written.of(model)
    assert written is not None
    begun = start(written.base, input_size, num_classes, arguments, seed=seed)
    network, more = with_attention(begun.model, begun.name, written, input_size=input_size, seed=seed)
    begun = replace(begun, model=network, name="transplanted", arguments=begun.arguments | more)
    if written.weights:
        file = path_of(written.weights)
        classes = fill_but_head(network, read_weights(file), model)
        source = Subject(network, name=model, **of_file(file, facts_of(file), written.base))
        return _told(begun, source, input_size[0], _head(model, classes, num_classes, seed), drawn=list(classes))
    assert begun.origin is not None
    places = [graft["module"] for graft in more["plan"]]
    said = (*begun.said, f"The attention in {', '.join(places)} is drawn from seed {seed}.")
    return replace(begun, origin={**begun.origin, "drawn": [*begun.origin["drawn"], *places]}, said=said)


def _head(model: str, classes: Mapping[str, int], num_classes: int, seed: int) -> tuple[str, ...]:
    """What is said of a head that is drawn anew."""
    if not classes:
        return ()
    modules = ", ".join(dict.fromkeys(key.rpartition(".")[0] for key in classes))
    before = max(classes.values())
    line = (
        f"{model} tells {before} classes apart, the data {num_classes}: its head ({modules}) is drawn from seed {seed}."
    )
    return (line,)


def _told(begun: Start, source: Subject, channels: int, said: tuple[str, ...], *, drawn: list[str]) -> Start:
    """The start with what its weights say of the images, and where they come from."""
    weights = {key: value for key, value in source.origin["weights"].items() if key != "drawn"}
    stated, where = source.mean, str(source.origin["normalisation"])
    if stated is None or len(stated) != channels:
        why = (
            "does not state how its images were normalised" if stated is None else f"normalises {len(stated)} channels"
        )
        norm, line = None, f"{source.name} {why}: images are normalised by the mean and std of the data."
    else:
        norm = source
        name = where.removeprefix(ASSUMED)
        says = f"as those of {name}, since its weights do not say" if name != where else f"as its weights say ({where})"
        line = f"{source.name}: images are normalised {says}, mean {list(stated)}, std {list(source.std or ())}."
    origin = {
        "weights": {"sha256": source.weights_sha256, **weights},
        "drawn": drawn,
        "normalisation": where if norm else "of the data",
    }
    return replace(begun, mean=norm and norm.mean, std=norm and norm.std, origin=origin, said=(*said, line))


def as_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON gives them back: lists where there are tuples, at any depth."""
    return json.loads(json.dumps(dict(arguments)))
