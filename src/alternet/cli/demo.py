"""`alternet demo`: from real photographs to a report, in minutes, on a CPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from alternet.cli.options import Device, say, writable

MODELS = ("preresnet_mini", "alternet_mini", "vit_mini")


@dataclass(frozen=True, kw_only=True)
class Study:
    """Instruments that look at the same images, as many as the minutes allow; None for all of them."""

    instruments: tuple[str, ...]
    limit: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


STUDIES = (
    Study(instruments=("fourier", "variance", "calibration", "similarity", "lesion")),
    Study(instruments=("frequency_noise",), limit=360),
    Study(instruments=("hessian",), limit=160),
    Study(instruments=("landscape",), limit=128, settings={"points": 11}),
    Study(instruments=("trajectory",)),
)
"""The loss is the one that the networks were trained on, without the paper's strong augmentation."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the networks, the numbers and report.html.")] = Path(
        "runs/demo"
    ),
    device: Device = None,
) -> None:
    """Train three small networks on photographs, measure them, and write a report."""
    from alternet.cli.measure import choose, measure_models
    from alternet.data import batches
    from alternet.distributed import local_device
    from alternet.report import render
    from alternet.runs import TrainingRun
    from alternet.training import Recipe, train

    folder, target = writable(out), local_device(device)
    runs = {name: folder / "trained" / name for name in MODELS}
    steps = len(MODELS) + len(STUDIES) + 1
    for number, (name, run) in enumerate(runs.items(), start=1):
        say(f"[{number}/{steps}] training {name} on photographs")
        trained = train(name, "photos", Recipe.load("quick"), run, device=target)
        chance = 1 / len(batches("photos").classes)
        say(f"      test accuracy {trained.test_accuracy:.1%} (chance {chance:.1%})")

    codes = []
    models = {name: TrainingRun(run).name for name, run in runs.items()}
    for number, study in enumerate(STUDIES, start=len(MODELS) + 1):
        say(f"[{number}/{steps}] measuring {', '.join(study.instruments)}")
        chosen = choose(study.instruments, study.settings, seed=0)
        options = {"limit": study.limit, "out": folder / "measured", "device": target}
        codes.append(measure_models(chosen, models, data="photos", **options))

    say(f"[{steps}/{steps}] writing the report")
    say(f"Open {render([folder], folder / 'report.html')} in a browser.")
    if any(codes):
        raise typer.Exit(max(codes))
