"""Reproduce: studies from their names to their figures, going on where an earlier call stopped."""

from collections.abc import Callable, Sequence
from pathlib import Path

from alternet.errors import unknown
from alternet.own_file import run_own
from alternet.studies.declaration import Study
from alternet.studies.executor import Executor
from alternet.studies.figures import FIGURES
from alternet.studies.plan import Plan
from alternet.studies.results import Collected, put_out
from alternet.studies.scale import Scale

ALL = "all"


def studies_named(names: Sequence[str], scale: Scale) -> tuple[Study, ...]:
    """The studies of the paper's figures, of all of them, or of a Python file that declares some.

    Args:
        names: Names of figures (`C.1` and `5` stand for their parts too), `all`, or paths that end in `.py`. Of such a
            file every `Study` is taken that stands in a name of its own.
        scale: At which size.

    Raises:
        ValueError: There is no such figure, or the file cannot be read or declares nothing.

    Examples:
        >>> from alternet.studies.scale import SMOKE
        >>> [study.figure for study in studies_named(["5a", "1c", "5a"], SMOKE)]
        ['5a', '1c']
    """
    studies: dict[str, Study] = {}
    for name in names:
        if name.endswith(".py"):
            found = declared_in(Path(name))
        elif name == ALL:
            found = [make(scale) for make in FIGURES.values()]
        elif parts := [part for part in FIGURES if part == name or part[:-1] == name]:  # C.1 is C.1a and C.1b
            found = [FIGURES[part](scale) for part in parts]
        else:
            raise unknown("There is no figure", name, FIGURES, see="alternet list figures")
        for study in found:
            if study.figure in studies and studies[study.figure] != study:
                raise ValueError(f"Two studies are called {study.figure!r}. Give yours another name.")
            studies[study.figure] = study
    return tuple(studies.values())


def declared_in(file: Path) -> list[Study]:
    """The studies that a Python file declares; it is the user's own and is run."""
    module = run_own(file, "a declaration of studies; for a figure of the paper see alternet list figures")
    found = [value for value in vars(module).values() if isinstance(value, Study)]
    if not found:
        raise ValueError(f"{file} declares no study: expected STUDY = alternet.studies.Study(...) in it.")
    return found


def reproduce(
    plan: Plan, executor: Executor, say: Callable[[str], None] = lambda _: None
) -> tuple[Collected, Exception | None]:
    """Train and measure what is not there yet, and write evidence, figures and report.

    Args:
        plan: What is asked for.
        executor: Where the work is done.
        say: Called with a line about every network.

    Returns:
        What there is now, which the figures show, and the error of the jobs that failed, if some did.
    """
    jobs = plan.jobs
    todo = [job for job in jobs if not job.finished]
    say(f"{len(jobs)} networks: {len(jobs) - len(todo)} there already, {len(todo)} to train or measure")
    failed = None
    try:
        for number, job in enumerate(executor.run(todo), start=1):
            say(f"[{number}/{len(todo)}] {job.folder.name}")
    except Exception as error:  # a training that diverged, or had too little memory, costs the others no figure
        failed = error
    return put_out(plan), failed
