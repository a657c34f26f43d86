"""The worked example of docs/attention-into-your-cnn.md: run its commands, draw its figures, write its table.

    python scripts/attention_page.py runs/attention

The commands stand on the page alone. They are run for several seeds of training, each in a folder of its own, where
what is finished is taken up. The figures show the first seed; the table says what all seeds say.
"""

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path

import marks
import pandas as pd

from alternet.cli import run
from alternet.instruments import figures
from alternet.measurement import Measurement, find_measurements
from alternet.runs import TrainingRun
from alternet.studies.over_seeds import over_seeds

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "attention-into-your-cnn.md"
RESULTS = ROOT / "docs" / "results" / "attention-photos"
IMAGES = ROOT / "docs" / "images"
NETWORKS = ("before", "longer", "attention")
UNITS = ("stages.2.1.branch", "stages.3.1.branch")
SHOWN = ("fourier", "hessian", "lesion")


def commands(page: str) -> list[list[str]]:
    """The lines of the page's console blocks, without the prompt, as arguments of `alternet`."""
    blocks = re.findall(r"^```console\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    return [shlex.split(line.removeprefix("$ alternet ")) for block in blocks for line in block.splitlines()]


def work_through(lines: Sequence[Sequence[str]], folder: Path, extra: Mapping[str, Sequence[str]]) -> None:
    """Run the commands in a folder, each with what `extra` says of its first word.

    Raises:
        RuntimeError: One of them failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with chdir(folder):
        for line in lines:
            if code := run([*line, *extra.get(line[0], ())]):
                raise RuntimeError(f"alternet {shlex.join(line)} ended with {code}.")


def measured(folder: Path) -> dict[str, Measurement]:
    """What was measured in a folder, by instrument, the networks in order and called as on the page."""
    with chdir(folder):
        every = list(find_measurements("runs/seen"))
    found = {}
    for name in SHOWN:
        own = {m.models[0].rpartition("/")[2]: m for m in every if m.instrument == name}
        found[name] = Measurement.concat(
            own[network].renamed({own[network].models[0]: network}) for network in NETWORKS
        )
    return found


def numbers(folder: Path) -> pd.DataFrame:
    """Columns `network`, `quantity`, `value`: what the table of the page is made of."""
    rows = [
        (network, "test accuracy (%)", 100 * TrainingRun(folder / "runs" / network).test_accuracy)
        for network in NETWORKS
    ]
    found = measured(folder)
    for unit in UNITS:
        for name, column, factor, said in (
            ("fourier", "step", 1.0, "step of the log amplitude at the highest frequency"),
            ("lesion", "delta_accuracy", 100.0, "accuracy without the unit (points)"),
        ):
            table = found[name].table
            table = table[table["tap"] == unit].groupby("model", sort=False).last()
            rows += [(network, f"{unit}: {said}", factor * table[column][network]) for network in NETWORKS]
    summary = found["hessian"].tables["summary"].set_index(["model", "metric"])["value"]
    for metric, said in (("largest", "largest eigenvalue"), ("nep", "NEP (%)"), ("ape", "APE")):
        factor = 100.0 if metric == "nep" else 1.0
        rows += [(network, f"Hessian: {said}", factor * summary[network, metric]) for network in NETWORKS]
    return pd.DataFrame(rows, columns=["network", "quantity", "value"])


def as_text(table: pd.DataFrame) -> str:
    """Means over seeds, and what attention changes beyond the control, seed by seed, with Student's interval."""
    lines = [f"| | {' | '.join(NETWORKS)} | attention − longer, 95 % interval |", "|---|---|---|---|---|"]
    for quantity in table["quantity"].unique():
        wide = table[table["quantity"] == quantity].pivot(index="seed", columns="network", values="value")
        cells = [
            f"{wide[name].mean():.3g} ± {over_seeds(wide[name].to_numpy()).standard_error:.2g}" for name in NETWORKS
        ]
        change = over_seeds((wide["attention"] - wide["longer"]).to_numpy())
        cells.append(f"{change.mean:+.2g} ({change.low:+.2g} to {change.high:+.2g})")
        lines.append(f"| {quantity} | {' | '.join(cells)} |".replace("-", "−"))
    return "\n".join(lines)


def main(out: Path, seeds: int) -> None:
    """Everything, for each seed; then figures, table and page."""
    lines = commands(PAGE.read_text(encoding="utf-8"))
    tables = []
    for seed in range(seeds):
        folder = out.absolute() / f"seed-{seed}"
        work_through(lines, folder, {"train": ["--seed", str(seed)]})
        tables.append(numbers(folder).assign(seed=seed))
    table = pd.concat(tables)[["seed", "network", "quantity", "value"]]
    RESULTS.mkdir(parents=True, exist_ok=True)
    table.to_csv(RESULTS / "numbers.csv", index=False)
    for name, one in measured(out.absolute() / "seed-0").items():
        figures.save(figures.draw(one), IMAGES / f"attention-{name}.svg")
        print(name, *figures.sentences(one), sep="\n  ")
    shown = "\n\n".join(f"![{name}, seed 0](images/attention-{name}.svg)" for name in SHOWN)
    marks.write(PAGE, "numbers", f"{as_text(table)}\n\n{shown}")
    print(as_text(table))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the runs, one a seed")
    parser.add_argument("--seeds", type=int, default=3, help="how often it is all done (default: 3)")
    given = parser.parse_args()
    main(given.out, given.seeds)
