"""`alternet list`: what there is to name on the command line."""

from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatch
from typing import Annotated

import typer

from alternet.cli.options import say
from alternet.errors import nearest


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    instruments = "instruments"
    datasets = "datasets"
    recipes = "recipes"
    figures = "figures"


def listing(
    kind: Annotated[
        str | None,
        typer.Argument(metavar=f"[{'|'.join(Kind)}]", help="By default everything but timm's and torchvision's names."),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(help="One instrument or recipe: its settings and what they mean.")
    ] = None,
    like: Annotated[str | None, typer.Option(help="Only names that contain this, or match it as a pattern.")] = None,
) -> None:
    """List models, instruments, data sets, recipes or the paper's figures, or the settings of one instrument."""
    kind = _known(kind)
    if name is not None:
        if kind is not Kind.instruments:
            raise ValueError(f"Only instruments are listed one by one, got {kind} {name}. Leave {name} out.")
        _explain(name)
        return
    for one in [kind] if kind else list(Kind):
        if kind is None:
            typer.secho(f"\n{one}", bold=True)
        for entry, line in _entries(one):
            if like is None or like in entry or fnmatch(entry, like):
                say(f"{entry:<28} {line}".rstrip())
        if one is Kind.models:
            _others(like)


def _known(kind: str | None) -> Kind | None:
    """What is listed, by its name.

    Raises:
        ValueError: There is no such list; the nearest one is named.
    """
    if kind is None or kind in list(Kind):
        return None if kind is None else Kind(kind)
    if kind in ("data", "dataset", "data-sets"):
        raise ValueError(f"There is no list {kind!r}; data sets: alternet list datasets.")
    raise ValueError(f"There is no list {kind!r}. Did you mean {nearest(kind, Kind)}?")


def _entries(kind: Kind) -> Iterable[tuple[str, str]]:
    """Names of a kind, each with a line about it; nothing is imported for the other kinds."""
    if kind is Kind.models:
        from timm import model_entrypoint

        from alternet.models import NAMES

        return [(name, (model_entrypoint(name).__doc__ or "").strip().partition("\n")[0]) for name in NAMES]
    if kind is Kind.instruments:
        from alternet.instruments.catalogue import broken, instruments

        working = [(name, instrument.spec.question) for name, instrument in instruments().items()]
        # One of them may bear the name of one that works, which is why it cannot be loaded.
        return working + [(name, f"cannot be loaded: {reason}") for name, reason in broken().items()]
    if kind is Kind.datasets:
        from alternet.data import known_datasets

        return known_datasets().items()
    if kind is Kind.recipes:
        from alternet.training import known_recipes

        return known_recipes().items()
    from alternet.studies.figures.titles import TITLES

    return TITLES.items()


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
            say(name)


def _explain(name: str) -> None:
    """What an instrument answers, what it fills, and its settings with their defaults."""
    import textwrap
    from dataclasses import fields

    from alternet.instruments.catalogue import instrument
    from alternet.settings import meaning

    kind = instrument(name)
    spec = kind.spec
    typer.secho(f"{spec.name}: {spec.title}", bold=True)
    typer.echo(textwrap.fill(f"{spec.question} Source: {spec.paper}. Cost: {spec.cost}.", 100))
    if spec.needs:
        extra = f", and pip install 'alternet[{spec.extra}]'" if spec.extra else ""
        typer.echo(f"Needs {', '.join(sorted(spec.needs))}{extra}.")
    typer.echo(f"\n  {spec.example}\n")
    for field in fields(kind):
        typer.echo(f"--set {field.name}={field.default}")
        typer.echo(textwrap.indent(textwrap.fill(meaning(kind, field.name), 92), "    "))
    for table, columns in spec.tables.items():
        typer.secho(f"\n{table}.csv", bold=True)
        for column, what in columns.items():
            typer.echo(f"  {column:<24} {what.says}")
    if spec.caution:
        typer.echo("\n" + textwrap.fill(f"Mind: {spec.caution}", 100))
