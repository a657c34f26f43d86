"""The options that several commands share, and how `--set` and `--out` are read."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from alternet.errors import Doubt
from alternet.shown import as_text

Models = Annotated[
    list[str],
    typer.Option(
        "-m",
        "--model",
        help="[CALLED=]NAME[@WEIGHTS]: a timm name (ours included), tv:NAME, hf:ID, run:DIR, local-dir:FOLDER, or "
        "FILE.py:NAME, a class or function of your own (the file is run); WEIGHTS is a file or `pretrained`, or a "
        "snapshot of the run, such as run:DIR@warmup. CALLED is what tables and figures call it, as in mine=run:DIR; "
        "mine=run:runs/a-* is all runs that match, as one model with an interval, and run:DIR@* every snapshot of a "
        "run. May be given several times; the order is kept.",
    ),
]
Model = Annotated[
    str, typer.Option("-m", "--model", help="NAME[@WEIGHTS]: a timm name (ours included), tv:NAME, hf:ID or run:DIR.")
]
Trained = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        help="NAME[@WEIGHTS] of timm or ours, run:DIR[@SNAPSHOT] to start from, or NAME+msa(UNIT,...) with attention "
        "put into it; torchvision's and transformers' models are not trained.",
    ),
]
Data = Annotated[
    str,
    typer.Option(
        help="photos, digits, elpv, cue-conflict[:PATH], a folder of images, cifar10, cifar100, imagenet:PATH, or a "
        "timm data set name."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the results; what it already holds is not done again.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default a GPU if there is one.")]
ImgSize = Annotated[int | None, typer.Option(min=1, help="Side of the images; by default the model's own.")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Seed of whatever is random: weights, subsets, instruments.")
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that decode images beside the model; the numbers do not depend on it.")
]
MeasuringWorkers = Annotated[
    str,
    typer.Option(
        metavar="auto|N",
        help="Processes that decode images beside the model; auto: what suits this machine, on a CPU mostly none, as "
        "its threads do it between the batches. No number depends on it.",
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory for decoded images, for example 2GiB; 0 decodes anew. Default: a quarter of what is free, 4GiB.",
    ),
]
Rounded = Annotated[
    str,
    typer.Option(
        metavar="float32|tf32|bfloat16",
        help="What a model goes forward in; each result says by how much it moved the numbers. Derivatives stay as "
        "they are.",
    ),
]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Compile what goes forward and is not looked into, likewise.")
]
Timeout = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10**9 - 1,
        metavar="SECONDS",
        help="How long a process that reads images, shares the work or does a job is waited for while it finishes "
        "nothing, by default 600.",
    ),
]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting. May be given several times.")
]


def parse_workers(text: str) -> int | None:
    """How many processes `--workers` asks for; None leaves it to the machine.

    Examples:
        >>> parse_workers("auto"), parse_workers("3")
        (None, 3)
    """
    if text == "auto":
        return None
    if not text.isdecimal():
        raise ValueError(f"--workers got {text!r}, expected auto or a number of processes, 0 for none beside this one.")
    return int(text)


def set_cache(text: str | None) -> None:
    """Let `--cache` say how much memory images may take."""
    if text is None:
        return
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from alternet.data.kept import BUDGET

    try:
        BUDGET.most = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise ValueError(f"--cache got {text!r}, expected a size such as 500MB, 2GiB or 0.") from error


def set_timeout(seconds: int | None) -> None:
    """Let `--timeout` say how long this process, and those that it starts, wait for one that finishes nothing."""
    from alternet.patience import TIMEOUT, patience

    if seconds is not None:
        os.environ[TIMEOUT] = str(seconds)
    patience()  # says now what is wrong with the variable


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """`["bins=15"]` as `{"bins": "15"}`; the type of the setting decides later what the text says.

    Examples:
        >>> parse_settings(["bins=15", "axis=paper"])
        {'bins': '15', 'axis': 'paper'}
    """
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"--set takes KEY=VALUE, got {pair!r}; for example --set bins=15.")
        settings[key] = value
    return settings


def of_model(settings: Mapping[str, str]) -> dict[str, Any]:
    """What `--set model.KEY=VALUE` says of the model, as YAML reads it.

    Examples:
        >>> of_model({"bins": "15", "model.std": "[0.5, 0.5, 0.5]"})
        {'std': [0.5, 0.5, 0.5]}
    """
    from alternet.settings import from_yaml

    return {key.removeprefix("model."): from_yaml(text) for key, text in settings.items() if key.startswith("model.")}


def for_loading(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a model as arguments of `alternet.load`: facts by their names, all else in `model_args`.

    Examples:
        >>> for_loading({"num_classes": 5, "in_chans": 1})
        {'num_classes': 5, 'model_args': {'in_chans': 1}}
    """
    facts = {key: value for key, value in stated.items() if key in ("mean", "std", "num_classes")}
    return facts | {"model_args": {key: value for key, value in stated.items() if key not in facts}}


