"""`alternet reproduce`: the paper's figures, or studies of one's own, from trainings to drawings."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from alternet.cli.options import Device, Out, Timeout, say, set_timeout, writable

if TYPE_CHECKING:
    from alternet.studies.plan import Plan


class Size(StrEnum):
    """How large."""

    SMOKE = "smoke"
    CIFAR = "cifar"
    IMAGENET = "imagenet"


class Cluster(StrEnum):
    """What hands out machines."""

    SLURM = "slurm"


def reproduce(
    figures: Annotated[
        list[str],
        typer.Argument(metavar="FIGURE...", help="alternet list figures; `all`, or a file of your own studies."),
    ],
    out: Out,
    scale: Annotated[
        Size, typer.Option(help="smoke: small networks on photographs; cifar, imagenet: as in the paper.")
    ] = Size.SMOKE,
    data: Annotated[
        list[str],
        typer.Option(help="Data in place of those of the scale, or where they lie: cifar100:PATH. May be given often."),
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    seeds: Annotated[
        str,
        typer.Option(metavar="N|FROM:TO", help="How often each network is trained; 3:5 trains seeds 3 and 4 alone."),
    ] = "1",
    jobs: Annotated[int, typer.Option(min=1, help="Networks at a time, each in a process, or a job, of its own.")] = 1,
    cluster: Annotated[
        Cluster | None, typer.Option(help="Hand the networks to this, each a job; needs the extra `cluster`.")
    ] = None,
    partition: Annotated[str, typer.Option(help="Of the cluster.")] = "",
    limit: Annotated[str, typer.Option("--time", help="Of a job of the cluster: 90, 45m, 24h, 2d.")] = "24h",
    gpus: Annotated[int, typer.Option(min=0, help="Of a job of the cluster; with 2 or more it is a torchrun.")] = 0,
    cpus: Annotated[int, typer.Option(min=1, help="Of a job of the cluster.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and what it costs.")] = False,
    device: Device = None,
    timeout: Timeout = None,
    only: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Reproduce figures of the paper: train, measure, and draw ours beside what was published.

    What two figures need is done once. Started again, it goes on where it stopped. OUT/report.html shows all of it,
    OUT/figures/FIGURE holds each as evidence.csv, .svg, .pdf and .png.
    """
    from alternet.studies import reproduce as studies
    from alternet.studies.executor import local
    from alternet.studies.plan import Plan
    from alternet.studies.scale import scale_of

    set_timeout(timeout)
    chosen = scale_of(scale)
    named = studies.studies_named(figures, chosen)
    again = ["reproduce", *figures, "--scale", scale, *(part for one in data for part in ("--data", one))]
    again += ["--seeds", seeds, "--out", str(out.resolve())]
    plan = Plan(
        studies=named,
        scale=chosen,
        out=out,
        seeds=seeds_of(seeds),
        data=located(data, chosen.data, chosen.second, "cue-conflict", "corrupted"),
        again=tuple(again),
    )
    if only:
        _one(plan, only, device)
        return
    if dry_run:
        from alternet.studies.estimate import described

        for line in described(plan):
            say(line)
        return
    writable(out)
    executor = local(jobs, device)
    if cluster is not None:
        from alternet.studies.cluster import AT_ONCE, Slurm, minutes

        executor = Slurm(
            out.resolve() / "jobs",
            partition=partition,
            minutes=minutes(limit),
            gpus=gpus,
            cpus=cpus,
            at_once=jobs if jobs > 1 else AT_ONCE,
            device=device,
        )
    results, failed = studies.reproduce(plan, executor, say)
    for line in results.missing:
        say(f"note: {line}", err=True)
    say(f"Evidence: {out / 'evidence.csv'}. Figures: {out / 'figures'}. Open {out / 'report.html'} in a browser.")
    if failed is not None:
        raise failed


def seeds_of(text: str) -> range:
    """What `--seeds` asks for: so many from 0 on, or from one up to, and without, another, as Python counts.

    Raises:
        ValueError: It is neither, or no seed at all.

    Examples:
        >>> seeds_of("3"), seeds_of("3:5")
        (range(0, 3), range(3, 5))
    """
    first, end = text.split(":", 1) if ":" in text else ("0", text)
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise ValueError(f"--seeds got {text!r}, expected a number of 1 or more, or FROM:TO such as 3:5.")
    return range(int(first), int(end))


def located(data: list[str], *own: str) -> dict[str, str]:
    """Where data sets lie, by name; one that the scale does not know takes the place of its own, under "".

    Raises:
        ValueError: Several would take its place.

    Examples:
        >>> located(["cifar100:/data"], "cifar100", "cifar10"), located(["elpv"], "photos", "digits")
        ({'cifar100': 'cifar100:/data'}, {'': 'elpv'})
    """
    places = {one.partition(":")[0]: one for one in data}
    others = [one for name, one in places.items() if name not in own]
    if len(others) > 1:
        raise ValueError(
            f"--data names several in place of {own[0]}: {', '.join(others)}. Give one of them, and where "
            f"{', '.join(dict.fromkeys(own))} lie."
        )
    return {name: one for name, one in places.items() if name in own} | ({"": others[0]} if others else {})


def _one(plan: "Plan", folder: str, device: str | None) -> None:
    """The work of one job of an executor; under torchrun all processes share it."""
    from alternet.distributed import local_device, processes

    found = [job for job in plan.jobs if job.folder.name == folder]
    if not found:
        raise ValueError(
            f"The plan has no network {folder!r}: the declarations changed since it was made. Start again."
        )
    with processes(local_device(device)):
        found[0].run(device)
