"""Run all benchmarks and write results.md; with names, run those: `python -m benchmarks [fourier training ...]`."""

import os
import platform
import subprocess
import sys
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
)
RESULTS = Path(__file__).with_name("results.md")
REMARKS = Path(__file__).with_name("remarks.md")


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


def run(name: str) -> list[str]:
    """One section of the results, from a process of its own, so that no benchmark disturbs the next."""
    module = import_module(f"benchmarks.{name}")
    print(f"benchmark: {name}", flush=True)
    return [f"## {name}", "", (module.__doc__ or "").strip(), "", *table(module.rows()), ""]


def main(names: list[str]) -> None:
    """Measure and write; with names, only those sections are printed and nothing is written."""
    if names:
        print("\n".join(line for name in names for line in run(name)))
        return
    sections = []
    for name in BENCHMARKS:
        done = subprocess.run([sys.executable, "-m", "benchmarks", name], capture_output=True, text=True, check=True)
        print(done.stdout, flush=True)
        sections.append(done.stdout.partition("\n")[2])
    head = [
        "# Results",
        "",
        "Written by `make bench`. Every row is a ratio of medians, both sides measured in turn within one run.",
        f"Machine: {machine()}. Date: {date.today()}.",
        "",
    ]
    RESULTS.write_text("\n".join([*head, *sections]) + (REMARKS.read_text() if REMARKS.exists() else ""))
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main(sys.argv[1:])