def only_of_model(pairs: list[str]) -> dict[str, Any]:
    """Settings of a command that has none but those of the model, as arguments of `alternet.load`.

    Raises:
        ValueError: One of them is of something else.

    Examples:
        >>> only_of_model(["model.in_chans=1"])
        {'model_args': {'in_chans': 1}}
    """
    given = parse_settings(pairs)
    if others := [key for key in given if not key.startswith("model.")]:
        raise ValueError(
            f"--set {others[0]}=... is no setting of the model; those of the model begin with model., as "
            f"model.{others[0]}=...."
        )
    return for_loading(of_model(given))


def writable(out: Path) -> Path:
    """Make the output folder, or say now that it cannot be written.

    Raises:
        ValueError: It is a file, or may not be written.
    """
    from alternet.storage import require_writable

    try:
        require_writable(out)
    except OSError as error:
        raise ValueError(str(error)) from error
    return out


def say(line: str = "", *, err: bool = False) -> None:
    """Print a line; names in it may be anything. Where it cannot be written (a full disk), that is all."""
    with lost_output_borne(sys.stderr if err else sys.stdout):
        typer.echo(as_text(line), err=err)


def put_out(text: str) -> None:
    """Print what somebody is going to read from a file or a pipe, all of it.

    Raises:
        OSError: There is no room for it.
        BrokenPipeError: Nobody reads it any more.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        forget_output(sys.stdout)
        raise OSError(
            f"What is printed cannot be written where it goes ({error.strerror or error}). Make room there, or send it "
            "elsewhere."
        ) from error


@contextmanager
def lost_output_borne(stream: TextIO) -> Iterator[None]:
    """Go on without an output that cannot be written or that nobody reads any more, as `| head` leaves it."""
    try:
        yield
    except OSError as error:
        forget_output(stream)
        if not isinstance(error, BrokenPipeError) and stream is sys.stdout:
            say(f"note: what is printed cannot be written any more ({error.strerror or error}).", err=True)
    except SystemExit as end:  # which rich makes of it
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        forget_output(stream)


def forget_output(stream: TextIO) -> None:
    """Let what Python still holds for an output go nowhere, so that it does not complain as it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()


@contextmanager
def cleared(out: Path) -> Iterator[None]:
    """Leave no empty folder behind where what was to fill it is refused; one that was there before stays."""
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in new:
            try:
                folder.rmdir()
            except OSError:  # something is in it
                break
        raise


@contextmanager
def doubts_said() -> Iterator[None]:
    """Say as a note, once, what Python warns of."""
    said: set[str] = set()
    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.simplefilter("always", Doubt)

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            from alternet.distributed import rank

            if not issubclass(category, Doubt):
                usual(as_text(message), category, *where)
            elif str(message) not in said:
                said.add(str(message))
                if rank() == 0:
                    say(f"note: {message}", err=True)

        warnings.showwarning = show
        yield
