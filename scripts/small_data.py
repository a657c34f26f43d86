"""The small-data study of docs/small-data.md: four networks, the same budget, the same seeds; a table with intervals.

    alternet buildup -m preresnet_mini --data elpv --img-size 32 --out runs/elpv
    python scripts/small_data.py runs/elpv --epochs 12 --jobs 2

The fourth network is the one that the search found. What is trained already is not trained again, so the script can be
stopped and goes on. When all is trained it writes docs/results/elpv and what stands between the marks of the page.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import marks
import pandas as pd

from alternet.measurement import Measurement
from alternet.storage import versions, write_atomically
from alternet.studies.executor import Executor, InProcess, LocalProcesses
from alternet.studies.over_seeds import over_seeds
from alternet.studies.training_job import TrainingJob
from alternet.training import Recipe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "small-data.md"
RESULTS = ROOT / "docs" / "results" / "elpv"
DATA, SIDE, SEEDS = "elpv", 32, 5
NETWORKS = ("preresnet_mini", "alternet_mini", "vit_mini")
FOUND = "preresnet_mini, built up"


def jobs(models: Mapping[str, str], out: Path, epochs: int) -> dict[tuple[str, int], TrainingJob]:
    """All trainings by network and seed, seed by seed, so that what is finished can be compared at any time."""
    recipe = Recipe.load("quick").with_settings({"epochs": epochs, "snapshot_every": 0})
    return {
        (name, seed): TrainingJob(model=model, data=DATA, img_size=SIDE, recipe=replace(recipe, seed=seed), out=out)
        for seed in range(SEEDS)
        for name, model in models.items()
    }


def compared(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a network, and a row a pair of networks with their difference, seed by seed.

    Args:
        runs: Columns `network`, `seed`, `accuracy`; every network has every seed.
    """
    wide = runs.pivot(index="seed", columns="network", values="accuracy")[runs["network"].unique()]
    if wide.isna().any(axis=None):
        raise ValueError("Seeds are paired, so every network needs all of them.")
    networks = [{"network": name, **over_seeds(wide[name].to_numpy())._asdict()} for name in wide]
    pairs = [
        {
            "network": b,
            "less": a,
            **over_seeds((wide[b] - wide[a]).to_numpy())._asdict(),
            "wins": int((wide[b] > wide[a]).sum()),
        }
        for a, b in combinations(wide, 2)
    ]
    return pd.DataFrame(networks), pd.DataFrame(pairs)


def as_text(networks: pd.DataFrame, pairs: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """The commands, the budget and both tables in Markdown, in percent and points."""
    epochs, sizes = facts["recipe"]["epochs"], facts["parameters"]
    lines = [
        "```console",
        f"$ alternet buildup -m preresnet_mini --data {DATA} --img-size {SIDE} --out runs/{DATA}",
        f"$ python scripts/small_data.py runs/{DATA} --epochs {epochs}",
        "```",
        "",
        f"The search chose `{facts['models'][FOUND]}`.",
        f"Every network was trained for {epochs} epochs by the recipe `quick`, with the seeds 0 to {SEEDS - 1}.",
        "",
        "| network | parameters | test accuracy (%) | 95 % interval |",
        "|---|---|---|---|",
    ]
    for row in networks.to_dict("records"):
        mean, error, low, high = (f"{100 * row[name]:.1f}" for name in ("mean", "standard_error", "low", "high"))
        lines.append(f"| {row['network']} | {sizes[row['network']]:,} | {mean} ± {error} | {low} to {high} |")
    lines += ["", "| network | minus | points | 95 % interval | seeds in favour |", "|---|---|---|---|---|"]
    for row in pairs.to_dict("records"):
        low, mean, high = (f"{100 * row[name]:+.1f}".replace("-", "−") for name in ("low", "mean", "high"))
        lines.append(f"| {row['network']} | {row['less']} | {mean} | {low} to {high} | {row['wins']} of {SEEDS} |")
    return "\n".join(lines)


def provenance(trained: Mapping[tuple[str, int], TrainingJob], models: Mapping[str, str]) -> dict[str, Any]:
    """What the numbers come from: networks, budget, data, versions, seconds, and the search that found the fourth."""
    facts = [job.result.facts for job in trained.values()]
    (data,) = {json.dumps(each["data"], sort_keys=True) for each in facts}
    return {
        "models": dict(models),
        "parameters": {name: trained[name, 0].result.facts["parameters"]["all"] for name in models},
        "recipe": facts[0]["recipe"] | {"seed": f"0 to {SEEDS - 1}"},
        "input_size": facts[0]["input_size"],
        "data": json.loads(data),
        "versions": versions(),
        "dates": sorted({each["date"][:10] for each in facts}),
        "seconds": round(sum(each["seconds"] for each in facts)),
    }


def main(out: Path, epochs: int, executor: Executor) -> None:
    """Train what is not trained yet, and write tables and page."""
    search = Measurement.load(out / "preresnet_mini" / "buildup")
    models = {**{name: name for name in NETWORKS}, FOUND: search.provenance["chosen"]}
    trained = jobs(models, out, epochs)
    for job in executor.run(list({job.folder: job for job in trained.values()}.values())):
        print(f"trained {job.folder.name}", flush=True)

    rows = [(name, seed, job.result.test_accuracy, job.folder.name) for (name, seed), job in trained.items()]
    runs = pd.DataFrame(rows, columns=["network", "seed", "accuracy", "run"])
    networks, pairs = compared(runs)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, table in {"runs": runs, "networks": networks, "differences": pairs}.items():
        table.to_csv(RESULTS / f"{name}.csv", index=False)
    for name, table in search.tables.items():
        table.to_csv(RESULTS / f"buildup-{name}.csv", index=False)
    facts = provenance(trained, models)
    write_atomically(RESULTS / "provenance.json", json.dumps(facts, indent=2) + "\n")
    text = as_text(networks, pairs, facts)
    marks.write(PAGE, "accuracies", text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the search, where the trainings belong too")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--epochs", type=int, default=12, help="of every training (default: 12)")
    given = parser.parse_args()
    main(given.out, given.epochs, InProcess() if given.jobs == 1 else LocalProcesses(given.jobs))
