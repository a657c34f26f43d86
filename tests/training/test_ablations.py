"""Every line of docs/ablations.md is run for one step, so that none of them can rot.

What stands in: a folder of 2 classes for CIFAR and ImageNet; for the epochs one, in batches of two; for the networks
small ones of their family, except in what the line itself sets.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alternet.cli import run
from alternet.cli.options import parse_settings
from alternet.runs import TrainingRun
from alternet.training.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "ablations.md"
LINES = re.findall(r"^\|.*\| `(alternet train .*)` \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
SMALL = {
    "alternet": {"widths": [8, 8, 8, 8], "heads": [1, 1, 1, 1], "head_dim": 4},
    "paper_resnet": {"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
    "preresnet": {"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 3]},
    "resnet50": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]},
    "paper_vit": {"embed_dim": 12, "depth": 1, "num_heads": 3},
    "vit_": {"embed_dim": 12, "depth": 1, "num_heads": 3},
    "conv_vit": {"embed_dim": 8, "depth": 1, "head_dim": 4},
    "paper_pit": {"base_dims": [8, 8, 8], "depth": [1, 1, 1], "heads": [1, 1, 1]},
    "paper_swin": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
}
# no less than 8 channels: torch 2.15 on a CPU writes beyond its memory in a convolution of 4, channels last
QUICK = {"epochs": 1, "warmup_epochs": 0, "batch_size": 2, "snapshot_every": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    noise = np.random.RandomState(0)
    for split, count in (("train", 32), ("test", 1)):
        for kind in ("a", "b"):
            for number in range(count):
                file = root / split / kind / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(noise.randint(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)
    return root


def test_the_page_holds_the_lines() -> None:
    assert len(LINES) == len(set(LINES)) > 25
    assert PAGE.read_text(encoding="utf-8").count("alternet train") == len(LINES)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.rpartition("/")[2])
def test_a_line_trains(line: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line)
    value = {word: words[i + 1] for i, word in enumerate(words) if word.startswith("-")}
    given = parse_settings([words[i + 1] for i, word in enumerate(words) if word == "--set"])
    changes = {name: text for name, text in given.items() if not name.startswith("model.")}
    recipe = Recipe.load(value["--recipe"]).with_settings(changes)
    assert not changes or recipe != Recipe.load(value["--recipe"])

    # one step: the 1/32 of each class is one of its images
    extra = {} if "subset" in given else {"subset": "1/32"}
    (small,) = [own for start, own in SMALL.items() if value["-m"].startswith(start)]
    extra |= {f"model.{name}": own for name, own in small.items() if f"model.{name}" not in given}
    shrunk = [f"--set={name}={own}".replace(" ", "") for name, own in (QUICK | extra).items()]
    swapped = {value["--data"]: str(folder), value["--out"]: str(tmp_path)}
    swapped |= {f"subset={recipe.subset}": "subset=1/32"} if "subset" in given else {}
    asked = [swapped.get(word, word) for word in words[1:]]
    assert run([*asked, *shrunk, "--img-size", "32", "--device", "cpu"]) == 0, capsys.readouterr().err
    trained = TrainingRun(tmp_path)
    assert trained.finished and trained.steps == 1
    assert trained.facts["recipe"]["subset"] == "1/32"
    for name, text in given.items():
        if name.startswith("model."):
            assert name.removeprefix("model.") in trained.facts["model_args"], text
