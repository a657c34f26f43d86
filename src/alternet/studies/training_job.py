"""Training jobs: trainings as data, each with an address of its own, so that none is run twice."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from alternet.data.datasets import DATASETS
from alternet.runs import TrainingRun
from alternet.storage import write_atomically
from alternet.training import Recipe, train

TRAINED = "trained"
"""The folder of a study's trainings, each under its address."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training and where it belongs: the model, data and recipe decide its folder.

    Running it twice trains once: what is finished is taken up, what was interrupted goes on.

    Attributes:
        model: As `alternet train` takes it.
        data: A name or path, likewise.
        recipe: How to train, the seed included.
        out: Folder of the study.
        img_size: Side of the images; by default the data's own.
        model_args: More keyword arguments of the model.

    Examples:
        >>> job = TrainingJob(model="test_vit", data="digits", recipe=Recipe(epochs=1), out=Path("out"))
        >>> job.folder.as_posix()
        'out/trained/test_vit-d18e9d4475'
    """

    model: str
    data: str
    recipe: Recipe
    out: Path
    img_size: int | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def given(self) -> bool:
        """Whether the weights are published ones that are measured as they are, so that nothing is trained."""
        return self.model.endswith("@pretrained")

    @property
    def address(self) -> str:
        """Digest of all that decides the weights; options at their default are left out, so that new ones cost none.

        Where a data set with a name lies does not count: the run compares the images themselves.
        """
        facts = {
            "model": self.model,
            "data": without_path(self.data),
            "recipe": self.changed,
            "img_size": self.img_size,
        }
        facts |= {"model_args": dict(self.model_args)}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def changed(self) -> dict[str, Any]:
        """Options of the recipe that are not at their default."""
        usual = Recipe().as_dict()
        return {name: value for name, value in self.recipe.as_dict().items() if value != usual[name]}

    @property
    def folder(self) -> Path:
        """Where it is trained: its address behind the beginning of the model's name."""
        name = re.sub("[^A-Za-z0-9_]+", "-", self.model.partition("(")[0])[:40]
        return self.out / TRAINED / f"{name}-{self.address}"

    @property
    def result(self) -> TrainingRun:
        """The run, finished or not."""
        return TrainingRun(self.folder)

    def run(self, device: str | None = None) -> None:
        """Train in this process."""
        options = {"img_size": self.img_size, "model_args": self.model_args}
        train(self.model, self.data, self.recipe, self.folder, device=device, **options)

    def command(self, device: str | None = None) -> list[str]:
        """The same as arguments of `alternet`, for another process or machine; the recipe is written to a file."""
        recipe = self.folder.with_suffix(".yaml")
        write_atomically(recipe, yaml.safe_dump(self.recipe.as_dict(), sort_keys=False))
        options = ["--recipe", str(recipe), "--out", str(self.folder), "--seed", str(self.recipe.seed)]
        if device is not None:
            options += ["--device", device]
        return ["train", "-m", self.model, *self.options, *options]

    @property
    def options(self) -> list[str]:
        """What the command line says of data and network besides the model's name."""
        size = [] if self.img_size is None else ["--img-size", str(self.img_size)]
        stated = [["--set", f"model.{name}={json.dumps(value)}"] for name, value in self.model_args.items()]
        return ["--data", self.data, *size, *chain(*stated)]


def without_path(data: str) -> str:
    """Data by name, where it has one.

    Examples:
        >>> without_path("cifar100:/data/cifar"), without_path("/data/mine")
        ('cifar100', '/data/mine')
    """
    name = data.partition(":")[0]
    return name if name in DATASETS else data
