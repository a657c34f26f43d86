"""Run benchmarks and write their sections of results.md: all, or those named, `python -m benchmarks [hessian ...]`."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch

BENCHMARKS = (
    "fourier",
    "similarity",
    "lesion",
    "hessian",
    "landscape",
    "alternet_step",
    "training",
    "loading",
    "calls",
    "growth",
    "steps",
    "exports",
)
RESULTS = Path(__file__).with_name("results.md")
REMARKS = Path(__file__).with_name("remarks.md")
HEAD = """# Results

Written by `make bench`. Every row is a ratio of medians, both sides measured in turn within one run.
"""


def machine() -> str:
    """What the figures were measured on, in words."""
    cpu = next(
        (line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{cpu.strip() or platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"]
    parts += [f"{torch.cuda.get_device_name()}"] if torch.cuda.is_available() else []
    parts += [f"Python {platform.python_version()}", f"{torch.get_num_threads()} torch threads"]
    return ", ".join([*parts, *(f"{name} {version(name)}" for name in ("torch", "timm", "numpy"))])


def table(rows: list[dict]) -> list[str]:
    """The rows as a Markdown table."""
    lines = ["| what | ours | rival | ratio | target | |", "|---|---|---|---|---|---|"]
    for row in rows:
        verdict = "reached" if reached(row["ratio"], row["target"]) else "**missed**"
        figures = (f"{row[side]:.4g} {row['unit']}" for side in ("ours", "rival"))
        lines.append(f"| {row['what']} | {' | '.join(figures)} | {row['ratio']:.3f} | {row['target']} | {verdict} |")
    return lines


def reached(ratio: float, target: str) -> bool:
    """Whether a ratio meets a target written as `<= 1.25` or `>= 5`.

    Examples:
        >>> reached(1.2, "<= 1.25"), reached(4.0, ">= 5"), reached(1.0, "> 1")
        (True, False, False)
    """
    sign, bound = target.split()
    return {"<=": ratio <= float(bound), ">=": ratio >= float(bound), ">": ratio > float(bound)}[sign]


def run(name: str) -> str:
    """One section of the results."""
    module = import_module(f"benchmarks.{name}")
    measured = f"Measured {date.today()}: {machine()}."
    return "\n".join([f"## {name}", "", (module.__doc__ or "").strip(), "", measured, "", *table(module.rows()), ""])


def apart(name: str) -> str:
    """The section from a process of its own, so that no benchmark disturbs the next."""
    print(f"benchmark: {name}", flush=True)
    call = [sys.executable, "-c", f"from benchmarks.__main__ import run; print(run({name!r}))"]
    return subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout.rstrip() + "\n"


def sections(text: str) -> dict[str, str]:
    r"""The sections of a Markdown text by their headings.

    Examples:
        >>> sections("# Results\n\n## one\n1\n\n## two\n2\n")
        {'one': '## one\n1\n', 'two': '## two\n2\n'}
    """
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].removeprefix("## "): part.rstrip() + "\n" for part in parts}


def main(names: Sequence[str]) -> None:
    """Measure and write, section by section, so that what is finished is kept."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"There is no benchmark {', '.join(unknown)}. There are {', '.join(BENCHMARKS)}.")
    for name in names or BENCHMARKS:
        section = apart(name)
        print(section, flush=True)
        kept = sections(RESULTS.read_text()) if RESULTS.exists() else {}
        kept[name] = section
        RESULTS.write_text("\n".join([HEAD, *(kept[one] for one in BENCHMARKS if one in kept), REMARKS.read_text()]))
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main(sys.argv[1:])
