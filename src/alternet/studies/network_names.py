"""Names of networks in folders of results: FOLDER/NAME is a model or a group of runs in what was measured there."""

from dataclasses import replace
from glob import glob
from pathlib import Path

from alternet.measurement import Measurement
from alternet.report.gather import gather
from alternet.storage import safe_name
from alternet.studies.key_numbers import Network, networks
from alternet.subject.names import named


def two_networks(a: str, b: str) -> tuple[Network, Network, list[str]]:
    """The networks that A and B name, told apart where they are called alike, and what a reader must know.

    Args:
        a: `[CALLED=]FOLDER/NAME`, a model or a group of runs in a folder that `alternet measure` wrote, logs of
            trainings below that folder included; a FOLDER that holds one network; or a pattern of folders of models,
            which are then runs of one network.
        b: The same.

    Raises:
        ValueError: There is none, or several, or both are one.
    """
    if a == b:
        raise ValueError(f"A and B are both {a!r}. Name two networks.")
    notes: dict[str, None] = {}
    first, second = (_found(text, notes) for text in (a, b))
    if set(first.models) & set(second.models) or first.called == second.called:
        first, second = (_marked(one, text) for one, text in ((first, a), (second, b)))
    return first, second, list(notes)


def _found(text: str, notes: dict[str, None]) -> Network:
    called, place = ("", text) if Path(text).exists() else named(text)
    path = Path(place).expanduser()
    runs = [] if path.exists() else [Path(one) for one in sorted(glob(str(path))) if Path(one).is_dir()]
    folder = path if path.is_dir() else path.parent
    if not runs and not folder.is_dir():
        raise ValueError(
            f"There is no folder {folder}. Name a model in what alternet measure wrote: OUT/NAME, as in out/resnet18."
        )
    measured, said = gather(runs or [folder])
    notes |= dict.fromkeys(said)
    if runs:
        (one,) = networks([_of_group(m, called or path.name) for m in measured])
    elif path.is_dir():
        one = _only(networks(measured), folder)
    else:
        one = _of_name(measured, path)
    return _named(one, called) if called else one


def _of_name(measured: list[Measurement], path: Path) -> Network:
    """The group or model of that name, which may be written as its folder is."""
    there = networks(measured)
    names = dict.fromkeys([*(one.name for one in there), *(model for one in there for model in one.models)])
    chosen = [name for name in names if path.name in (name, safe_name(name))]
    if not chosen:
        raise ValueError(f"There is no network {path.name!r} in {path.parent}; it holds {', '.join(names) or 'none'}.")
    return networks(measured, chosen[:1])[0]


def _only(there: list[Network], folder: Path) -> Network:
    if len(there) != 1:
        names = ", ".join(one.name for one in there) or "nothing that can be compared"
        raise ValueError(f"{folder} holds {names}, expected one network. Name one of them, as in {folder / 'NAME'}.")
    return there[0]


def _marked(network: Network, text: str) -> Network:
    """The same with its place behind all names."""
    names = {model: f"{model} [{text}]" for model in network.models}
    measured = {
        instrument: {names[model]: one.renamed(names) for model, one in by.items()}
        for instrument, by in network.measured.items()
    }
    seeds = {names[model]: seed for model, seed in network.seeds.items()}
    return Network(name=f"{network.name} [{text}]", measured=measured, seeds=seeds)


def _named(network: Network, name: str) -> Network:
    """The same under another name: that of its one model, or that of the group."""
    measurements = [one for by in network.measured.values() for one in by.values()]
    models = network.models
    if len(models) == 1:
        (one,) = networks([m.renamed({models[0]: name}) for m in measurements])
    else:
        (one,) = networks([_of_group(m, name) for m in measurements])
    return one


def _of_group(measurement: Measurement, name: str) -> Measurement:
    """The models of a measurement as runs of one group."""
    return replace(measurement, provenances=tuple({**facts, "group": name} for facts in measurement.provenances))
