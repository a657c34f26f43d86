"""What a MODEL is called: `NAME=MODEL` gives it a name of one's own."""

import re
from collections.abc import Sequence
from glob import glob
from os.path import expanduser
from pathlib import Path

from alternet.runs import PREFIX, RAW, TrainingRun

NAMED = re.compile(r"\s*([\w .-]+)=\s*(.*)", flags=re.DOTALL)
WITHIN = (":", "@", "+msa(", "ensemble(")
"""What stands ahead of an equals sign that belongs to the MODEL itself: to a path, or to the settings of a plan."""


def named(text: str) -> tuple[str, str]:
    """The name that is given to a MODEL, empty where none is, and the MODEL.

    A name is made of letters, digits, blanks, points, dashes and underscores, ahead of the first equals sign.

    Raises:
        ValueError: There is nothing on one side of that sign, or what stands ahead of it is no name.

    Examples:
        >>> named("my net=run:runs/a"), named("resnet50+msa(layer4.2:heads=12)"), named("vit_mini@a=b.pth")
        (('my net', 'run:runs/a'), ('', 'resnet50+msa(layer4.2:heads=12)'), ('', 'vit_mini@a=b.pth'))
    """
    found = NAMED.fullmatch(text)
    if found and (name := found[1].strip()) and found[2]:
        return name, found[2]
    ahead, equals, _ = text.partition("=")
    if found or (equals and not any(sign in ahead for sign in WITHIN)):
        raise ValueError(
            f"A model got the name {ahead!r} in {text!r}, expected NAME=MODEL with a name of letters, digits, blanks, "
            "points, dashes and underscores, as in my-net=run:runs/a."
        )
    return "", text


def by_name(models: Sequence[str]) -> dict[str, str]:
    """MODELs by the names that tables and figures give them, in their order: their own, or else the MODEL itself.

    `run:PATTERN` stands for every run that its `*` and `?` match, `run:DIR@*` for every snapshot of a run.

    Raises:
        ValueError: Two have the same name, or a pattern matches no run.

    Examples:
        >>> by_name(["mine=run:runs/a", "resnet18"])
        {'mine': 'run:runs/a', 'resnet18': 'resnet18'}
    """
    found: dict[str, str] = {}
    for text in models:
        name, model = named(text)
        for run, own in several(name, model).items():
            if found.setdefault(run, own) != own:
                raise ValueError(f"Two models are called {run!r}. Give each a name of its own: NAME=MODEL.")
    return found


def groups(models: Sequence[str]) -> dict[str, str]:
    """Of which group each model is, by its name: of runs that one pattern matches, which differ by their seed alone."""
    found: dict[str, str] = {}
    for name, model in map(named, models):
        if len(runs := several(name, model)) > 1 and not model.endswith("@*"):
            found |= dict.fromkeys(runs, name or model)
    return found


def several(name: str, model: str) -> dict[str, str]:
    """The MODELs that one stands for, by name: itself, or the runs or snapshots that its pattern matches.

    Raises:
        ValueError: It matches none.
    """
    folder, at, snapshot = model.removeprefix(PREFIX).partition("@")
    if not model.startswith(PREFIX) or not any(sign in model for sign in "*?"):
        return {name or model: model}
    found = sorted(Path(path) for path in glob(expanduser(folder)))
    runs = [TrainingRun(path) for path in found if TrainingRun(path).begun]
    if not runs:
        raise ValueError(f"No training run matches {folder!r}. Give the folders that `alternet train` wrote.")
    if snapshot == "*":
        if len(runs) > 1:
            raise ValueError(f"{model!r} asks for the snapshots of {len(runs)} runs. Name one of them.")
        (run,) = runs
        kept = [snapshot for snapshot in run.kept if not snapshot.endswith(RAW)]
        return {f"{name or run.name}@{snapshot}": f"{run.name}@{snapshot}" for snapshot in kept}
    if len(runs) == 1:
        return {name or runs[0].name: f"{runs[0].name}{at}{snapshot}"}
    return {f"{name or folder} {run.folder.name}": f"{run.name}{at}{snapshot}" for run in runs}
