"""`alternet list`: what there is to name on the command line."""

from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatch
from typing import Annotated

import typer


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    instruments = "instruments"
    datasets = "datasets"
    recipes = "recipes"
    figures = "figures"


def listing(
    kind: Annotated[
        Kind | None, typer.Argument(help="By default everything but timm's and torchvision's names.")
    ] = None,
    like: Annotated[str | None, typer.Option(help="Only names that contain this, or match it as a pattern.")] = None,
) -> None:
    """List models, instruments, data sets, recipes or figures."""
    for one in [kind] if kind else list(Kind):
        if kind is None:
            typer.secho(f"\n{one}", bold=True)
        for name, line in LISTS[one]():
            if like is None or like in name or fnmatch(name, like):
                typer.echo(f"{name:<28} {line}".rstrip())
        if one is Kind.models:
            _others(like)


def _models() -> Iterator[tuple[str, str]]:
    from timm import model_entrypoint

    from alternet.models import NAMES

    for name in NAMES:
        yield name, _first_line(model_entrypoint(name).__doc__)


def _others(like: str | None) -> None:
    import timm
    import torchvision

    from alternet.models import NAMES

    others = [name for name in timm.list_models() if name not in NAMES]
    others += [f"tv:{name}" for name in torchvision.models.list_models(module=torchvision.models)]
    if like is None:
        typer.echo(f"and {len(others)} more from timm and torchvision; search them: alternet list models --like resnet")
        return
    for name in others:
        if like in name or fnmatch(name, like):
            typer.echo(name)


def _instruments() -> Iterator[tuple[str, str]]:
    from alternet.instruments.catalogue import broken, instruments

    for name, instrument in instruments().items():
        yield name, instrument.spec.question
    for name, reason in broken().items():
        yield name, f"cannot be loaded: {reason}"


def _datasets() -> Iterator[tuple[str, str]]:
    from alternet.data import known_datasets

    yield from known_datasets().items()


def _recipes() -> Iterator[tuple[str, str]]:
    from alternet.training import known_recipes

    yield from known_recipes().items()


def _figures() -> Iterator[tuple[str, str]]:
    from alternet.instruments.figures import FIGURES

    for name, figure in FIGURES.items():
        yield name, figure.title


LISTS = {
    Kind.models: _models,
    Kind.instruments: _instruments,
    Kind.datasets: _datasets,
    Kind.recipes: _recipes,
    Kind.figures: _figures,
}


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
