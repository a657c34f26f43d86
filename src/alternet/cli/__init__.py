"""The `alternet` command: one file a command, heavy imports inside it, one clear line for every error."""

import logging
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from alternet.circumstances import command
from alternet.cli.buildup import buildup
from alternet.cli.claims import claims
from alternet.cli.compare import compare
from alternet.cli.demo import demo
from alternet.cli.doctor import doctor
from alternet.cli.export import export
from alternet.cli.listing import listing
from alternet.cli.measure import measure
from alternet.cli.options import doubts_said, forget_output, say
from alternet.cli.report import report
from alternet.cli.reproduce import reproduce
from alternet.cli.taps import taps
from alternet.cli.train import train
from alternet.errors import LostProcess, in_one_line
from alternet.shown import as_text
from alternet_begin import LINE, code_of_end

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="See how a vision classifier works inside, with the instruments of 'How Do Vision Transformers Work?'.",
    epilog="Begin with: alternet demo. Every command takes up its work where it stopped when it is started again.",
)
app.command()(demo)
app.command(name="list")(listing)
app.command()(taps)
app.command()(measure)
app.command()(train)
app.command()(buildup)
app.command()(claims)
app.command()(compare)
app.command()(report)
app.command()(export)
app.command()(reproduce)
app.command()(doctor)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    del debug  # taken out by `main`, so that it may stand anywhere on the line
    if version:
        from alternet import __version__

        typer.echo(f"alternet {__version__}")
        raise typer.Exit(DONE)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(WRONG_CALL)


class _Shown(logging.Formatter):
    """What is logged as a terminal may show it: a message is one line, and so is each of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        told = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        return "\n".join(map(as_text, (record.getMessage(), *told)))


def _log(*, debug: bool) -> None:
    """Let what is logged, by other packages too, be shown as lines; where wanted, ours in full."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Shown())
    if debug:
        handler = logging.StreamHandler()
        handler.setFormatter(_Shown())
        logging.basicConfig(handlers=[handler])
        logging.getLogger("alternet").setLevel(logging.DEBUG)


def main() -> NoReturn:
    """Run the command and end with 0 done, 1 a measurement failed, 2 a wrong call, 130 and 143 stopped from outside."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    code = run(arguments, debug=debug)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # what was still to be written has no reader any more, or no room
            forget_output(stream)
    sys.exit(code)


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run one command line and return its exit code.

    Examples:
        >>> run(["--version"])
        alternet 1.0.0
        0
    """
    _log(debug=debug)
    try:
        with command(arguments), doubts_said():
            code = app(arguments, standalone_mode=False, prog_name="alternet") or DONE
        if code == INTERRUPTED:  # typer turns Ctrl-C into this code
            raise KeyboardInterrupt
        return code
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "alternet"
        said = error.format_message()
        stop = "" if said.endswith((".", "?")) else "."
        return _tell(f"{said}{stop} See: {where} --help", WRONG_CALL, error, debug)
    except (KeyboardInterrupt, typer.Abort) as error:
        return _tell(LINE, code_of_end(), error, debug)
    except (BrokenPipeError, SystemExit, LostProcess) as error:
        return _ended(error, debug)
    except ValueError as error:
        return _tell(in_one_line(error), WRONG_CALL, error, debug)
    except Exception as error:  # whatever it is, the user gets one line and an exit code
        return _tell(in_one_line(error), FAILED, error, debug)


def _ended(error: BrokenPipeError | SystemExit | LostProcess, debug: bool) -> int:
    """End where no work of ours failed: another process did, or somebody else asks for an end.

    Nothing failed where the reader of our output went away, as `| head` does; typer makes an exit of that.
    """
    if isinstance(error, LostProcess):
        return FAILED if error.told else _tell(str(error), FAILED, error, debug)
    if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
        raise error
    forget_output(sys.stdout)
    return DONE


def _tell(line: str, code: int, error: BaseException, debug: bool) -> int:
    if debug:
        for told in "".join(traceback.format_exception(error)).splitlines():
            say(told, err=True)
    say("alternet: " + " ".join(line.split()), err=True)
    return code
