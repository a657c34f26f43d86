"""Run the parts, each within its time, and write what they found after each."""

import argparse
import os
import pickle
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch

import benchmarks.gpu
from benchmarks.__main__ import machine, reached
from benchmarks.gpu import checks, curvature, rows, whole
from benchmarks.gpu.measuring import (
    DEVICE,
    DONE,
    SMOKE,
    UNTIL,
    Check,
    Failure,
    Line,
    Part,
    Row,
    alarm,
    last_line,
    pick,
    scratch,
    tf32,
)

PARTS: dict[str, tuple[Part, int]] = {
    "training": (checks.training, 60),
    "trained": (checks.trained, 80),
    "variants": (checks.variants, 70),
    "surroundings": (checks.surroundings, 30),
    "layouts": (checks.layouts, 60),
    "fourier": (rows.fourier, 45),
    "attention": (rows.attention, 75),
    "cnn": (whole.cnn, 20),
    "hessian": (curvature.hessian, 60),
    "landscape": (rows.landscape, 40),
    "lesion": (rows.lesion, 50),
    "similarity": (rows.similarity, 40),
    "noise": (rows.noise, 40),
    "folder": (whole.folder, 40),
    "throughput": (whole.throughput, 40),
    "precisions": (checks.precisions, 30),
    "compiled": (whole.compiled, 120),
}
"""What is run, and for how many seconds at most."""

SECONDS = 450
"""What all parts together may take by default."""

FATAL = "CUDA error"
"""What stands in an error after which this process cannot use the GPU any more."""


def run(name: str, seconds: float) -> Iterator[Line]:
    """The lines of a part, and a failure at its end if there was one."""
    part, most = PARTS[name]
    most *= pick(1, 20)  # toys are for what breaks, on a machine that may be busy
    UNTIL[0] = time.monotonic() + min(most, seconds)
    try:
        with alarm(min(most, seconds)):
            yield from part()
    except Exception as error:
        traceback.print_exc()
        yield Failure(name, last_line(error))
    finally:
        if DEVICE == "cuda":
            with suppress(Exception):
                torch.cuda.empty_cache()


VERDICTS = {True: "holds", False: "**fails**", None: ""}


def written(lines: list[tuple[str, Line]], seconds: dict[str, float]) -> str:
    """The whole file."""
    measured, held = ([one for one in lines if isinstance(one[1], kind)] for kind in (Row, Check))
    failed = [line for _, line in lines if isinstance(line, Failure)]
    bad = [line for _, line in held if isinstance(line, Check) and line.good is False]
    text = ["# Results on a GPU", "", "Written by `make gpu`.", "", f"Measured {date.today()}: {machine()}.", ""]
    count = sum(isinstance(line, Check) and line.good is not None for _, line in held)
    text += [f"{count - len(bad)} of {count} checks hold. Seconds: {seconds}.", "", "## What failed", ""]
    text += [f"- {line.what}: {line.found}" for line in bad] + [f"- part {line.part}: {line.reason}" for line in failed]
    text += ["" if bad or failed else "Nothing.", "", "## Rows", ""]
    text += ["| what | ours | rival | ratio | target | | peak MiB | GPU busy |", "|---|---|---|---|---|---|---|---|"]
    text += [_row(line) for _, line in measured if isinstance(line, Row)]
    text += ["", "## Checks", "", "| part | what | | found |", "|---|---|---|---|"]
    text += [f"| {p} | {c.what} | {VERDICTS[c.good]} | {c.found} |" for p, c in held if isinstance(c, Check)]
    return "\n".join(text) + "\n"


def _row(line: Row) -> str:
    verdict = "" if not line.target else "reached" if reached(line.ratio, line.target) else "**missed**"
    memory = "" if line.memory is None else f"{line.memory:.0f}"
    busy = "" if line.busy is None else f"{line.busy:.0%}"
    sides = " | ".join(f"{value:.4g} {line.unit}" for value in (line.ours, line.rival))
    return f"| {line.what} | {sides} | {line.ratio:.3f} | {line.target} | {verdict} | {memory} | {busy} |"


class Progress(NamedTuple):
    """What is done and what is left, also for a process that goes on after this one.

    Attributes:
        parts: Those to come, the present one first.
        until: When the time is up, in seconds since 1970.
        lines: What was found, each with its part.
        seconds: What each part took.
    """

    parts: list[str]
    until: float
    lines: list[tuple[str, Line]]
    seconds: dict[str, float]

    def go_on(self) -> NoReturn:
        """Go on in a new process: an error of this kind leaves the GPU unusable in this one."""
        (scratch() / "progress").write_bytes(pickle.dumps(self))
        signal.setitimer(signal.ITIMER_REAL, 0)
        flags = ["--resume", str(scratch())] + ["--smoke"] * SMOKE
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.gpu", *flags])


def work_through(progress: Progress) -> None:
    """Run the parts that are left, and write after each."""
    out = Path(os.environ.get("OUT") or Path(__file__).parents[1]) / ("smoke-gpu.md" if SMOKE else "results-gpu.md")
    out.parent.mkdir(parents=True, exist_ok=True)
    while progress.parts:
        name, at = progress.parts[0], time.time()
        left = progress.until - at
        for line in run(name, left) if left > 5 else [Failure(name, "not begun, the time was up")]:
            progress.lines.append((name, line))
            progress.seconds[name] = round(time.time() - at, 1)
            print(f"{progress.until - time.time():6.1f} s left, {name}: {line}", flush=True)
            if FATAL in str(line):
                out.write_text(written(progress.lines, progress.seconds))
                if isinstance(line, Failure):
                    progress.parts.pop(0)  # a check's part goes on with its next case
                progress.go_on()
        progress.parts.pop(0)
        out.write_text(written(progress.lines, progress.seconds))
    print(f"written: {out}")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(
        description=benchmarks.gpu.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all by default")
    parser.add_argument("--smoke", action="store_true", help="toy sizes, on whatever device there is")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if DEVICE == "cpu" and not SMOKE:
        sys.exit("There is no GPU. Try --smoke for toy sizes on the CPU.")
    progress = Progress(asked.parts or list(PARTS), time.time() + asked.seconds, [], {})
    if asked.resume:
        progress = pickle.loads((asked.resume / "progress").read_bytes())
        DONE.update(line.what for _, line in progress.lines if isinstance(line, Check))
    with tf32(False):  # as every measurement has it; where rivals round, the row says so
        work_through(progress)


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(scratch(), ignore_errors=True)
